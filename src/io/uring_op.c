/*
 * Operations of the io_uring driver: how each becomes an entry and what its completion means.
 *
 * An entry's user_data is its op. start() makes the entry from the op alone, so the same function serves the
 * first start, the rest of a short file transfer, and an op that found the queue full. Where the entry lies
 * is kept in the op (io.timer_index): while the kernel has not taken it, a cancel turns it into a no-op in
 * place, and so a poll whose descriptor is closed right after its cancel never reaches the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "io/core.h"
#include "io/uring.h"

/* The sector size that O_DIRECT lengths are multiples of: a shorter tail is the end of the file. */
#define SECTOR 512
#define TRANSFERS_GATHERED 4
/* Of one read or write: a little less than the kernel's own bound. */
#define TRANSFER_MAX (1u << 30)

static void prepare_accept(struct io_uring_sqe *entry, struct io_op *op)
{
    struct io_address *peer = op->io.pointer;
    struct sockaddr *address = NULL;
    socklen_t *len = NULL;
    if (peer != NULL) {
        peer->len = sizeof peer->storage;
        address = (struct sockaddr *)&peer->storage;
        len = &peer->len;
    }
    io_uring_prep_accept(entry, op->io.fd, address, len, io_accept_flags(op->io.loop));
}

static void prepare_recv(struct io_uring_sqe *entry, struct io_op *op)
{
    const struct uring_socket *socket = io_op_socket(op)->driver;
    io_uring_prep_recv(entry, op->io.fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = URING_BUFFER_GROUP;
    if (!socket->more)
        entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

static_assert(
    sizeof(struct msghdr) <= sizeof(((struct io_op *)0)->io.small), "a send keeps its msghdr in the op");

static void prepare_send(struct io_uring_sqe *entry, struct io_op *op)
{
    const struct msghdr *message = (const void *)op->io.small;
    int flags = MSG_NOSIGNAL | (op->io.flags & IO_FLAG_MORE ? MSG_MORE : 0);
    if (message->msg_iovlen == 1)
        io_uring_prep_send(entry, op->io.fd, message->msg_iov->iov_base, message->msg_iov->iov_len, flags);
    else
        io_uring_prep_sendmsg(entry, op->io.fd, message, (unsigned)flags);
    if (((const struct uring_socket *)io_op_socket(op)->driver)->full)
        entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

static void prepare_poll(struct io_uring_sqe *entry, struct io_op *op)
{
    unsigned mask = (op->io.offset & IO_READABLE ? POLLIN : 0) | (op->io.offset & IO_WRITABLE ? POLLOUT : 0);
    io_uring_prep_poll_add(entry, op->io.fd, mask);
}

static void prepare_transfer(struct io_uring_sqe *entry, struct io_op *op)
{
    const struct iovec *iov = op->io.iov;
    bool read = op->io.kind == IO_KIND_READ;
    int fd = op->io.fd;
    if (op->io.count > 1) {
        CHECK(op->io.partial == 0);
        if (read)
            io_uring_prep_readv(entry, fd, iov, op->io.count, op->io.offset);
        else
            io_uring_prep_writev(entry, fd, iov, op->io.count, op->io.offset);
        return;
    }
    char *base = (char *)iov->iov_base + op->io.partial;
    size_t left = iov->iov_len - (size_t)op->io.partial;
    unsigned len = left < TRANSFER_MAX ? (unsigned)left : TRANSFER_MAX;
    uint64_t offset = op->io.offset + (uint64_t)op->io.partial;
    if (read)
        io_uring_prep_read(entry, fd, base, len, offset);
    else
        io_uring_prep_write(entry, fd, base, len, offset);
}

static void prepare(struct io_uring_sqe *entry, struct io_op *op)
{
    switch (op->io.kind) {
    case IO_KIND_ACCEPT:
        prepare_accept(entry, op);
        break;
    case IO_KIND_CONNECT: {
        const struct io_address *address = op->io.pointer;
        io_uring_prep_connect(entry, op->io.fd, (const struct sockaddr *)&address->storage, address->len);
        break;
    }
    case IO_KIND_RECV:
        prepare_recv(entry, op);
        break;
    case IO_KIND_SEND:
        prepare_send(entry, op);
        break;
    case IO_KIND_POLL:
        prepare_poll(entry, op);
        break;
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        prepare_transfer(entry, op);
        break;
    default:
        UNREACHABLE();
    }
}

static void start(struct io_loop *loop, struct io_op *op)
{
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *entry = uring_entry(loop);
    if (entry == NULL) {
        list_push_back(&uring->deferred, &op->io.node);
        return;
    }
    prepare(entry, op);
    uring_entry_set(entry, op, URING_OP);
    op->io.timer_index = uring->ring.sq.sqe_tail - 1;
}

void uring_restart(struct io_loop *loop, struct io_op *op)
{
    CHECK(op->io.state == IO_DRIVEN);
    start(loop, op);
}

/* ---- starting ---- */

void uring_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener)
{
    CHECK(socket->fd == -1);
    op->io.fd = listener->fd;
    start(loop, op);
}

void uring_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    CHECK(socket->fd == -1);
    int fd = io_connect_socket(loop, op->io.pointer);
    if (fd < 0) {
        io_complete(op, fd);
        return;
    }
    op->io.fd = fd;
    start(loop, op);
}

int uring_adopt(struct io_loop *loop, struct io_socket *socket)
{
    (void)loop;
    int type = 0;
    socklen_t len = sizeof type;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -errno;
    return type == SOCK_STREAM ? 0 : -EINVAL;
}

void uring_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    op->io.fd = socket->fd;
    start(loop, op);
}

