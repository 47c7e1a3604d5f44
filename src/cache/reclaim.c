/*
 * Reclaiming the oldest segment: read its rows, carry forward what is used, take the rest out of the index,
 * declare it dead (synced), wait for its readers, give its place back. On the home loop, whenever fewer than
 * device->free_target segments are free. While one is being declared the next one's rows are read: each step
 * waits behind the writes in flight, and puts would wait for their sum.
 *
 * When: a free segment is a share of the device that holds nothing, so there is none but the open one, and
 * the oldest goes when what is left of that is little more than what will be carried (device_segment_late).
 * Puts that come meanwhile wait in the write buffer. Once they do while an eighth of that waits,
 * DEVICE_FREE_TARGET_MAX are kept free, until reclaiming has kept up for DEVICE_CALM_SEGMENTS.
 *
 * An item is carried if the index still names this very place (so it is the newest, and hidden by no remove),
 * no purge hides it, hard or soft (its record may be gone before the item's new place is), and it was read
 * since it was written, or lies in the memory tier; at most a quarter of a segment. Where all that was read
 * once would be more than that, it must have been read twice, or three times: a scan or a loop reads
 * everything once, and a quarter of it at random is worth nothing. The check is made again under the lock
 * that gives the new place. While recovery runs nothing is carried: what hides an item may not have been read
 * yet.
 */
#include <stdlib.h>

#include "base/error.h"
#include "cache/reader.h"
#include "cache/tier.h"
#include "cache/worker.h"

#define WINDOW_BYTES (256u << 10)
#define ROWS_AHEAD 8 /* an index of many items is larger than the CPU's caches */

struct reclaim {
    struct device *device;
    struct rows rows;
    uint32_t next, carried_bytes, wanted_bytes, wanted_rows;
    unsigned uses_min;        /* what is carried was read so often */
    uint64_t old_place, hash; /* of the item being carried */
    bool loaded;              /* its rows */
    uint8_t *window;
    uint32_t window_at, window_len;
    struct io_op op;
    struct iovec iov;
    struct device_super_write super;
    bool waits_for_pins;
};

static void carry_next(struct reclaim *reclaim);

static const struct segment_row *row_now(const struct reclaim *reclaim)
{
    return &reclaim->rows.rows[reclaim->next];
}

static uint64_t place_of(const struct reclaim *reclaim, const struct segment_row *row)
{
    return device_segment_place(reclaim->device, reclaim->rows.segment) + row->offset;
}

/* Of a segment, what may be carried. */
static uint32_t carry_most(const struct device *device)
{
    return device->segment_bytes / 4;
}

static uint32_t row_bytes(const struct segment_row *row)
{
    return segment_item_len(row->key_len, row->value_len);
}

static void prefetch_ahead(const struct reclaim *reclaim, uint32_t row)
{
    if (row + ROWS_AHEAD < reclaim->rows.count)
        index_prefetch(reclaim->device->index, reclaim->rows.rows[row + ROWS_AHEAD].hash);
}

/* ---- the end ---- */

static void destroy(struct reclaim *reclaim)
{
    rows_free(&reclaim->rows);
    free(reclaim->window);
    free(reclaim->super.buffer);
    free(reclaim);
}

static void carry_begin(struct reclaim *reclaim);

static void finish(struct device *device)
{
    destroy(device->declaring);
    device->declaring = NULL;
    append_waiting(device, device->home);
    if (device->reclaim != NULL && device->reclaim->loaded)
        carry_begin(device->reclaim);
    device_wake(device);
}

static void free_when_unpinned(struct device *device)
{
    struct reclaim *reclaim = device->declaring;
    struct device_segment *segment = &device->segments[reclaim->rows.segment];
    reclaim->waits_for_pins = true;
    atomic_store(&device->reclaim_waits, true);
    if (atomic_load(&segment->pins) > 0)
        return;
    atomic_store(&device->reclaim_waits, false);
    pthread_mutex_lock(&device->lock);
    CHECK(segment->state == SEGMENT_DEAD);
    segment->state = SEGMENT_FREE;
    device->free[device->free_count++] = reclaim->rows.segment;
    device->carried = false;
    if (device->free_target > 1 && ++device->calm >= DEVICE_CALM_SEGMENTS) {
        device->free_target--;
        device->calm = 0;
    }
    device->generation_limit = device->super.generation_bound;
    pthread_mutex_unlock(&device->lock);
    counter_add(&device->stats.reclaimed, 1);
    finish(device);
}

