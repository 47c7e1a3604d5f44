/*
 * The whole request path on one seed: two workers, clients that abort and dawdle, an origin that fails and
 * whose objects change, a memory tier that is too small, all over the fake driver, whose clock, network and
 * order come from the seed. A failing seed is the bug report:  test_simulator SEED [COUNT]
 *
 * What is held: every byte of an answer is the byte of one version of the object (its entity tag says which),
 * at its offset; an answer is complete, unless the origin failed or the object changed; at the end nothing is
 * left: no op, socket, buffer, item, flight.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "http/server.h"
#include "io/fake.h"
#include "origin/fake.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"

#define WORKERS 2
#define CLIENTS 10
#define OBJECTS 12
#define VERSIONS 64
#define REQUESTS 250
#define PORT 8080
#define HEAD_MAX 8192

struct object {
    char key[16];
    uint64_t lens[VERSIONS], seeds[VERSIONS];
    char etags[VERSIONS][24];
    unsigned versions;
    bool tagged, disturbed; /* overwritten or made to fail at some time: answers may be cut */
};

struct world;

struct client {
    struct world *world;
    struct io_op op, timer, closing;
    struct io_handle socket;
    struct object *object;
    char request[256];
    struct iovec iov;
    uint8_t head[HEAD_MAX];
    size_t head_len;
    bool in_body, head_method, ranged;
    int version;
    uint64_t at, left, length, abort_at;
    unsigned status;
};

struct worker {
    struct io_loop *loop;
    struct proxy_worker *proxy;
    struct http_server *server;
    bool drained, stopped, left;
};

struct world {
    struct random random;
    uint64_t seed;
    struct io *io;
    struct io_loop *client_loop;
    struct io_handle listener;
    struct io_address address;
    struct memory *memory;
    struct cache *cache;
    struct settings settings;
    struct bucket_settings bucket;
    struct proxy *proxy;
    struct origin *origin;
    struct worker workers[WORKERS];
    struct client clients[CLIENTS];
    struct object objects[OBJECTS];
    unsigned begun, finished, running, cut, complete, errors;
};

static void client_next(struct client *client);

static uint64_t below(struct world *world, uint64_t bound)
{
    return random_below(&world->random, bound);
}

/* ---- objects ---- */

static void object_overwrite(struct world *world, struct object *object)
{
    static const uint64_t lens[] = {
        0, 1, 900, 16383, 16384, 16385, 65535, 65536, 65537, 200000, 700000, 3000000};
    unsigned v = object->versions++;
    object->lens[v] = v == 0 ? lens[object - world->objects] : lens[below(world, 12)];
    object->seeds[v] = random_next(&world->random);
    bool weak = object == &world->objects[6];
    if (object->tagged)
        snprintf(object->etags[v], sizeof object->etags[v], "%s\"v%u\"", weak ? "W/" : "", v);
    fake_put_pattern(world->origin, object->key, object->lens[v], object->seeds[v], object->etags[v],
        below(world, 4) ? NULL : "Cache-Control: max-age=0\r\n");
}

static void disturb(struct world *world)
{
    struct object *object = &world->objects[below(world, OBJECTS)];
    if (below(world, 2) && object->tagged && object->versions < VERSIONS) {
        object->disturbed = true;
        object_overwrite(world, object);
    } else if (below(world, 2)) {
        object->disturbed = true;
        fake_script(world->origin, object->key,
            &(struct fake_script){.error = below(world, 2) ? E_TRUNCATED : E_TIMEOUT,
                .after_head = below(world, 2),
                .break_after = below(world, 500000),
                .fetches = 1 + (unsigned)below(world, 2)});
    }
}

/* ---- a client ---- */

static void fail(struct client *client, const char *what)
{
    printf("seed %llu: %s: %s version %d, status %u, offset %llu, %llu left\n%.*s\n%s",
        (unsigned long long)client->world->seed, what, client->object->key, client->version, client->status,
        (unsigned long long)client->at, (unsigned long long)client->left, (int)client->head_len,
        (char *)client->head, client->request);
    exit(1);
}

static void client_closed(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, closing);
    client->world->running--;
    client->world->finished++;
    client_next(client);
}

static void client_close(struct client *client)
{
    io_op_init(&client->closing, client_closed);
    io_close(client->world->client_loop, &client->closing, client->socket);
}

