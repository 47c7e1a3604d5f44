/* A life of the proxy: boot, traffic, one of four endings. The disk and the objects outlive it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "simulator.h"

#define DEVICE "/device"
#define TURNS_MAX 3000000

uint64_t world_now_ns(const struct world *world)
{
    return world->client_loop ? io_wall_ns(world->client_loop) : world->wall_ns;
}

void world_trace(struct world *world, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    uint64_t now_ns = world_now_ns(world);
    world->digest = (world->digest ^ now_ns) * UINT64_C(0x100000001b3);
    for (const char *at = line; *at; at++)
        world->digest = (world->digest ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    if (world->tracing)
        printf("%12.6f %s\n", (double)(now_ns - UINT64_C(1800000000) * NS_PER_S) / 1e9, line);
}

static void turn(struct world *world)
{
    io_loop_turn(world->home, 0);
    for (int i = 0; i < WORKERS; i++)
        if (world->workers[i].loop)
            io_loop_turn(world->workers[i].loop, 0);
    io_loop_turn(world->client_loop, NS_PER_MS);
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static void turn_until(struct world *world, const bool *flag, const char *what)
{
    for (unsigned i = 0; !*flag; i++) {
        if (i > TURNS_MAX) {
            printf("seed %llu: %s does not come\n", (unsigned long long)world->seed, what);
            exit(1);
        }
        turn(world);
    }
}

/* ---- boot ---- */

static void configure(struct world *world)
{
    const struct plan *plan = &world->plan;
    world->bucket = (struct bucket_settings){
        .name = "b",
        .path_prefix = "/b",
        .origin = {.name = "b", .endpoint = "file:///nonexistent", .bucket = "b"},
        .caching = {.enabled = plan->cached,
            .ttl_s = plan->ttl_s,
            .stale_while_revalidate_s = plan->stale_s,
            .stale_if_error_s = plan->stale_s,
            .statuses = {{404, plan->missing_s}},
            .status_count = 1},
        .max_item_bytes = plan->max_item_bytes,
    };
    world->settings = (struct settings){
        .server = {.first_byte_timeout_ns = DEADLINE_NS, .max_concurrent_requests = plan->max_concurrent},
        .buckets = &world->bucket,
        .bucket_count = 1,
        .cache = {.enabled = true,
            .memory = plan->memory,
            .disk = plan->disk,
            .memory_bytes = plan->memory_bytes,
            .memory_item_bytes = plan->memory_item_bytes,
            .chunk_bytes = plan->chunk_bytes},
    };
}

struct flagged {
    bool done;
    int result;
};

static void answered(void *context, int result)
{
    *(struct flagged *)context = (struct flagged){true, result};
}

static void boot_disk(struct world *world)
{
    struct disk_config config = {.device_count = 1, .memory = world->memory, .write_buffer_bytes = 16u << 20};
    config.devices[0] = (struct disk_device_config){DEVICE, world->plan.disk_bytes};
    CHECK(disk_create(&world->disk, world->io, &config) == 0);
}

static void attach_disk(struct world *world)
{
    struct flagged attached = {0};
    disk_attach(world->disk, world->home, answered, &attached);
    turn_until(world, &attached.done, "attach");
    struct disk_stats stats;
    disk_stats(world->disk, &stats);
    world_trace(world, "attached: %d, %llu items", attached.result, (unsigned long long)stats.items);
}

static void boot_worker(struct world *world, struct worker *worker)
{
    *worker = (struct worker){0};
    CHECK(io_loop_create(world->io, &worker->loop) == 0);
    CHECK(cache_join(world->cache, worker->loop) == 0);
    CHECK(proxy_worker_create(&worker->proxy, world->proxy, worker->loop) == 0);
    struct http_server_config config = {.io = world->io,
        .loop = worker->loop,
        .listener = world->listener,
        .handler = *proxy_worker_handler(worker->proxy)};
    CHECK(http_server_create(&config, &worker->server) == 0);
}