static void declared(struct device_super_write *write, int result)
{
    struct reclaim *reclaim = CONTAINER_OF(write, struct reclaim, super);
    struct device *device = reclaim->device;
    if (result == 0) {
        purges_passed(device->disk->purges, device->number, reclaim->rows.generation + 1);
        free_when_unpinned(device);
        return;
    }
    struct list_node ready, gone;
    list_init(&ready);
    list_init(&gone);
    counter_add(&device->stats.io_errors, 1);
    pthread_mutex_lock(&device->lock);
    device->dead_segment = reclaim->rows.segment;
    device->carried = false;
    device_out(device, &ready, &gone);
    pthread_mutex_unlock(&device->lock);
    for (struct list_node *node; (node = list_pop_front(&gone)) != NULL;)
        writing_destroy(CONTAINER_OF(node, struct writing, node));
    write_submit_all(device->home, &ready);
    finish(device);
}

/* Its items leave the index. */
static void evict(struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    uint64_t evicted = 0;
    /* A scan may have missed what was put in this life, behind a write that failed. */
    bool partial = reclaim->rows.scanned && reclaim->rows.generation >= device->first_own_generation;
    if (reclaim->rows.result < 0 || partial) {
        uint64_t from = device_segment_place(device, reclaim->rows.segment);
        evicted = index_sweep(device->index, from, from + device->segment_bytes);
    } else {
        for (uint32_t i = 0; i < reclaim->rows.count; i++) {
            const struct segment_row *row = &reclaim->rows.rows[i];
            prefetch_ahead(reclaim, i);
            evicted += index_remove_at(device->index, row->hash, place_of(reclaim, row));
        }
    }
    counter_add(&device->stats.evicted, evicted);
}

static void declare_dead(struct device *device)
{
    struct reclaim *reclaim = device->reclaim;
    CHECK(device->declaring == NULL);
    device->reclaim = NULL;
    device->declaring = reclaim;
    evict(reclaim);
    rows_free(&reclaim->rows);
    free(reclaim->window);
    reclaim->window = NULL;
    pthread_mutex_lock(&device->lock);
    CHECK(device->live[device->live_at] == reclaim->rows.segment);
    device->live_at = (device->live_at + 1) % device->segment_count;
    device->live_count--;
    device->segments[reclaim->rows.segment].state = SEGMENT_DEAD;
    device->super.generation_bound = device->next_generation + device->segment_count + 1;
    pthread_mutex_unlock(&device->lock);
    if (reclaim->rows.generation + 1 > device->super.dead_below)
        device->super.dead_below = reclaim->rows.generation + 1;
    device_super_write(&reclaim->super);
    device_wake(device);
}

/* ---- carrying ---- */

/* Gives the item a new place if it still has the old one. */
static void carry(struct reclaim *reclaim, struct item *item)
{
    struct device *device = reclaim->device;
    struct writing *entry = writing_create(item, item_key(item).kind, item_key(item).bytes);
    if (entry == NULL)
        return;
    entry->hash = reclaim->hash;
    entry->stored_ns = io_wall_ns(device->home->loop);
    struct append append;
    list_init(&append.ready);
    append.fill = NULL;
    append.opened_batch = false;
    struct index_entry now;
    pthread_mutex_lock(&device->lock);
    writing_add(device, entry);
    if (index_find(device->index, reclaim->hash, &now) && now.place == reclaim->old_place &&
        purges_judge(device->disk->purges, item, PURGE_ON_DISK) == PURGE_CLEAR)
        append_entry(device, entry, &append, false, io_now_ns(device->home->loop));
    bool placed = append.fill != NULL;
    if (!placed)
        writing_remove(device, entry);
    pthread_mutex_unlock(&device->lock);
    uint32_t len = entry->item_len;
    append_finish(device, device->home, entry, &append);
    if (!placed) {
        writing_destroy(entry);
        return;
    }
    counter_add(&device->stats.carried, 1);
    reclaim->carried_bytes += len;
}

