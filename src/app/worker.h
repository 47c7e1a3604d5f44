/*
 * A worker: a thread with a loop, its connections and its fetches. It runs each request from start to end.
 *
 * Its life: running -> draining (accepts nothing, finishes what runs) -> stopped (fetches ended, cache left)
 * -> ended.
 *
 * struct app_worker | app_worker_start | boot | app_worker_wait's success and app_worker_destroy | functions:
 * any thread, but one at a time
 */
#pragma once

#include "app/loop_thread.h"
#include "proxy/proxy.h"

struct app_worker;

/* The bound on connections of one worker, so that all together keep server.max_connections. */
unsigned app_worker_connections(const struct settings *settings);

struct app_worker_parts {
    struct io *io;
    struct io_handle listener; /* shared by all workers */
    struct cache *cache;
    struct proxy *proxy;
    const struct settings *settings;
    unsigned number;
};

/* Serves when it returns 0. */
MUST_CHECK int app_worker_start(struct app_worker **worker, const struct app_worker_parts *parts);
/* Begins to drain. Once. */
void app_worker_drain(struct app_worker *worker);
/* After app_worker_drain: ends the connections that are left. Once. */
void app_worker_hurry(struct app_worker *worker);
MUST_CHECK bool app_worker_wait(struct app_worker *worker, uint64_t deadline_ns);
/* How many ops, sockets and buffers it left; after app_worker_wait. */
int app_worker_leaks(const struct app_worker *worker);
/* After app_worker_wait, and after the last app_worker_metrics. */
void app_worker_destroy(struct app_worker *worker);
struct metrics_worker app_worker_metrics(const struct app_worker *worker);