void uring_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct msghdr message = {.msg_iov = op->io.iov, .msg_iovlen = op->io.count};
    op->io.fd = socket->fd;
    memcpy(op->io.small, &message, sizeof message);
    start(loop, op);
}

void uring_poll(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign)
{
    op->io.fd = foreign->fd;
    start(loop, op);
}

/* Whether the transfer can be submitted without making the loop wait for the disk, however long that takes. A
 * write to a regular file can't: it moves the time of modification, for which ext4 waits while its journal
 * writes out the inode; nor can a sync. */
static bool may_submit(struct io_op *op)
{
    if ((op->io.kind != IO_KIND_READ && op->io.kind != IO_KIND_WRITE) || (op->io.flags & IO_FLAG_SYNC))
        return false;
    const struct io_file *file = io_op_file(op);
    return !file->waits && (op->io.kind == IO_KIND_READ || (file->direct && file->block_device));
}

/* Takes a place in the disk's queue; false: there may be none. The loop's first always has one, so that what
 * waits is woken by a completion of its own loop. */
static bool queue_enter(struct uring_queue *queue, struct io_file *file)
{
    unsigned used = atomic_fetch_add_explicit(&file->queue_used, 1, memory_order_relaxed);
    if (used >= file->queue_room && queue->used > 0) {
        atomic_fetch_sub_explicit(&file->queue_used, 1, memory_order_relaxed);
        return false;
    }
    queue->used++;
    return true;
}

/* The transfer has ended, or gone elsewhere. */
static void queue_leave(struct io_loop *loop, struct io_file *file)
{
    struct uring_queue *queue = &uring_of(loop)->queues[file->pool];
    CHECK(queue->used > 0);
    queue->used--;
    atomic_fetch_sub_explicit(&file->queue_used, 1, memory_order_relaxed);
    while (!list_empty(&queue->waiting)) {
        struct io_op *next = CONTAINER_OF(queue->waiting.next, struct io_op, io.node);
        if (!queue_enter(queue, io_op_file(next)))
            return;
        list_remove(&next->io.node);
        start(loop, next);
    }
}

bool uring_blocking(struct io_loop *loop, struct io_op *op)
{
    if (!may_submit(op))
        return false;
    struct io_file *file = io_op_file(op);
    struct uring_queue *queue = &uring_of(loop)->queues[file->pool];
    op->io.partial = 0;
    if (!list_empty(&queue->waiting) || !queue_enter(queue, file)) {
        list_push_back(&queue->waiting, &op->io.node);
        return true;
    }
    start(loop, op);
    if (++uring_of(loop)->transfers >= TRANSFERS_GATHERED)
        uring_submit(loop);
    return true;
}

void uring_socket_close(struct io_loop *loop, struct io_socket *socket)
{
    if (loop->ending) { /* no turn may follow that would submit an entry */
        close(socket->fd);
        socket->fd = -1;
        io_socket_closed(loop, socket);
        return;
    }
    struct io_uring_sqe *entry = uring_entry(loop);
    CHECK(entry != NULL); /* closes come from callbacks, never while reaping */
    io_uring_prep_close(entry, socket->fd);
    uring_entry_set(entry, socket, URING_CLOSE);
}

/* ---- cancelling ---- */

/* The op's entry if the kernel has not taken it yet. */
static struct io_uring_sqe *entry_not_taken(struct uring *uring, const struct io_op *op)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    unsigned taken = *sq->khead, at = op->io.timer_index;
    struct io_uring_sqe *entry = &sq->sqes[at & sq->ring_mask];
    if (at - taken >= sq->sqe_tail - taken || entry->user_data != (uintptr_t)op)
        return NULL;
    return entry;
}

void uring_cancel(struct io_loop *loop, struct io_op *op)
{
    struct uring *uring = uring_of(loop);
    CHECK(op->io.state == IO_DRIVEN && op->io.kind < IO_KIND_OPEN);
    if (list_linked(&op->io.node) && op->io.kind != IO_KIND_POLL) { /* deferred */
        uring_finish(loop, op, -ECANCELED, 0);
        return;
    }
    struct io_uring_sqe *entry = entry_not_taken(uring, op);
    if (entry != NULL) {
        io_uring_prep_nop(entry);
        uring_entry_set(entry, NULL, URING_IGNORE);
        uring_finish(loop, op, -ECANCELED, 0);
        return;
    }
    entry = uring_entry(loop);
    CHECK(entry != NULL); /* cancels come from callbacks too */
    io_uring_prep_cancel64(entry, (uintptr_t)op, 0);
    uring_entry_set(entry, NULL, URING_IGNORE);
}

