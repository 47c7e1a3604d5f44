/*
 * Listeners belong to struct io; each loop that accepts on one holds a reference, since its driver watches
 * the descriptor. A close makes the handle stale and tells all loops; each ends its accepts and lets go; the
 * last closes. shutdown(2) would stop it at once, but also for a process that inherited or handed over the
 * same socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/core.h"

#define BACKLOG 1024

/* Accepted sockets inherit TCP_NODELAY from the listener. */
static int prepare(int fd, int family)
{
    int on = 1;
    if (family == AF_UNIX)
        return 0;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* A loopback has no congestion to control, and where the machine's default is bbr its pacing costs a third of
 * what large answers cost (docs/decisions/loopback-pacing.md). reno is compiled into every kernel and allowed
 * to everybody. Accepted sockets inherit it. Best effort: without it the default does. */
static void prefer_unpaced(int fd, const struct io_address *address)
{
    static const char name[] = "reno";
    if (io_address_is_loopback(address))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof name - 1);
}

static int bind_and_listen(int fd, const struct io_address *address, const struct io_listen_options *options)
{
    int on = 1, family = address->storage.ss_family, backlog = BACKLOG;
    if (options != NULL && options->backlog > 0)
        backlog = options->backlog;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || prepare(fd, family) < 0)
        return -errno;
    prefer_unpaced(fd, address);
    int only = options != NULL && options->ipv6_only;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 || listen(fd, backlog) < 0)
        return -errno;
    return 0;
}

static int open_listener(
    struct io *io, const struct io_address *address, const struct io_listen_options *options)
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | (io->driver->nonblocking ? SOCK_NONBLOCK : 0);
    int fd = socket(address->storage.ss_family, type, 0);
    if (fd < 0)
        return -errno;
    int error = bind_and_listen(fd, address, options);
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

static int put(struct io *io, struct io_listener *listener, struct io_handle *handle)
{
    int error = slot_put(io, SLOT_LISTENER, listener, &listener->handle);
    if (error == 0)
        *handle = listener->handle;
    return error;
}

int io_listen(struct io *io, const struct io_address *address, const struct io_listen_options *options,
    struct io_handle *handle)
{
    struct io_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    int error;
    listener->fd = -1;
    if (io->driver->listen != NULL) {
        error = io->driver->listen(io, listener, address, options);
    } else {
        listener->fd = open_listener(io, address, options);
        error = listener->fd < 0 ? listener->fd : 0;
    }
    if (error < 0) {
        free(listener);
        return error;
    }
    error = put(io, listener, handle);
    if (error < 0)
        listener_shut(io, listener);
    return error;
}

int io_adopt_listener(struct io *io, int fd, struct io_handle *handle)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    int listens = 0, flags = fcntl(fd, F_GETFL);
    socklen_t listens_len = sizeof listens;
    if (flags < 0 || getsockname(fd, (struct sockaddr *)&storage, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) < 0)
        return -errno;
    if (!listens)
        return -EINVAL;
    flags = io->driver->nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (fcntl(fd, F_SETFL, flags) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        prepare(fd, storage.ss_family) < 0)
        return -errno;
    struct io_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    listener->fd = fd;
    int error = put(io, listener, handle);
    if (error < 0)
        free(listener); /* the descriptor stays the caller's */
    return error;
}

void listener_shut(struct io *io, struct io_listener *listener)
{
    if (io->driver->listener_close != NULL)
        io->driver->listener_close(io, listener);
    if (listener->fd >= 0)
        close(listener->fd);
    free(listener);
}

void io_listener_close(struct io *io, struct io_handle handle)
{
    pthread_mutex_lock(&io->lock);
    struct io_listener *listener = slot_get(io, SLOT_LISTENER, handle);
    bool last = false;
    if (listener != NULL) {
        slot_drop(io, handle);
        atomic_store(&listener->stale, true);
        last = listener->refs == 0;
        for (struct io_loop *loop = io->loops; loop != NULL && !last; loop = loop->next) {
            atomic_store(&loop->listeners_changed, true);
            loop_wake(loop);
        }
    }
    pthread_mutex_unlock(&io->lock);
    if (last)
        listener_shut(io, listener);
}

