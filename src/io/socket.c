/*
 * Sockets of one loop: a fixed table of slots. A slot is reserved when an accept or connect is submitted,
 * becomes a handle when that ends well, and is free again when the driver has closed it.
 *
 * Close: the handle is stale at once; ops on the socket are cancelled; when the callback of the last has run,
 * the driver closes; then the close op completes. `socket_settle` is called after each of these steps and
 * goes on when the next is due.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/core.h"

#define NO_SLOT UINT32_MAX

int sockets_init(struct io_loop *loop)
{
    uint32_t capacity = loop->io->config.socket_capacity;
    size_t part = loop->driver->socket_bytes;
    CHECK(capacity > 0 && capacity < IO_INDEX_SHARED && part % 8 == 0);
    loop->sockets.slots = calloc(capacity, sizeof(struct io_socket));
    loop->sockets.driver_parts = calloc(capacity, part + 1);
    if (loop->sockets.slots == NULL || loop->sockets.driver_parts == NULL) {
        sockets_deinit(loop);
        return -ENOMEM;
    }
    loop->sockets.capacity = capacity;
    for (uint32_t i = 0; i < capacity; i++) {
        struct io_socket *socket = &loop->sockets.slots[i];
        socket->fd = -1;
        socket->index = i;
        socket->generation = 1;
        socket->next_free = i + 1 < capacity ? i + 1 : NO_SLOT;
        socket->driver = loop->sockets.driver_parts + i * part;
    }
    return 0;
}

void sockets_deinit(struct io_loop *loop)
{
    free(loop->sockets.slots);
    free(loop->sockets.driver_parts);
    loop->sockets.slots = NULL;
    loop->sockets.driver_parts = NULL;
}

struct io_socket *socket_find(struct io_loop *loop, struct io_handle handle)
{
    if (handle.index >= loop->sockets.capacity)
        return NULL;
    struct io_socket *socket = &loop->sockets.slots[handle.index];
    if (!socket->used || socket->stale || socket->opening != NULL || socket->generation != handle.generation)
        return NULL;
    return socket;
}

struct io_socket *socket_reserve(struct io_loop *loop)
{
    if (loop->sockets.free == NO_SLOT)
        return NULL;
    struct io_socket *socket = &loop->sockets.slots[loop->sockets.free];
    CHECK(!socket->used && socket->fd == -1);
    loop->sockets.free = socket->next_free;
    loop->sockets.used++;
    memset(socket->driver, 0, loop->driver->socket_bytes);
    socket->used = true;
    socket->stale = socket->close_started = socket->shut_send = false;
    return socket;
}

void socket_release(struct io_loop *loop, struct io_socket *socket)
{
    CHECK(socket->used && socket->recv == NULL && socket->send == NULL && socket->opening == NULL);
    CHECK(socket->fd == -1 && socket->linger == NULL);
    socket->used = false;
    if (++socket->generation == 0)
        socket->generation = 1;
    socket->next_free = loop->sockets.free;
    loop->sockets.free = socket->index;
    loop->sockets.used--;
}

static struct io_handle handle_of(const struct io_socket *socket)
{
    return (struct io_handle){socket->index, socket->generation};
}

void socket_opened(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    CHECK(socket->opening == op);
    socket->opening = NULL;
    if (op->io.kind == IO_KIND_ACCEPT && ((struct io_listener *)op->io.pointer2)->stale)
        atomic_store(&loop->listeners_changed, true);
    if (op->result < 0) {
        socket_release(loop, socket);
        return;
    }
    op->handle = handle_of(socket);
    loop->sockets.open++;
}

/* Reserves a slot for an accept or connect. */
static struct io_socket *begin_open(struct io_loop *loop, struct io_op *op)
{
    struct io_socket *socket = socket_reserve(loop);
    if (socket == NULL) {
        io_complete(op, E_EXHAUSTED);
        return NULL;
    }
    socket->opening = op;
    op->io.target = handle_of(socket);
    return socket;
}

void io_accept(struct io_loop *loop, struct io_op *op, struct io_handle listener, struct io_address *peer)
{
    if (!op_submit(loop, op, IO_KIND_ACCEPT))
        return;
    struct io_listener *held;
    int error = listener_hold(loop, listener, &held);
    if (error < 0) {
        io_complete(op, error);
        return;
    }
    struct io_socket *socket = begin_open(loop, op);
    if (socket == NULL)
        return;
    op->io.pointer = peer;
    op->io.pointer2 = held;
    loop->driver->accept(loop, op, socket, held);
}

void io_connect(struct io_loop *loop, struct io_op *op, const struct io_address *address)
{
    if (!op_submit(loop, op, IO_KIND_CONNECT))
        return;
    struct io_socket *socket = begin_open(loop, op);
    if (socket == NULL)
        return;
    op->io.pointer = (void *)address;
    loop->driver->connect(loop, op, socket);
}

/* Sets the mode that the driver needs; refuses what is no stream socket. */
static int prepare_adopted(const struct io_loop *loop, int fd)
{
    int type = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof type;
    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -errno;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    flags = loop->driver->nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (fcntl(fd, F_SETFL, flags) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

int io_adopt(struct io_loop *loop, int fd, struct io_handle *handle)
{
    struct io_socket *socket = socket_reserve(loop);
    if (socket == NULL)
        return E_EXHAUSTED;
    int error = prepare_adopted(loop, fd);
    if (error == 0) {
        socket->fd = fd;
        error = loop->driver->adopt(loop, socket);
    }
    if (error < 0) {
        socket->fd = -1;
        socket_release(loop, socket);
        return error;
    }
    loop->sockets.open++;
    *handle = handle_of(socket);
    return 0;
}

void socket_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    CHECK(socket->recv == NULL); /* one at a time */
    socket->recv = op;
    op->io.target = handle_of(socket);
    op->io.fd = socket->fd;
    if (!list_empty(&loop->buffers.waiting))
        io_buffer_wait(op);
    else
        loop->driver->recv(loop, op, socket);
}

void io_recv(struct io_loop *loop, struct io_op *op, struct io_handle handle)
{
    if (!op_submit(loop, op, IO_KIND_RECV))
        return;
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL)
        io_complete(op, -EBADF);
    else
        socket_recv(loop, op, socket);
}

