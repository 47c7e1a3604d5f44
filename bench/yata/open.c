/*
 * Many small items: filling a device, what the index costs and finds, how long it takes to open.
 *
 * `open --kill` first opens in a child process, which makes the snapshot invalid, puts some items and dies of
 * SIGKILL; the parent's open then is the one after a crash.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "bench/yata/command.h"
#include "bench/yata/store.h"

#define SAMPLE 20000u             /* gets that are really made */
#define FRESH (UINT64_C(1) << 60) /* numbers of what is put after an open */
#define DIES_WITH 1000u

int command_fill(const struct options *options)
{
    struct store store;
    store_open_new(&store, options);
    struct figures *figures = calloc(1, sizeof *figures);
    if (!options->plain)
        store_lay_out(&store);
    figures_start(figures);
    for (uint64_t i = 0; i < options->items; i++) {
        uint64_t start_ns = clock_monotonic_ns();
        store_put(&store, i);
        if (i % 64 == 0)
            io_loop_turn(store.loop, 0);
        figures_add(figures, clock_monotonic_ns() - start_ns, options->item_bytes);
    }
    store_settle(&store);
    figures_stop(figures);
    struct disk_stats stats;
    disk_stats(store.disk, &stats);
    struct result result = result_begin(options->json, "fill");
    result_text(&result, "io", io_driver_name(store.io));
    result_figures(&result, figures);
    result_number(&result, "items", (double)stats.items);
    result_number(&result, "dropped_by_index", (double)stats.dropped_index);
    result_number(&result, "evicted", (double)stats.evicted);
    result_end(&result);
    free(figures);
    store_close(&store);
    return 0;
}

/* ---- one get at a time ---- */

struct answer {
    uint64_t number;
    bool done, found;
};

static void answered(void *context, int result, struct item *item)
{
    struct answer *answer = context;
    answer->done = true;
    answer->found = result == 0;
    if (result < 0)
        return;
    if (!store_is_item(item, answer->number))
        store_die("item %lu came with other bytes", answer->number);
    item_unref(&item);
}

static void ask(struct store *store, struct answer *answer, uint64_t number)
{
    struct store_key key;
    *answer = (struct answer){.number = number};
    disk_get(store->disk, store->loop, store_key(&key, number), 0, UINT32_MAX, answered, answer);
}

static bool get(struct store *store, uint64_t number)
{
    struct answer answer;
    ask(store, &answer, number);
    while (!answer.done)
        store_turn(store);
    return answer.found;
}

/* ---- the index ---- */

int command_index(const struct options *options)
{
    struct store store;
    struct store_key key;
    struct disk_stats stats;
    store_open(&store, options);
    uint64_t indexed = 0, found = 0;
    for (uint64_t i = 0; i < options->items; i++)
        indexed += disk_may_have(store.disk, store_key(&key, i));
    struct random random;
    random_init(&random, 1);
    for (unsigned i = 0; i < SAMPLE; i++)
        found += get(&store, random_below(&random, options->items));
    disk_stats(store.disk, &stats);
    struct result result = result_begin(options->json, "index");
    double items = (double)options->items;
    result_number(&result, "items", items);
    result_number(&result, "bytes_per_item", (double)stats.index_bytes / items);
    result_number(&result, "all_memory_per_item", (double)stats.memory_bytes / items);
    result_number(&result, "in_index_percent", 100 * (double)indexed / items);
    result_number(&result, "read_well_percent", 100.0 * (double)found / SAMPLE);
    result_end(&result);
    store_close(&store);
    return 0;
}

/* ---- opening ---- */

static void die_with_an_open_device(const struct options *options)
{
    pid_t child = fork();
    if (child == 0) {
        struct store store;
        store_open(&store, options);
        for (unsigned i = 0; i < DIES_WITH; i++)
            store_put(&store, FRESH + i);
        store_flush(&store);
        kill(getpid(), SIGKILL);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFSIGNALED(status))
        store_die("the process that was to die did not");
}

struct opening {
    double service_ms, all_ms, worst_get_us;
    uint64_t gets, fresh_found;
    bool fresh_put;
};

/* While the tier opens: gets of old items and, once it takes puts, of one that was put since. */
static void ask_meanwhile(struct store *store, struct opening *opening, struct random *random, uint64_t items)
{
    struct answer answer;
    if (store->attached && !opening->fresh_put) {
        store_put(store, FRESH + DIES_WITH);
        opening->fresh_put = true;
    }
    bool fresh = opening->fresh_put && opening->gets % 2 == 1;
    uint64_t start_ns = clock_monotonic_ns();
    ask(store, &answer, fresh ? FRESH + DIES_WITH : random_below(random, items));
    while (!answer.done)
        io_loop_turn(store->loop, 0);
    double us = (double)(clock_monotonic_ns() - start_ns) / 1e3;
    opening->worst_get_us = us > opening->worst_get_us ? us : opening->worst_get_us;
    opening->gets++;
    if (fresh && !answer.found)
        store_die("an item that was put since the open was not found");
    opening->fresh_found += fresh;
}

static struct opening open_measured(struct store *store, const struct options *options)
{
    struct opening opening = {0};
    struct disk_stats stats;
    struct random random;
    struct disk_config config = {.expected_item_bytes = store_expected_bytes(options)};
    random_init(&random, 1);
    store_create(store, options, options->io, &config);
    uint64_t start_ns = clock_monotonic_ns();
    store_attach(store);
    uint64_t next_ns = start_ns;
    do {
        if (clock_monotonic_ns() >= next_ns) {
            ask_meanwhile(store, &opening, &random, options->items);
            next_ns = clock_monotonic_ns() + NS_PER_MS;
        }
        io_loop_turn(store->loop, NS_PER_MS);
        if (store->attached && opening.service_ms == 0)
            opening.service_ms = (double)(clock_monotonic_ns() - start_ns) / 1e6;
        disk_stats(store->disk, &stats);
    } while (!store->attached || stats.recovering > 0);
    opening.all_ms = (double)(clock_monotonic_ns() - start_ns) / 1e6;
    return opening;
}

int command_open(const struct options *options)
{
    struct store store;
    struct disk_stats stats;
    if (options->kill)
        die_with_an_open_device(options);
    struct opening opening = open_measured(&store, options);
    disk_stats(store.disk, &stats);
    struct result result = result_begin(options->json, options->kill ? "open-after-kill" : "open");
    result_text(&result, "io", io_driver_name(store.io));
    result_number(&result, "service_ms", opening.service_ms);
    result_number(&result, "all_found_ms", opening.all_ms);
    result_number(&result, "items", (double)stats.items);
    result_number(&result, "gets_meanwhile", (double)opening.gets);
    result_number(&result, "of_new_items", (double)opening.fresh_found);
    result_number(&result, "worst_get_us", opening.worst_get_us);
    result_end(&result);
    store_close(&store);
    return 0;
}
