/* Vary: RFC 9110 12.5.5, RFC 9111 4.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/vary.h"

static void test_names(void **state)
{
    static const struct {
        const char *first, *second;
        enum vary_verdict verdict;
        const char *text;
    } rows[] = {
        {"", NULL, VARY_NONE, ""},
        {"Origin", NULL, VARY_NAMES, "origin"},
        {"Origin, accept-encoding", NULL, VARY_NAMES, "accept-encoding,origin"},
        {"b,a,c", "A, D", VARY_NAMES, "a,b,c,d"},
        {"aa,a", "aaa", VARY_NAMES, "a,aa,aaa"},
        {" , X-A ,,", NULL, VARY_NAMES, "x-a"},
        {"*", NULL, VARY_NEVER, NULL},
        {"a, *", NULL, VARY_NEVER, NULL},
        {"a b", NULL, VARY_NEVER, NULL},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", NULL, VARY_NAMES, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", NULL, VARY_NEVER, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vary_names names;
        vary_init(&names);
        enum vary_verdict verdict = vary_add(&names, bytes_of_string(rows[i].first));
        if (rows[i].second)
            verdict = vary_add(&names, bytes_of_string(rows[i].second));
        if (verdict != rows[i].verdict ||
            (rows[i].text && !bytes_equal(vary_text(&names), bytes_of_string(rows[i].text))))
            fail_msg("row %zu: %d '%.*s'", i, verdict, (int)names.len, names.text);
    }
}

static size_t values(const char *names, const struct http_fields *fields, uint8_t *text, size_t room)
{
    struct writer w = writer_of(text, room);
    vary_values(bytes_of_string(names), fields, &w);
    assert_false(w.failed);
    return writer_bytes(&w).len;
}

static bool agree(const char *names, const struct http_fields *a, const struct http_fields *b)
{
    uint8_t first[512], second[512];
    size_t first_len = values(names, a, first, sizeof first),
           second_len = values(names, b, second, sizeof second);
    return bytes_equal(bytes_of(first, first_len), bytes_of(second, second_len));
}

/* "Name: value" lines, separated by '\n'; the text stays. */
static struct http_fields fields_of(const char *text, struct http_field *lines)
{
    struct http_fields fields = {.fields = lines};
    while (*text) {
        size_t len = strcspn(text, "\n"), name_len = strcspn(text, ":");
        lines[fields.count++] = (struct http_field){
            bytes_of(text, name_len), bytes_trim(bytes_of(text + name_len + 1, len - name_len - 1))};
        text += len + (text[len] ? 1 : 0);
    }
    return fields;
}

static void test_values(void **state)
{
    static const struct {
        const char *names, *first, *second;
        bool same;
    } rows[] = {
        {"origin", "Origin: a", "ORIGIN: a", true},
        {"origin", "Origin: a", "Origin: A", false},
        {"origin", "Origin: a", "", false},
        {"origin", "Origin:", "", false},
        {"origin", "", "X: 1", true},
        {"a,b", "A: x", "B: x", false},
        {"a,b", "A: x,y\nB: z", "A: x\nB: y, z", false},
        {"a", "A: x\nA: y", "A: x,  y", true},
        {"a", "A: x,y", "A: y,x", false},
        {"a", "A: \"x,y\"", "A: \"x, y\"", false},
        {"accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: BR;q=0.5,gzip", true},
        {"accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip, gzip;q=1, br;q=0", true},
        {"accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0.01", true},
        {"accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0.000", false},
        {"accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip, identity;q=0", false},
        {"accept-encoding", "Accept-Encoding: *", "Accept-Encoding: *;q=0", false},
        {"accept-encoding", "Accept-Encoding:", "", false},
        {"accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding:", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_field a_lines[4], b_lines[4];
        struct http_fields a = fields_of(rows[i].first, a_lines), b = fields_of(rows[i].second, b_lines);
        if (agree(rows[i].names, &a, &b) != rows[i].same)
            fail_msg("row %zu: '%s' '%s'", i, rows[i].first, rows[i].second);
    }
}

static void test_too_long(void **state)
{
    struct http_field line = {BYTES("a"), BYTES("0123456789")};
    struct http_fields fields = {.fields = &line, .count = 1};
    uint8_t text[8];
    struct writer w = writer_of(text, sizeof text);
    (void)state;
    vary_values(BYTES("a"), &fields, &w);
    assert_true(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