static struct bytes header(const struct client *client, const char *name)
{
    struct bytes rest = bytes_of(client->head, client->head_len), wanted = bytes_of_string(name);
    while (rest.len) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        if (!end)
            break;
        struct bytes line = bytes_of(rest.ptr, (size_t)(end - rest.ptr));
        if (line.len > wanted.len && line.ptr[wanted.len] == ':' &&
            bytes_equal_nocase(bytes_of(line.ptr, wanted.len), wanted)) {
            line = bytes_from(line, wanted.len + 1);
            if (line.len && line.ptr[line.len - 1] == '\r')
                line.len--;
            return bytes_trim(line);
        }
        rest = bytes_from(rest, line.len + 1);
    }
    return (struct bytes){0};
}

static int version_of(const struct client *client)
{
    const struct object *object = client->object;
    struct bytes etag = header(client, "ETag");
    if (!object->tagged)
        return 0;
    for (unsigned v = 0; v < object->versions; v++)
        if (bytes_equal(etag, bytes_of_string(object->etags[v])))
            return (int)v;
    return -1;
}

static void judge_head(struct client *client)
{
    uint64_t status = 0, length = 0;
    if (client->head_len < 12 || !bytes_to_u64(bytes_of(client->head + 9, 3), &status))
        fail(client, "no status");
    client->status = (unsigned)status;
    struct bytes text = header(client, "Content-Length");
    if (!text.ptr || !bytes_to_u64(text, &length))
        fail(client, "no length");
    client->left = client->length = client->head_method ? 0 : length;
    client->at = 0;
    if (status != 200 && status != 206) {
        client->version = -1;
        client->world->errors += status >= 500;
        if (status >= 500 && !client->object->disturbed)
            fail(client, "an error without a cause");
        return;
    }
    client->version = version_of(client);
    if (client->version < 0)
        fail(client, "an unknown version");
    uint64_t whole = client->object->lens[client->version];
    if (status == 200 && length != whole)
        fail(client, "wrong length");
    if (status == 206) {
        unsigned long long first, last, total;
        struct bytes range = header(client, "Content-Range");
        char copy[96];
        snprintf(copy, sizeof copy, "%.*s", (int)range.len, (const char *)range.ptr);
        if (sscanf(copy, "bytes %llu-%llu/%llu", &first, &last, &total) != 3 || total != whole ||
            last - first + 1 != length || last >= total)
            fail(client, "wrong Content-Range");
        client->at = first;
    }
}

static void judge_body(struct client *client, struct bytes bytes)
{
    if (bytes.len > client->left)
        fail(client, "more than promised");
    for (size_t i = 0; i < bytes.len && client->version >= 0; i++)
        if (bytes.ptr[i] != fake_byte(client->object->seeds[client->version], client->at + i))
            fail(client, "a wrong byte");
    client->at += bytes.len;
    client->left -= bytes.len;
}

static void client_read(struct client *client);

static void client_dawdled(struct io_op *op)
{
    client_read(CONTAINER_OF(op, struct client, timer));
}

static void take(struct client *client, struct bytes bytes)
{
    if (!client->in_body) {
        size_t n = bytes.len < HEAD_MAX - client->head_len ? bytes.len : HEAD_MAX - client->head_len;
        memcpy(client->head + client->head_len, bytes.ptr, n);
        size_t before = client->head_len;
        client->head_len += n;
        uint8_t *end = memmem(client->head, client->head_len, "\r\n\r\n", 4);
        if (!end)
            return;
        size_t used = (size_t)(end + 4 - client->head) - before;
        client->head_len = (size_t)(end + 4 - client->head);
        client->in_body = true;
        judge_head(client);
        bytes = bytes_from(bytes, used);
    }
    judge_body(client, bytes);
}

static void client_received(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    struct world *world = client->world;
    if (op->result > 0) {
        take(client, bytes_of(op->buffer, (size_t)op->result));
        io_buffer_give(world->client_loop, &op->buffer);
    }
    bool whole = client->in_body && client->left == 0;
    bool over = op->result <= 0;
    if (whole)
        world->complete++;
    else if (over) {
        world->cut++;
        if (!client->object->disturbed)
            fail(client, client->in_body ? "cut without a cause" : "no answer");
    }
    if (whole || over || (client->in_body && client->length - client->left >= client->abort_at)) {
        client_close(client);
        return;
    }
    if (below(world, 20) == 0) {
        io_op_init(&client->timer, client_dawdled);
        io_timer(
            world->client_loop, &client->timer, io_now_ns(world->client_loop) + below(world, 2 * NS_PER_S));
    } else {
        client_read(client);
    }
}

