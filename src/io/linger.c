/*
 * Lingering close (RFC 9112, 9.6): half-close, then receive and drop until the peer ends, a time or a number
 * of bytes has passed; then the ordinary close. Without it, unread bytes of the peer make the kernel send a
 * reset, which may destroy the answer that the peer has not read yet. Built from a receive and a timer of its
 * own.
 */
#include <errno.h>
#include <stdlib.h>

#include "io/core.h"

struct lingering {
    struct io_loop *loop;
    struct io_socket *socket;
    struct io_op recv, timer;
    uint64_t bytes_left;
    int result;
    bool over;
};

static void end(struct lingering *linger, int result)
{
    if (linger->over)
        return;
    linger->over = true;
    linger->result = result;
    io_cancel(linger->loop, &linger->timer);
    io_cancel(linger->loop, &linger->recv);
}

static void recv_done(struct io_op *op)
{
    struct lingering *linger = CONTAINER_OF(op, struct lingering, recv);
    if (op->result > 0)
        io_buffer_give(linger->loop, &op->buffer);
    if (op->result <= 0 || (uint64_t)op->result >= linger->bytes_left)
        end(linger, 0);
    else
        linger->bytes_left -= (uint64_t)op->result;
    /* socket_settle() follows this callback and receives again or goes on */
}

static void timer_done(struct io_op *op)
{
    struct lingering *linger = CONTAINER_OF(op, struct lingering, timer);
    end(linger, 0);
    socket_settle(linger->loop, linger->socket);
}

void linger_settle(struct io_loop *loop, struct io_socket *socket)
{
    struct lingering *linger = socket->linger;
    CHECK(socket->recv == NULL && socket->send == NULL);
    if (!linger->over) {
        if (op_submit(loop, &linger->recv, IO_KIND_RECV))
            socket_recv(loop, &linger->recv, socket);
        else
            end(linger, 0);
        return;
    }
    if (io_op_busy(&linger->timer) || io_op_busy(&linger->recv))
        return;
    socket->closing->io.partial = linger->result;
    socket->linger = NULL;
    free(linger);
    socket_settle(loop, socket);
}

void linger_stop(struct io_loop *loop, struct io_socket *socket, int result)
{
    if (socket->linger == NULL)
        return;
    end(socket->linger, result);
    socket_settle(loop, socket);
}

void io_linger(
    struct io_loop *loop, struct io_op *op, struct io_handle handle, uint64_t max_ns, uint64_t max_bytes)
{
    if (!op_submit(loop, op, IO_KIND_LINGER))
        return;
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL) {
        io_complete(op, -EBADF);
        return;
    }
    struct lingering *linger = loop->ending || max_bytes == 0 ? NULL : calloc(1, sizeof *linger);
    int error = io_shutdown_send(loop, handle);
    socket_begin_close(loop, op, socket);
    if (linger != NULL && error == 0) {
        linger->loop = loop;
        linger->socket = socket;
        linger->bytes_left = max_bytes;
        io_op_init(&linger->recv, recv_done);
        io_op_init(&linger->timer, timer_done);
        socket->linger = linger;
        io_timer(
            loop, &linger->timer, max_ns > UINT64_MAX - loop->now_ns ? UINT64_MAX : loop->now_ns + max_ns);
    } else {
        free(linger);
    }
    socket_settle(loop, socket);
}
