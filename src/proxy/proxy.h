/*
 * The path of a request, as a list of steps, one file each:
 *
 *   admit.c    method, limits                                  -> 405, 503
 *   route.c    host and path to bucket and key                 -> 400, 404
 *   lookup.c   the head: memory, then disk; freshness; conditionals answered here -> 304, 412, 416
 *   fetch.c    what is missing: join or lead a flight (flight.h)
 *   fill.c     the origin's answer to head and chunks, to memory and disk, waking waiters
 *   deliver.c  chunks to the exchange, with back-pressure, while fill may still run
 *   pass.c     instead of lookup to deliver: what only passes to a generic HTTP origin, with its body
 *   invalidate.c  what an answer to an unsafe method makes outdated
 *   finish.c   release, count, one log line
 *
 * Between them: watch.c, the deadline of whatever a request waits for.
 *
 * struct proxy        | proxy_create        | process | proxy_destroy, after all workers | any
 * struct proxy_worker | proxy_worker_create | worker  | proxy_worker_destroy             | its loop's
 * struct request (request.h) lives in the memory that the exchange gives; flights are shared and counted
 * (flight.h).
 */
#pragma once

#include "cache/cache.h"
#include "http/exchange.h"
#include "proxy/settings.h"
#include "proxy/stats.h"

struct proxy;
struct proxy_worker;

struct proxy_parts {
    const struct settings *settings;
    struct io *io;
    struct cache *cache; /* always there; with the cache switched off its memory tier is only a buffer */
    struct log *error_log;
    struct log *access_log; /* or NULL: off */
};

/* Makes routes and origins. E_SYNTAX with *why for settings that contradict each other. Everything in `parts`
 * outlives the proxy. */
MUST_CHECK int proxy_create(struct proxy **proxy, const struct proxy_parts *parts, const char **why);
void proxy_destroy(struct proxy *proxy);

const struct proxy_stats *proxy_stats(const struct proxy *proxy);
unsigned proxy_bucket_count(const struct proxy *proxy);
const char *proxy_bucket_name(const struct proxy *proxy, unsigned bucket);
const struct bucket_stats *proxy_bucket_stats(const struct proxy *proxy, unsigned bucket);
const struct origin *proxy_bucket_origin(const struct proxy *proxy, unsigned bucket);

/* On the worker's thread. Its handler goes into an http_server made by the caller. */
MUST_CHECK int proxy_worker_create(struct proxy_worker **worker, struct proxy *proxy, struct io_loop *loop);
const struct exchange_handler *proxy_worker_handler(struct proxy_worker *worker);
/* After the worker's server has drained. Flights that other workers' requests wait for are brought to their
 * end, the others are dropped; then origin connections end, and done comes on the loop. */
void proxy_worker_stop(struct proxy_worker *worker, void (*done)(void *context), void *context);
void proxy_worker_destroy(struct proxy_worker *worker);
