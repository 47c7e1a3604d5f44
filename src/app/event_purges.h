/*
 * The purges that a message of S3 events asks for: of each event's object in every configured entry that
 * reads the S3 bucket, a few at a time, as one batch that is durable when it is done.
 *
 * struct event_purges | its caller's, from start to done | the loop's that purges, which has joined the cache
 */
#pragma once

#include "app/event_stats.h"
#include "app/s3_event.h"
#include "base/log.h"
#include "proxy/purge.h"

#define EVENT_PURGES_AT_ONCE 8

struct event_purge {
    struct proxy_purge purge;
    struct event_purges *batch;
    unsigned event;
    bool running;
};

struct event_purges {
    struct proxy *proxy;
    struct io_loop *loop;
    struct log *log;
    struct event_stats *stats;
    const struct s3_events *events;
    void (*done)(struct event_purges *purges);
    void *context;

    /* The answer: 0, or why some are in force until the restart only. */
    int result;
    unsigned purged;  /* objects: one for each event and entry */
    unsigned unknown; /* events of buckets that no entry reads */

    /* The call's own. */
    unsigned at, next_entry, running;
    uint64_t durable_until_ns;
    bool entered;
    struct event_purge slots[EVENT_PURGES_AT_ONCE];
};

/* done comes once, perhaps inside the call. */
void event_purges_start(struct event_purges *purges);
