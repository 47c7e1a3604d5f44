/* X-Forwarded-*, Forwarded and Via as they go to an origin; fields that end here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/forwarded.h"
#include "http/hop_by_hop.h"

struct row {
    enum forwarded_style style;
    struct forwarded_facts facts;
    struct http_field before[3];
    const char *expected;
};

static const struct row rows[] = {
    {FORWARDED_X, {BYTES("192.0.2.1"), false, BYTES("shop")}, {{{0}, {0}}},
        "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {FORWARDED_X, {BYTES("2001:db8::1"), true, {0}}, {{{0}, {0}}},
        "X-Forwarded-For: 2001:db8::1\nX-Forwarded-Proto: https\n"},
    {FORWARDED_X, {BYTES("192.0.2.1"), false, {0}},
        {{BYTES("x-forwarded-for"), BYTES("a, b")}, {BYTES("X-Forwarded-Proto"), BYTES("https")},
            {BYTES("X-Forwarded-For"), BYTES("c")}},
        "X-Forwarded-For: a, b, c, 192.0.2.1\nX-Forwarded-Proto: http\n"},
    {FORWARDED_STANDARD, {BYTES("192.0.2.1"), false, BYTES("shop:81")}, {{{0}, {0}}},
        "Forwarded: for=192.0.2.1;host=\"shop:81\";proto=http\n"},
    {FORWARDED_STANDARD, {BYTES("2001:db8::1"), true, {0}}, {{BYTES("forwarded"), BYTES("for=a;by=b")}},
        "Forwarded: for=a;by=b, for=\"[2001:db8::1]\";proto=https\n"},
    {FORWARDED_STANDARD, {BYTES("192.0.2.1"), false, BYTES("a\";for=x")}, {{{0}, {0}}},
        "Forwarded: for=192.0.2.1;host=\"a\\\";for=x\";proto=http\n"},
    {FORWARDED_OFF, {BYTES("192.0.2.1"), false, BYTES("shop")}, {{{0}, {0}}}, ""},
};

static struct http_fields fields_of(struct http_field *fields, unsigned room)
{
    unsigned count = 0;
    while (count < room && fields[count].name.len > 0)
        count++;
    return (struct http_fields){fields, count};
}

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512], got[512];
        struct http_field before[3], lines[FORWARDED_FIELDS_MAX];
        memcpy(before, rows[i].before, sizeof before);
        struct http_fields fields = fields_of(before, 3);
        struct writer w = writer_of(text, sizeof text), g = writer_of(got, sizeof got);
        unsigned count = forwarded_make(rows[i].style, &fields, &rows[i].facts, &w, lines);
        for (unsigned k = 0; k < count; k++) {
            write_bytes(&g, lines[k].name);
            write_bytes(&g, BYTES(": "));
            write_bytes(&g, lines[k].value);
            write_u8(&g, '\n');
            assert_true(forwarded_replaces(rows[i].style, lines[k].name));
        }
        if (!bytes_equal(writer_bytes(&g), bytes_of_string(rows[i].expected)))
            fail_msg("row %zu: %.*s", i, (int)writer_bytes(&g).len, got);
    }
    assert_true(forwarded_replaces(FORWARDED_X, BYTES("forwarded")));
    assert_true(forwarded_replaces(FORWARDED_STANDARD, BYTES("X-FORWARDED-HOST")));
    assert_false(forwarded_replaces(FORWARDED_X, BYTES("X-Forwarded-Port")));
    assert_false(forwarded_replaces(FORWARDED_OFF, BYTES("X-Forwarded-For")));
}

static void test_too_small(void **state)
{
    char text[8];
    struct http_field lines[FORWARDED_FIELDS_MAX];
    struct http_fields none = {NULL, 0};
    struct writer w = writer_of(text, sizeof text);
    (void)state;
    (void)forwarded_make(
        FORWARDED_X, &none, &(struct forwarded_facts){BYTES("192.0.2.100"), false, {0}}, &w, lines);
    assert_true(w.failed);
}

static void test_claims(void **state)
{
    static const struct {
        const char *value, *claims;
    } cases[] = {{"for=1.2.3.4", ","}, {"for=a;host=b", "host=b;,"},
        {"For=a ; Proto=http;BY=x,for=b", "Proto=http;,,"},
        {"for=\"a;b,c\";host=\"x;y,z\"", "host=\"x;y,z\";,"}, {"for = a", "for = a;,"},
        {"host=\"a\\\";for=b", "host=\"a\\\";for=b;,"}, {"", ""}, {";;", ","}, {"host", "host;,"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        struct http_field field = {BYTES("FORWARDED"), bytes_of_string(cases[i].value)};
        struct http_fields fields = {&field, 1};
        struct writer w = writer_of(text, sizeof text);
        forwarded_write_claims(&fields, &w);
        if (!bytes_equal(writer_bytes(&w), bytes_of_string(cases[i].claims)))
            fail_msg("%s: %.*s", cases[i].value, (int)writer_bytes(&w).len, text);
    }
}

static void test_via(void **state)
{
    struct http_field twice[] = {
        {BYTES("Via"), BYTES("1.0 fred")}, {BYTES("via"), BYTES("1.1 a.example (x, y)")}};
    struct http_fields none = {NULL, 0}, two = {twice, 2};
    (void)state;
    assert_true(bytes_equal(via_value(1), BYTES("1.1 yatagarasu")));
    assert_true(bytes_equal(via_value(0), BYTES("1.0 yatagarasu")));
    assert_false(via_loops(&none));
    assert_false(via_loops(&two));
    struct http_field often[] = {{BYTES("Via"), BYTES("1.1 yatagarasu, 1.1 yatagarasu, 1.1 yatagarasu, 1.1 "
                                                      "yatagarasu, 1.1 yatagarasu, 1.1 yatagarasu, 1.1 "
                                                      "Yatagarasu, 1.1 yatagarasu")}};
    assert_true(via_loops(&(struct http_fields){often, 1}));
}

static void test_hop_by_hop(void **state)
{
    struct http_field lines[] = {
        {BYTES("Connection"), BYTES("close, X-Named")}, {BYTES("connection"), BYTES("y")}};
    struct http_fields fields = {lines, 2};
    static const char *const ends[] = {"Connection", "X-named", "Y", "Keep-Alive", "TE", "Transfer-Encoding",
        "content-LENGTH", "Upgrade", "Host", "Expect", "Proxy-Authorization", "close", "HTTP2-Settings"};
    static const char *const passes[] = {
        "Cookie", "Authorization", "X-Other", "Content-Type", "Range", "X-Name"};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        assert_true(hop_by_hop(&fields, bytes_of_string(ends[i])));
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        assert_false(hop_by_hop(&fields, bytes_of_string(passes[i])));
    assert_true(hop_by_hop_trailer(BYTES("content-Length")));
    assert_true(hop_by_hop_trailer(BYTES("Authorization")));
    assert_false(hop_by_hop_trailer(BYTES("X-Checksum")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_too_small),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_via),
        cmocka_unit_test(test_hop_by_hop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