void io_send(struct io_loop *loop, struct io_op *op, struct io_handle handle, struct iovec *iov,
    unsigned count, bool more)
{
    CHECK(count > 0 && count <= IO_VECTOR_MAX);
    if (!op_submit(loop, op, IO_KIND_SEND))
        return;
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL) {
        io_complete(op, -EBADF);
        return;
    }
    CHECK(socket->send == NULL); /* one at a time */
    socket->send = op;
    op->io.target = handle;
    op->io.fd = socket->fd;
    op->io.iov = iov;
    op->io.count = count;
    op->io.flags |= more ? IO_FLAG_MORE : 0;
    loop->driver->send(loop, op, socket);
}

int io_shutdown_send(struct io_loop *loop, struct io_handle handle)
{
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL)
        return -EBADF;
    socket->shut_send = true;
    if (loop->driver->shutdown_send != NULL)
        return loop->driver->shutdown_send(loop, socket);
    return shutdown(socket->fd, SHUT_WR) < 0 ? -errno : 0;
}

int64_t io_unsent_bytes(struct io_loop *loop, struct io_handle handle)
{
    struct io_socket *socket = socket_find(loop, handle);
    int bytes = 0;
    if (socket == NULL)
        return -EBADF;
    if (loop->driver->unsent_bytes != NULL)
        return loop->driver->unsent_bytes(loop, socket);
    return ioctl(socket->fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int io_reset_on_close(struct io_loop *loop, struct io_handle handle)
{
    struct io_socket *socket = socket_find(loop, handle);
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (socket == NULL)
        return -EBADF;
    if (socket->fd < 0) /* the fake's: see fake_socket_reset() */
        return -EOPNOTSUPP;
    return setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) < 0 ? -errno : 0;
}

void socket_begin_close(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    CHECK(socket->closing == NULL && !socket->stale);
    socket->stale = true;
    socket->closing = op;
    op->io.state = IO_CLOSING;
    op->io.target = handle_of(socket);
    if (socket->recv != NULL)
        io_cancel(loop, socket->recv);
    if (socket->send != NULL)
        io_cancel(loop, socket->send);
}

void io_close(struct io_loop *loop, struct io_op *op, struct io_handle handle)
{
    if (!op_submit(loop, op, IO_KIND_CLOSE))
        return;
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL) {
        io_complete(op, -EBADF);
        return;
    }
    socket_begin_close(loop, op, socket);
    socket_settle(loop, socket);
}

void socket_settle(struct io_loop *loop, struct io_socket *socket)
{
    if (!socket->used || !socket->stale || socket->close_started || socket->recv != NULL ||
        socket->send != NULL)
        return;
    if (socket->linger != NULL) {
        linger_settle(loop, socket);
        return;
    }
    socket->close_started = true;
    loop->driver->socket_close(loop, socket);
}

void io_socket_closed(struct io_loop *loop, struct io_socket *socket)
{
    struct io_op *op = socket->closing;
    CHECK(socket->close_started && socket->fd == -1);
    CHECK(loop->sockets.open > 0);
    socket->closing = NULL;
    loop->sockets.open--;
    socket_release(loop, socket);
    if (op != NULL)
        io_complete(op, op->io.partial);
}

void sockets_cancel_all(struct io_loop *loop)
{
    for (uint32_t i = 0; i < loop->sockets.capacity; i++) {
        struct io_socket *socket = &loop->sockets.slots[i];
        struct io_op *ops[] = {socket->opening, socket->recv, socket->send};
        for (unsigned k = 0; socket->used && k < sizeof ops / sizeof *ops; k++) {
            if (ops[k] != NULL)
                io_cancel(loop, ops[k]);
        }
        if (socket->used && socket->linger != NULL)
            linger_stop(loop, socket, 0);
    }
}

unsigned sockets_force_close(struct io_loop *loop)
{
    unsigned open = 0;
    for (uint32_t i = 0; i < loop->sockets.capacity; i++) {
        struct io_socket *socket = &loop->sockets.slots[i];
        if (!socket->used || socket->stale || socket->opening != NULL)
            continue;
        open++;
        socket->stale = socket->close_started = true;
        loop->driver->socket_close(loop, socket);
    }
    return open;
}

int io_accept_flags(const struct io_loop *loop)
{
    return SOCK_CLOEXEC | (loop->driver->nonblocking ? SOCK_NONBLOCK : 0);
}

int io_connect_socket(const struct io_loop *loop, const struct io_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | io_accept_flags(loop), 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    if (address->storage.ss_family != AF_UNIX &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

struct iovec *io_vector_advance(struct iovec *iov, unsigned *count, size_t done)
{
    while (*count > 0 && done >= iov->iov_len) {
        done -= iov->iov_len;
        iov++;
        (*count)--;
    }
    if (*count > 0) {
        iov->iov_base = (char *)iov->iov_base + done;
        iov->iov_len -= done;
    }
    return iov;
}