static void carry_read(void *context, int result, struct item *item)
{
    struct reclaim *reclaim = context;
    if (result == 0) {
        if (item_held_len(item) == item_value_len(item))
            carry(reclaim, item);
        item_unref(&item);
    }
    reclaim->next++;
    carry_next(reclaim);
}

static bool may_carry(const struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    return device_in_service(device) && atomic_load(&device->first_generation) == 0 &&
           reclaim->rows.result == 0 && reclaim->window != NULL;
}

/* Is the row's item alive at this place? */
static bool is_current(struct reclaim *reclaim, const struct segment_row *row, struct index_entry *entry)
{
    return !segment_is_record(row->kind) && index_find(reclaim->device->index, row->hash, entry) &&
           entry->place == place_of(reclaim, row);
}

/* 1: a read of the item is on its way; 0: on to the next row; E_TRUNCATED: the window does not hold its
 * header. */
static int consider(struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    const struct segment_row *row = row_now(reclaim);
    struct index_entry entry;
    if (!is_current(reclaim, row, &entry))
        return 0;
    if (reclaim->carried_bytes + row_bytes(row) > carry_most(device))
        return 0;
    if (entry.use < reclaim->uses_min && !memory_may_hold(device->disk->memory, row->sequence))
        return 0;
    uint32_t header = SEGMENT_HEADER_FIXED + row->key_len + 8 * segment_checksum_count(row->value_len);
    if (row->offset < reclaim->window_at || row->offset + header > reclaim->window_at + reclaim->window_len)
        return E_TRUNCATED;
    struct segment_item item;
    struct bytes from = bytes_of(reclaim->window + (row->offset - reclaim->window_at), header);
    if (segment_item_decode(&item, from, device->seed, place_of(reclaim, row)) < 0)
        return 0;
    struct item_key key = {item.kind, item.key};
    if (entry.use < reclaim->uses_min && !memory_has(device->disk->memory, key))
        return 0;
    reclaim->wanted_bytes += row_bytes(row) + SEGMENT_ROW_BYTES;
    reclaim->wanted_rows++;
    reclaim->old_place = entry.place;
    reclaim->hash = row->hash;
    return reader_start(device, device->home, key, 0, UINT32_MAX, true, carry_read, reclaim) != NULL;
}

static void window_read(struct io_op *op)
{
    struct reclaim *reclaim = CONTAINER_OF(op, struct reclaim, op);
    struct disk_worker *home = reclaim->device->home;
    atomic_store(&reclaim->device->progress_ns, io_now_ns(home->loop));
    if (op->result != (int64_t)reclaim->iov.iov_len) {
        reclaim->window_len = 0;
        reclaim->next++;
    }
    carry_next(reclaim);
    worker_op_end(home);
}

/* The next header; for small items with what follows it. */
static void window_load(struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    const struct segment_row *row = row_now(reclaim);
    uint32_t from = row->offset / SEGMENT_BLOCK * SEGMENT_BLOCK, len = WINDOW_BYTES;
    if (segment_is_large(row->value_len))
        len = segment_header_len(row->key_len, row->value_len);
    if (len > device->segment_bytes - from)
        len = device->segment_bytes - from;
    reclaim->window_at = from;
    reclaim->window_len = len;
    reclaim->iov = (struct iovec){reclaim->window, len};
    io_op_init(&reclaim->op, window_read);
    worker_op_begin(device->home);
    io_file_read(device->home->loop, &reclaim->op, device->file, &reclaim->iov, 1,
        device_segment_place(device, reclaim->rows.segment) + from);
}

