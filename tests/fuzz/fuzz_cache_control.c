/* Cache-Control, Expires and Age. The input's first line is Expires. */
#include "http/freshness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool in_bounds(int64_t seconds)
{
    return seconds == DELTA_SECONDS_NONE || (seconds >= 0 && seconds <= DELTA_SECONDS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    struct bytes expires = bytes_of(data, end ? (size_t)(end - data) : 0);
    struct cache_control control;
    rest = bytes_from(rest, end ? expires.len + 1 : 0);
    cache_control_init(&control);
    cache_control_add(&control, rest);
    CHECK(in_bounds(control.max_age_s) && in_bounds(control.s_maxage_s));
    CHECK(in_bounds(control.stale_while_revalidate_s) && in_bounds(control.stale_if_error_s));
    struct freshness_input input = {.control = &control,
        .expires = end ? expires : bytes_of(NULL, 0),
        .date_s = 784111777,
        .bucket_ttl_s = DELTA_SECONDS_NONE,
        .default_ttl_s = 9};
    struct freshness got = freshness_of(&input);
    CHECK(got.lifetime_s >= 0 && got.lifetime_s <= DELTA_SECONDS_MAX);
    CHECK(got.store == (!control.no_store && !control.is_private));
    /* Said twice is as said once. */
    struct cache_control twice = control;
    cache_control_add(&twice, rest);
    CHECK(twice.max_age_s == control.max_age_s && twice.no_store == control.no_store);
    CHECK(age_parse(rest) >= 0 && age_parse(rest) <= DELTA_SECONDS_MAX);
    return 0;
}
