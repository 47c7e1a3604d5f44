/* Preconditions, RFC 9110 13.1 and their order, 13.2.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/conditional.h"

#define STORED_TIME INT64_C(784111777)
#define AT "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define NOW INT64_C(1700000000)

enum { PROCEED = CONDITIONAL_PROCEED, SAME = CONDITIONAL_NOT_MODIFIED, FAILED = CONDITIONAL_FAILED };

static struct bytes field(const char *text)
{
    return text ? bytes_of_string(text) : bytes_of(NULL, 0);
}

static const struct validators stored = {.etag = {(const uint8_t *)"\"x\"", 3},
    .has_last_modified = true,
    .last_modified_s = STORED_TIME,
    .date_s = NOW};

struct row {
    const char *match, *none_match, *modified, *unmodified;
    int get, other;
};

static void test_order(void **state)
{
    static const struct row rows[] = {
        {NULL, NULL, NULL, NULL, PROCEED, PROCEED},
        /* 13.1.1 If-Match: strong comparison */
        {"\"x\"", NULL, NULL, NULL, PROCEED, PROCEED},
        {"\"y\"", NULL, NULL, NULL, FAILED, FAILED},
        {"W/\"x\"", NULL, NULL, NULL, FAILED, FAILED},
        {"*", NULL, NULL, NULL, PROCEED, PROCEED},
        {"", NULL, NULL, NULL, FAILED, FAILED},
        {"\"y\", \"x\"", NULL, NULL, NULL, PROCEED, PROCEED},
        /* 13.1.2 If-None-Match: weak comparison */
        {NULL, "\"x\"", NULL, NULL, SAME, FAILED},
        {NULL, "W/\"x\"", NULL, NULL, SAME, FAILED},
        {NULL, "\"y\"", NULL, NULL, PROCEED, PROCEED},
        {NULL, "*", NULL, NULL, SAME, FAILED},
        {NULL, "\"broken", NULL, NULL, PROCEED, PROCEED},
        /* 13.1.3 If-Modified-Since: reading methods only */
        {NULL, NULL, AT, NULL, SAME, PROCEED},
        {NULL, NULL, AFTER, NULL, SAME, PROCEED},
        {NULL, NULL, BEFORE, NULL, PROCEED, PROCEED},
        {NULL, NULL, "nonsense", NULL, PROCEED, PROCEED},
        {NULL, NULL, "Sunday, 06-Nov-94 08:49:37 GMT", NULL, SAME, PROCEED},
        {NULL, NULL, "Sun Nov  6 08:49:37 1994", NULL, SAME, PROCEED},
        /* 13.1.4 If-Unmodified-Since */
        {NULL, NULL, NULL, AT, PROCEED, PROCEED},
        {NULL, NULL, NULL, AFTER, PROCEED, PROCEED},
        {NULL, NULL, NULL, BEFORE, FAILED, FAILED},
        {NULL, NULL, NULL, "nonsense", PROCEED, PROCEED},
        /* 13.2.2: If-Match silences If-Unmodified-Since, If-None-Match silences If-Modified-Since */
        {"\"x\"", NULL, NULL, BEFORE, PROCEED, PROCEED},
        {"\"y\"", NULL, NULL, AFTER, FAILED, FAILED},
        {NULL, "\"y\"", AT, NULL, PROCEED, PROCEED},
        {NULL, "\"x\"", BEFORE, NULL, SAME, FAILED},
        {NULL, "\"broken", AT, NULL, PROCEED, PROCEED},
        /* 412 goes before 304 */
        {"\"y\"", "\"x\"", NULL, NULL, FAILED, FAILED},
        {"\"x\"", "\"x\"", NULL, NULL, SAME, FAILED},
        {NULL, "\"x\"", NULL, BEFORE, FAILED, FAILED},
        {NULL, NULL, AT, BEFORE, FAILED, FAILED},
        {NULL, NULL, AT, AT, SAME, PROCEED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct conditions conditions = {.if_match = field(row->match),
            .if_none_match = field(row->none_match),
            .if_modified_since = field(row->modified),
            .if_unmodified_since = field(row->unmodified)};
        int get = (int)conditional_evaluate(&conditions, &stored, CONDITIONAL_GET, false, NOW).verdict;
        int head = (int)conditional_evaluate(&conditions, &stored, CONDITIONAL_HEAD, true, NOW).verdict;
        int other = (int)conditional_evaluate(&conditions, &stored, CONDITIONAL_OTHER, false, NOW).verdict;
        if (get != row->get || head != row->get || other != row->other)
            fail_msg("row %zu: GET %d, HEAD %d, other %d", i, get, head, other);
        assert_int_equal(conditions_any(&conditions), i > 0);
    }
}

