/*
 * Files: handles of struct io, ops of a loop. Here is the bookkeeping; what runs on a pool thread is in
 * disk.c.
 *
 * An open allocates its struct io_file at submission, so that the thread only fills it in. A file counts its
 * ops in flight; a close waits until the last has called back.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/core.h"

static void set_file(struct io_op *op, struct io_file *file)
{
    ((struct io_op_file *)(void *)op->io.small)->file = file;
}

static void start(struct io_loop *loop, struct io_op *op, unsigned pool)
{
    if (loop->driver->blocking == NULL || !loop->driver->blocking(loop, op))
        pool_submit(loop, op, pool);
}

static struct io_file *find_and_use(struct io_loop *loop, struct io_handle handle)
{
    struct io *io = loop->io;
    pthread_mutex_lock(&io->lock);
    struct io_file *file = slot_get(io, SLOT_FILE, handle);
    if (file != NULL && file->stale)
        file = NULL;
    if (file != NULL)
        atomic_fetch_add(&file->pending, 1);
    pthread_mutex_unlock(&io->lock);
    return file;
}

/* Submits an op on a file and fills in what all have; NULL when it is complete already. */
static struct io_file *begin(
    struct io_loop *loop, struct io_op *op, enum io_kind kind, struct io_handle handle)
{
    if (!op_submit(loop, op, kind))
        return NULL;
    struct io_file *file = find_and_use(loop, handle);
    if (file == NULL) {
        io_complete(op, -EBADF);
        return NULL;
    }
    set_file(op, file);
    op->io.fd = file->fd;
    op->io.target = handle;
    return file;
}

static struct io_file *create(struct io_loop *loop, unsigned flags)
{
    struct io *io = loop->io;
    struct io_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    file->fd = -1;
    file->flags = flags;
    file->queue_room = UINT_MAX;
    file->stale = true; /* until it is open */
    if (slot_put(io, SLOT_FILE, file, &file->handle) < 0) {
        free(file);
        return NULL;
    }
    if (flags & IO_OPEN_DEVICE) {
        pthread_mutex_lock(&io->lock);
        file->pool = pool_take_for_device(io);
        pthread_mutex_unlock(&io->lock);
    }
    return file;
}

static void destroy(struct io *io, struct io_file *file)
{
    pthread_mutex_lock(&io->lock);
    slot_drop(io, file->handle);
    pool_give(io, file->pool);
    pthread_mutex_unlock(&io->lock);
    free(file);
}

void io_open(struct io_loop *loop, struct io_op *op, const char *path, unsigned flags)
{
    CHECK((flags & (IO_OPEN_READ | IO_OPEN_WRITE)) != 0);
    if (!op_submit(loop, op, IO_KIND_OPEN))
        return;
    struct io_file *file = create(loop, flags);
    if (file == NULL) {
        io_complete(op, -ENOMEM);
        return;
    }
    set_file(op, file);
    op->io.pointer = (void *)path;
    op->io.offset = flags;
    start(loop, op, 0);
}

void io_open_beneath(
    struct io_loop *loop, struct io_op *op, struct io_handle directory, const char *path, unsigned flags)
{
    CHECK((flags & (IO_OPEN_READ | IO_OPEN_WRITE)) != 0);
    if (!op_submit(loop, op, IO_KIND_OPEN_BENEATH))
        return;
    struct io_file *parent = find_and_use(loop, directory);
    if (parent == NULL) {
        io_complete(op, -EBADF);
        return;
    }
    op->io.pointer2 = parent;
    struct io_file *file = create(loop, flags);
    if (file == NULL) {
        io_complete(op, -ENOMEM);
        return;
    }
    set_file(op, file);
    op->io.pointer = (void *)path;
    op->io.offset = flags;
    start(loop, op, 0);
}