static void client_read(struct client *client)
{
    io_op_init(&client->op, client_received);
    io_recv(client->world->client_loop, &client->op, client->socket);
}

static void client_sent(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    CHECK(op->result > 0);
    client->iov.iov_base = (char *)client->iov.iov_base + op->result;
    client->iov.iov_len -= (size_t)op->result;
    if (client->iov.iov_len == 0) {
        client_read(client);
        return;
    }
    io_op_init(&client->op, client_sent);
    io_send(client->world->client_loop, &client->op, client->socket, &client->iov, 1, false);
}

static void write_request(struct client *client)
{
    struct world *world = client->world;
    client->object = &world->objects[below(world, OBJECTS)];
    uint64_t len = client->object->lens[client->object->versions - 1];
    client->head_method = below(world, 8) == 0;
    char range[64] = "";
    uint64_t first = below(world, len + 2);
    switch (client->head_method ? 9 : below(world, 6)) {
    case 0:
        snprintf(range, sizeof range, "Range: bytes=%llu-%llu\r\n", (unsigned long long)first,
            (unsigned long long)(first + below(world, 200000)));
        break;
    case 1:
        snprintf(range, sizeof range, "Range: bytes=%llu-\r\n", (unsigned long long)first);
        break;
    case 2:
        snprintf(range, sizeof range, "Range: bytes=-%llu\r\n", (unsigned long long)below(world, 100000) + 1);
        break;
    default:
        break;
    }
    int n = snprintf(client->request, sizeof client->request, "%s /b/%s HTTP/1.1\r\nHost: b\r\n%s\r\n",
        client->head_method ? "HEAD" : "GET", client->object->key, range);
    client->iov = (struct iovec){client->request, (size_t)n};
    client->abort_at = below(world, 5) ? UINT64_MAX : below(world, len + 1);
}

static void client_connected(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    CHECK(op->result >= 0);
    client->socket = op->handle;
    io_op_init(&client->op, client_sent);
    io_send(client->world->client_loop, &client->op, client->socket, &client->iov, 1, false);
}

static void client_next(struct client *client)
{
    struct world *world = client->world;
    if (world->begun >= REQUESTS)
        return;
    world->begun++;
    world->running++;
    client->head_len = 0;
    client->in_body = false;
    client->status = 0;
    client->left = client->length = client->at = 0;
    if (below(world, 10) == 0)
        disturb(world);
    write_request(client);
    io_op_init(&client->op, client_connected);
    io_connect(world->client_loop, &client->op, &world->address);
}

/* ---- the world ---- */

static void configure(struct world *world)
{
    world->bucket = (struct bucket_settings){
        .name = "b",
        .path_prefix = "/b",
        .origin = {.name = "b", .endpoint = "file:///nonexistent", .bucket = "b"},
        .cache_enabled = true,
        .max_item_bytes = UINT64_MAX,
    };
    world->settings = (struct settings){
        .server = {.first_byte_timeout_ns = 20 * NS_PER_S, .max_concurrent_requests = 1000},
        .buckets = &world->bucket,
        .bucket_count = 1,
        .cache = {.enabled = true,
            .memory = true,
            .memory_bytes = 8u << 20,
            .memory_item_bytes = UINT64_MAX,
            .default_ttl_s = 1 + below(world, 60),
            .chunk_bytes = 65536},
    };
}

static void make_origin(struct world *world)
{
    struct fake_options options = {.latency_ns = below(world, 50) * NS_PER_MS,
        .interval_ns = below(world, 3) * NS_PER_MS,
        .piece_bytes = 1 + below(world, 100000)};
    CHECK(origin_create_fake(&world->origin, "b", &options) == 0);
    for (unsigned i = 0; i < OBJECTS; i++) {
        snprintf(world->objects[i].key, sizeof world->objects[i].key, "object-%u", i);
        world->objects[i].tagged = i != 3;
        object_overwrite(world, &world->objects[i]);
    }
    origin_destroy(world->proxy->buckets[0].origin);
    world->proxy->buckets[0].origin = world->origin;
}

