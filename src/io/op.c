/*
 * The life of an op: idle, submitted, in one of the waiting states, ready, idle again.
 *
 * Everything that ends an op goes through io_complete(), which queues it; everything that calls back goes
 * through op_dispatch(). So "exactly one final callback" and "never inside a submit" are decided in these two
 * functions. In op_dispatch the op is idle before its callback runs: the callback may submit or free it, and
 * nothing touches it afterwards; what must be settled is remembered beforehand.
 */
#include <errno.h>

#include "io/core.h"

static bool kind_of_disk(unsigned kind)
{
    return kind >= IO_KIND_OPEN;
}

static void count(struct io_loop *loop, unsigned kind, int step)
{
    loop->in_flight += (unsigned)step;
    if (kind_of_disk(kind))
        loop->disk_in_flight += (unsigned)step;
    else if (kind == IO_KIND_WORK)
        loop->work_in_flight += (unsigned)step;
}

bool op_submit(struct io_loop *loop, struct io_op *op, enum io_kind kind)
{
    CHECK(op->done != NULL);
    CHECK(op->io.state == IO_IDLE);
    op->io.node = (struct list_node){0};
    op->io.loop = loop;
    op->io.kind = (uint8_t)kind;
    op->io.state = IO_DRIVEN;
    op->io.flags = 0;
    op->io.fd = -1;
    op->io.target = IO_HANDLE_NONE;
    op->io.partial = 0;
    op->io.pointer = op->io.pointer2 = NULL;
    ((struct io_op_file *)(void *)op->io.small)->file = NULL;
    op->result = 0;
    op->handle = IO_HANDLE_NONE;
    op->buffer = NULL;
    count(loop, kind, 1);
    loop->stats.submissions++;
    if (!loop->ending || kind == IO_KIND_CLOSE || kind == IO_KIND_LINGER || kind == IO_KIND_FILE_CLOSE)
        return true;
    io_complete(op, -ECANCELED);
    return false;
}

void io_complete(struct io_op *op, int64_t result)
{
    CHECK(op->io.state != IO_IDLE && op->io.state != IO_READY);
    CHECK(op->io.kind == IO_KIND_WORK || (result != -EAGAIN && result != -EINTR));
    if (list_linked(&op->io.node))
        list_remove(&op->io.node);
    op->io.state = IO_READY;
    op->result = result;
    list_push_back(&op->io.loop->ready, &op->io.node);
}

bool io_op_busy(const struct io_op *op)
{
    return op->io.state != IO_IDLE;
}

struct io_socket *io_op_socket(struct io_op *op)
{
    if (op->io.target.generation == 0)
        return NULL;
    return &op->io.loop->sockets.slots[op->io.target.index];
}

static void run_callbacks(struct io_op *op)
{
    if (op->io.kind == IO_KIND_SEND && op->accepted != NULL && op->result >= 0)
        op->accepted(op);
    op->io.state = IO_IDLE;
    op->io.loop->stats.completions++;
    op->done(op);
}

static void dispatch_socket(struct io_loop *loop, struct io_op *op)
{
    struct io_socket *socket = io_op_socket(op);
    switch (op->io.kind) {
    case IO_KIND_ACCEPT:
    case IO_KIND_CONNECT:
        if (socket != NULL)
            socket_opened(loop, op, socket);
        break;
    case IO_KIND_RECV:
        if (socket != NULL)
            socket->recv = NULL;
        break;
    case IO_KIND_SEND:
        if (socket != NULL)
            socket->send = NULL;
        break;
    default: /* a close: its slot is free, maybe another's */
        socket = NULL;
    }
    run_callbacks(op);
    if (socket != NULL)
        socket_settle(loop, socket);
}

static void dispatch_file(struct io_loop *loop, struct io_op *op)
{
    struct io_file *file = io_op_file(op), *directory = NULL;
    switch (op->io.kind) {
    case IO_KIND_OPEN_BENEATH:
        directory = op->io.pointer2;
        __attribute__((fallthrough));
    case IO_KIND_OPEN:
        file_opened(loop, op);
        file = NULL;
        break;
    case IO_KIND_FILE_CLOSE:
        file_closed(loop, op);
        file = NULL;
        break;
    default:
        break;
    }
    run_callbacks(op);
    if (file != NULL)
        file_settle(loop, file);
    if (directory != NULL)
        file_settle(loop, directory);
}

void op_dispatch(struct io_op *op)
{
    struct io_loop *loop = op->io.loop;
    unsigned kind = op->io.kind;
    CHECK(op->io.state == IO_READY);
    CHECK(loop->in_flight > 0);
    count(loop, kind, -1);
    if (kind_of_disk(kind)) {
        dispatch_file(loop, op);
    } else if (kind == IO_KIND_POLL) {
        struct io_foreign *foreign = op->io.pointer;
        run_callbacks(op);
        if (foreign != NULL)
            foreign_settle(loop, foreign);
    } else if (kind == IO_KIND_TIMER || kind == IO_KIND_WORK) {
        run_callbacks(op);
    } else {
        dispatch_socket(loop, op);
    }
}

void io_cancel(struct io_loop *loop, struct io_op *op)
{
    if (op->io.state == IO_IDLE || op->io.state == IO_READY || kind_of_disk(op->io.kind))
        return;
    CHECK(op->io.loop == loop);
    switch (op->io.state) {
    case IO_TIMED:
        timer_cancel(loop, op);
        break;
    case IO_BUFFERLESS:
        io_complete(op, -ECANCELED);
        break;
    case IO_BATCHED:
    case IO_POOLED: /* its flags are the thread's */
        if (pool_retract(loop, op))
            io_complete(op, -ECANCELED);
        break;
    case IO_CLOSING:
        if (op->io.kind == IO_KIND_LINGER)
            linger_stop(loop, io_op_socket(op), -ECANCELED);
        break;
    case IO_DRIVEN:
        op->io.flags |= IO_FLAG_CANCEL;
        loop->driver->cancel(loop, op);
        break;
    default:
        UNREACHABLE();
    }
}
