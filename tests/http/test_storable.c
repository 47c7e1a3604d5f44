/* What may be stored: RFC 9111 3, 3.5, 5.2.2.3; RFC 9110 15.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/storable.h"

enum { AUTHORIZATION = 1, EXPIRES = 2, TTL = 4, HEURISTICS = 8, WRITES = 16 };

static const struct {
    unsigned status;
    const char *control;
    unsigned facts;
    enum storable verdict;
} rows[] = {
    {200, "max-age=5", 0, STORABLE},
    {200, "s-maxage=0", 0, STORABLE},
    {200, "", EXPIRES, STORABLE},
    {200, "", TTL, STORABLE},
    {200, "public", 0, STORABLE},
    {200, "", HEURISTICS, STORABLE},
    {200, "", 0, STORABLE_NOT_ALLOWED},
    {404, "", HEURISTICS, STORABLE},
    {301, "", HEURISTICS, STORABLE},
    {302, "", HEURISTICS, STORABLE_NOT_ALLOWED},
    {302, "max-age=5", 0, STORABLE},
    {500, "", HEURISTICS, STORABLE_NOT_ALLOWED},
    {500, "max-age=5", 0, STORABLE},
    {599, "max-age=5", 0, STORABLE},
    {599, "max-age=5, must-understand", 0, STORABLE_NOT_STATUS},
    {600, "max-age=5", 0, STORABLE_NOT_STATUS},
    {103, "max-age=5", 0, STORABLE_NOT_STATUS},
    {304, "max-age=5", 0, STORABLE_NOT_STATUS},
    {206, "max-age=5", 0, STORABLE},
    {200, "max-age=5", WRITES, STORABLE_NOT_METHOD},
    {200, "no-store, max-age=5", 0, STORABLE_NOT_NO_STORE},
    {200, "no-store, must-understand, max-age=5", 0, STORABLE},
    {599, "no-store, must-understand, max-age=5", 0, STORABLE_NOT_STATUS},
    {200, "private, max-age=5", 0, STORABLE_NOT_PRIVATE},
    {200, "private=\"x-a\", max-age=5", 0, STORABLE},
    {200, "no-cache", TTL, STORABLE},
    {200, "max-age=5", AUTHORIZATION, STORABLE_NOT_AUTHORIZED},
    {200, "max-age=5, public", AUTHORIZATION, STORABLE},
    {200, "max-age=5, must-revalidate", AUTHORIZATION, STORABLE},
    {200, "s-maxage=5", AUTHORIZATION, STORABLE},
    {200, "max-age=5, proxy-revalidate", AUTHORIZATION, STORABLE_NOT_AUTHORIZED},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cache_control control;
        cache_control_init(&control);
        cache_control_add(&control, bytes_of_string(rows[i].control));
        enum storable got = storable_judge(&(struct storable_input){
            .control = &control,
            .status = rows[i].status,
            .reads = !(rows[i].facts & WRITES),
            .authorization = rows[i].facts & AUTHORIZATION,
            .has_expires = rows[i].facts & EXPIRES,
            .has_ttl = rows[i].facts & TTL,
            .heuristics = rows[i].facts & HEURISTICS,
        });
        if (got != rows[i].verdict)
            fail_msg("row %zu: %u '%s': %d", i, rows[i].status, rows[i].control, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_judge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
