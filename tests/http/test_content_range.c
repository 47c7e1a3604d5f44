/* The Content-Range field, RFC 9110 14.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/content_range.h"

#define MAX "18446744073709551615"

static void test_round_trip(void **state)
{
    static const struct {
        const char *text;
        struct content_range range;
    } cases[] = {
        {"bytes 0-9/100", {true, 0, 9, true, 100}},
        {"bytes 0-0/1", {true, 0, 0, true, 1}},
        {"bytes 5-9/*", {true, 5, 9, false, 0}},
        {"bytes */100", {false, 0, 0, true, 100}},
        {"bytes */0", {false, 0, 0, true, 0}},
        {"bytes 0-18446744073709551614/" MAX, {true, 0, UINT64_MAX - 1, true, UINT64_MAX}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct content_range range;
        char text[CONTENT_RANGE_MAX];
        struct writer w = writer_of(text, sizeof text);
        assert_true(content_range_parse(bytes_of_string(cases[i].text), &range));
        assert_int_equal(range.has_range, cases[i].range.has_range);
        assert_true(range.first == cases[i].range.first && range.last == cases[i].range.last);
        assert_int_equal(range.has_length, cases[i].range.has_length);
        assert_true(range.length == cases[i].range.length);
        content_range_write(&w, &range);
        assert_false(w.failed);
        assert_true(bytes_equal(writer_bytes(&w), bytes_of_string(cases[i].text)));
    }
}

static void test_refuses(void **state)
{
    static const char *const cases[] = {"", "bytes", "bytes ", "bytes */*", "bytes 0-9", "bytes 9-0/100",
        "bytes 0-100/100", "bytes 0-9/", "bytes /100", "bytes -9/100", "bytes 0-/100", "bytes=0-9/100",
        "items 0-9/100", "bytes 0-9/100x", "bytes 0 -9/100", "bytes 0- 9/100", "bytes 0-9 /100",
        "bytes 0-9/ 100", "bytes  0-9/100", "bytes +0-9/100", "bytes 0-9/1" MAX, "bytes 0-1" MAX "/*",
        "bytes 0-" MAX "/*", "bytes *-*/100", "bytes 0-9/100/100"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct content_range range;
        if (content_range_parse(bytes_of_string(cases[i]), &range))
            fail_msg("'%s' was accepted", cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
