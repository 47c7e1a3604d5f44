/* The Range field, RFC 9110 14.1.1, 14.1.2 and 14.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/range.h"

#define HUGE "99999999999999999999"

static const char *show(const struct range_list *list)
{
    static char text[4096];
    struct writer w = writer_of(text, sizeof text);
    for (unsigned i = 0; i < list->count; i++)
        write_format(&w, "%s%llu-%llu", i ? "," : "", (unsigned long long)list->ranges[i].first,
            (unsigned long long)list->ranges[i].last);
    write_u8(&w, 0);
    assert_false(w.failed);
    return text;
}

static const struct {
    const char *value;
    uint64_t length;
    enum range_verdict verdict;
    const char *ranges;
} cases[] = {
    {"bytes=0-9", 100, RANGE_OK, "0-9"},
    {"bytes=0-0", 1, RANGE_OK, "0-0"},
    {"bytes=99-99", 100, RANGE_OK, "99-99"},
    {"bytes=90-200", 100, RANGE_OK, "90-99"},
    {"bytes=50-", 100, RANGE_OK, "50-99"},
    {"bytes=-1", 100, RANGE_OK, "99-99"},
    {"bytes=-100", 100, RANGE_OK, "0-99"},
    {"bytes=-101", 100, RANGE_OK, "0-99"},
    {"bytes=-" HUGE, 100, RANGE_OK, "0-99"},
    {"bytes=1-" HUGE, 100, RANGE_OK, "1-99"},
    {"bytes=00-0009", 100, RANGE_OK, "0-9"},
    {"BYTES=0-9", 100, RANGE_OK, "0-9"},
    {" bytes=0-9 ", 100, RANGE_OK, "0-9"},
    {"bytes=0-0,-1", 100, RANGE_OK, "0-0,99-99"},
    {"bytes= 0-0 ,\t5-6 ", 100, RANGE_OK, "0-0,5-6"},
    {"bytes=,0-0,,5-6,", 100, RANGE_OK, "0-0,5-6"},
    {"bytes=50-60,0-5", 100, RANGE_OK, "50-60,0-5"},
    {"bytes=0-50,25-75", 100, RANGE_OK, "0-50,25-75"},
    {"bytes=0-,0-", 100, RANGE_OK, "0-99,0-99"},
    {"bytes=200-300,0-1", 100, RANGE_OK, "0-1"},
    {"bytes=18446744073709551615-", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=0-18446744073709551614", UINT64_MAX, RANGE_OK, "0-18446744073709551614"},
    /* unsatisfiable */
    {"bytes=100-", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=100-200", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=-0", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=" HUGE "-", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=" HUGE "-" HUGE, 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=100-,200-,-0", 100, RANGE_UNSATISFIABLE, ""},
    {"bytes=0-", 0, RANGE_UNSATISFIABLE, ""},
    {"bytes=0-0", 0, RANGE_UNSATISFIABLE, ""},
    {"bytes=-1", 0, RANGE_UNSATISFIABLE, ""},
    /* malformed or foreign: ignored */
    {"bytes=", 100, RANGE_NONE, ""},
    {"bytes=,", 100, RANGE_NONE, ""},
    {"bytes", 100, RANGE_NONE, ""},
    {"", 100, RANGE_NONE, ""},
    {"0-9", 100, RANGE_NONE, ""},
    {"bytes 0-9", 100, RANGE_NONE, ""},
    {"bytes =0-9", 100, RANGE_NONE, ""},
    {"items=0-9", 100, RANGE_NONE, ""},
    {"bytes=9-0", 100, RANGE_NONE, ""},
    {"bytes=-", 100, RANGE_NONE, ""},
    {"bytes=a-b", 100, RANGE_NONE, ""},
    {"bytes=0", 100, RANGE_NONE, ""},
    {"bytes=0-9-", 100, RANGE_NONE, ""},
    {"bytes=--9", 100, RANGE_NONE, ""},
    {"bytes=0 - 9", 100, RANGE_NONE, ""},
    {"bytes=+0-9", 100, RANGE_NONE, ""},
    {"bytes=0-9;10-19", 100, RANGE_NONE, ""},
    {"bytes=0-9,x", 100, RANGE_NONE, ""},
    {"bytes=0-9,9-0", 100, RANGE_NONE, ""},
    {"bytes=0x0-0x9", 100, RANGE_NONE, ""},
    {"bytes=0.0-9", 100, RANGE_NONE, ""},
    /* absurd: a byte asked for three times */
    {"bytes=0-,0-,0-", 100, RANGE_REFUSED, ""},
    {"bytes=0-10,5-15,10-20", 100, RANGE_REFUSED, ""},
    {"bytes=0-10,5-15,11-20", 100, RANGE_OK, "0-10,5-15,11-20"},
    {"bytes=0-10,-" HUGE ",5-5", 100, RANGE_REFUSED, ""},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct range_set set;
        struct range_list list = {0};
        enum range_verdict verdict = range_parse(bytes_of_string(cases[i].value), &set);
        if (verdict == RANGE_OK)
            verdict = range_resolve(&set, cases[i].length, &list);
        if (verdict != cases[i].verdict)
            fail_msg(
                "'%s' of %llu: verdict %d", cases[i].value, (unsigned long long)cases[i].length, verdict);
        if (verdict == RANGE_OK)
            assert_string_equal(show(&list), cases[i].ranges);
    }
}

/* `count` one-byte ranges, two bytes apart, then `tail`. */
static struct bytes many(char *text, size_t capacity, unsigned count, const char *tail)
{
    struct writer w = writer_of(text, capacity);
    write_bytes(&w, BYTES("bytes="));
    for (unsigned i = 0; i < count; i++)
        write_format(&w, "%u-%u,", 2 * i, 2 * i);
    write_bytes(&w, bytes_of_string(tail));
    assert_false(w.failed);
    return writer_bytes(&w);
}

static void test_bound(void **state)
{
    static char text[65536];
    struct range_set set;
    struct range_list list;
    (void)state;
    assert_int_equal(range_parse(many(text, sizeof text, RANGE_MAX, ""), &set), RANGE_OK);
    assert_int_equal(range_resolve(&set, 1000, &list), RANGE_OK);
    assert_int_equal(list.count, RANGE_MAX);
    assert_int_equal(list.ranges[RANGE_MAX - 1].first, 2 * (RANGE_MAX - 1));
    assert_int_equal(range_parse(many(text, sizeof text, RANGE_MAX + 1, ""), &set), RANGE_REFUSED);
    assert_int_equal(range_parse(many(text, sizeof text, 5000, ""), &set), RANGE_REFUSED);
    assert_int_equal(range_parse(many(text, sizeof text, 5000, "broken"), &set), RANGE_NONE);
}

/* The unresolved form goes to the origin and comes back the same. */
static void test_write(void **state)
{
    static const char *const values[] = {"bytes=0-9", "bytes=5-", "bytes=-7", "bytes=0-18446744073709551615"};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct range_set set;
        char text[64];
        struct writer w = writer_of(text, sizeof text);
        assert_int_equal(range_parse(bytes_of_string(values[i]), &set), RANGE_OK);
        assert_int_equal(set.count, 1);
        range_write(&w, &set.specs[0]);
        assert_true(bytes_equal(writer_bytes(&w), bytes_of_string(values[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