static bool held_already(struct io_loop *loop, const struct io_listener *listener)
{
    for (unsigned i = 0; i < loop->listeners.count; i++) {
        if (loop->listeners.held[i] == listener)
            return true;
    }
    return false;
}

/* io->lock held. */
static bool hold(struct io_loop *loop, struct io_listener *listener)
{
    if (loop->listeners.count == loop->listeners.capacity) {
        unsigned capacity = loop->listeners.capacity * 2 + 4;
        void *larger = realloc(loop->listeners.held, capacity * sizeof *loop->listeners.held);
        if (larger == NULL)
            return false;
        loop->listeners.held = larger;
        loop->listeners.capacity = capacity;
    }
    loop->listeners.held[loop->listeners.count++] = listener;
    listener->refs++;
    return true;
}

int listener_hold(struct io_loop *loop, struct io_handle handle, struct io_listener **held)
{
    int error = 0;
    pthread_mutex_lock(&loop->io->lock);
    *held = slot_get(loop->io, SLOT_LISTENER, handle);
    if (*held == NULL)
        error = -EBADF;
    else if (!held_already(loop, *held) && !hold(loop, *held))
        error = -ENOMEM;
    pthread_mutex_unlock(&loop->io->lock);
    return error;
}

/* Cancels the accepts on it; false while some have not called back yet. */
static bool end_accepts(struct io_loop *loop, const struct io_listener *listener)
{
    bool ended = true;
    for (uint32_t i = 0; i < loop->sockets.capacity; i++) {
        struct io_op *op = loop->sockets.slots[i].opening;
        if (op == NULL || op->io.kind != IO_KIND_ACCEPT || op->io.pointer2 != listener)
            continue;
        ended = false;
        io_cancel(loop, op);
    }
    return ended;
}

static void let_go(struct io_loop *loop, struct io_listener *listener)
{
    if (loop->driver->listener_release != NULL)
        loop->driver->listener_release(loop, listener);
    pthread_mutex_lock(&loop->io->lock);
    CHECK(listener->refs > 0);
    bool last = --listener->refs == 0 && listener->stale;
    pthread_mutex_unlock(&loop->io->lock);
    if (last)
        listener_shut(loop->io, listener);
}

void listeners_sweep(struct io_loop *loop, bool all)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < loop->listeners.count; i++) {
        struct io_listener *listener = loop->listeners.held[i];
        if ((all || listener->stale) && end_accepts(loop, listener))
            let_go(loop, listener);
        else
            loop->listeners.held[kept++] = listener;
    }
    loop->listeners.count = kept;
}

static int listener_address(struct io *io, struct io_handle handle, struct io_address *address)
{
    int error = -EBADF;
    pthread_mutex_lock(&io->lock);
    struct io_listener *listener = slot_get(io, SLOT_LISTENER, handle);
    if (listener != NULL && io->driver->listener_address != NULL) {
        error = io->driver->listener_address(io, listener, address);
    } else if (listener != NULL) {
        address->len = sizeof address->storage;
        error =
            getsockname(listener->fd, (struct sockaddr *)&address->storage, &address->len) < 0 ? -errno : 0;
    }
    pthread_mutex_unlock(&io->lock);
    return error;
}

int io_local_address(struct io_loop *loop, struct io_handle handle, struct io_address *address)
{
    if (handle.index & IO_INDEX_SHARED)
        return listener_address(loop->io, handle, address);
    struct io_socket *socket = socket_find(loop, handle);
    if (socket == NULL)
        return -EBADF;
    if (loop->driver->socket_address != NULL)
        return loop->driver->socket_address(loop, socket, address);
    address->len = sizeof address->storage;
    return getsockname(socket->fd, (struct sockaddr *)&address->storage, &address->len) < 0 ? -errno : 0;
}
