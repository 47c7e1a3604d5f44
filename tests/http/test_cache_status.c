/* Cache-Status, RFC 9211, and X-Cache beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/cache_status.h"

static void test_table(void **state)
{
    static const struct {
        struct cache_status status;
        const char *text, *x_cache;
    } cases[] = {
        {{.fwd = CACHE_STATUS_HIT, .has_ttl = true, .ttl_s = 30, .detail = CACHE_STATUS_MEMORY},
            "Yatagarasu; hit; ttl=30; detail=memory", "HIT"},
        {{.fwd = CACHE_STATUS_HIT, .detail = CACHE_STATUS_DISK}, "Yatagarasu; hit; detail=disk", "HIT"},
        {{.fwd = CACHE_STATUS_HIT, .has_ttl = true, .ttl_s = -412}, "Yatagarasu; hit; ttl=-412", "HIT"},
        /* RFC 9211 2: fwd-status, stored and collapsed mean nothing on a hit */
        {{.fwd = CACHE_STATUS_HIT, .stored = true, .collapsed = true, .fwd_status = 200}, "Yatagarasu; hit",
            "HIT"},
        {{.fwd = CACHE_STATUS_MISS, .fwd_status = 200, .stored = true, .collapsed = true},
            "Yatagarasu; fwd=miss; fwd-status=200; stored; collapsed", "MISS"},
        {{.fwd = CACHE_STATUS_URI_MISS}, "Yatagarasu; fwd=uri-miss", "MISS"},
        {{.fwd = CACHE_STATUS_VARY_MISS, .collapsed = true}, "Yatagarasu; fwd=vary-miss; collapsed", "MISS"},
        {{.fwd = CACHE_STATUS_STALE, .fwd_status = 304}, "Yatagarasu; fwd=stale; fwd-status=304",
            "REVALIDATED"},
        {{.fwd = CACHE_STATUS_STALE, .fwd_status = 200, .stored = true},
            "Yatagarasu; fwd=stale; fwd-status=200; stored", "STALE"},
        {{.fwd = CACHE_STATUS_PARTIAL, .fwd_status = 206, .stored = true, .detail = CACHE_STATUS_MIXED},
            "Yatagarasu; fwd=partial; fwd-status=206; stored; detail=mixed", "PARTIAL"},
        {{.fwd = CACHE_STATUS_BYPASS}, "Yatagarasu; fwd=bypass", "BYPASS"},
        {{.fwd = CACHE_STATUS_METHOD}, "Yatagarasu; fwd=method", "BYPASS"},
        {{.fwd = CACHE_STATUS_REQUEST}, "Yatagarasu; fwd=request", "BYPASS"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[CACHE_STATUS_MAX];
        struct writer w = writer_of(text, sizeof text);
        cache_status_write(&cases[i].status, &w);
        struct bytes got = writer_bytes(&w), x_cache = cache_status_x_cache(&cases[i].status);
        if (w.failed || !bytes_equal(got, bytes_of_string(cases[i].text)))
            fail_msg("row %zu: %.*s", i, (int)got.len, (const char *)got.ptr);
        assert_true(bytes_equal(x_cache, bytes_of_string(cases[i].x_cache)));
    }
}

static void test_longest(void **state)
{
    struct cache_status status = {.fwd = CACHE_STATUS_VARY_MISS,
        .fwd_status = UINT32_MAX,
        .stored = true,
        .collapsed = true,
        .has_ttl = true,
        .ttl_s = INT64_MIN,
        .detail = CACHE_STATUS_MEMORY};
    char text[CACHE_STATUS_MAX];
    struct writer w = writer_of(text, sizeof text);
    (void)state;
    cache_status_write(&status, &w);
    assert_false(w.failed);
    assert_non_null(memmem(text, sizeof text, "ttl=-999999999999999;", 21));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
