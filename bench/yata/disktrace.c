/*
 * The disk tier on a trace: the real engine on the fake driver, whose device lies in memory and whose clock
 * is the trace's own, one request a millisecond. So the result is the same on every machine, and a write
 * budget means something. A miss is put, as a proxy does after fetching.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/yata/command.h"
#include "bench/yata/policy.h"
#include "bench/yata/store.h"
#include "bench/yata/trace.h"
#include "cache/superblock.h"

#define REQUEST_NS NS_PER_MS
#define BUDGET_SHARE 4 /* the budget is a quarter of the bytes asked for */

struct rule {
    const char *name;
    enum disk_admission admission;
    bool budget;
};

static const struct rule rules[] = {
    {"always", DISK_ADMIT_ALWAYS, false},
    {"second", DISK_ADMIT_SECOND_REQUEST, false},
    {"budget", DISK_ADMIT_ALWAYS, true},
};

struct reply {
    bool done, hit;
};

static void answered(void *context, int result, struct item *item)
{
    struct reply *reply = context;
    *reply = (struct reply){.done = true, .hit = result == 0};
    if (item != NULL)
        item_unref(&item);
}

static bool ask(struct store *store, uint64_t number)
{
    struct store_key key;
    struct reply reply = {0};
    disk_get(store->disk, store->loop, store_key(&key, number), 0, UINT32_MAX, answered, &reply);
    while (!reply.done)
        store_turn(store);
    return reply.hit;
}

/* What the world does until the next request comes. */
static void pass(struct store *store, uint64_t until_ns)
{
    while (io_now_ns(store->loop) < until_ns)
        io_loop_turn(store->loop, until_ns - io_now_ns(store->loop));
}

struct outcome {
    uint64_t misses, hit_bytes;
    struct disk_stats stats;
};

static struct outcome run(const struct options *options, const struct trace *trace, const struct rule *rule)
{
    struct outcome outcome = {0};
    struct store store;
    struct disk_config config = {.expected_item_bytes = 4096, .admission = rule->admission};
    if (rule->budget)
        config.write_budget_bytes_s =
            trace->request_bytes / BUDGET_SHARE * (NS_PER_S / REQUEST_NS) / trace->count;
    store_create(&store, options, IO_FAKE, &config);
    store_attach(&store);
    while (!store.attached)
        store_turn(&store);
    uint64_t start_ns = io_now_ns(store.loop);
    for (size_t i = 0; i < trace->count; i++) {
        const struct trace_request *request = &trace->requests[i];
        if (ask(&store, request->object))
            outcome.hit_bytes += request->bytes;
        else
            (void)store_put_sized(&store, request->object, request->bytes);
        pass(&store, start_ns + (i + 1) * REQUEST_NS);
    }
    disk_stats(store.disk, &outcome.stats);
    outcome.misses = trace->count - outcome.stats.hits;
    store_close(&store);
    return outcome;
}

/* The device whose segments come to that many bytes in all, or a little less. */
static uint64_t device_bytes(uint64_t capacity_bytes, uint64_t *segments_bytes)
{
    struct superblock plan;
    uint64_t size = capacity_bytes + capacity_bytes / 8 + (UINT64_C(8) << 20);
    *segments_bytes = UINT64_MAX;
    while (*segments_bytes > capacity_bytes) {
        size -= UINT64_C(1) << 18;
        if (superblock_plan(&plan, size, 4096) < 0)
            store_die("a device of %lu bytes is too small", capacity_bytes);
        *segments_bytes = plan.segment_count * plan.segment_bytes;
    }
    return size;
}

int command_disktrace(const struct options *options)
{
    struct trace trace;
    uint64_t sizes[TRACE_SIZES];
    trace_read(&trace, options->trace);
    unsigned count = trace_sizes(&trace, options->share, sizes);
    for (unsigned i = 0; i < count; i++) {
        struct options device = *options;
        uint64_t segments_bytes;
        device.size_bytes = device_bytes(sizes[i], &segments_bytes);
        double lru = (double)trace_misses(&trace, &policy_lru, sizes[i]);
        for (unsigned j = 0; j < sizeof rules / sizeof *rules; j++) {
            struct outcome outcome = run(&device, &trace, &rules[j]);
            struct result result = result_begin(options->json, "disktrace");
            result_number(&result, "mib", (double)sizes[i] / 1048576);
            result_text(&result, "rule", rules[j].name);
            result_number(&result, "segment_mib", (double)outcome.stats.segment_bytes / 1048576);
            result_number(&result, "segments", (double)outcome.stats.segments);
            result_number(&result, "misses", (double)outcome.misses);
            result_number(&result, "LRU", lru);
            result_number(&result, "carried", (double)outcome.stats.carried);
            result_number(&result, "written_per_served",
                (double)outcome.stats.written_bytes / (double)(outcome.hit_bytes + 1));
            result_number(&result, "written_per_asked",
                (double)outcome.stats.written_bytes / (double)trace.request_bytes);
            result_end(&result);
        }
    }
    trace_free(&trace);
    return 0;
}
