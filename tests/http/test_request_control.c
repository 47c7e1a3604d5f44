/* Cache-Control of requests: RFC 9111 5.2.1, 5.4; RFC 8246 2.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/request_control.h"

#define NONE DELTA_SECONDS_NONE
#define MAX DELTA_SECONDS_MAX

enum { NO_CACHE = 1, NO_STORE = 2, ONLY = 4 };

static struct request_control parsed(const char *control, const char *pragma)
{
    struct http_field lines[2];
    struct http_fields fields = {.fields = lines};
    struct request_control got;
    if (control)
        lines[fields.count++] = (struct http_field){BYTES("Cache-Control"), bytes_of_string(control)};
    if (pragma)
        lines[fields.count++] = (struct http_field){BYTES("Pragma"), bytes_of_string(pragma)};
    request_control_of(&got, &fields);
    return got;
}

static void test_parse(void **state)
{
    static const struct {
        const char *control, *pragma;
        unsigned flags;
        int64_t max_age, min_fresh, max_stale;
    } rows[] = {
        {NULL, NULL, 0, NONE, NONE, NONE},
        {"no-cache, no-store", NULL, NO_CACHE | NO_STORE, NONE, NONE, NONE},
        {"Only-If-Cached", NULL, ONLY, NONE, NONE, NONE},
        {"max-age=5, min-fresh=\"6\", max-stale=7", NULL, 0, 5, 6, 7},
        {"max-stale", NULL, 0, NONE, NONE, MAX},
        {"max-stale, max-stale=3", NULL, 0, NONE, NONE, 3},
        {"max-age=9, max-age=4, min-fresh=2, min-fresh=3", NULL, 0, 4, 3, NONE},
        {"max-age=-1, max-stale=x, min-fresh=1.5", NULL, 0, 0, NONE, NONE},
        {"max-age", NULL, 0, 0, NONE, NONE},
        {"foo=\"no-cache, max-age=1\"", NULL, 0, NONE, NONE, NONE},
        {NULL, "no-cache", NO_CACHE, NONE, NONE, NONE},
        {NULL, "foo, No-Cache", NO_CACHE, NONE, NONE, NONE},
        {"max-age=3", "no-cache", 0, 3, NONE, NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request_control got = parsed(rows[i].control, rows[i].pragma);
        unsigned flags =
            (got.no_cache ? NO_CACHE : 0) | (got.no_store ? NO_STORE : 0) | (got.only_if_cached ? ONLY : 0);
        if (flags != rows[i].flags || got.max_age_s != rows[i].max_age ||
            got.min_fresh_s != rows[i].min_fresh || got.max_stale_s != rows[i].max_stale)
            fail_msg("row %zu: %x %lld %lld %lld", i, flags, (long long)got.max_age_s,
                (long long)got.min_fresh_s, (long long)got.max_stale_s);
    }
}

static void test_accepts(void **state)
{
    static const struct {
        const char *control;
        int64_t age, fresh_for;
        bool immutable, stale_allowed, accepted;
    } rows[] = {
        {"", 5, 1, false, true, true},
        {"", 5, 0, false, true, false},
        {"no-cache", 5, 100, true, true, false},
        {"max-age=5", 5, 100, false, true, true},
        {"max-age=4", 5, 100, false, true, false},
        {"max-age=0", 0, 100, false, true, false},
        {"max-age=0", 5, 100, true, true, true},
        {"max-age=0", 5, -1, true, true, false},
        {"max-age=4", 5, 100, true, true, false},
        {"min-fresh=10", 5, 10, false, true, true},
        {"min-fresh=10", 5, 9, false, true, false},
        {"max-stale", 5, -1000, false, true, true},
        {"max-stale=10", 5, -10, false, true, true},
        {"max-stale=10", 5, -11, false, true, false},
        {"max-stale=10", 5, -1, false, false, false},
        {"max-stale=10, max-age=4", 5, -1, false, true, false},
        {"max-stale=10, min-fresh=1", 5, -1, false, true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request_control control = parsed(rows[i].control, NULL);
        struct request_control_facts facts = {
            rows[i].age, rows[i].fresh_for, rows[i].immutable, rows[i].stale_allowed};
        if (request_control_accepts(&control, &facts) != rows[i].accepted)
            fail_msg("row %zu: '%s'", i, rows[i].control);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
