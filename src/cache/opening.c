/*
 * The first half of opening a device: open and lock the file, look at what it is, read its superblock or make
 * one. A file that is neither empty nor ours is refused and not touched. A new file gets its superblock first
 * and its space second, so that a half-made one is recognised. A partition is taken only when its first and
 * last MiB hold nothing: some file systems leave the first 64 KiB free.
 */
#include "cache/opening.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/worker.h"

#define BLANK_BYTES (1u << 20)

#define LOCK_TRIES 60
#define LOCK_RETRY_NS (100 * NS_PER_MS)

static void opening_destroy(struct opening *opening)
{
    free(opening->buffer);
    free(opening->state);
    free(opening->purges);
    free(opening->super.buffer);
    free(opening);
}

void opening_end(struct opening *opening, int result)
{
    struct device *device = opening->device;
    void (*done)(struct device *, int) = opening->done;
    device->opening = NULL;
    opening_destroy(opening);
    done(device, result);
}

struct opening *opening_of_op(struct io_op *op)
{
    return CONTAINER_OF(op, struct opening, op);
}

struct io_loop *opening_begin(struct opening *opening, void (*done)(struct io_op *op))
{
    io_op_init(&opening->op, done);
    return opening->device->home->loop;
}

/* ---- closing again what is refused ---- */

static void refused_closed(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    opening->device->file = IO_HANDLE_NONE;
    opening_end(opening, (int)(int64_t)opening->piece);
}

void opening_refuse(struct opening *opening, int error, const char *why)
{
    device_event(opening->device, DISK_EVENT_REFUSED, error, "%s: %s", why, error_text(error));
    opening->piece = (uint64_t)(int64_t)error;
    atomic_store(&opening->device->state, DEVICE_CLOSED);
    if (!io_handle_valid(opening->device->file)) {
        opening_end(opening, error);
        return;
    }
    struct io_loop *loop = opening_begin(opening, refused_closed);
    io_file_close(loop, &opening->op, opening->device->file);
}

/* ---- file and superblock ---- */

static void space_ready(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    if (op->result < 0)
        opening_refuse(opening, (int)op->result, "there is no room for it");
    else
        opening->then(opening);
}

void opening_space(struct opening *opening, void (*then)(struct opening *opening))
{
    struct device *device = opening->device;
    if (device->info.block_device) {
        then(opening);
        return;
    }
    opening->then = then;
    uint64_t bytes = superblock_end(&device->super);
    struct io_loop *loop = opening_begin(opening, space_ready);
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
        opening_refuse(opening, result, "its superblock can't be written");
    else if (--opening->supers_left > 0)
        device_super_write(write);
    else
        opening_space(opening, opened_well);
}

static void make(struct opening *opening)
{
    struct device *device = opening->device;
    int result = superblock_plan(&device->super, device->size_bytes, device->expected_item_bytes);
    if (result < 0) {
        opening_refuse(
            opening, result, "its size must be at least 32 segments of 1 MiB and what is beside them");
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
        opening_refuse(opening, -EINVAL, "the configured size is too small for its segments");
        return;
    }
    bool cut = device->info.regular && device->info.size_bytes < superblock_end(&device->super);
    device->starts_empty = count < device->super.segment_count || cut;
    device->snapshot_segments = device->super.segment_count;
    device->super.segment_count = count;
    if (device->starts_empty)
        opened_well(opening);
    else
        opening_space(opening, opened_well);
}

static void not_ours(struct opening *opening, int result)
{
    opening_refuse(
        opening, result, result == E_UNSUPPORTED ? "its format is newer" : "it holds something else");
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
    struct io_loop *loop = opening_begin(opening, blank_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, opening->piece == 0 ? 0 : last);
}

static void blank_read(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
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
        opening_refuse(opening, -ENOMEM, "it can't be looked at");
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
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    if (op->result < 0) {
        opening_refuse(opening, (int)op->result, "it can't be read");
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
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    if (op->result < 0) {
        opening_refuse(opening, (int)op->result, "it can't be looked at");
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
    struct io_loop *loop = opening_begin(opening, super_read);
    io_file_read(loop, &opening->op, device->file, &opening->iov, 1, 0);
}

static void open_file(struct opening *opening);

static void lock_waited(struct io_op *op)
{
    open_file(opening_of_op(op));
}

static void opened(struct io_op *op)
{
    struct opening *opening = opening_of_op(op);
    struct device *device = opening->device;
    /* The kernel ends the ring of a killed process in its own time, and the lock with its last operation: who
     * comes right after it, to a disk that is slow just then, must not do without it for all its life. */
    if (op->result == -EBUSY && opening->lock_tries++ < LOCK_TRIES) {
        struct io_loop *loop = opening_begin(opening, lock_waited);
        io_timer(loop, &opening->op, io_now_ns(loop) + LOCK_RETRY_NS);
        return;
    }
    if (op->result < 0) {
        opening_refuse(
            opening, (int)op->result, op->result == -EBUSY ? "another process has it" : "it can't be opened");
        return;
    }
    device->file = op->handle;
    struct io_loop *loop = opening_begin(opening, stat_done);
    io_file_stat(loop, &opening->op, device->file, &device->info);
}

static void open_file(struct opening *opening)
{
    struct device *device = opening->device;
    struct io_loop *loop = opening_begin(opening, opened);
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
