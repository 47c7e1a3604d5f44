#include "app/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct app_worker {
    struct loop_thread thread;
    struct app_worker_parts parts;
    char name[16];
    struct proxy_worker *proxy;
    struct http_server *server;
    struct io_message drain, hurry;
    bool drained;
};

static struct app_worker *app_worker_of(struct loop_thread *thread)
{
    return CONTAINER_OF(thread, struct app_worker, thread);
}

/* ---- the end, step by step ---- */

static void cache_left(void *context)
{
    struct app_worker *worker = context;
    loop_thread_finish(&worker->thread);
}

static void proxy_stopped(void *context)
{
    struct app_worker *worker = context;
    cache_leave(worker->parts.cache, worker->thread.loop, cache_left, worker);
}

static void server_drained(void *context)
{
    struct app_worker *worker = context;
    worker->drained = true;
    proxy_worker_stop(worker->proxy, proxy_stopped, worker);
}

static void deliver_drain(struct io_message *message)
{
    struct app_worker *worker = CONTAINER_OF(message, struct app_worker, drain);
    http_server_drain(worker->server, server_drained, worker);
}

static void deliver_hurry(struct io_message *message)
{
    struct app_worker *worker = CONTAINER_OF(message, struct app_worker, hurry);
    if (!worker->drained)
        http_server_stop(worker->server);
}

/* ---- the thread ---- */

unsigned app_worker_connections(const struct settings *settings)
{
    return (settings->server.max_connections + settings->server.threads - 1) / settings->server.threads;
}

static int app_worker_begin(struct loop_thread *thread)
{
    struct app_worker *worker = app_worker_of(thread);
    const struct settings *settings = worker->parts.settings;
    int result = cache_join(worker->parts.cache, thread->loop);
    if (result == 0)
        result = proxy_worker_create(&worker->proxy, worker->parts.proxy, thread->loop);
    if (result < 0)
        return result;
    struct http_server_config config = {
        .io = worker->parts.io,
        .loop = thread->loop,
        .listener = worker->parts.listener,
        .handler = *proxy_worker_handler(worker->proxy),
        .limits = {.max_target_bytes = settings->server.max_target_bytes,
            .max_header_bytes = settings->server.max_header_bytes,
            .max_body_bytes = settings->server.max_body_bytes},
        .max_connections = app_worker_connections(settings),
    };
    return http_server_create(&config, &worker->server);
}

static void app_worker_end(struct loop_thread *thread)
{
    struct app_worker *worker = app_worker_of(thread);
    CHECK(worker->drained);
    proxy_worker_destroy(worker->proxy);
    worker->proxy = NULL;
}

int app_worker_start(struct app_worker **worker_out, const struct app_worker_parts *parts)
{
    struct app_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    worker->parts = *parts;
    worker->drain.deliver = deliver_drain;
    worker->hurry.deliver = deliver_hurry;
    (void)snprintf(worker->name, sizeof worker->name, "worker-%u", parts->number);
    worker->thread.name = worker->name;
    worker->thread.io = parts->io;
    worker->thread.begin = app_worker_begin;
    worker->thread.end = app_worker_end;
    int result = loop_thread_start(&worker->thread);
    if (result < 0) {
        free(worker);
        return result;
    }
    *worker_out = worker;
    return 0;
}

void app_worker_drain(struct app_worker *worker)
{
    (void)loop_thread_post(&worker->thread, &worker->drain);
}

void app_worker_hurry(struct app_worker *worker)
{
    (void)loop_thread_post(&worker->thread, &worker->hurry);
}

bool app_worker_wait(struct app_worker *worker, uint64_t deadline_ns)
{
    return loop_thread_wait(&worker->thread, deadline_ns);
}

int app_worker_leaks(const struct app_worker *worker)
{
    return worker->thread.leaks;
}

/* Not before: the control thread reads the server's counters to its end. */
void app_worker_destroy(struct app_worker *worker)
{
    http_server_destroy(worker->server);
    free(worker);
}

struct metrics_worker app_worker_metrics(const struct app_worker *worker)
{
    return (struct metrics_worker){
        .server = http_server_stats(worker->server), .loop = &worker->thread.gauges};
}