/* ---- finishing ---- */

static void finish_accept(struct io_op *op, int result)
{
    if (result >= 0) {
        io_op_socket(op)->fd = result;
        result = 0;
    }
    io_complete(op, result);
}

static void finish_connect(struct io_op *op, int result)
{
    if (result < 0)
        close(op->io.fd);
    else
        io_op_socket(op)->fd = op->io.fd;
    io_complete(op, result);
}

static void finish_recv(struct io_loop *loop, struct io_op *op, int result, unsigned flags)
{
    struct uring_socket *socket = io_op_socket(op)->driver;
    socket->more = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned index = flags >> IORING_CQE_BUFFER_SHIFT;
        op->buffer = io_buffer_lease(loop, index);
        if (result <= 0)
            io_buffer_give(loop, &op->buffer);
    }
    CHECK(result <= 0 || op->buffer != NULL);
    if (result != -ENOBUFS) {
        io_complete(op, result);
        return;
    }
    socket->more = true;
    if (loop->buffers.free_count > 0 && !(op->io.flags & IO_FLAG_CANCEL))
        start(loop, op); /* one came back since, or the free ones were taken by completions not yet seen */
    else
        io_buffer_wait(op);
}

static void finish_send(struct io_op *op, int result)
{
    const struct msghdr *message = (const void *)op->io.small;
    struct uring_socket *socket = io_op_socket(op)->driver;
    size_t total = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        total += message->msg_iov[i].iov_len;
    socket->full = result >= 0 && (size_t)result < total;
    io_complete(op, result);
}

static int ready_mask(int events)
{
    if (events & (POLLERR | POLLHUP | POLLNVAL))
        return IO_READABLE | IO_WRITABLE;
    return (events & POLLIN ? IO_READABLE : 0) | (events & POLLOUT ? IO_WRITABLE : 0);
}

/* Files are finished by the driver: a read goes on until the end of the file, a write until all is written.
 * The rest of a vector is rare: a pool does it again from its start, and so the caller's vector stays as it
 * is. */
static void finish_transfer(struct io_loop *loop, struct io_op *op, int result)
{
    struct io_file *file = io_op_file(op);
    bool read = op->io.kind == IO_KIND_READ;
    if (result < 0 || (result == 0 && read)) {
        io_complete(op, result < 0 ? result : op->io.partial);
        queue_leave(loop, file);
        return;
    }
    size_t total = 0, done = (size_t)op->io.partial + (size_t)result;
    for (unsigned i = 0; i < op->io.count; i++)
        total += op->io.iov[i].iov_len;
    CHECK(done <= total);
    bool end = read && file->direct && done % SECTOR != 0;
    if (done == total || end) {
        io_complete(op, (int64_t)done);
        queue_leave(loop, file);
    } else if (op->io.count > 1 || result == 0 || (file->direct && done % SECTOR != 0)) {
        op->io.partial = 0;
        pool_submit(loop, op, file->pool);
        queue_leave(loop, file);
    } else {
        op->io.partial = (int64_t)done;
        start(loop, op);
    }
}

/* The kernel's own answers that callers never see. False: started again. */
static bool settle_error(struct io_loop *loop, struct io_op *op, int *result)
{
    if (*result != -EAGAIN && *result != -EINTR)
        return true;
    if (op->io.flags & IO_FLAG_CANCEL) {
        *result = -ECANCELED;
        return true;
    }
    if (*result == -EAGAIN &&
        op->io.kind < IO_KIND_POLL) { /* somebody shares the descriptor and made it non-blocking */
        int flags = fcntl(op->io.fd, F_GETFL);
        if (flags >= 0)
            (void)fcntl(op->io.fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    start(loop, op);
    return false;
}

void uring_finish(struct io_loop *loop, struct io_op *op, int result, unsigned flags)
{
    CHECK(op->io.state == IO_DRIVEN);
    if (result < 0 && !settle_error(loop, op, &result))
        return;
    switch (op->io.kind) {
    case IO_KIND_ACCEPT:
        finish_accept(op, result);
        break;
    case IO_KIND_CONNECT:
        finish_connect(op, result);
        break;
    case IO_KIND_RECV:
        finish_recv(loop, op, result, flags);
        break;
    case IO_KIND_SEND:
        finish_send(op, result);
        break;
    case IO_KIND_POLL:
        io_complete(op, result < 0 ? result : ready_mask(result));
        break;
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        finish_transfer(loop, op, result);
        break;
    default:
        UNREACHABLE();
    }
}
