/*
 * Prewarm jobs: objects are brought into the cache before anybody asks for them, named one by one or by a
 * prefix that the origin lists. Each goes the way of a request (warm.h), a few at a time and not more than so
 * many a second, so that clients hardly notice.
 *
 * A job ends done (whatever became of single objects), canceled, or failed: then its keys could not be listed
 * to the end. The last jobs that ended are remembered, up to PREWARM_JOBS in all; none outlives the process.
 *
 * What a job holds is bounded: the keys that it was given or one page of the origin's list, its concurrency's
 * requests, and the first failures.
 *
 * struct prewarm | prewarm_create | the loop's owner | prewarm_destroy, after stop's done | all functions:
 * the worker's loop; the counters in proxy_stats: any thread
 */
#pragma once

#include "proxy/proxy.h"

#define PREWARM_JOBS 32
#define PREWARM_RUNNING 4
#define PREWARM_CONCURRENCY_DEFAULT 4
#define PREWARM_CONCURRENCY_MAX 64
#define PREWARM_RATE_DEFAULT 100 /* objects a second */
#define PREWARM_RATE_MAX 100000
#define PREWARM_FAILURES 8
#define PREWARM_KEY_MAX 1024
#define PREWARM_HOST_MAX 256

struct prewarm;

struct prewarm_order {
    struct bytes bucket; /* the configured name */
    struct bytes keys;   /* NUL behind each; with key_count */
    unsigned key_count;
    bool listed; /* instead of keys: all that begin with prefix */
    struct bytes prefix;
    struct bytes host;          /* of a generic HTTP origin: that clients name; empty: not said */
    unsigned concurrency, rate; /* within their bounds */
};

enum prewarm_state { PREWARM_WORKING, PREWARM_CANCELING, PREWARM_DONE, PREWARM_CANCELED, PREWARM_FAILED };

struct prewarm_failure {
    unsigned status; /* that a client would have got; 0: the answer broke off */
    size_t key_len;
    uint8_t key[PREWARM_KEY_MAX];
};

/* What is told of a job. */
struct prewarm_job {
    uint64_t id;
    enum prewarm_state state;
    const char *bucket;
    bool listed;
    struct bytes prefix, host;
    unsigned concurrency, rate;
    uint64_t known;     /* keys so far */
    bool all_known;     /* that is all of them */
    unsigned under_way; /* objects */
    uint64_t fetched, stored, unstored, failed, fetched_bytes;
    uint64_t started_wall_ns, duration_ns;
    int error;                                         /* with PREWARM_FAILED: of base/error.h */
    const char *code;                                  /* and S3's code, or "" */
    struct prewarm_failure failures[PREWARM_FAILURES]; /* the first */
};

/* -ENOMEM. The log may be NULL. */
MUST_CHECK int prewarm_create(struct prewarm **prewarm, struct proxy_worker *worker, struct log *log);
/* Everything is copied. 0 with the new job; E_MISSING: no such bucket; E_UNSUPPORTED: a generic HTTP origin
 * has no list; E_REFUSED: its key has the host, and none is said; E_SYNTAX: the host is malformed, or an S3
 * bucket's, which has none; E_TOO_LARGE: the prefix is longer than a key; E_EXHAUSTED: as many jobs run as
 * may; E_CANCELED: all ends; -ENOMEM. */
MUST_CHECK int prewarm_start(
    struct prewarm *prewarm, const struct prewarm_order *order, const struct prewarm_job **job);
/* Of an id, or NULL; valid in this turn. */
const struct prewarm_job *prewarm_find(struct prewarm *prewarm, uint64_t id);
/* The newest (job NULL), or the next older one, or NULL. */
const struct prewarm_job *prewarm_next(struct prewarm *prewarm, const struct prewarm_job *job);
/* It begins nothing more, lets go of what is under way, and ends soon. No effect on one that has ended. */
void prewarm_cancel(struct prewarm *prewarm, const struct prewarm_job *job);
/* Takes no further jobs and cancels all. */
void prewarm_drain(struct prewarm *prewarm);
/* The same, then done, from the loop, once none runs. Once. */
void prewarm_stop(struct prewarm *prewarm, void (*done)(void *context), void *context);
void prewarm_destroy(struct prewarm *prewarm);
