/*
 * The memory-hit path allocates nothing: every allocation of the process is counted while hits of all sizes
 * are served.
 *
 * usage: test_hit_path uring|portable     exit 77 where the driver can't be had
 */
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "http/server.h"
#include "origin/fake.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"

#define WARM_UP 50
#define COUNTED 200

static atomic_ulong allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, size);
}

struct stage {
    struct io *io;
    struct io_loop *loop;
    struct io_handle listener;
    struct memory *memory;
    struct cache *cache;
    struct proxy *proxy;
    struct proxy_worker *worker;
    struct http_server *server;
    struct origin *origin;
    struct settings settings;
    struct bucket_settings bucket;
    int client;
};

static void set_up(struct stage *stage, enum io_choice choice)
{
    struct io_report report;
    struct io_config config = {.choice = choice};
    int result = io_create(&stage->io, &config, &report);
    if (result < 0) {
        printf("skipped: %s\n", report.reason);
        exit(77);
    }
    CHECK(io_loop_create(stage->io, &stage->loop) == 0);
    stage->bucket = (struct bucket_settings){.name = "b",
        .path_prefix = "/b",
        .origin = {.name = "b", .endpoint = "file:///nonexistent", .bucket = "b"},
        .caching = {.enabled = true, .ttl_s = 3600},
        .max_item_bytes = UINT64_MAX};
    stage->settings = (struct settings){
        .server = {.first_byte_timeout_ns = UINT64_C(60000000000), .max_concurrent_requests = 10},
        .buckets = &stage->bucket,
        .bucket_count = 1,
        .cache = {.enabled = true, .memory = true, .memory_item_bytes = UINT64_MAX, .chunk_bytes = 262144}};
    struct memory_config memory = {.budget_bytes = 64u << 20};
    CHECK(memory_create(&stage->memory, &memory) == 0);
    CHECK(cache_create(&stage->cache, stage->memory, NULL) == 0);
    CHECK(cache_join(stage->cache, stage->loop) == 0);
    const char *why;
    struct proxy_parts parts = {.settings = &stage->settings, .io = stage->io, .cache = stage->cache};
    CHECK(proxy_create(&stage->proxy, &parts, &why) == 0);
    CHECK(origin_create_fake(&stage->origin, "b", &(struct fake_options){0}) == 0);
    origin_destroy(stage->proxy->buckets[0].origin);
    stage->proxy->buckets[0].origin = stage->origin;
    CHECK(proxy_worker_create(&stage->worker, stage->proxy, stage->loop) == 0);
    struct io_address address;
    struct io_listen_options options = {0};
    CHECK(io_address_parse(&address, "127.0.0.1", 0) == 0);
    CHECK(io_listen(stage->io, &address, &options, &stage->listener) == 0);
    CHECK(io_local_address(stage->loop, stage->listener, &address) == 0);
    struct http_server_config server = {.io = stage->io,
        .loop = stage->loop,
        .listener = stage->listener,
        .handler = *proxy_worker_handler(stage->worker)};
    CHECK(http_server_create(&server, &stage->server) == 0);
    stage->client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(stage->client, (struct sockaddr *)&address.storage, address.len);
}

/* One request and its answer, on the same thread as the loop. Returns the number of body bytes. */
static size_t ask(struct stage *stage, const char *key)
{
    static char buf[1 << 20];
    char request[128];
    int len = snprintf(request, sizeof request, "GET /b/%s HTTP/1.1\r\nHost: b\r\n\r\n", key);
    while (write(stage->client, request, (size_t)len) != len)
        io_loop_turn(stage->loop, 1000000);
    size_t got = 0, head = 0, body = 0;
    while (head == 0 || got < head + body) {
        io_loop_turn(stage->loop, 1000000);
        ssize_t n = read(stage->client, head ? buf : buf + got, head ? sizeof buf : sizeof buf - got);
        CHECK(n != 0);
        if (n < 0)
            continue;
        got += (size_t)n;
        char *end = head ? NULL : memmem(buf, got, "\r\n\r\n", 4);
        if (!end)
            continue;
        head = (size_t)(end + 4 - buf);
        char *length = memmem(buf, head, "Content-Length: ", 16);
        CHECK(length && memcmp(buf, "HTTP/1.1 200", 12) == 0);
        body = strtoull(length + 16, NULL, 10);
    }
    return body;
}

int main(int argc, char **argv)
{
    static struct stage stage;
    static const struct {
        const char *key;
        uint64_t len;
    } objects[] = {{"small", 1000}, {"inline", 16384}, {"chunk", 100000}, {"chunks", 5000000}};
    bool uring = argc > 1 && strcmp(argv[1], "uring") == 0;
    int failed = 0;
    set_up(&stage, uring ? IO_URING : IO_PORTABLE);
    for (int i = 0; i < 4; i++) {
        fake_put_pattern(stage.origin, objects[i].key, objects[i].len, (uint64_t)i, "\"v\"", NULL);
        for (int n = 0; n < WARM_UP; n++)
            CHECK(ask(&stage, objects[i].key) == objects[i].len);
    }
    for (int i = 0; i < 4; i++) {
        unsigned long before = atomic_load(&allocations);
        for (int n = 0; n < COUNTED; n++)
            CHECK(ask(&stage, objects[i].key) == objects[i].len);
        unsigned long made = atomic_load(&allocations) - before;
        printf("%s: %lu allocations in %d hits\n", objects[i].key, made, COUNTED);
        failed |= made != 0;
    }
    const struct bucket_stats *stats = proxy_bucket_stats(stage.proxy, 0);
    CHECK(counter_get(&stats->results[RESULT_HIT]) == 4 * (WARM_UP - 1 + COUNTED));
    return failed; /* the process ends; the simulator holds the orderly end */
}