static void make_worker(struct world *world, struct worker *worker)
{
    CHECK(io_loop_create(world->io, &worker->loop) == 0);
    CHECK(cache_join(world->cache, worker->loop) == 0);
    CHECK(proxy_worker_create(&worker->proxy, world->proxy, worker->loop) == 0);
    struct http_server_config config = {.io = world->io,
        .loop = worker->loop,
        .listener = world->listener,
        .handler = *proxy_worker_handler(worker->proxy)};
    CHECK(http_server_create(&config, &worker->server) == 0);
}

static void make_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    random_init(&world->random, seed);
    world->seed = seed;
    struct io_report report;
    struct io_config config = {.choice = IO_FAKE, .fake_seed = seed};
    CHECK(io_create(&world->io, &config, &report) == 0);
    fake_clock_set_wall(world->io, UINT64_C(1800000000) * NS_PER_S);
    CHECK(io_address_parse(&world->address, "127.0.0.1", PORT) == 0);
    struct io_listen_options options = {0};
    CHECK(io_listen(world->io, &world->address, &options, &world->listener) == 0);
    CHECK(io_loop_create(world->io, &world->client_loop) == 0);
    configure(world);
    struct memory_config memory = {.budget_bytes = world->settings.cache.memory_bytes};
    CHECK(memory_create(&world->memory, &memory) == 0);
    CHECK(cache_create(&world->cache, world->memory, NULL) == 0);
    const char *why;
    struct proxy_parts parts = {.settings = &world->settings, .io = world->io, .cache = world->cache};
    CHECK(proxy_create(&world->proxy, &parts, &why) == 0);
    make_origin(world);
    for (int i = 0; i < WORKERS; i++)
        make_worker(world, &world->workers[i]);
}

static void turn(struct world *world)
{
    for (int i = 0; i < WORKERS; i++)
        io_loop_turn(world->workers[i].loop, 0);
    io_loop_turn(world->client_loop, NS_PER_MS);
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static void turn_until(struct world *world, const bool *flag)
{
    for (unsigned i = 0; !*flag; i++) {
        if (i > 2000000) {
            printf("seed %llu: does not come to an end\n", (unsigned long long)world->seed);
            exit(1);
        }
        turn(world);
    }
}

static void end_world(struct world *world)
{
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &world->workers[i];
        http_server_drain(worker->server, set_flag, &worker->drained);
        turn_until(world, &worker->drained);
        http_server_destroy(worker->server);
    }
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &world->workers[i];
        proxy_worker_stop(worker->proxy, set_flag, &worker->stopped);
        turn_until(world, &worker->stopped);
        cache_leave(world->cache, worker->loop, set_flag, &worker->left);
        turn_until(world, &worker->left);
    }
    for (int i = 0; i < 200; i++)
        turn(world);
    io_listener_close(world->io, world->listener);
    for (int i = 0; i < WORKERS; i++) {
        proxy_worker_destroy(world->workers[i].proxy);
        CHECK(io_loop_destroy(world->workers[i].loop, NS_PER_S) == 0);
    }
    CHECK(io_loop_destroy(world->client_loop, NS_PER_S) == 0);
    proxy_destroy(world->proxy);
    cache_destroy(world->cache);
    struct memory_stats memory;
    memory_stats(world->memory, &memory);
    CHECK(memory.pinned_bytes == 0);
    memory_destroy(world->memory);
    CHECK(io_destroy(world->io) == 0);
}

static void simulate(struct world *world, uint64_t seed)
{
    make_world(world, seed);
    for (int i = 0; i < CLIENTS; i++) {
        world->clients[i].world = world;
        client_next(&world->clients[i]);
    }
    for (unsigned turns = 0; world->running > 0; turns++) {
        if (turns > 5000000) {
            printf("seed %llu: %u requests hang\n", (unsigned long long)seed, world->running);
            exit(1);
        }
        turn(world);
    }
    CHECK(world->finished == REQUESTS);
    end_world(world);
}

int main(int argc, char **argv)
{
    static struct world world;
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1,
             count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t complete = 0, cut = 0, errors = 0;
    for (uint64_t i = 0; i < count; i++) {
        simulate(&world, seed + i);
        complete += world.complete;
        cut += world.cut;
        errors += world.errors;
    }
    printf("%llu seeds from %llu: %llu answers complete, %llu cut, %llu errors\n", (unsigned long long)count,
        (unsigned long long)seed, (unsigned long long)complete, (unsigned long long)cut,
        (unsigned long long)errors);
    return complete == 0;
}
