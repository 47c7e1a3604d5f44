/*
 * Purges, in the words of the configuration: buckets by their configured names, objects by their keys. What
 * they do is in cache/purges.h.
 *
 * A purge of a bucket or of everything concerns the S3 buckets behind the entries, not entries: two that
 * share one share its fate, and everything includes what entries that are gone have left.
 *
 * struct proxy_purge | its caller's, from proxy_purge() to done | the loop's that purges, which has joined
 * the cache
 */
#pragma once

#include "base/clock.h"
#include "proxy/find.h"

/* A purge that is not on disk by then is answered with E_TIMEOUT: it is in force, and may yet become durable.
 */
#define PURGE_DURABLE_NS (10 * NS_PER_S)

struct proxy_purge {
    /* What; valid until done. */
    struct bytes bucket, key; /* empty: everything; the whole bucket */
    struct bytes host, query; /* with a key: of which representation it is told what was stored (find.h) */
    struct bytes prefix, tag; /* without a key: of keys, in all configured buckets; of tags.h */
    bool soft;
    uint64_t durable_until_ns; /* 0: PURGE_DURABLE_NS from now */
    void (*done)(struct proxy_purge *purge);

    /* The answer: 0; -ENOMEM: it was not done, or not all of it; else why it is in force until the restart
     * only, as far as is known. */
    int result;
    uint64_t sequence;
    bool widened; /* older purges now hide more than was asked for */
    /* Of an object: what find.h found. Not told of a generic origin's path where the host was not said, and
     * where the disk kept it waiting. */
    bool is_told, was_stored;
    uint64_t stored_len;
    uint8_t etag[256];
    size_t etag_len; /* 0: none, or longer than that */
    struct vary_names vary;

    /* The call's own. */
    struct proxy *proxy;
    struct io_loop *loop;
    struct find find;
    struct durable *durable;
    size_t identity_len;
    uint8_t identity[ITEM_KEY_MAX];
};

/* 0: done will come. E_MISSING: no such bucket. E_TOO_LARGE: key, prefix or tag is too long. E_SYNTAX: the
 * tag can't be one; or find_start()'s. -ENOMEM: nothing was done. */
MUST_CHECK int proxy_purge(struct proxy *proxy, struct io_loop *loop, struct proxy_purge *purge);

/* The configured names behind an S3 bucket's own: from entry *next on the first that reads it, and *next set
 * behind it; NULL: none. Entries that share their objects with an earlier one are left out. */
const char *proxy_entry_of_s3_bucket(const struct proxy *proxy, struct bytes s3_bucket, unsigned *next);
