/*
 * The second half of opening a device, once it is decided what the devices are to each other: write both
 * copies of the superblock (new epoch, no snapshot mark), then take the snapshot if the old one carried a
 * mark, else find the generation of each segment (probes.c). Then it is in service, and recovery reads the
 * tables behind it.
 */
#include "cache/opening.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/footprint.h"
#include "cache/worker.h"

#define ROWS_MIN 1024

static int by_generation(const void *a, const void *b, void *context)
{
    const struct device *device = context;
    uint64_t left = atomic_load(&device->segments[*(const uint32_t *)a].generation);
    uint64_t right = atomic_load(&device->segments[*(const uint32_t *)b].generation);
    return left < right ? -1 : left > right;
}

/* The generations are known: lists of live and free segments, then service. */
static void serve(struct opening *opening, bool recover)
{
    struct device *device = opening->device;
    uint32_t live = 0;
    for (uint32_t i = 0; i < device->segment_count; i++) {
        struct device_segment *segment = &device->segments[i];
        uint64_t generation = atomic_load(&segment->generation);
        if (generation >= device->super.dead_below && generation < device->first_own_generation) {
            segment->state = SEGMENT_SEALED;
            device->live[live++] = i;
        } else {
            atomic_store(&segment->generation, 0);
            segment->state = SEGMENT_FREE;
        }
    }
    for (uint32_t i = device->segment_count; i-- > 0;)
        if (device->segments[i].state == SEGMENT_FREE)
            device->free[device->free_count++] = i;
    qsort_r(device->live, live, sizeof *device->live, by_generation, device);
    device->live_at = 0;
    device->live_count = live;
    bool behind = recover && live > 0;
    atomic_store(&device->first_generation, behind ? device->first_own_generation : 0);
    if (behind && recovery_start(device) < 0) {
        opening_refuse(opening, -ENOMEM, "there is no memory to read its tables");
        return;
    }
    atomic_store(&device->state, DEVICE_IN_SERVICE);
    struct footprint memory = footprint_of(device);
    device_event(device, DISK_EVENT_OPENED, 0,
        "%u segments of %u KiB, %llu items, %u segments to read, %s; memory %llu KiB, at most %llu more "
        "writing, %llu reading and %llu while tables are read; tier %llu, each loop %llu",
        device->segment_count, device->segment_bytes / 1024, (unsigned long long)index_count(device->index),
        behind ? live : 0, device->info.direct ? "direct" : "buffered",
        (unsigned long long)memory.fixed / 1024, (unsigned long long)memory.writing / 1024,
        (unsigned long long)memory.reading / 1024,
        behind ? (unsigned long long)memory.recovering / 1024 : 0ULL, (unsigned long long)memory.tier / 1024,
        (unsigned long long)memory.loop / 1024);
    device_wake(device);
    opening_end(opening, 0);
}

/* Without a snapshot. */
static void probed(void *context, int result);

static void probe_all(struct opening *opening)
{
    index_clear(opening->device->index);
    int result = probes_start(opening->device, probed, opening);
    if (result < 0)
        opening_refuse(opening, result, "its segments can't be looked at");
}

/* ---- the snapshot ---- */

static uint64_t piece_len(const struct opening *opening)
{
    uint64_t left = index_bytes(opening->device->index) - opening->piece * SNAPSHOT_PIECE;
    return left < SNAPSHOT_PIECE ? left : SNAPSHOT_PIECE;
}

static void piece_read(struct opening *opening);

static void snapshot_taken(struct opening *opening)
{
    struct device *device = opening->device;
    index_adopt(device->index, device->super.data_offset, superblock_end(&device->super));
    for (uint64_t i = 0; i < opening->snapshot.segment_count && i < device->segment_count; i++) {
        struct snapshot_segment segment = snapshot_segment_at(&opening->snapshot, i);
        atomic_store(&device->segments[i].generation, segment.generation);
        device->segments[i].data_end = segment.data_end;
    }
    serve(opening, false);
}

static void purges_read(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    struct bytes purges = bytes_of(opening->purges, opening->snapshot.purge_bytes);
    if (op->result != (int64_t)opening->iov.iov_len ||
        snapshot_checksum(device->seed, purges) != opening->snapshot.purge_checksum ||
        purges_decode(device->disk->purges, device->number, purges) < 0) {
        counter_add(&device->stats.corrupt, 1);
        probe_all(opening);
        return;
    }
    snapshot_taken(opening);
}

static void purges_read_start(struct opening *opening)
{
    struct device *device = opening->device;
    uint64_t at = snapshot_purges_at(opening->snapshot.segment_count, device->super.index_buckets);
    uint32_t len = segment_blocks_up(opening->snapshot.purge_bytes);
    opening->purges = aligned_alloc(SEGMENT_BLOCK, len);
    if (opening->purges == NULL) {
        probe_all(opening);
        return;
    }
    opening->iov = (struct iovec){opening->purges, len};
    struct io_loop *loop = opening_begin(opening, purges_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, device->super.snapshot_offset + at);
}

