/*
 * Opening a device, in two halves with the tier's decision (epoch, owners, who starts empty) between them.
 *
 * device_open: open and lock the file, look at what it is, read its superblock or make one. A file that is
 * neither empty nor ours is refused and not touched. A new file gets its superblock first and its space
 * second, so that a half-made one is recognised. A partition is taken only when its first and last MiB hold
 * nothing: some file systems leave the first 64 KiB free. device_start: write both copies of the superblock
 * (new epoch, no snapshot mark), then take the snapshot if the old one carried a mark, else find the
 * generation of each segment from its footer or first header.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/footprint.h"
#include "cache/snapshot.h"
#include "cache/tier.h"
#include "cache/worker.h"

#define ROWS_MIN 1024
#define BLANK_BYTES (1u << 20)

#define LOCK_TRIES 30
#define LOCK_RETRY_NS (100 * NS_PER_MS)

struct opening {
    struct device *device;
    struct io_op op;
    struct iovec iov;
    uint8_t *buffer;
    uint64_t buffer_len, mark, piece;
    void (*then)(struct opening *opening); /* when there is room */
    struct device_super_write super;
    unsigned supers_left;
    struct snapshot snapshot;
    uint8_t *state, *purges;
    unsigned lock_tries;
    void (*done)(struct device *device, int result);
};

static void opening_destroy(struct opening *opening)
{
    free(opening->buffer);
    free(opening->state);
    free(opening->purges);
    free(opening->super.buffer);
    free(opening);
}

static void end(struct opening *opening, int result)
{
    struct device *device = opening->device;
    void (*done)(struct device *, int) = opening->done;
    device->opening = NULL;
    opening_destroy(opening);
    done(device, result);
}

static struct opening *opening_of(struct io_op *op)
{
    return CONTAINER_OF(op, struct opening, op);
}

static struct io_loop *begin(struct opening *opening, void (*done)(struct io_op *op))
{
    io_op_init(&opening->op, done);
    return opening->device->home->loop;
}

/* ---- closing again what is refused ---- */

static void refused_closed(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    opening->device->file = IO_HANDLE_NONE;
    end(opening, (int)(int64_t)opening->piece);
}

static void refuse(struct opening *opening, int error, const char *why)
{
    device_event(opening->device, DISK_EVENT_REFUSED, error, "%s: %s", why, error_text(error));
    opening->piece = (uint64_t)(int64_t)error;
    atomic_store(&opening->device->state, DEVICE_CLOSED);
    if (!io_handle_valid(opening->device->file)) {
        end(opening, error);
        return;
    }
    struct io_loop *loop = begin(opening, refused_closed);
    io_file_close(loop, &opening->op, opening->device->file);
}

/* ---- first half ---- */

static void space_ready(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    if (op->result < 0)
        refuse(opening, (int)op->result, "there is no room for it");
    else
        opening->then(opening);
}

static void space(struct opening *opening, void (*then)(struct opening *opening))
{
    struct device *device = opening->device;
    if (device->info.block_device) {
        then(opening);
        return;
    }
    opening->then = then;
    uint64_t bytes = superblock_end(&device->super);
    struct io_loop *loop = begin(opening, space_ready);
    if (device->info.size_bytes > bytes)
        io_file_truncate(loop, &opening->op, device->file, bytes);
    else
        io_file_allocate(loop, &opening->op, device->file, bytes);
}

/* The opening is kept for the second half. */
static void opened_well(struct opening *opening)
{
    opening->done(opening->device, 0);
}

static void made(struct device_super_write *write, int result)
{
    struct opening *opening = CONTAINER_OF(write, struct opening, super);
    if (result < 0)
        refuse(opening, result, "its superblock can't be written");
    else if (--opening->supers_left > 0)
        device_super_write(write);
    else
        space(opening, opened_well);
}

static void make(struct opening *opening)
{
    struct device *device = opening->device;
    int result = superblock_plan(&device->super, device->size_bytes, device->expected_item_bytes);
    if (result < 0) {
        refuse(opening, result, "its size must be at least 32 segments of 1 MiB and what is beside them");
        return;
    }
    random_os(device->super.id.bytes, sizeof device->super.id.bytes);
    random_os(&device->super.hash_seed, sizeof device->super.hash_seed);
    device->super.generation_bound = device->super.dead_below = 1;
    device->fresh = true;
    opening->supers_left = SUPERBLOCK_COPIES;
    opening->super.done = made;
    device_super_write(&opening->super);
}