static void boot_io(struct world *world)
{
    struct io_report report;
    struct io_config config = {.choice = IO_FAKE, .fake_seed = world->seed * 16 + world->life};
    CHECK(io_create(&world->io, &config, &report) == 0);
    fake_clock_set_wall(world->io, world->wall_ns);
    fake_network_set(world->io, &world->plan.network);
    if (world->disk_between)
        fake_disk_attach(world->io, world->disk_between);
    world->disk_between = NULL;
    CHECK(io_address_parse(&world->address, "127.0.0.1", PORT) == 0);
    struct io_listen_options options = {0};
    CHECK(io_listen(world->io, &world->address, &options, &world->listener) == 0);
    CHECK(io_loop_create(world->io, &world->client_loop) == 0);
    CHECK(io_loop_create(world->io, &world->home) == 0);
}

static void boot(struct world *world)
{
    world->dying = world->draining = false;
    boot_io(world);
    configure(world);
    struct memory_config memory = {.budget_bytes = world->plan.memory_bytes};
    CHECK(memory_create(&world->memory, &memory) == 0);
    world->disk = NULL;
    if (world->plan.disk)
        boot_disk(world);
    CHECK(cache_create(&world->cache, world->memory, world->disk) == 0);
    const char *why;
    struct proxy_parts parts = {.settings = &world->settings, .io = world->io, .cache = world->cache};
    CHECK(proxy_create(&world->proxy, &parts, &why) == 0);
    CHECK(origin_create_fake(&world->origin, "b", &world->plan.origin) == 0);
    origin_destroy(world->proxy->buckets[0].origin);
    world->proxy->buckets[0].origin = world->origin;
    objects_put(world);
    if (world->disk && below(world, 2))
        attach_disk(world);
    for (int i = 0; i < WORKERS; i++)
        boot_worker(world, &world->workers[i]);
    struct disk_stats stats = {0};
    if (world->disk)
        disk_stats(world->disk, &stats);
    if (world->disk && stats.devices == 0)
        attach_disk(world);
}

/* ---- trouble ---- */

void world_disturb_disk(struct world *world)
{
    static const int errors[] = {-EIO, -ENOSPC, -ENODEV};
    if (!world->plan.disk_faults || world->dying)
        return;
    struct fake_fault fault = {.kinds = 1 + (unsigned)below(world, 3),
        .error = errors[below(world, 3)],
        .skip = (unsigned)below(world, 10),
        .count = 1 + (unsigned)below(world, 20),
        .torn = below(world, 2)};
    switch (below(world, 6)) {
    case 0:
        world_trace(world, "disk fails: %d", fault.error);
        fake_disk_fail(world->io, &fault);
        break;
    case 1:
        world_trace(world, "disk stalls");
        fake_disk_stall(world->io, NULL, true);
        break;
    default:
        world_trace(world, "disk heals");
        fake_disk_heal(world->io);
        fake_disk_stall(world->io, NULL, false);
        break;
    }
}

/* ---- the end ---- */

static void cut_disk(struct world *world)
{
    enum ending ending = world->plan.ending;
    if (!world->plan.disk || (ending != END_KILL && ending != END_POWER))
        return;
    world->disk_between = fake_disk_cut(world->io, ending == END_KILL ? FAKE_KILL : FAKE_POWER);
}

static void stop_traffic(struct world *world)
{
    struct disk_stats stats = {0};
    if (world->disk)
        disk_stats(world->disk, &stats);
    world_trace(world, "ending %d with %u running; %llu items on disk", world->plan.ending, world->running,
        (unsigned long long)stats.items);
    world->tally.disk_hits += stats.hits;
    world->draining = true;
    world->dying = world->plan.ending != END_DRAIN;
    cut_disk(world);
    io_listener_close(world->io, world->listener);
    for (int i = 0; i < WORKERS; i++)
        http_server_drain(world->workers[i].server, set_flag, &world->workers[i].drained);
    for (int i = 0; world->dying && i < WORKERS; i++)
        http_server_stop(world->workers[i].server);
    /* A worker stops as soon as its own connections are gone, whatever the others still do. */
    for (unsigned turns = 0, stopped = 0; stopped < WORKERS; turns++) {
        CHECK(turns < TURNS_MAX);
        turn(world);
        for (int i = 0; i < WORKERS; i++) {
            struct worker *worker = &world->workers[i];
            if (!worker->drained || worker->stopped)
                continue;
            http_server_destroy(worker->server);
            worker->drained = false;
            proxy_worker_stop(worker->proxy, set_flag, &worker->stopped);
            stopped++;
        }
    }
}