static void carry_next(struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    while (reclaim->next < reclaim->rows.count && may_carry(reclaim)) {
        prefetch_ahead(reclaim, reclaim->next);
        int result = consider(reclaim);
        if (result == 1)
            return;
        if (result == E_TRUNCATED) {
            window_load(reclaim);
            return;
        }
        reclaim->next++;
    }
    uint32_t room = reclaim->wanted_bytes;
    pthread_mutex_lock(&device->lock);
    device->carrying = false;
    device->carried = true;
    device->carry_room = carry_most(device) < room ? carry_most(device) : room;
    device->carry_rows =
        device->rows_max / 4 < reclaim->wanted_rows ? device->rows_max / 4 : reclaim->wanted_rows;
    pthread_mutex_unlock(&device->lock);
    declare_dead(device);
}

/* The fewest uses with which all that were read so often fit what may be carried. */
static unsigned uses_min(struct reclaim *reclaim)
{
    uint64_t bytes[4] = {0};
    struct index_entry entry;
    for (uint32_t i = 0; i < reclaim->rows.count; i++) {
        const struct segment_row *row = &reclaim->rows.rows[i];
        prefetch_ahead(reclaim, i);
        if (is_current(reclaim, row, &entry))
            bytes[entry.use] += row_bytes(row);
    }
    unsigned uses = 3;
    for (uint64_t sum = bytes[3]; uses > 1 && sum + bytes[uses - 1] <= carry_most(reclaim->device); uses--)
        sum += bytes[uses - 1];
    return uses;
}

static void carry_begin(struct reclaim *reclaim)
{
    struct device *device = reclaim->device;
    if (device->dead_segment != UINT32_MAX) { /* the one before could not be declared */
        device->reclaim = NULL;
        destroy(reclaim);
        return;
    }
    reclaim->uses_min = uses_min(reclaim);
    pthread_mutex_lock(&device->lock);
    device->carrying = true;
    pthread_mutex_unlock(&device->lock);
    carry_next(reclaim);
}

static void rows_loaded(struct rows *rows)
{
    struct reclaim *reclaim = rows->context;
    reclaim->loaded = true;
    if (rows->device->declaring == NULL)
        carry_begin(reclaim); /* else finish() does: what is carried needs the segment that is freed then */
}

/* ---- the beginning ---- */

/* The oldest segment, if one is to be reclaimed now. */
static bool oldest(struct device *device, uint32_t *segment)
{
    pthread_mutex_lock(&device->lock);
    /* While recovery runs nothing is carried, so nothing is reclaimed ahead. */
    bool ahead = atomic_load(&device->first_generation) == 0 &&
                 (device->free_target > 1 || (device->open != NULL && device_segment_late(device)));
    unsigned coming = device->declaring != NULL ? 1 : 0;
    bool due = (ahead || append_lacks_segment(device)) && device->free_count + coming < device->free_target &&
               device->live_count > 0 && device->dead_segment == UINT32_MAX;
    if (due) {
        *segment = device->live[device->live_at];
        due = device->segments[*segment].state == SEGMENT_SEALED;
    }
    if (due && atomic_load(&device->state) == DEVICE_CLOSING)
        due = !list_empty(&device->waiting);
    pthread_mutex_unlock(&device->lock);
    return due;
}

void reclaim_start(struct device *device)
{
    uint32_t segment;
    if (device->reclaim != NULL || device->retry_write.buffer != NULL || !oldest(device, &segment))
        return;
    struct reclaim *reclaim = calloc(1, sizeof *reclaim);
    if (reclaim == NULL)
        return; /* device_look() comes again while something waits for it */
    reclaim->device = device;
    reclaim->rows = (struct rows){.device = device,
        .segment = segment,
        .generation = atomic_load(&device->segments[segment].generation),
        .done = rows_loaded,
        .context = reclaim};
    if (device_super_write_init(&reclaim->super, device, declared) < 0 || rows_load(&reclaim->rows) < 0) {
        free(reclaim->super.buffer);
        free(reclaim);
        return;
    }
    device->reclaim = reclaim;
    reclaim->window = aligned_alloc(SEGMENT_BLOCK, WINDOW_BYTES); /* NULL: nothing is carried */
}

void reclaim_wake(struct device *device)
{
    if (device->declaring != NULL && device->declaring->waits_for_pins)
        free_when_unpinned(device);
}

bool reclaim_busy(const struct device *device)
{
    return device->reclaim != NULL || device->declaring != NULL;
}