/* What the configured size makes of the geometry: it may grow; a smaller one starts empty, and so does a file
 * that was cut off: what is gone may have hidden what is left. Then the superblock says so before the file
 * gets its size; one that keeps its items gets the room first. */
static void resize(struct opening *opening)
{
    struct device *device = opening->device;
    uint64_t count = superblock_segments_in(&device->super, device->size_bytes);
    if (count < 4) {
        refuse(opening, -EINVAL, "the configured size is too small for its segments");
        return;
    }
    bool cut = device->info.regular && device->info.size_bytes < superblock_end(&device->super);
    device->starts_empty = count < device->super.segment_count || cut;
    device->snapshot_segments = device->super.segment_count;
    device->super.segment_count = count;
    if (device->starts_empty)
        opened_well(opening);
    else
        space(opening, opened_well);
}

static void not_ours(struct opening *opening, int result)
{
    refuse(opening, result, result == E_UNSUPPORTED ? "its format is newer" : "it holds something else");
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void blank_read(struct io_op *op);

/* A partition without a superblock: does it hold anything else? `piece` counts the ends looked at. */
static void blank_look(struct opening *opening)
{
    struct device *device = opening->device;
    uint64_t last = (device->info.size_bytes - BLANK_BYTES) / SEGMENT_BLOCK * SEGMENT_BLOCK;
    opening->iov = (struct iovec){opening->state, BLANK_BYTES};
    struct io_loop *loop = begin(opening, blank_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, opening->piece == 0 ? 0 : last);
}

static void blank_read(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    size_t ours = opening->piece == 0 ? opening->buffer_len : 0;
    if (op->result != BLANK_BYTES || !all_zero(opening->state + ours, BLANK_BYTES - ours))
        not_ours(opening, op->result < 0 ? (int)op->result : E_FOREIGN);
    else if (++opening->piece < 2)
        blank_look(opening);
    else
        make(opening);
}

/* Neither copy of a superblock can be read. */
static void half_made(struct opening *opening)
{
    struct device *device = opening->device;
    if (device->info.regular && device->info.size_bytes == opening->buffer_len) {
        make(opening);
        return;
    }
    opening->state = aligned_alloc(SEGMENT_BLOCK, BLANK_BYTES);
    if (opening->state == NULL) {
        refuse(opening, -ENOMEM, "it can't be looked at");
        return;
    }
    opening->piece = 0;
    if (device->info.block_device && device->info.size_bytes >= BLANK_BYTES)
        blank_look(opening);
    else
        not_ours(opening, E_FOREIGN);
}

static void super_read(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    struct device *device = opening->device;
    if (op->result < 0) {
        refuse(opening, (int)op->result, "it can't be read");
        return;
    }
    struct bytes copies = bytes_of(opening->buffer, (size_t)op->result);
    int result = superblock_choose(&device->super, copies);
    /* A file that has no room yet was never used, and its superblock may not be durable. */
    bool begun = device->info.regular && device->info.size_bytes == opening->buffer_len;
    if (result == 0 && !begun)
        resize(opening);
    else if (result != E_UNSUPPORTED && (result == 0 || superblock_is_half_made(copies)))
        half_made(opening);
    else
        not_ours(opening, result);
}

static void stat_done(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    struct device *device = opening->device;
    if (op->result < 0) {
        refuse(opening, (int)op->result, "it can't be looked at");
        return;
    }
    if (device->info.block_device &&
        (device->size_bytes == 0 || device->size_bytes > device->info.size_bytes))
        device->size_bytes = device->info.size_bytes;
    if (device->info.regular && device->info.size_bytes == 0) {
        make(opening);
        return;
    }
    opening->iov = (struct iovec){opening->buffer, opening->buffer_len};
    struct io_loop *loop = begin(opening, super_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, 0);
}

static void open_file(struct opening *opening);

static void lock_waited(struct io_op *op)
{
    open_file(opening_of(op));
}

static void opened(struct io_op *op)
{
    struct opening *opening = opening_of(op);
    struct device *device = opening->device;
    /* The kernel ends the ring of a killed process in its own time, and the lock with its last operation. */
    if (op->result == -EBUSY && opening->lock_tries++ < LOCK_TRIES) {
        struct io_loop *loop = begin(opening, lock_waited);
        io_timer(loop, &opening->op, io_now_ns(loop) + LOCK_RETRY_NS);
        return;
    }
    if (op->result < 0) {
        refuse(
            opening, (int)op->result, op->result == -EBUSY ? "another process has it" : "it can't be opened");
        return;
    }
    device->file = op->handle;
    struct io_loop *loop = begin(opening, stat_done);
    io_file_stat(loop, &opening->op, device->file, &device->info);
}

static void open_file(struct opening *opening)
{
    struct device *device = opening->device;
    struct io_loop *loop = begin(opening, opened);
    io_open(loop, &opening->op, device->path,
        IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT | IO_OPEN_LOCK | IO_OPEN_NOFOLLOW |
            IO_OPEN_DEVICE | IO_OPEN_REGULAR);
}

static struct opening *opening_create(struct device *device, void (*done)(struct device *device, int result))
{
    struct opening *opening = calloc(1, sizeof *opening);
    if (opening == NULL)
        return NULL;
    opening->device = device;
    opening->done = done;
    opening->buffer_len = SUPERBLOCK_COPIES * SUPERBLOCK_BYTES;
    opening->buffer = aligned_alloc(SEGMENT_BLOCK, opening->buffer_len);
    if (opening->buffer != NULL && device_super_write_init(&opening->super, device, NULL) == 0)
        return opening;
    opening_destroy(opening);
    return NULL;
}

int device_open(struct device *device, void (*done)(struct device *device, int result))
{
    struct opening *opening = opening_create(device, done);
    if (opening == NULL) {
        device_event(device, DISK_EVENT_REFUSED, -ENOMEM, "there is no memory to open it");
        return -ENOMEM;
    }
    device->opening = opening;
    atomic_store(&device->state, DEVICE_OPENING);
    device->file = IO_HANDLE_NONE;
    device->fresh = device->starts_empty = false;
    open_file(opening);
    return 0;
}

/* ---- second half ---- */

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
        refuse(opening, -ENOMEM, "there is no memory to read its tables");
        return;
    }
    atomic_store(&device->state, DEVICE_IN_SERVICE);
    struct footprint memory = footprint_of(device);
    device_event(device, DISK_EVENT_OPENED, 0,
        "%u segments of %u KiB, %llu items, %u segments to read, %s; memory %llu KiB, at most %llu more "
        "writing "
        "and %llu reading; tier %llu, each loop %llu",
        device->segment_count, device->segment_bytes / 1024, (unsigned long long)index_count(device->index),
        behind ? live : 0, device->info.direct ? "direct" : "buffered",
        (unsigned long long)memory.fixed / 1024, (unsigned long long)memory.writing / 1024,
        (unsigned long long)memory.reading / 1024, (unsigned long long)memory.tier / 1024,
        (unsigned long long)memory.loop / 1024);
    device_wake(device);
    end(opening, 0);
}

