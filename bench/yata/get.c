/*
 * Random gets of whole items at a depth. A lane is one asker: it gets, looks at what came, and gets the next.
 * The tier is asked directly, so that memory never answers and every get is a read of the device.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "bench/yata/command.h"
#include "bench/yata/store.h"

#define OBJECT_BYTES (UINT64_C(10) << 20)
#define WARM_SHARE 5 /* a fifth of the time is not measured */

/* An object of which chunks are being read. */
struct object {
    uint64_t first, start_ns;
    unsigned asked, left;
};

struct gets {
    struct store *store;
    struct random random;
    struct figures figures;
    uint64_t first, count; /* of the items asked for */
    unsigned in_flight;
    bool stopping;
    uint64_t missing;
    /* the mix */
    unsigned put_percent;
    uint64_t next_number, refused;
    /* objects */
    unsigned chunks;
    struct object *objects, *object;
};

struct lane {
    struct gets *gets;
    uint64_t number, start_ns;
    struct object *object;
};

static struct lane *lanes_create(struct gets *gets, unsigned depth)
{
    struct lane *lanes = calloc(depth, sizeof *lanes);
    if (lanes == NULL)
        store_die("out of memory");
    for (unsigned i = 0; i < depth; i++)
        lanes[i].gets = gets;
    return lanes;
}

static void take(struct gets *gets, const struct lane *lane, int result, struct item *item)
{
    gets->in_flight--;
    if (result < 0) {
        gets->missing++;
        return;
    }
    if (!store_is_item(item, lane->number))
        store_die("item %lu came with other bytes", lane->number);
    item_unref(&item);
}

/* ---- items ---- */

static void lane_next(struct lane *lane);

static void lane_done(void *context, int result, struct item *item)
{
    struct lane *lane = context;
    struct gets *gets = lane->gets;
    figures_add(&gets->figures, clock_monotonic_ns() - lane->start_ns, gets->store->item_bytes);
    take(gets, lane, result, item);
    if (!gets->stopping)
        lane_next(lane);
}

/* In a mix some of the turns are puts of new items, and the gets follow what is there. */
static void maybe_put(struct gets *gets)
{
    while (gets->put_percent > 0 && random_below(&gets->random, 100) < gets->put_percent) {
        gets->refused += !store_try_put(gets->store, gets->next_number++);
        gets->first++;
    }
}

static void lane_next(struct lane *lane)
{
    struct gets *gets = lane->gets;
    struct store_key key;
    maybe_put(gets);
    lane->number = gets->first + random_below(&gets->random, gets->count);
    lane->start_ns = clock_monotonic_ns();
    gets->in_flight++;
    disk_get(
        gets->store->disk, gets->store->loop, store_key(&key, lane->number), 0, UINT32_MAX, lane_done, lane);
}

/* ---- running ---- */

static void turn_until(struct gets *gets, uint64_t end_ns)
{
    while (clock_monotonic_ns() < end_ns)
        io_loop_turn(gets->store->loop, gets->in_flight > 0 ? UINT64_MAX : 0);
}

static void run(struct gets *gets, unsigned depth, double seconds, void (*next)(struct lane *lane))
{
    struct lane *lanes = lanes_create(gets, depth);
    uint64_t span_ns = (uint64_t)(seconds * 1e9);
    gets->stopping = false;
    for (unsigned i = 0; i < depth; i++)
        next(&lanes[i]);
    turn_until(gets, clock_monotonic_ns() + span_ns / WARM_SHARE);
    gets->missing = 0;
    figures_start(&gets->figures);
    turn_until(gets, gets->figures.start_ns + span_ns);
    figures_stop(&gets->figures);
    gets->stopping = true;
    while (gets->in_flight > 0)
        store_turn(gets->store);
    free(lanes);
}