static void end_workers(struct world *world)
{
    if (!world->disk_between) { /* requests end without the disk, the tier doesn't */
        fake_disk_heal(world->io);
        fake_disk_stall(world->io, NULL, false);
    }
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &world->workers[i];
        turn_until(world, &worker->stopped, "a worker's end");
        cache_leave(world->cache, worker->loop, set_flag, &worker->left);
        turn_until(world, &worker->left, "leaving the cache");
    }
    for (unsigned turns = 0; world->running; turns++) {
        CHECK(turns < TURNS_MAX);
        turn(world);
    }
    for (int i = 0; i < 20; i++)
        turn(world);
    for (int i = 0; i < WORKERS; i++) {
        proxy_worker_destroy(world->workers[i].proxy);
        CHECK(io_loop_destroy(world->workers[i].loop, NS_PER_S) == 0);
        world->workers[i].loop = NULL;
    }
}

static void end_disk(struct world *world)
{
    if (!world->disk)
        return;
    struct flagged detached = {0};
    disk_detach(world->disk, world->home, io_now_ns(world->home) + 60 * NS_PER_S, answered, &detached);
    turn_until(world, &detached.done, "detach");
    world_trace(world, "detached: %d", detached.result);
    if (!world->disk_between)
        world->disk_between = fake_disk_cut(world->io, FAKE_KILL);
}

/* What a calm life must have counted: the bytes of an object come once, but for what was under way when a
 * fetch ended early. */
static void check_counts(struct world *world)
{
    const struct proxy_stats *stats = proxy_stats(world->proxy);
    CHECK(counter_get(&stats->flights_now) == 0 && counter_get(&stats->flight_bytes_now) == 0);
    CHECK(counter_get(&stats->requests_in_progress) == 0);
    const struct bucket_stats *bucket = proxy_bucket_stats(world->proxy, 0);
    uint64_t results = 0;
    for (unsigned i = 0; i < RESULT_COUNT; i++)
        results += counter_get(&bucket->results[i]);
    CHECK(results == counter_get(&bucket->requests));
    if (!world->plan.calm)
        return;
    for (unsigned i = 0; i < OBJECTS; i++) {
        const struct object *object = &world->objects[i];
        struct fake_counts counts = fake_counts(world->origin, object->key);
        uint64_t loss = world->plan.chunk_bytes + world->plan.origin.piece_bytes;
        if (object->kind == OBJECT_PLAIN && counts.bytes > object->lens[0] + counts.fetches * loss) {
            printf("seed %llu: %s was fetched twice: %llu bytes of %llu in %llu fetches\n",
                (unsigned long long)world->seed, object->key, (unsigned long long)counts.bytes,
                (unsigned long long)object->lens[0], (unsigned long long)counts.fetches);
            exit(1);
        }
    }
}

static void end(struct world *world)
{
    stop_traffic(world);
    end_workers(world);
    check_counts(world);
    end_disk(world);
    world->wall_ns = world_now_ns(world) + below(world, 100) * NS_PER_S;
    int left = io_loop_destroy(world->client_loop, NS_PER_S);
    CHECK(left == 0);
    CHECK(io_loop_destroy(world->home, NS_PER_S) == 0);
    world->client_loop = NULL;
    proxy_destroy(world->proxy);
    cache_destroy(world->cache);
    if (world->disk)
        disk_destroy(world->disk);
    struct memory_stats memory;
    memory_stats(world->memory, &memory);
    CHECK(memory.pinned_bytes == 0);
    memory_destroy(world->memory);
    CHECK(io_destroy(world->io) == 0);
}

void world_live(struct world *world)
{
    boot(world);
    world->begun = world->running = 0;
    unsigned enough = world->plan.ending == END_DRAIN && below(world, 2) ? 0 : (unsigned)below(world, 6);
    for (unsigned i = 0; i < world->plan.clients; i++) {
        memset(&world->clients[i], 0, offsetof(struct client, answer));
        world->clients[i].world = world;
        world->clients[i].number = i;
        client_next(&world->clients[i]);
    }
    /* The end comes when all have been asked, with some still running. */
    for (unsigned turns = 0; world->begun < world->plan.requests || world->running > enough; turns++) {
        if (turns > TURNS_MAX) {
            printf("seed %llu: %u requests hang\n", (unsigned long long)world->seed, world->running);
            exit(1);
        }
        turn(world);
    }
    end(world);
}
