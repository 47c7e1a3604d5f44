/*
 * Finding again what the segments hold, after a stop without a snapshot: the rows of all live segments,
 * several read at a time, applied from the oldest to the newest, so that the later row of a hash wins, as in
 * the log.
 *
 * The device is in service meanwhile. What was put since the open has generations from first_generation on,
 * and is never replaced by a row; gets answer only that. Hashes that were taken out meanwhile are taken out
 * once more at the end. Where that can't be trusted (`spoiled`), nothing old is answered at all. A segment
 * that can't be read may have held what hides older items: everything older than it is dropped. At the end
 * the purge records among the rows are read (purge_log.c), before anything old is answered.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"
#include "cache/worker.h"

#define ROWS_PER_STEP 4096
#define ROWS_AHEAD 8 /* an index of many items is larger than the CPU's caches */

struct recovery {
    struct device *device;
    uint32_t *order; /* segments, oldest first */
    uint32_t count, loading, applying, row;
    unsigned in_flight;
    bool stopped, posted, reading_purges;
    struct purge_log purges;
    struct io_message message;
    struct rows rows[RECOVERY_DEPTH];
    bool loaded[RECOVERY_DEPTH];
};

static void step(struct recovery *recovery);

static void finish(struct recovery *recovery)
{
    struct device *device = recovery->device;
    uint64_t first = atomic_load(&device->first_generation);
    pthread_mutex_lock(&device->lock);
    for (uint64_t i = 0; i < device->forgotten_count; i++) {
        struct index_entry entry;
        if (index_find(device->index, device->forgotten[i], &entry) &&
            atomic_load(&device->segments[device_segment_of(device, entry.place)].generation) < first)
            index_remove_at(device->index, device->forgotten[i], entry.place);
    }
    for (uint32_t i = 0; device->spoiled && i < device->segment_count; i++) {
        uint64_t from = device_segment_place(device, i);
        if (atomic_load(&device->segments[i].generation) < first)
            index_sweep(device->index, from, from + device->segment_bytes);
    }
    free(device->forgotten);
    device->forgotten = NULL;
    device->forgotten_count = device->forgotten_capacity = 0;
    if (!recovery->stopped)
        atomic_store(&device->first_generation, 0);
    pthread_mutex_unlock(&device->lock);
    bool stopped = recovery->stopped;
    device->recovery = NULL;
    purge_log_free(&recovery->purges);
    free(recovery->order);
    free(recovery);
    if (!stopped)
        device_event(device, DISK_EVENT_RECOVERED, 0, "%llu items in %u segments",
            (unsigned long long)index_count(device->index), device->segment_count);
    device_wake(device);
}

/* Under lock. */
static void apply_purge(struct recovery *recovery, const struct segment_row *row, uint64_t place)
{
    struct device *device = recovery->device;
    uint64_t generation = atomic_load(&device->segments[device_segment_of(device, place)].generation);
    if (row->kind == ITEM_PURGE_OBJECT)
        purges_found_object(device->disk->purges, row->hash, row->sequence);
    else
        purge_log_note(&recovery->purges, place, generation, row->key_len);
}

/* Under lock. */
static void apply_row(struct device *device, const struct segment_row *row, uint64_t place, uint64_t first)
{
    struct index_entry entry, dropped;
    bool there = index_find(device->index, row->hash, &entry);
    if (there && atomic_load(&device->segments[device_segment_of(device, entry.place)].generation) >= first)
        return;
    if (row->kind == ITEM_REMOVE) {
        if (there)
            index_remove_at(device->index, row->hash, entry.place);
        return;
    }
    entry = (struct index_entry){.place = place, .value_len = row->value_len};
    if (index_insert(device->index, row->hash, &entry, device_age(device), &dropped) != INDEX_DROPPED)
        return;
    counter_add(&device->stats.dropped_index, 1);
    if (atomic_load(&device->segments[device_segment_of(device, dropped.place)].generation) >= first)
        device->spoiled = true;
}

/* A segment that could not be read: what is older than it can't be trusted. Under lock. */
static void drop_older(struct device *device, uint64_t generation)
{
    for (uint32_t i = 0; i < device->segment_count; i++) {
        uint64_t from = device_segment_place(device, i);
        if (atomic_load(&device->segments[i].generation) < generation)
            index_sweep(device->index, from, from + device->segment_bytes);
    }
}

