/*
 * How long an answer may be used without asking, and how old it is (RFC 9111 4.2). Pure; all times are
 * arguments: seconds since 1970 UTC, or seconds.
 *
 * The first that speaks gives the time to live: no-store and private (not stored), no-cache (stored,
 * revalidated each time), s-maxage, max-age, Expires, the bucket's time, the default. A configured time fills
 * in, it does not override.
 */
#pragma once

#include "base/bytes.h"
#include "http/cache_control.h"

enum freshness_source {
    FRESHNESS_NO_STORE,
    FRESHNESS_NO_CACHE,
    FRESHNESS_S_MAXAGE,
    FRESHNESS_MAX_AGE,
    FRESHNESS_EXPIRES,
    FRESHNESS_BUCKET,
    FRESHNESS_DEFAULT,
};

struct freshness_input {
    const struct cache_control *control;
    struct bytes expires; /* value of Expires, ptr NULL where absent; malformed ("0") means expired */
    int64_t date_s;       /* of the answer's Date; where it has none, when it was received */
    int64_t bucket_ttl_s; /* DELTA_SECONDS_NONE where the bucket sets none */
    int64_t default_ttl_s;
    int64_t now_s; /* for two-digit years */
};

struct freshness {
    enum freshness_source source;
    bool store;
    int64_t lifetime_s; /* fresh while age < lifetime; 0: revalidated each time */
};

struct freshness freshness_of(const struct freshness_input *input);

/* RFC 9111 4.2.2: a tenth of the time since the last change, at most `max_s`; 0 where that is in the future.
 * For answers that state no time and whose status allows it (storable.h). */
int64_t freshness_heuristic(int64_t date_s, int64_t last_modified_s, int64_t max_s);

/* RFC 9111 4.2.3. */
struct age_input {
    int64_t age_value_s; /* of the Age field, 0 where absent or malformed */
    int64_t date_s;      /* of the Date field; request or response time where absent */
    int64_t request_time_s, response_time_s;
};

/* corrected_initial_age: how old the answer was when it came. Never negative, at most DELTA_SECONDS_MAX. */
int64_t age_initial(const struct age_input *input);
/* current_age; a clock that went back adds nothing. */
int64_t age_current(int64_t initial_age_s, int64_t response_time_s, int64_t now_s);
/* Value of Age: its first member; 0 where malformed. */
int64_t age_parse(struct bytes value);