/* An object without a tag and without a modification date. */
static void test_no_validators(void **state)
{
    static const struct row rows[] = {
        {"*", NULL, NULL, NULL, PROCEED, PROCEED},
        {"\"x\"", NULL, NULL, NULL, FAILED, FAILED},
        {NULL, "*", NULL, NULL, SAME, FAILED},
        {NULL, "\"x\"", NULL, NULL, PROCEED, PROCEED},
        {NULL, NULL, AT, NULL, PROCEED, PROCEED},
        {NULL, NULL, NULL, AT, PROCEED, PROCEED},
    };
    static const struct validators none = {.date_s = NOW};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conditions conditions = {.if_match = field(rows[i].match),
            .if_none_match = field(rows[i].none_match),
            .if_modified_since = field(rows[i].modified),
            .if_unmodified_since = field(rows[i].unmodified)};
        assert_int_equal(
            conditional_evaluate(&conditions, &none, CONDITIONAL_GET, false, NOW).verdict, rows[i].get);
        assert_int_equal(
            conditional_evaluate(&conditions, &none, CONDITIONAL_OTHER, false, NOW).verdict, rows[i].other);
    }
}

static bool applies(const char *if_range, const struct validators *validators, enum conditional_method method)
{
    struct conditions conditions = {.if_range = field(if_range)};
    struct conditional result = conditional_evaluate(&conditions, validators, method, true, NOW);
    assert_int_equal(result.verdict, CONDITIONAL_PROCEED);
    return result.range_applies;
}

/* 13.1.5, 14.2 */
static void test_if_range(void **state)
{
    struct validators weak = stored, fresh = stored, no_date = stored;
    weak.etag = BYTES("W/\"x\"");
    fresh.date_s = STORED_TIME;
    no_date.has_last_modified = false;
    (void)state;
    assert_true(applies(NULL, &stored, CONDITIONAL_GET));
    assert_false(applies(NULL, &stored, CONDITIONAL_HEAD));
    assert_false(applies(NULL, &stored, CONDITIONAL_OTHER));
    assert_true(applies("\"x\"", &stored, CONDITIONAL_GET));
    assert_true(applies(" \"x\" ", &stored, CONDITIONAL_GET));
    assert_false(applies("\"y\"", &stored, CONDITIONAL_GET));
    assert_false(applies("W/\"x\"", &stored, CONDITIONAL_GET));
    assert_false(applies("\"x\"", &weak, CONDITIONAL_GET));
    assert_false(applies("W/\"x\"", &weak, CONDITIONAL_GET));
    assert_false(applies("\"x\", \"y\"", &stored, CONDITIONAL_GET));
    assert_true(applies(AT, &stored, CONDITIONAL_GET));
    assert_true(applies("Sunday, 06-Nov-94 08:49:37 GMT", &stored, CONDITIONAL_GET));
    assert_false(applies(AFTER, &stored, CONDITIONAL_GET));
    assert_false(applies(BEFORE, &stored, CONDITIONAL_GET));
    assert_false(applies("nonsense", &stored, CONDITIONAL_GET));
    assert_false(applies("", &stored, CONDITIONAL_GET));
    assert_false(applies(AT, &fresh, CONDITIONAL_GET)); /* 8.8.2.2: same second, not strong */
    assert_false(applies(AT, &no_date, CONDITIONAL_GET));
}

static void test_no_range_field(void **state)
{
    struct conditions conditions = {.if_range = BYTES("\"x\"")};
    (void)state;
    assert_false(conditional_evaluate(&conditions, &stored, CONDITIONAL_GET, false, NOW).range_applies);
    assert_true(conditions_any(&conditions));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_validators),
        cmocka_unit_test(test_if_range),
        cmocka_unit_test(test_no_range_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