/* Without a snapshot. */
static void probed(void *context, int result);

static void probe_all(struct opening *opening)
{
    index_clear(opening->device->index);
    int result = probes_start(opening->device, probed, opening);
    if (result < 0)
        refuse(opening, result, "its segments can't be looked at");
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
    struct opening *opening = opening_of(op);
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
    struct io_loop *loop = begin(opening, purges_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, device->super.snapshot_offset + at);
}

static void piece_done(struct io_op *op)
{
    struct opening *opening = opening_of(op);
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
    struct io_loop *loop = begin(opening, piece_done);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1,
        device->super.snapshot_offset + opening->buffer_len + at);
}

static void state_read(struct io_op *op)
{
    struct opening *opening = opening_of(op);
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
    struct io_loop *loop = begin(opening, state_read);
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
        refuse(opening, result, "its superblock can't be written");
        return;
    }
    if (--opening->supers_left > 0) {
        device_super_write(write);
        return;
    }
    device->generation_limit = device->super.generation_bound;
    if (device->super.dead_below >= device->first_own_generation)
        space(opening, serve_empty);
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
    device->seed = device->super.hash_seed;
    uint64_t expected = 8 * (uint64_t)device->segment_bytes / device->expected_item_bytes;
    device->rows_max = expected > ROWS_MIN ? (uint32_t)expected : ROWS_MIN;
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
    struct opening *opening = opening_of(op);
    if (op->result < 0)
        refuse(opening, (int)op->result, "it can't be synced");
    else
        device_super_write(&opening->super);
}

void device_start(struct device *device, void (*done)(struct device *device, int result))
{
    struct opening *opening = device->opening;
    opening->done = done;
    device_reset(device);
    if (!allocate(device)) {
        refuse(opening, -ENOMEM, "its index does not fit into memory");
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
    struct io_loop *loop = begin(opening, superblock_is_durable);
    io_file_sync(loop, &opening->op, device->file);
}
