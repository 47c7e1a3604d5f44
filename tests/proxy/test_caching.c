/* Patterns of keys, and times by status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/caching.h"

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *key;
        bool matches;
    } rows[] = {
        {"a", "a", true},
        {"a", "ab", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"*.css", "x/y.css", true},
        {"*.css", "x/y.css.map", false},
        {"static/*", "static/a/b", true},
        {"static/*", "static", false},
        {"a*b*c", "a--b-b--c", true},
        {"a*b*c", "a--b-b--", false},
        {"?", "x", true},
        {"?", "", false},
        {"a?c*", "abcdef", true},
        {"**a**", "bab", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (caching_pattern_matches(rows[i].pattern, bytes_of_string(rows[i].key)) != rows[i].matches)
            fail_msg("'%s' '%s'", rows[i].pattern, rows[i].key);
}

static void test_status(void **state)
{
    struct caching caching = {.statuses = {{404, 10}, {403, 0}}, .status_count = 2};
    (void)state;
    assert_int_equal(caching_status_ttl(&caching, 404), 10);
    assert_int_equal(caching_status_ttl(&caching, 403), 0);
    assert_int_equal(caching_status_ttl(&caching, 410), DELTA_SECONDS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
