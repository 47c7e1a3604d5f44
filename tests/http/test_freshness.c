/* Lifetime and age: RFC 9111 4.2.1 and 4.2.3, and the project's order of times to live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/freshness.h"

#define DATE INT64_C(784111777)
#define NONE DELTA_SECONDS_NONE

static void test_order(void **state)
{
    static const char *const later = "Sun, 06 Nov 1994 08:50:37 GMT"; /* DATE + 60 */
    static const struct {
        const char *control, *expires;
        int64_t bucket, fallback;
        enum freshness_source source;
        bool store;
        int64_t lifetime;
    } cases[] = {
        {"no-store, s-maxage=5", "0", 7, 9, FRESHNESS_NO_STORE, false, 0},
        {"private, max-age=5", NULL, 7, 9, FRESHNESS_NO_STORE, false, 0},
        {"no-store, no-cache", NULL, 7, 9, FRESHNESS_NO_STORE, false, 0},
        {"no-cache, s-maxage=5", NULL, 7, 9, FRESHNESS_NO_CACHE, true, 0},
        {"max-age=5, s-maxage=6", NULL, 7, 9, FRESHNESS_S_MAXAGE, true, 6},
        {"s-maxage=0, max-age=5", NULL, 7, 9, FRESHNESS_S_MAXAGE, true, 0},
        {"max-age=5", later, 7, 9, FRESHNESS_MAX_AGE, true, 5},
        {"max-age=0", later, 7, 9, FRESHNESS_MAX_AGE, true, 0},
        {"max-age=junk", later, 7, 9, FRESHNESS_MAX_AGE, true, 0},
        {"public", later, 7, 9, FRESHNESS_EXPIRES, true, 60},
        {"", "Sunday, 06-Nov-94 08:50:37 GMT", 7, 9, FRESHNESS_EXPIRES, true, 60},
        {"", "Sun Nov  6 08:50:37 1994", 7, 9, FRESHNESS_EXPIRES, true, 60},
        {"", "0", 7, 9, FRESHNESS_EXPIRES, true, 0},
        {"", "", 7, 9, FRESHNESS_EXPIRES, true, 0},
        {"", "-1", 7, 9, FRESHNESS_EXPIRES, true, 0},
        {"", "Sun, 06 Nov 1994 08:49:36 GMT", 7, 9, FRESHNESS_EXPIRES, true, 0},
        {"", "Fri, 31 Dec 9999 23:59:59 GMT", 7, 9, FRESHNESS_EXPIRES, true, DELTA_SECONDS_MAX},
        {"", NULL, 7, 9, FRESHNESS_BUCKET, true, 7},
        {"", NULL, 0, 9, FRESHNESS_BUCKET, true, 0},
        {"", NULL, NONE, 9, FRESHNESS_DEFAULT, true, 9},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cache_control control;
        cache_control_init(&control);
        cache_control_add(&control, bytes_of_string(cases[i].control));
        struct freshness_input input = {.control = &control,
            .expires = cases[i].expires ? bytes_of_string(cases[i].expires) : bytes_of(NULL, 0),
            .date_s = DATE,
            .bucket_ttl_s = cases[i].bucket,
            .default_ttl_s = cases[i].fallback,
            .now_s = DATE};
        struct freshness got = freshness_of(&input);
        if (got.source != cases[i].source || got.store != cases[i].store ||
            got.lifetime_s != cases[i].lifetime)
            fail_msg(
                "row %zu: source %d, store %d, %lld s", i, got.source, got.store, (long long)got.lifetime_s);
    }
}

static void test_heuristic(void **state)
{
    static const struct {
        int64_t date, modified, max, lifetime;
    } rows[] = {
        {1000, 0, 86400, 100},
        {1000, 991, 86400, 0},
        {1000, 1000, 86400, 0},
        {1000, 2000, 86400, 0}, /* changed in the future */
        {DATE, 0, 86400, 86400},
        {DATE, 0, 0, 0},
        {INT64_MAX, INT64_MIN, INT64_MAX, DELTA_SECONDS_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(freshness_heuristic(rows[i].date, rows[i].modified, rows[i].max), rows[i].lifetime);
}

static void test_initial_age(void **state)
{
    static const struct {
        struct age_input input; /* Age, Date, requested, came */
        int64_t age;
    } cases[] = {
        {{0, 1000, 1000, 1000}, 0},
        {{0, 990, 1000, 1002}, 12},   /* apparent age */
        {{30, 1000, 1000, 1002}, 32}, /* Age and the delay of the answer */
        {{5, 900, 1000, 1000}, 100},  /* the greater */
        {{200, 900, 1000, 1000}, 200},
        {{0, 2000, 1000, 1000}, 0}, /* Date in the future */
        {{0, 1000, 1005, 1000}, 0}, /* clock went back */
        {{-7, 1000, 1000, 1000}, 0},
        {{DELTA_SECONDS_MAX, 0, 0, 5}, DELTA_SECONDS_MAX},
        {{0, INT64_MIN, 0, INT64_MAX}, DELTA_SECONDS_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(age_initial(&cases[i].input), cases[i].age);
}

static void test_current_age(void **state)
{
    (void)state;
    assert_int_equal(age_current(10, 1000, 1030), 40);
    assert_int_equal(age_current(10, 1000, 1000), 10);
    assert_int_equal(age_current(10, 1000, 900), 10);
    assert_int_equal(age_current(DELTA_SECONDS_MAX, 0, 100), DELTA_SECONDS_MAX);
    assert_int_equal(age_current(0, INT64_MIN, INT64_MAX), DELTA_SECONDS_MAX);
}

static void test_age_field(void **state)
{
    static const struct {
        const char *value;
        int64_t age;
    } cases[] = {{"0", 0}, {"17", 17}, {" 17 ", 17}, {"17, 99", 17}, {"", 0}, {"-1", 0}, {"1.5", 0}, {"x", 0},
        {"\"5\"", 0}, {"99999999999999999999", DELTA_SECONDS_MAX}, {",5", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(age_parse(bytes_of_string(cases[i].value)), cases[i].age);
    assert_int_equal(age_parse(bytes_of(NULL, 0)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_heuristic),
        cmocka_unit_test(test_initial_age),
        cmocka_unit_test(test_current_age),
        cmocka_unit_test(test_age_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
