/*
 * Closing a device: let what waits be written, seal the open segment, leave the snapshot, sync, set its mark,
 * sync, close. It looks every millisecond whether what was in flight has ended. When the tier has given up
 * (its deadline), it stops looking; what is in flight then stays as it is, and the next open recovers as
 * after a crash.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/snapshot.h"
#include "cache/tier.h"
#include "cache/worker.h"

struct closing {
    struct device *device;
    struct io_op op;
    struct iovec iov;
    uint8_t *state;
    uint64_t state_len, piece, *sums;
    uint8_t *purges;
    uint64_t purge_bytes;
    struct device_super_write super;
    bool clean;
    void (*done)(struct device *device, int result);
};

int closing_prepare(struct device *device)
{
    CHECK(device->closing == NULL);
    struct closing *closing = calloc(1, sizeof *closing);
    if (closing == NULL)
        return -ENOMEM;
    closing->device = device;
    device->closing = closing;
    return 0;
}

void closing_forget(struct device *device)
{
    struct closing *closing = device->closing;
    device->closing = NULL;
    if (closing == NULL)
        return;
    free(closing->state);
    free(closing->sums);
    free(closing->purges);
    free(closing->super.buffer);
    free(closing);
}

static struct closing *closing_of(struct io_op *op)
{
    return CONTAINER_OF(op, struct closing, op);
}

static struct io_loop *begin(struct closing *closing, void (*done)(struct io_op *op))
{
    io_op_init(&closing->op, done);
    return closing->device->home->loop;
}

static void closed(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    struct device *device = closing->device;
    void (*done)(struct device *, int) = closing->done;
    int result = closing->clean ? 0 : E_TIMEOUT;
    atomic_store(&device->state, DEVICE_CLOSED);
    device->file = IO_HANDLE_NONE;
    closing_forget(device);
    device_reset(device);
    done(device, result);
}

static void close_file(struct closing *closing)
{
    struct io_loop *loop = begin(closing, closed);
    io_file_close(loop, &closing->op, closing->device->file);
}

static void failed(struct closing *closing)
{
    closing->clean = false;
    close_file(closing);
}

/* ---- the snapshot ---- */

/* Without a snapshot (recovery had not ended, or there is no memory for it): what was written is at least
 * durable. */
static void only_synced(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    closing->clean = op->result >= 0;
    close_file(closing);
}

static void only_sync(struct closing *closing)
{
    struct io_loop *loop = begin(closing, only_synced);
    io_file_sync(loop, &closing->op, closing->device->file);
}

static void marked(struct device_super_write *write, int result)
{
    struct closing *closing = CONTAINER_OF(write, struct closing, super);
    closing->clean = result == 0;
    close_file(closing);
}

static void state_written(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    if (op->result != (int64_t)closing->state_len) {
        failed(closing);
        return;
    }
    device_super_write(&closing->super);
}

static void state_write(struct closing *closing)
{
    struct device *device = closing->device;
    struct snapshot_segment *segments = calloc(device->segment_count, sizeof *segments);
    if (segments == NULL) {
        only_sync(closing);
        return;
    }
    for (uint32_t i = 0; i < device->segment_count; i++)
        if (device->segments[i].state == SEGMENT_SEALED)
            segments[i] =
                (struct snapshot_segment){.generation = atomic_load(&device->segments[i].generation),
                    .data_end = device->segments[i].data_end};
    struct snapshot snapshot = {.epoch = device->super.epoch,
        .segment_count = device->segment_count,
        .index_buckets = device->super.index_buckets,
        .next_generation = device->next_generation,
        .piece_count = snapshot_pieces(device->super.index_buckets),
        .purge_bytes = closing->purge_bytes,
        .purge_checksum = snapshot_checksum(device->seed, bytes_of(closing->purges, closing->purge_bytes))};
    device->super.snapshot_mark =
        snapshot_encode(&snapshot, segments, closing->sums, device->seed, closing->state);
    free(segments);
    closing->iov = (struct iovec){closing->state, closing->state_len};
    struct io_loop *loop = begin(closing, state_written);
    io_file_write_sync(loop, &closing->op, device->file, &closing->iov, 1, device->super.snapshot_offset);
}

static void purges_written(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    if (op->result != (int64_t)closing->iov.iov_len)
        failed(closing);
    else
        state_write(closing);
}

static void purges_write(struct closing *closing)
{
    struct device *device = closing->device;
    uint64_t at = snapshot_purges_at(device->segment_count, device->super.index_buckets);
    closing->purge_bytes = purges_encode(device->disk->purges, device->number, closing->purges);
    uint32_t len = segment_blocks_up(closing->purge_bytes);
    memset(closing->purges + closing->purge_bytes, 0, len - closing->purge_bytes);
    closing->iov = (struct iovec){closing->purges, len};
    struct io_loop *loop = begin(closing, purges_written);
    io_file_write(loop, &closing->op, device->file, &closing->iov, 1, device->super.snapshot_offset + at);
}

