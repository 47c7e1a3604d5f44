/* Keys of generic HTTP origins: equivalent targets share one, others never do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/target.h"
#include "proxy/http_key.h"

static const char *const drop[] = {"utm_*", "session", "a b"};

struct row {
    const char *target, *key, *asked; /* asked NULL: the target itself */
    struct query_rules rules;
};

#define SORT                                                                                                 \
    {                                                                                                        \
        .sort = true                                                                                         \
    }
#define DROP                                                                                                 \
    {                                                                                                        \
        .drop = drop, .drop_count = 3                                                                        \
    }
#define BOTH                                                                                                 \
    {                                                                                                        \
        .sort = true, .drop = drop, .drop_count = 3                                                          \
    }

static const struct row rows[] = {
    {"/a/b", "/a/b", NULL, {0}},
    {"/", "/", NULL, {0}},
    {"/%7Ea/%41%2d%2E%5f", "/~a/A-._", NULL, {0}},
    {"/a%2fb", "/a%2Fb", NULL, {0}},
    {"/a%2Fb", "/a%2Fb", NULL, {0}},
    {"/a/b%20c%c3%a4", "/a/b%20c%C3%A4", NULL, {0}},
    {"/a//b/", "/a//b/", NULL, {0}},
    {"/A", "/A", NULL, {0}},
    {"/a+b", "/a+b", NULL, {0}},
    {"/a%2Bb", "/a%2Bb", NULL, {0}},
    {"/a%25%34%31", "/a%2541", NULL, {0}},
    {"/a?", "/a?", NULL, {0}},
    {"/a?b=1&a=2", "/a?b=1&a=2", NULL, {0}},
    {"/a?%62=%31", "/a?b=1", NULL, {0}},
    {"/a?b=%26", "/a?b=%26", NULL, {0}},
    {"/a?%zz%4", "/a?%zz%4", NULL, {0}},
    {"/a?%%34%31", "/a?%%34%31", NULL, {0}},
    {"/a?b=%31&a=%%34%31", "/a?b=%31&a=%%34%31", NULL, SORT},
    {"/a?&&b", "/a?&&b", NULL, {0}},
    {"/a?b=1&a=2", "/a?a=2&b=1", NULL, SORT},
    {"/a?b=2&a=1&b=1&a=0", "/a?a=1&a=0&b=2&b=1", NULL, SORT},
    {"/a?b&a&&c=", "/a?a&b&c=", NULL, SORT},
    {"/a?%62=1&%61=2", "/a?a=2&b=1", NULL, SORT},
    {"/a?ab=1&a=2", "/a?a=2&ab=1", NULL, SORT},
    {"/a?", "/a", NULL, SORT},
    {"/a?b=1&utm_source=x&utm_=y&c", "/a?b=1&c", "/a?b=1&c", DROP},
    {"/a?utm=1&session=2&Session=3", "/a?utm=1&Session=3", "/a?utm=1&Session=3", DROP},
    {"/a?s%65ssion=2", "/a", "/a", DROP},
    {"/a?session=2&session", "/a", "/a", DROP},
    {"/a?a%20b=2&x", "/a?x", "/a?x", DROP},
    {"/a?sessions=2&sess=1", "/a?sessions=2&sess=1", "/a?sessions=2&sess=1", DROP},
    {"/a?c=%31&utm_x&b=1", "/a?b=1&c=1", "/a?c=%31&b=1", BOTH},
};

static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[256], asked[256];
        struct target target;
        assert_int_equal(target_split(bytes_of_string(rows[i].target), &target), 0);
        struct writer w = writer_of(key, sizeof key), a = writer_of(asked, sizeof asked);
        http_key_write(target.path, target.query, &rows[i].rules, &w);
        http_key_write_target(target.path, target.query, &rows[i].rules, &a);
        const char *expected = rows[i].asked ? rows[i].asked : rows[i].target;
        if (!bytes_equal(writer_bytes(&w), bytes_of_string(rows[i].key)) ||
            !bytes_equal(writer_bytes(&a), bytes_of_string(expected)))
            fail_msg("%s: %.*s, asked %.*s", rows[i].target, (int)writer_bytes(&w).len, key,
                (int)writer_bytes(&a).len, asked);
    }
}

static void test_rest(void **state)
{
    static const struct {
        const char *path;
        size_t decoded;
        const char *rest;
    } cases[] = {{"/a/b", 2, "/b"}, {"/%61/b", 2, "/b"}, {"/a%2Fb", 2, "%2Fb"}, {"/a", 2, "/"},
        {"/a/", 2, "/"}, {"/a", 0, "/a"}, {"/", 0, "/"}, {"/%C3%A4/%41", 3, "/%41"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(bytes_equal(
            http_key_rest(bytes_of_string(cases[i].path), cases[i].decoded), bytes_of_string(cases[i].rest)));
}

/* More than are sorted: as received. */
static void test_many_parameters(void **state)
{
    static char query[3000], key[3000];
    (void)state;
    struct writer q = writer_of(query, sizeof query), w = writer_of(key, sizeof key);
    for (unsigned i = 0; i < 600; i++)
        write_format(&q, "%s%c%c", i ? "&" : "", 'z' - (int)(i % 26), 'a' + (int)(i % 7));
    struct query_rules rules = SORT;
    http_key_write(BYTES("/"), writer_bytes(&q), &rules, &w);
    assert_false(w.failed);
    assert_true(bytes_equal(bytes_from(writer_bytes(&w), 2), writer_bytes(&q)));
}

static void test_fields_of_the_key(void **state)
{
    static const char *const in[] = {"X-Forwarded-Host", "x_forwarded_host", "X-FORWARDED-PORT",
        "x-original-url", "X-Rewrite-URL", "X-HTTP-Method-Override", "x-http_method", "X-Host", "X-Scheme",
        "front_end_https"};
    static const char *const out[] = {"X-Forwarded-For", "x_forwarded_for", "X-Forwarded", "Host", "X-Hosts",
        "Cookie", "Accept", "X-Schema", "X", ""};
    (void)state;
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        assert_true(http_key_has_field(bytes_of_string(in[i])));
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        assert_false(http_key_has_field(bytes_of_string(out[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_many_parameters),
        cmocka_unit_test(test_fields_of_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