void file_opened(struct io_loop *loop, struct io_op *op)
{
    struct io_file *file = io_op_file(op);
    if (file == NULL)
        return;
    set_file(op, NULL);
    if (op->result < 0) {
        CHECK(file->fd < 0);
        destroy(loop->io, file);
        return;
    }
    if (file->fd >= 0 && loop->driver->file_opened != NULL)
        loop->driver->file_opened(loop, file);
    op->handle = file->handle;
    atomic_store(&file->stale, false);
}

void io_file_stat(struct io_loop *loop, struct io_op *op, struct io_handle handle, struct io_file_info *info)
{
    struct io_file *file = begin(loop, op, IO_KIND_STAT, handle);
    if (file == NULL)
        return;
    op->io.pointer = info;
    start(loop, op, file->pool);
}

static void transfer(struct io_loop *loop, struct io_op *op, enum io_kind kind, uint8_t flags,
    struct io_handle handle, struct iovec *iov, unsigned count, uint64_t offset)
{
    CHECK(count > 0 && count <= IO_VECTOR_MAX);
    struct io_file *file = begin(loop, op, kind, handle);
    if (file == NULL)
        return;
    op->io.flags |= flags;
    op->io.iov = iov;
    op->io.count = count;
    op->io.offset = offset;
    start(loop, op, file->pool);
}

void io_file_read(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset)
{
    transfer(loop, op, IO_KIND_READ, 0, file, iov, count, offset);
}

void io_file_write(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset)
{
    transfer(loop, op, IO_KIND_WRITE, 0, file, iov, count, offset);
}

void io_file_write_sync(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset)
{
    transfer(loop, op, IO_KIND_WRITE, IO_FLAG_SYNC, file, iov, count, offset);
}

static void simple(struct io_loop *loop, struct io_op *op, enum io_kind kind, struct io_handle handle,
    uint64_t offset, uint64_t len)
{
    struct io_file *file = begin(loop, op, kind, handle);
    if (file == NULL)
        return;
    op->io.offset = offset;
    op->io.partial = (int64_t)len;
    start(loop, op, file->pool);
}

void io_file_sync(struct io_loop *loop, struct io_op *op, struct io_handle file)
{
    simple(loop, op, IO_KIND_SYNC, file, 0, 0);
}

void io_file_allocate(struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t len)
{
    simple(loop, op, IO_KIND_ALLOCATE, file, len, 0);
}

void io_file_truncate(struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t len)
{
    simple(loop, op, IO_KIND_TRUNCATE, file, len, 0);
}

void io_file_discard(
    struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t offset, uint64_t len)
{
    simple(loop, op, IO_KIND_DISCARD, file, offset, len);
}

/* The last op is over: the close itself, on a thread, since it may wait for the file system. */
static void close_now(struct io_loop *loop, struct io_file *file)
{
    struct io_op *op = file->closing;
    file->closing = NULL;
    op->io.state = IO_DRIVEN;
    if (loop->driver->blocking != NULL && loop->driver->blocking(loop, op))
        return;
    if (loop->driver->file_closing != NULL)
        loop->driver->file_closing(loop, file);
    pool_submit(loop, op, file->pool);
}

void file_settle(struct io_loop *loop, struct io_file *file)
{
    /* Of another loop's closing nothing may be touched: its file may be gone after the subtraction. */
    CHECK(file->pending > 0);
    if (atomic_fetch_sub(&file->pending, 1) == 1 && file->closing != NULL)
        close_now(loop, file);
}

void io_file_close(struct io_loop *loop, struct io_op *op, struct io_handle handle)
{
    struct io_file *file = begin(loop, op, IO_KIND_FILE_CLOSE, handle);
    if (file == NULL)
        return;
    atomic_store(&file->stale, true);
    file->closing = op;
    op->io.state = IO_CLOSING;
    file_settle(loop, file); /* its own use */
}

void file_closed(struct io_loop *loop, struct io_op *op)
{
    struct io_file *file = io_op_file(op);
    if (file == NULL)
        return;
    set_file(op, NULL);
    destroy(loop->io, file);
}

/* At io_destroy(): what was left open. */
void file_shut(struct io *io, struct io_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    destroy(io, file);
}
