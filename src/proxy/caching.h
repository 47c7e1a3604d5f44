/*
 * How a bucket caches: which of the standards' rules hold as they are, and what is configured beside them.
 * Part of the settings, immutable; every default is filled in by app/config.c, which gives an S3 bucket and a
 * generic HTTP origin different ones (docs/http-caching.md).
 *
 * Rules for patterns of keys are whole sets of their own, made from the bucket's and what the rule says; the
 * first whose pattern matches holds. What decides about a stored answer (times to live, windows of staleness)
 * is applied at each look-up, so that a changed configuration counts at once; what is ignored of an answer
 * and how Set-Cookie is treated count when it is stored.
 */
#pragma once

#include "http/cache_control.h"

/* In one list; and with what an S3 bucket remembers anyway, the bucket's list and a rule's. */
#define CACHING_STATUS_LIST_MAX 14
#define CACHING_STATUSES_MAX (2 + 2 * CACHING_STATUS_LIST_MAX)

enum caching_set_cookie {
    SET_COOKIE_STRIP, /* stored without it, and sent without it */
    SET_COOKIE_PASS,  /* an answer that has it is not stored */
    SET_COOKIE_STORE, /* a field like any other, as RFC 9111 7.3 has it */
};

/* Bits of `ignored`, in the order of the words of buckets[].cache.ignore. */
enum {
    CACHING_IGNORE_CACHE_CONTROL = 1,
    CACHING_IGNORE_EXPIRES = 2,
    CACHING_IGNORE_TARGETED = 4,
};

struct caching_status {
    uint16_t status;
    int64_t ttl_s; /* 0: not kept */
};

struct caching {
    bool enabled;            /* false: passes */
    bool generic;            /* of any HTTP server: what means something to S3 only is as any other field */
    int64_t ttl_s;           /* DELTA_SECONDS_NONE: none configured */
    bool ttl_overrides;      /* s-maxage, max-age and Expires too; else it fills in where they are silent */
    int64_t heuristic_max_s; /* longest time by heuristics (RFC 9111 4.2.2); 0: none are used */
    unsigned ignored;
    enum caching_set_cookie set_cookie;
    int64_t stale_while_revalidate_s, stale_if_error_s; /* where the answer names none; 0: none */
    bool honor_client;                                  /* Cache-Control of requests */
    struct caching_status statuses[CACHING_STATUSES_MAX];
    unsigned status_count;
};

struct caching_rule {
    const char *pattern; /* "*" stands for any bytes, "?" for one */
    struct caching caching;
};

/* Of a decoded key. Pure. */
bool caching_pattern_matches(const char *pattern, struct bytes key);
/* Time to live that is configured for a status other than 200; DELTA_SECONDS_NONE: none. */
int64_t caching_status_ttl(const struct caching *caching, unsigned status);