static void print(const struct options *options, const char *command, const struct gets *gets)
{
    struct disk_stats stats;
    struct result result = result_begin(options->json, command);
    disk_stats(gets->store->disk, &stats);
    result_text(&result, "io", io_driver_name(gets->store->io));
    result_number(&result, "depth", options->depth);
    result_figures(&result, &gets->figures);
    result_number(
        &result, "read_bytes", stats.reads > 0 ? (double)stats.read_bytes / (double)stats.reads : 0);
    result_number(&result, "missing", (double)gets->missing);
    result_end(&result);
}

int command_get(const struct options *options)
{
    struct store store;
    store_open(&store, options);
    struct gets *gets = calloc(1, sizeof *gets);
    *gets = (struct gets){.store = &store, .count = options->items};
    random_init(&gets->random, clock_wall_ns());
    run(gets, options->depth, options->seconds_tenths / 10.0, lane_next);
    print(options, "get", gets);
    free(gets);
    store_close(&store);
    return 0;
}

/* ---- objects ---- */

static void chunk_next(struct lane *lane);

static void chunk_done(void *context, int result, struct item *item)
{
    struct lane *lane = context;
    struct gets *gets = lane->gets;
    struct object *object = lane->object;
    take(gets, lane, result, item);
    if (--object->left == 0)
        figures_add(&gets->figures, clock_monotonic_ns() - object->start_ns, OBJECT_BYTES);
    if (!gets->stopping)
        chunk_next(lane);
}

/* Lanes walk through the chunks of one object, then on into the next one, so that the depth is held while an
 * object's last chunks are still being read. */
static void chunk_next(struct lane *lane)
{
    struct gets *gets = lane->gets;
    struct store_key key;
    if (gets->object == NULL || gets->object->asked == gets->chunks) {
        unsigned at = 0;
        while (gets->objects[at].left > 0)
            at++;
        gets->object = &gets->objects[at];
        *gets->object = (struct object){.left = gets->chunks,
            .first = random_below(&gets->random, gets->count / gets->chunks) * gets->chunks,
            .start_ns = clock_monotonic_ns()};
    }
    lane->object = gets->object;
    lane->number = gets->object->first + gets->object->asked++;
    gets->in_flight++;
    disk_get(
        gets->store->disk, gets->store->loop, store_key(&key, lane->number), 0, UINT32_MAX, chunk_done, lane);
}

int command_object(const struct options *options)
{
    struct store store;
    store_open(&store, options);
    struct gets *gets = calloc(1, sizeof *gets);
    struct object *objects = calloc(options->depth + 1, sizeof *objects);
    *gets = (struct gets){.store = &store,
        .count = options->items,
        .chunks = (unsigned)(OBJECT_BYTES / options->item_bytes),
        .objects = objects};
    if (gets->chunks == 0 || gets->count < gets->chunks)
        store_die("an object is 10 MiB: --bytes and --items don't give one");
    random_init(&gets->random, clock_wall_ns());
    run(gets, options->depth, options->seconds_tenths / 10.0, chunk_next);
    print(options, "object", gets);
    free(gets);
    free(objects);
    store_close(&store);
    return 0;
}

/* ---- the mix ---- */

/* The device is filled past its end first, so that each segment that is written makes another go. */
int command_mix(const struct options *options)
{
    struct store store;
    store_open_new(&store, options);
    struct gets *gets = calloc(1, sizeof *gets);
    *gets = (struct gets){.store = &store, .count = options->items / 2};
    random_init(&gets->random, clock_wall_ns());
    for (; gets->next_number < options->items * 3 / 2; gets->next_number++)
        store_put(&store, gets->next_number);
    store_settle(&store);
    gets->first = gets->next_number - gets->count;
    double seconds = options->seconds_tenths / 10.0;
    run(gets, options->depth, seconds, lane_next);
    print(options, "mix-alone", gets);
    gets->put_percent = 10;
    run(gets, options->depth, seconds, lane_next);
    print(options, "mix", gets);
    if (gets->refused > 0)
        fprintf(stderr, "yata-bench: %lu puts were not taken\n", gets->refused);
    free(gets);
    store_close(&store);
    return 0;
}
