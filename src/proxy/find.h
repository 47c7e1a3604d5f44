/*
 * What is stored of an object, found for an operator: by the look-ups of a request, in memory or on disk,
 * without serving or changing it.
 *
 * It is found where caching is switched off, too: then no client gets it. Of an S3 bucket it is what lies
 * under the key without version id. Of a generic HTTP origin the key is the decoded path behind the bucket's
 * prefix, and other fields of a request may decide, too (locate_http.c, variant.h): found is what a client
 * would be given that sends Host and no other field, and spells the path as most do (bare.h). The host must
 * be said where the key has it. Which fields select between variants is told, so that nobody takes the others
 * for not stored.
 *
 * A disk that stalls is waited for as long as a request would (REQUEST_DISK_PATIENCE_NS), not longer: a purge
 * looks first, and must not wait for that.
 *
 * Rejected: any representation of the path, whatever it was asked with. No table lists them: a walk through
 * both tiers, or one more item for each object that is stored.
 *
 * struct find | its caller's, from find_start() to done | the loop's, which has joined the cache
 */
#pragma once

#include "proxy/variant.h"
#include "proxy/worker.h"

struct find {
    const struct bucket *bucket;
    struct bytes key, host, query; /* empty: not said; query: raw. Valid until done. */
    /* The head's item, which is the callee's; NULL: nothing is stored. Perhaps inside the call. */
    void (*done)(struct find *find, struct item *item);

    /* The answer. */
    bool unknown; /* the disk stalls, or has no room for one more read */
    enum cache_tier tier;
    const struct caching *caching; /* that holds for it */
    struct vary_names vary;        /* what selects between variants; empty: nothing */

    /* The call's own. */
    struct proxy *proxy;
    struct io_loop *loop;
    struct request *request; /* of a generic origin */
    struct cache_get get;
    struct io_op patience;
    bool looking; /* done of `get` comes */
    struct item *item;
    uint8_t identity[ITEM_KEY_MAX];
};

/* 0: done comes, or came. E_TOO_LARGE: key or query are too long. E_SYNTAX: path, host or query is malformed,
 * or an S3 bucket's, which has no such. E_REFUSED: the key has the host, and none is said, though all else is
 * well. -ENOMEM. */
MUST_CHECK int find_start(struct find *find, struct proxy *proxy, struct io_loop *loop);
