/*
 * Cache-Control of an answer (RFC 9111 5.2.2, RFC 5861, RFC 8246).
 *
 * When in doubt the answer is less fresh: an argument that is missing, negative, fractional or not a number
 * counts as 0 seconds, and so do two different values of one directive (4.2.1 allows it). Arguments may be
 * tokens or quoted. A number that overflows is DELTA_SECONDS_MAX (1.2.2). `no-cache` and `private` with field
 * names count as without. Names are case-insensitive, unknown directives are ignored. After a quote that
 * never ends the rest is still searched.
 */
#pragma once

#include "base/bytes.h"

#define DELTA_SECONDS_MAX INT64_C(2147483648)
#define DELTA_SECONDS_NONE INT64_C(-1)

struct cache_control {
    bool no_store, no_cache, is_private, is_public;
    bool must_revalidate, proxy_revalidate, must_understand, immutable, no_transform;
    /* Seconds, or DELTA_SECONDS_NONE where the directive is absent. */
    int64_t max_age_s, s_maxage_s, stale_while_revalidate_s, stale_if_error_s;
};

/* Nothing said. */
void cache_control_init(struct cache_control *control);
/* Adds one field line; call it for each line in order. */
void cache_control_add(struct cache_control *control, struct bytes value);

/* 1*DIGIT, overflow clamped; false where it is something else. Also for Age. */
MUST_CHECK bool delta_seconds_parse(struct bytes text, int64_t *seconds);