static void piece_write(struct closing *closing);

static void piece_written(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    if (op->result != (int64_t)closing->iov.iov_len) {
        failed(closing);
        return;
    }
    if (++closing->piece == snapshot_pieces(closing->device->super.index_buckets))
        purges_write(closing);
    else
        piece_write(closing);
}

static void piece_write(struct closing *closing)
{
    struct device *device = closing->device;
    uint64_t at = closing->piece * SNAPSHOT_PIECE, left = index_bytes(device->index) - at;
    uint64_t len = left < SNAPSHOT_PIECE ? left : SNAPSHOT_PIECE;
    uint8_t *piece = index_raw(device->index) + at;
    closing->sums[closing->piece] = snapshot_checksum(device->seed, bytes_of(piece, len));
    closing->iov = (struct iovec){piece, segment_blocks_up(len)};
    struct io_loop *loop = begin(closing, piece_written);
    io_file_write(loop, &closing->op, device->file, &closing->iov, 1,
        device->super.snapshot_offset + closing->state_len + at);
}

static void snapshot_begin(struct closing *closing)
{
    struct device *device = closing->device;
    uint64_t buckets = device->super.index_buckets;
    closing->state_len = snapshot_state_bytes(device->segment_count, buckets);
    bool fits = device_super_write_init(&closing->super, device, marked) == 0 &&
                snapshot_bytes_for(device->segment_count, buckets) <= device->super.snapshot_bytes;
    closing->state = aligned_alloc(SEGMENT_BLOCK, closing->state_len);
    closing->sums = calloc(snapshot_pieces(buckets), sizeof *closing->sums);
    closing->purges = aligned_alloc(SEGMENT_BLOCK, segment_blocks_up(PURGES_ENCODED_MAX));
    if (!fits || closing->state == NULL || closing->sums == NULL || closing->purges == NULL) {
        only_sync(closing);
        return;
    }
    piece_write(closing);
}

/* ---- waiting ---- */

/* Is nothing in flight any more? Seals what is still open. */
static bool is_quiet(struct device *device)
{
    struct list_node ready;
    list_init(&ready);
    pthread_mutex_lock(&device->lock);
    if (list_empty(&device->waiting))
        append_seal(device, &ready);
    bool quiet = list_empty(&device->waiting) && list_empty(&device->tickets) &&
                 list_empty(&device->flushes) && list_empty(&device->held) && device->open == NULL &&
                 atomic_load(&device->writing_count) == 0;
    for (uint32_t i = 0; quiet && i < device->segment_count; i++)
        quiet = atomic_load(&device->segments[i].pins) == 0 && device->segments[i].state != SEGMENT_SEALING;
    pthread_mutex_unlock(&device->lock);
    write_submit_all(device->home, &ready);
    return quiet && atomic_load(&device->reads_in_flight) == 0 && !reclaim_busy(device) &&
           device->recovery == NULL && device->retry_write.buffer == NULL &&
           !atomic_load(&device->home_posted) && !io_op_busy(&device->retry) && !io_op_busy(&device->room);
}

static bool nothing_waits(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    bool nothing = list_empty(&device->waiting);
    pthread_mutex_unlock(&device->lock);
    return nothing;
}

static void look(struct io_op *op);

static void wait(struct closing *closing)
{
    struct io_loop *loop = begin(closing, look);
    io_timer(loop, &closing->op, io_now_ns(loop) + NS_PER_MS);
}

static void look(struct io_op *op)
{
    struct closing *closing = closing_of(op);
    struct device *device = closing->device;
    if (device->disk->turn.gave_up) {
        closing_forget(device); /* the rest is left as it is */
        return;
    }
    if (io_op_busy(&device->retry))
        io_cancel(device->home->loop, &device->retry);
    if (io_op_busy(&device->room) && nothing_waits(device))
        io_cancel(device->home->loop, &device->room);
    if (!is_quiet(device)) {
        wait(closing);
        return;
    }
    closing->clean = closing->clean && !device->missed_remove;
    if (closing->clean && atomic_load(&device->first_generation) == 0)
        snapshot_begin(closing);
    else if (closing->clean)
        only_sync(closing);
    else
        close_file(closing);
}

void device_close(struct device *device, void (*done)(struct device *device, int result))
{
    struct closing *closing = device->closing;
    closing->done = done;
    pthread_mutex_lock(&device->lock);
    closing->clean = device_in_service(device);
    atomic_store(&device->state, DEVICE_CLOSING);
    device->gave_up = !closing->clean; /* one that is out takes nothing more */
    pthread_mutex_unlock(&device->lock);
    device_wake(device);
    wait(closing);
}
