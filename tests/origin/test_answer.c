/* What an origin of our own answers: preconditions before ranges, tags weak and strong, dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "base/error.h"
#include "origin/answer.h"

static void test_decide(void **state)
{
    static const struct {
        const char *if_match, *if_none_match;
        bool ranged;
        uint64_t first, last, total;
        int error;
        unsigned status;
        uint64_t want_first, want_last, want_length;
    } rows[] = {
        {"", "", false, 0, 0, 100, 0, 200, 0, 0, 100},
        {"", "", false, 0, 0, 0, 0, 200, 0, 0, 0},
        {"", "", true, 0, 0, 100, 0, 206, 0, 0, 1},
        {"", "", true, 10, 19, 100, 0, 206, 10, 19, 10},
        {"", "", true, 90, 200, 100, 0, 206, 90, 99, 10},
        {"", "", true, 90, ORIGIN_TO_END, 100, 0, 206, 90, 99, 10},
        {"", "", true, 99, 99, 100, 0, 206, 99, 99, 1},
        {"", "", true, 100, 100, 100, -ERANGE, 0, 0, 0, 0},
        {"", "", true, 0, ORIGIN_TO_END, 0, -ERANGE, 0, 0, 0, 0},
        {"", "", true, 5, 4, 100, -ERANGE, 0, 0, 0, 0},
        {"\"a\"", "", true, 10, 19, 100, 0, 206, 10, 19, 10},
        {"\"b\"", "", true, 10, 19, 100, E_CHANGED, 0, 0, 0, 0},
        {"\"b\"", "", true, 100, 190, 100, E_CHANGED, 0, 0, 0, 0},
        {"", "\"a\"", true, 100, 190, 100, 0, 304, 0, 0, UINT64_MAX},
        {"", "\"b\"", false, 0, 0, 100, 0, 200, 0, 0, 100},
        {"\"b\"", "\"a\"", false, 0, 0, 100, E_CHANGED, 0, 0, 0, 0},
        {"", "*", false, 0, 0, 100, 0, 304, 0, 0, UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin_head head;
        struct origin_request request = {.ranged = rows[i].ranged,
            .first = rows[i].first,
            .last = rows[i].last,
            .if_match = bytes_of_string(rows[i].if_match),
            .if_none_match = bytes_of_string(rows[i].if_none_match)};
        assert_int_equal(answer_decide(&request, BYTES("\"a\""), rows[i].total, &head), rows[i].error);
        if (rows[i].error != 0)
            continue;
        assert_int_equal(head.status, rows[i].status);
        assert_true(head.content_length == rows[i].want_length);
        assert_int_equal(head.total, rows[i].total);
        if (head.status == 206) {
            assert_int_equal(head.first, rows[i].want_first);
            assert_int_equal(head.last, rows[i].want_last);
        }
    }
}

static void test_tags(void **state)
{
    static const struct {
        const char *list, *tag;
        bool strong, weak;
    } rows[] = {
        {"\"a\"", "\"a\"", true, true},
        {"W/\"a\"", "\"a\"", false, true},
        {"\"a\"", "W/\"a\"", false, true},
        {"W/\"a\"", "W/\"a\"", false, true},
        {"\"x\", \"a\"", "\"a\"", true, true},
        {"\"x\" ,\t\"a\" , \"y\"", "\"a\"", true, true},
        {"\"x,\"a\"", "\"a\"", false, false},
        {"\"a,b\"", "\"a,b\"", true, true},
        {"*", "\"a\"", true, true},
        {"*", "W/\"a\"", true, true},
        {"\"*\"", "\"a\"", false, false},
        {"a", "a", true, true}, /* unquoted, as some servers have it */
        {"", "\"a\"", false, false},
        {",,", "\"a\"", false, false},
        {"\"a\"", "", false, false},
        {"\"A\"", "\"a\"", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes list = bytes_of_string(rows[i].list), tag = bytes_of_string(rows[i].tag);
        if (answer_tags_match(list, tag, true) != rows[i].strong ||
            answer_tags_match(list, tag, false) != rows[i].weak)
            fail_msg("%s against %s", rows[i].list, rows[i].tag);
    }
}

static void test_date(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[64] = "";
        struct writer w = writer_of(text, sizeof text);
        answer_write_date(rows[i].seconds, &w);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(writer_bytes(&w).len, 29);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