static void piece_done(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    struct bytes piece =
        bytes_of(index_raw(device->index) + opening->piece * SNAPSHOT_PIECE, piece_len(opening));
    if (op->result != (int64_t)opening->iov.iov_len ||
        snapshot_checksum(device->seed, piece) != snapshot_piece_at(&opening->snapshot, opening->piece)) {
        counter_add(&device->stats.corrupt, 1);
        probe_all(opening);
        return;
    }
    if (++opening->piece == opening->snapshot.piece_count)
        purges_read_start(opening);
    else
        piece_read(opening);
}

static void piece_read(struct opening *opening)
{
    struct device *device = opening->device;
    uint64_t at = opening->piece * SNAPSHOT_PIECE;
    opening->iov = (struct iovec){index_raw(device->index) + at, segment_blocks_up(piece_len(opening))};
    struct io_loop *loop = opening_begin(opening, piece_done);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1,
        device->super.snapshot_offset + opening->buffer_len + at);
}

static void state_read(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    struct bytes raw = bytes_of(opening->state, opening->buffer_len);
    int result = op->result == (int64_t)opening->buffer_len
                     ? snapshot_decode(&opening->snapshot, raw, device->seed, opening->mark)
                     : E_CORRUPT;
    if (result < 0 || opening->snapshot.index_buckets != device->super.index_buckets) {
        counter_add(&device->stats.corrupt, 1);
        probe_all(opening);
        return;
    }
    opening->piece = 0;
    piece_read(opening);
}

/* The state's length follows from the number of segments then; the count in the state is checked by its
 * length. */
static void snapshot_read(struct opening *opening)
{
    struct device *device = opening->device;
    opening->buffer_len = snapshot_state_bytes(device->snapshot_segments, device->super.index_buckets);
    free(opening->state);
    opening->state = aligned_alloc(SEGMENT_BLOCK, opening->buffer_len);
    if (opening->state == NULL) {
        probe_all(opening);
        return;
    }
    opening->iov = (struct iovec){opening->state, opening->buffer_len};
    struct io_loop *loop = opening_begin(opening, state_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, device->super.snapshot_offset);
}

static void serve_empty(struct opening *opening)
{
    serve(opening, false);
}

static void both_written(struct device_super_write *write, int result)
{
    struct opening *opening = CONTAINER_OF(write, struct opening, super);
    struct device *device = opening->device;
    if (result < 0) {
        opening_refuse(opening, result, "its superblock can't be written");
        return;
    }
    if (--opening->supers_left > 0) {
        device_super_write(write);
        return;
    }
    device->generation_limit = device->super.generation_bound;
    if (device->super.dead_below >= device->first_own_generation)
        opening_space(opening, serve_empty);
    else if (opening->mark != 0)
        snapshot_read(opening);
    else
        probe_all(opening);
}

/* What can't be read might hide the rest: all that the device holds is declared dead, before any of it is
 * overwritten. */
static void start_over(struct opening *opening, int error)
{
    struct device *device = opening->device;
    device_event(device, DISK_EVENT_DEGRADED, error, "a segment can't be read: it starts empty");
    purges_left(device->disk->purges, device->number);
    device->super.dead_below = device->first_own_generation;
    opening->supers_left = SUPERBLOCK_COPIES;
    device_super_write(&opening->super);
}

static void probed(void *context, int result)
{
    struct opening *opening = context;
    if (result < 0)
        start_over(opening, result);
    else
        serve(opening, true);
}

static bool allocate(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    device->segment_count = (uint32_t)device->super.segment_count;
    device->segment_bytes = (uint32_t)device->super.segment_bytes;
    device->carry_room = device->segment_bytes / 4; /* both until the first segment is reclaimed */
    device->seed = device->super.hash_seed;
    uint64_t expected = 8 * (uint64_t)device->segment_bytes / device->expected_item_bytes;
    device->rows_max = expected > ROWS_MIN ? (uint32_t)expected : ROWS_MIN;
    device->carry_rows = device->rows_max / 4;
    device->index = index_create(device->super.index_buckets);
    device->segments = calloc(device->segment_count, sizeof *device->segments);
    device->live = calloc(device->segment_count, sizeof *device->live);
    device->free = calloc(device->segment_count, sizeof *device->free);
    bool all =
        device->index != NULL && device->segments != NULL && device->live != NULL && device->free != NULL;
    pthread_mutex_unlock(&device->lock);
    return all && closing_prepare(device) == 0;
}

static void superblock_is_durable(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    if (op->result < 0)
        opening_refuse(opening, (int)op->result, "it can't be synced");
    else
        device_super_write(&opening->super);
}

void device_start(struct device *device, void (*done)(struct device *device, int result))
{
    struct opening *opening = device->opening;
    opening->done = done;
    device_reset(device);
    if (!allocate(device)) {
        opening_refuse(opening, -ENOMEM, "its index does not fit into memory");
        return;
    }
    opening->mark = device->starts_empty ? 0 : device->super.snapshot_mark;
    device->super.snapshot_mark = 0;
    device->next_generation = device->first_own_generation = device->super.generation_bound;
    if (device->starts_empty)
        device->super.dead_below = device->next_generation;
    device->super.generation_bound = device->next_generation + device->segment_count + 1;
    opening->supers_left = SUPERBLOCK_COPIES;
    opening->super.done = both_written;
    /* The copy that was read may be one that a killed process did not get to sync; the other is overwritten
     * now.
     */
    struct io_loop *loop = opening_begin(opening, superblock_is_durable);
    io_file_sync(loop, &opening->op, device->file);
}
