#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"
#include "proxy/flight_private.h"
#include "proxy/request.h"

#define ARENA_HEAP_MAX (1u << 20)
#define MARKS_BYTES_MAX (16u << 20)

/* ---- the process's part ---- */

static const struct purge_view cache_keys = {
    .object_len = identity_object_len, .bucket_len = identity_bucket_len, .has_tag = head_item_has_tag};

static int make_bucket(struct proxy *proxy, unsigned i, const char **why)
{
    const struct bucket_settings *settings = &proxy->settings->buckets[i];
    struct bucket *bucket = &proxy->buckets[i];
    bucket->settings = settings;
    proxy->http_bucket_count += settings->http.on;
    return origin_create(&bucket->origin, &settings->origin, why);
}

static int make_routes(struct proxy *proxy)
{
    struct bytes *prefixes = calloc(proxy->bucket_count, sizeof *prefixes);
    if (!prefixes)
        return -ENOMEM;
    for (unsigned i = 0; i < proxy->bucket_count; i++)
        prefixes[i] = bytes_of_string(proxy->settings->buckets[i].path_prefix);
    proxy->routes = route_table_create(prefixes, proxy->bucket_count);
    free(prefixes);
    return proxy->routes ? 0 : -ENOMEM;
}

/* A hundredth of the memory tier's budget. */
static uint64_t marks_bytes(uint64_t budget_bytes)
{
    return budget_bytes / 100 < MARKS_BYTES_MAX ? budget_bytes / 100 : MARKS_BYTES_MAX;
}

int proxy_create(struct proxy **proxy, const struct proxy_parts *parts, const char **why)
{
    *why = "out of memory";
    struct proxy *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->parts = *parts;
    made->settings = parts->settings;
    made->cache = parts->cache;
    cache_view(made->cache, &cache_keys);
    made->bucket_count = parts->settings->bucket_count;
    made->buckets = calloc(made->bucket_count, sizeof *made->buckets);
    random_os(&made->instance, sizeof made->instance);
    struct memory_stats memory;
    memory_stats(cache_memory(parts->cache), &memory);
    int result = made->buckets ? make_routes(made) : -ENOMEM;
    if (result == 0)
        result = flights_create(&made->flights, parts->cache, &made->stats, memory.budget_bytes / 4);
    if (result == 0)
        result = marks_create(&made->marks, marks_bytes(memory.budget_bytes));
    for (unsigned i = 0; i < made->bucket_count && result == 0; i++)
        result = make_bucket(made, i, why);
    if (result < 0) {
        proxy_destroy(made);
        return result;
    }
    *proxy = made;
    return 0;
}

void proxy_destroy(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->bucket_count && proxy->buckets; i++)
        if (proxy->buckets[i].origin)
            origin_destroy(proxy->buckets[i].origin);
    if (proxy->flights)
        flights_destroy(proxy->flights);
    if (proxy->marks)
        marks_destroy(proxy->marks);
    if (proxy->routes)
        route_table_destroy(proxy->routes);
    free(proxy->buckets);
    free(proxy);
}

const struct proxy_stats *proxy_stats(const struct proxy *proxy)
{
    return &proxy->stats;
}

unsigned proxy_bucket_count(const struct proxy *proxy)
{
    return proxy->bucket_count;
}

const char *proxy_bucket_name(const struct proxy *proxy, unsigned bucket)
{
    CHECK(bucket < proxy->bucket_count);
    return proxy->buckets[bucket].settings->name;
}

const struct bucket_stats *proxy_bucket_stats(const struct proxy *proxy, unsigned bucket)
{
    CHECK(bucket < proxy->bucket_count);
    return &proxy->buckets[bucket].stats;
}

const struct origin *proxy_bucket_origin(const struct proxy *proxy, unsigned bucket)
{
    CHECK(bucket < proxy->bucket_count);
    return proxy->buckets[bucket].origin;
}

/* ---- the worker's part ---- */

static void on_request(void *context, struct exchange *exchange)
{
    struct request *request = exchange_memory(exchange);
    memset(request, 0, offsetof(struct request, first_block));
    request->exchange = exchange;
    request->worker = context;
    request->http = exchange_request(exchange);
    request->started_ns = exchange_begin_ns(exchange);
    arena_init(&request->arena, request->first_block, sizeof request->first_block, ARENA_HEAP_MAX);
    request_admit(request);
}

static void on_gone(void *context, struct exchange *exchange)
{
    (void)context;
    struct request *request = exchange_memory(exchange);
    request->gone |= !request->ending; /* else the reply was complete */
    request_end(request);
}

static void on_refused(
    void *context, const struct io_address *peer, unsigned status, const char *message, struct writer *lines)
{
    request_refused(context, peer, status, message, lines);
}

/* Bodies are for HTTP origins; what S3 buckets get of them is dropped by the front. */
static bool streams(void *context, const struct http_request *request)
{
    const struct proxy_worker *worker = context;
    return request->method != HTTP_HEAD && request_is_for_http(worker->proxy, request);
}

int proxy_worker_create(struct proxy_worker **worker, struct proxy *proxy, struct io_loop *loop)
{
    struct proxy_worker *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->proxy = proxy;
    made->loop = loop;
    list_init(&made->flights);
    made->handler = (struct exchange_handler){.ctx = made,
        .request_bytes = sizeof(struct request),
        .request = on_request,
        .gone = on_gone,
        .streams = streams,
        .refused = on_refused};
    int result = origin_client_create(&made->origins, loop, proxy->parts.error_log);
    if (result < 0) {
        free(made);
        return result;
    }
    *worker = made;
    return 0;
}

const struct exchange_handler *proxy_worker_handler(struct proxy_worker *worker)
{
    return &worker->handler;
}

void proxy_worker_stop(struct proxy_worker *worker, void (*done)(void *context), void *context)
{
    worker->stopping = true;
    worker->stopped = done;
    worker->stopped_context = context;
    for (struct list_node *node = worker->flights.next; node != &worker->flights; node = node->next)
        fill_poked(CONTAINER_OF(node, struct flight, of_worker));
    proxy_worker_flight_ended(worker);
}

void proxy_worker_flight_ended(struct proxy_worker *worker)
{
    if (worker->stopping && list_empty(&worker->flights))
        origin_client_stop(worker->origins, worker->stopped, worker->stopped_context);
}

void proxy_worker_destroy(struct proxy_worker *worker)
{
    origin_client_destroy(worker->origins);
    free(worker);
}
