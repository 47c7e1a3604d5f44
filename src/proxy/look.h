/*
 * What is stored of an object, in the words of an operator: what find.h finds, its freshness and its chunks.
 *
 * struct proxy_look | its caller's, from proxy_look() to done | the loop's, which has joined the cache
 */
#pragma once

#include "proxy/find.h"

#define PROXY_LOOK_CHUNKS_MAX 100000 /* that are counted */

struct proxy_look {
    struct bytes bucket;           /* the configured name */
    struct bytes key, host, query; /* find.h. Valid until done. */
    void (*done)(struct proxy_look *look);

    /* The answer. */
    bool unknown; /* find.h */
    bool was_stored;
    enum cache_tier tier; /* of the head */
    unsigned status;
    bool fresh; /* the next request gets it; not where caching is switched off */
    bool softly_purged;
    int64_t age_s, fresh_for_s;             /* negative: stale by that much */
    uint64_t length, chunks, chunks_stored; /* both 0: the body lies in the head */
    size_t etag_len, tags_len;              /* 0: none, or longer than the room */
    uint8_t etag[256], tags[1024];
    struct vary_names vary; /* whether anything was stored, or not */

    /* The call's own. */
    struct proxy *proxy;
    struct io_loop *loop;
    struct find find;
};

/* 0: done comes, or came. E_MISSING: no such bucket. Else find_start()'s. */
MUST_CHECK int proxy_look(struct proxy *proxy, struct io_loop *loop, struct proxy_look *look);