/* Applies some rows of the segment whose turn it is; true when it is through. */
static bool apply(struct recovery *recovery, struct rows *rows)
{
    struct device *device = recovery->device;
    uint64_t first = atomic_load(&device->first_generation),
             segment_place = device_segment_place(device, rows->segment);
    uint32_t until =
        recovery->row + ROWS_PER_STEP < rows->count ? recovery->row + ROWS_PER_STEP : rows->count;
    pthread_mutex_lock(&device->lock);
    /* Of an earlier life, and not reclaimed since: places may have been used again by now. */
    bool alive = rows->generation < first && device->segments[rows->segment].state == SEGMENT_SEALED &&
                 atomic_load(&device->segments[rows->segment].generation) == rows->generation;
    if (alive && recovery->row == 0 && rows->result < 0)
        drop_older(device, rows->generation);
    for (; alive && recovery->row < until; recovery->row++) {
        const struct segment_row *row = &rows->rows[recovery->row];
        if (recovery->row + ROWS_AHEAD < rows->count)
            index_prefetch(device->index, row[ROWS_AHEAD].hash);
        if (row->kind == ITEM_PURGE || row->kind == ITEM_PURGE_OBJECT)
            apply_purge(recovery, row, segment_place + row->offset);
        else
            apply_row(device, row, segment_place + row->offset, first);
    }
    if (alive)
        device->segments[rows->segment].data_end = rows->data_end;
    pthread_mutex_unlock(&device->lock);
    return !alive || recovery->row == rows->count;
}

static void deliver(struct io_message *message)
{
    struct recovery *recovery = CONTAINER_OF(message, struct recovery, message);
    struct disk_worker *home = recovery->device->home;
    recovery->posted = false;
    step(recovery);
    worker_op_end(home);
}

static void post(struct recovery *recovery)
{
    struct disk_worker *home = recovery->device->home;
    recovery->posted = true;
    worker_op_begin(home);
    io_post(home->loop, &recovery->message);
}

/* Is the segment whose turn it is? */
static bool is_loaded(const struct recovery *recovery)
{
    return recovery->applying < recovery->loading && recovery->loaded[recovery->applying % RECOVERY_DEPTH];
}

static void rows_loaded(struct rows *rows)
{
    struct recovery *recovery = rows->context;
    recovery->loaded[rows - recovery->rows] = true;
    recovery->in_flight--;
    step(recovery);
}

static void load_more(struct recovery *recovery)
{
    struct device *device = recovery->device;
    while (!recovery->stopped && recovery->loading < recovery->count &&
           recovery->loading < recovery->applying + RECOVERY_DEPTH) {
        uint32_t slot = recovery->loading % RECOVERY_DEPTH, segment = recovery->order[recovery->loading];
        recovery->loading++;
        recovery->in_flight++;
        recovery->loaded[slot] = false;
        recovery->rows[slot] = (struct rows){.device = device,
            .segment = segment,
            .generation = atomic_load(&device->segments[segment].generation),
            .done = rows_loaded,
            .context = recovery};
        if (rows_load(&recovery->rows[slot]) == 0)
            continue;
        recovery->rows[slot].result = -ENOMEM;
        recovery->loaded[slot] = true;
        recovery->in_flight--;
    }
}

static void purges_read(struct purge_log *log)
{
    struct recovery *recovery = CONTAINER_OF(log, struct recovery, purges);
    recovery->stopped = recovery->stopped || !device_in_service(recovery->device);
    finish(recovery);
}

static void step(struct recovery *recovery)
{
    struct device *device = recovery->device;
    if (recovery->posted || recovery->reading_purges)
        return;
    if (atomic_load(&device->state) != DEVICE_IN_SERVICE)
        recovery->stopped = true;
    uint32_t slot = recovery->applying % RECOVERY_DEPTH;
    if (is_loaded(recovery)) {
        if (recovery->stopped || apply(recovery, &recovery->rows[slot])) {
            counter_add(&device->stats.recovered, recovery->rows[slot].count);
            rows_free(&recovery->rows[slot]);
            recovery->loaded[slot] = false;
            recovery->applying++;
            recovery->row = 0;
        }
        post(recovery);
    }
    load_more(recovery);
    if (!recovery->posted && is_loaded(recovery))
        post(recovery); /* what had no memory */
    bool through = recovery->applying == recovery->count ||
                   (recovery->stopped && recovery->applying == recovery->loading);
    if (!through || recovery->in_flight > 0 || recovery->posted)
        return;
    recovery->reading_purges = true;
    purge_log_read(&recovery->purges, purges_read);
}

int recovery_start(struct device *device)
{
    CHECK(device->recovery == NULL && atomic_load(&device->first_generation) != 0);
    struct recovery *recovery = calloc(1, sizeof *recovery);
    uint32_t *order = calloc(device->live_count, sizeof *order);
    if (recovery == NULL || order == NULL) {
        free(recovery);
        free(order);
        return -ENOMEM;
    }
    recovery->device = device;
    recovery->order = order;
    recovery->purges.device = device;
    recovery->message.deliver = deliver;
    device->recovery = recovery;
    pthread_mutex_lock(&device->lock);
    for (uint32_t i = 0; i < device->live_count; i++) {
        uint32_t segment = device->live[(device->live_at + i) % device->segment_count];
        CHECK(atomic_load(&device->segments[segment].generation) < atomic_load(&device->first_generation));
        order[recovery->count++] = segment;
    }
    pthread_mutex_unlock(&device->lock);
    post(recovery);
    return 0;
}

bool recovery_busy(const struct device *device)
{
    return device->recovery != NULL;
}
