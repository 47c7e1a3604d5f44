/*
 * Sockets of the portable driver: the system call is tried, or its readiness awaited when the last call said
 * that trying is in vain.
 */
#include <errno.h>
#include <unistd.h>

#include "io/portable.h"

static bool driven(const struct io_op *op)
{
    return op != NULL && op->io.state == IO_DRIVEN;
}

static void socket_fired(uv_poll_t *poll, int status, int events);

static void socket_arm(struct portable_socket *part, int events)
{
    watch_set(&part->watch, part->watch.armed | events, socket_fired);
}

int portable_adopt(struct io_loop *loop, struct io_socket *socket)
{
    struct portable_socket *part = socket->driver;
    part->socket = socket;
    part->loop = loop;
    part->try_send = true;
    return watch_open(loop, &part->watch, socket->fd, part);
}

static void try_recv(struct io_loop *loop, struct io_op *op, struct portable_socket *part)
{
    uint8_t *buffer = io_buffer_take(loop);
    if (buffer == NULL) {
        part->try_recv = true;
        io_buffer_wait(op);
        return;
    }
    ssize_t n;
    do {
        n = recv(part->socket->fd, buffer, loop->buffers.bytes, 0);
    } while (n < 0 && errno == EINTR);
    int error = n < 0 ? errno : 0;
    part->try_recv = n == 0 || n == (ssize_t)loop->buffers.bytes;
    if (n > 0)
        op->buffer = buffer;
    else
        io_buffer_give(loop, &buffer);
    if (error == EAGAIN || error == EWOULDBLOCK)
        socket_arm(part, UV_READABLE);
    else
        io_complete(op, error != 0 ? -error : n);
}

void portable_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct portable_socket *part = socket->driver;
    if (part->try_recv)
        try_recv(loop, op, part);
    else
        socket_arm(part, UV_READABLE);
}

static void try_send(struct io_op *op, struct portable_socket *part)
{
    struct msghdr message = {.msg_iov = op->io.iov, .msg_iovlen = op->io.count};
    int flags = MSG_NOSIGNAL | (op->io.flags & IO_FLAG_MORE ? MSG_MORE : 0);
    size_t total = 0;
    for (unsigned i = 0; i < op->io.count; i++)
        total += op->io.iov[i].iov_len;
    ssize_t n;
    do {
        n = sendmsg(part->socket->fd, &message, flags);
    } while (n < 0 && errno == EINTR);
    int error = n < 0 ? errno : 0;
    part->try_send = n == (ssize_t)total;
    if (error == EAGAIN || error == EWOULDBLOCK)
        socket_arm(part, UV_WRITABLE);
    else
        io_complete(op, error != 0 ? -error : n);
}

void portable_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct portable_socket *part = socket->driver;
    (void)loop;
    if (part->try_send)
        try_send(op, part);
    else
        socket_arm(part, UV_WRITABLE);
}

static void connect_fired(struct portable_socket *part)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(part->socket->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0)
        io_complete(part->socket->opening, 0);
    else
        portable_connect_fail(part, -error);
}

static void socket_fired(uv_poll_t *poll, int status, int events)
{
    struct portable_socket *part = poll->data;
    struct io_socket *socket = part->socket;
    int idle = 0;
    events = watch_fired(&part->watch, status, events);
    if (driven(socket->opening)) {
        connect_fired(part);
        return;
    }
    if (events & UV_READABLE) {
        part->try_recv = true;
        if (driven(socket->recv))
            try_recv(part->loop, socket->recv, part);
        else
            idle |= UV_READABLE;
    }
    if (events & UV_WRITABLE) {
        part->try_send = true;
        if (driven(socket->send))
            try_send(socket->send, part);
        else
            idle |= UV_WRITABLE;
    }
    watch_set(&part->watch, part->watch.armed & ~idle, socket_fired);
    if (status < 0 && (driven(socket->recv) || driven(socket->send)))
        socket_arm(part, (driven(socket->recv) ? UV_READABLE : 0) | (driven(socket->send) ? UV_WRITABLE : 0));
}

static void socket_watch_closed(uv_handle_t *handle)
{
    struct portable_socket *part = handle->data;
    struct io_op *opening = part->socket->opening;
    if (opening != NULL)
        io_complete(opening, part->open_error);
    else
        io_socket_closed(part->loop, part->socket);
}

/* The descriptor is closed at once; the slot is free when libuv has let go of its handle. */
static void socket_shut(struct portable_socket *part)
{
    uv_close((uv_handle_t *)&part->watch.poll, socket_watch_closed);
    close(part->socket->fd);
    part->socket->fd = -1;
}

void portable_socket_close(struct io_loop *loop, struct io_socket *socket)
{
    (void)loop;
    socket_shut(socket->driver);
}

/* ---- connect ---- */

void portable_connect_fail(struct portable_socket *part, int64_t error)
{
    if (part->socket->fd < 0)
        return; /* on its way already */
    part->open_error = error;
    socket_shut(part);
}

void portable_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    const struct io_address *address = op->io.pointer;
    int fd = io_connect_socket(loop, address);
    if (fd < 0) {
        io_complete(op, fd);
        return;
    }
    socket->fd = fd;
    int error = portable_adopt(loop, socket);
    if (error < 0) {
        socket->fd = -1;
        close(fd);
        io_complete(op, error);
        return;
    }
    struct portable_socket *part = socket->driver;
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0)
        io_complete(op, 0);
    else if (errno == EINPROGRESS || errno == EINTR)
        socket_arm(part, UV_WRITABLE);
    else
        portable_connect_fail(part, errno == EAGAIN ? -ECONNREFUSED : -errno);
}
