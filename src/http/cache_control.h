/*
 * Cache-Control of an answer (RFC 9111 5.2.2, RFC 5861, RFC 8246), and the targeted fields that replace it
 * (RFC 9213).
 *
 * When in doubt the answer is less fresh: an argument that is missing, negative, fractional or not a number
 * counts as 0 seconds, and so do two different values of one directive (4.2.1 allows it). Arguments may be
 * tokens or quoted. A number that overflows is DELTA_SECONDS_MAX (1.2.2). Names are case-insensitive, unknown
 * directives are ignored. After a quote that never ends the rest is still searched.
 *
 * `no-cache` and `private` may name fields, which alone are meant then. Without names, or beside a bare
 * directive, or where the names are no list of tokens or more than fit, the whole answer is meant.
 *
 * A targeted field is a Dictionary (RFC 9651): a field that does not parse, or is empty, counts as absent. In
 * a valid one the same rules hold for arguments, but the last of a repeated directive counts, and numbers are
 * not quoted.
 */
#pragma once

#include "base/bytes.h"

#define DELTA_SECONDS_MAX INT64_C(2147483648)
#define DELTA_SECONDS_NONE INT64_C(-1)
#define CACHE_CONTROL_LISTS 4 /* arguments with field names, of each of the two directives */

/* Fields that a directive names: comma-separated, borrowed from the field lines. */
struct named_fields {
    struct bytes lists[CACHE_CONTROL_LISTS];
    unsigned count;
};

struct cache_control {
    bool no_store, no_cache, is_private, is_public;
    bool must_revalidate, proxy_revalidate, must_understand, immutable, no_transform;
    struct named_fields no_cache_fields, private_fields;
    /* Seconds, or DELTA_SECONDS_NONE where the directive is absent. */
    int64_t max_age_s, s_maxage_s, stale_while_revalidate_s, stale_if_error_s;
};

/* Nothing said. */
void cache_control_init(struct cache_control *control);
/* Adds one field line; call it for each line in order. */
void cache_control_add(struct cache_control *control, struct bytes value);
/* All lines of a targeted field, joined by ", ". False: the field counts as absent, and nothing has changed.
 */
MUST_CHECK bool cache_control_targeted(struct cache_control *control, struct bytes value);

/* Whether one of the lists has the name, ASCII case folded. */
bool named_fields_have(const struct named_fields *named, struct bytes name);

/* 1*DIGIT, overflow clamped; false where it is something else. Also for Age. */
MUST_CHECK bool delta_seconds_parse(struct bytes text, int64_t *seconds);
