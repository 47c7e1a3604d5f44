/*
 * Cache-Status (RFC 9211) and X-Cache of one answer: `Yatagarasu; hit; ttl=30; detail=memory`,
 * `Yatagarasu; fwd=miss; fwd-status=200; stored; collapsed`. It tells the truth also for partly cached
 * answers, which are `fwd=partial`, not hits. Pure.
 */
#pragma once

#include "base/bytes.h"

/* Longest text that cache_status_write produces. */
#define CACHE_STATUS_MAX 160

enum cache_status_fwd {
    CACHE_STATUS_HIT,      /* not forwarded */
    CACHE_STATUS_BYPASS,   /* configured not to be handled */
    CACHE_STATUS_METHOD,   /* the method's semantics require it */
    CACHE_STATUS_URI_MISS, /* nothing stored for the key */
    CACHE_STATUS_VARY_MISS,
    CACHE_STATUS_MISS, /* nothing stored, for any other or an unknown reason */
    CACHE_STATUS_REQUEST,
    CACHE_STATUS_STALE,   /* stored, but had to be revalidated */
    CACHE_STATUS_PARTIAL, /* some of the bytes were stored */
};

enum cache_status_detail {
    CACHE_STATUS_NO_DETAIL,
    CACHE_STATUS_MEMORY,
    CACHE_STATUS_DISK,
    CACHE_STATUS_MIXED, /* memory and disk */
};

struct cache_status {
    enum cache_status_fwd fwd;
    unsigned fwd_status; /* the origin's status; 0: none told */
    bool stored, collapsed, has_ttl;
    int64_t ttl_s; /* what is left; negative when stale */
    enum cache_status_detail detail;
};

void cache_status_write(const struct cache_status *status, struct writer *w);

/* HIT, MISS, PARTIAL, REVALIDATED (stale, origin said 304), STALE (stale, replaced) or BYPASS. */
struct bytes cache_status_x_cache(const struct cache_status *status);
