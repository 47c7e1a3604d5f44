/* The process's and the worker's part of the request path. See proxy.h. */
#pragma once

#include "proxy/flight.h"
#include "proxy/marks.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

struct bucket {
    const struct bucket_settings *settings;
    struct origin *origin;
    struct bucket_stats stats;
};

struct proxy {
    struct proxy_parts parts;
    const struct settings *settings;
    struct cache *cache;
    struct flights *flights;
    struct marks *marks;
    struct route_table *routes;
    struct bucket *buckets;
    unsigned bucket_count, http_bucket_count;
    struct proxy_stats stats;
    uint64_t instance; /* random: makes request ids unique across restarts */
    _Atomic uint64_t next_request;
};

struct proxy_worker {
    struct proxy *proxy;
    struct io_loop *loop;
    struct origin_client *origins;
    struct exchange_handler handler;
    struct list_node flights; /* that it leads */
    bool stopping;
    void (*stopped)(void *context);
    void *stopped_context;
};

/* look.c: the entry of a configured name, or NULL. */
const struct bucket *proxy_bucket_named(const struct proxy *proxy, struct bytes name);

/* proxy.c: a flight of this worker has ended. */
void proxy_worker_flight_ended(struct proxy_worker *worker);
