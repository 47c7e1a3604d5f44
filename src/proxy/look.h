/*
 * What is stored of an object, for an operator: looked up as a request would, from memory or disk, without
 * serving it.
 *
 * struct proxy_look | its caller's, from proxy_look() to done | the loop's, which has joined the cache
 */
#pragma once

#include "proxy/identity.h"
#include "proxy/proxy.h"

#define PROXY_LOOK_CHUNKS_MAX 100000 /* that are counted */

struct proxy_look {
    struct bytes bucket, key; /* the configured name; decoded. Valid until done. */
    void (*done)(struct proxy_look *look);

    /* The answer, of what lies under the key without version id. */
    bool was_stored;
    enum cache_tier tier; /* of the head */
    unsigned status;
    bool fresh, softly_purged;
    int64_t age_s, fresh_for_s;             /* negative: stale by that much */
    uint64_t length, chunks, chunks_stored; /* both 0: the body lies in the head */
    size_t etag_len, tags_len;              /* 0: none, or longer than the room */
    uint8_t etag[256], tags[1024];

    /* The call's own. */
    struct proxy *proxy;
    struct io_loop *loop;
    const struct bucket *entry;
    struct cache_get get;
    size_t identity_len;
    uint8_t identity[ITEM_KEY_MAX];
};

/* 0: done will come. E_MISSING: no such bucket. E_TOO_LARGE: the key is too long. E_UNSUPPORTED: of a generic
 * origin, where a path alone names nothing that is stored (locate_http.c). */
MUST_CHECK int proxy_look(struct proxy *proxy, struct io_loop *loop, struct proxy_look *look);
