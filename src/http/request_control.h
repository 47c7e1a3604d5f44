/*
 * Cache-Control of a request (RFC 9111 5.2.1), and Pragma where there is none (5.4).
 *
 * When in doubt the client gets something fresher: an argument that is no number makes max-age 0 and counts
 * for nothing in max-stale and min-fresh; of two different values the stricter holds. Pure.
 */
#pragma once

#include "http/cache_control.h"
#include "http/fields.h"

struct request_control {
    bool no_cache, no_store, only_if_cached;
    /* Seconds, or DELTA_SECONDS_NONE where absent. max-stale without a number is DELTA_SECONDS_MAX. */
    int64_t max_age_s, min_fresh_s, max_stale_s;
};

void request_control_of(struct request_control *control, const struct http_fields *fields);

/* Whether an answer of that age and remaining time (negative: stale) will do for the client. An answer that
 * is `immutable` and fresh will do for max-age=0, which is what browsers send to reload (RFC 8246 2.1).
 * `stale_allowed`: no directive of the answer forbids to use it stale. */
struct request_control_facts {
    int64_t age_s, fresh_for_s;
    bool immutable, stale_allowed;
};
bool request_control_accepts(
    const struct request_control *control, const struct request_control_facts *facts);
