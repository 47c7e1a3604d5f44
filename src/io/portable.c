/*
 * The portable driver: system calls on non-blocking sockets, libuv for readiness and wake-ups.
 *
 * The call is tried first and readiness awaited only where it would block. Each watched descriptor has one
 * uv_poll_t whose interest stays armed after it has fired: starting and stopping it costs system calls, while
 * the usual next receive wants just the same. Only when it fires and nobody waits is the interest taken back
 * (the watch is level-triggered), and the next operation then tries its call at once.
 *
 * What the last call said decides whether trying is worth it: a receive that did not fill its buffer has
 * emptied the socket, a send that was cut short has filled it; after these the next op just waits. So a
 * request on a kept connection costs epoll_wait, recv and sendmsg.
 *
 * Invariant: a uv_poll_t on a descriptor that is not ours to close (unowned foreign) exists only while a poll
 * is in flight, and uv_close() is called before its owner can close it: libuv touches the number once more
 * there, and only there.
 *
 * Rejected: uv_tcp_t and uv_fs_*: their buffers, queues and thread pool would be a second I/O layer below
 * this one.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "io/core.h"

struct watch {
    uv_poll_t poll;
    int armed; /* UV_READABLE | UV_WRITABLE */
};

struct portable_socket {
    struct watch watch;
    struct io_socket *socket;
    struct io_loop *loop;
    bool try_recv, try_send;
    int64_t open_error; /* of a connect that failed, until its watch is closed */
};

struct listener_watch {
    struct watch watch;
    struct io_loop *loop;
    struct io_listener *listener;
    struct list_node ops; /* accepts in order */
    struct listener_watch *next;
};

struct foreign_watch {
    struct watch watch;
    struct io_loop *loop;
    struct io_foreign *foreign;
};

struct portable_loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t timer;
    struct listener_watch *listeners;
};

static struct portable_loop *of(struct io_loop *loop)
{
    return loop->driver_data;
}

/* ---- watches ---- */

static int watch_open(struct io_loop *loop, struct watch *watch, int fd, void *data)
{
    int error = uv_poll_init(&of(loop)->uv, &watch->poll, fd);
    watch->poll.data = data;
    watch->armed = 0;
    return error;
}

static void watch_set(struct watch *watch, int events, uv_poll_cb fired)
{
    if (watch->armed == events)
        return;
    watch->armed = events;
    if (events == 0)
        CHECK(uv_poll_stop(&watch->poll) == 0);
    else
        CHECK(uv_poll_start(&watch->poll, events, fired) == 0);
}

/* An error on the descriptor shows as everything ready, and libuv has then stopped the watch. */
static int watch_fired(struct watch *watch, int status, int events)
{
    if (status >= 0)
        return events;
    watch->armed = 0;
    return UV_READABLE | UV_WRITABLE;
}

/* ---- sockets ---- */

static bool driven(const struct io_op *op)
{
    return op != NULL && op->io.state == IO_DRIVEN;
}

static void socket_fired(uv_poll_t *poll, int status, int events);

static void socket_arm(struct portable_socket *part, int events)
{
    watch_set(&part->watch, part->watch.armed | events, socket_fired);
}

static int socket_ready(struct io_loop *loop, struct io_socket *socket)
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

static void portable_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
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

static void portable_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct portable_socket *part = socket->driver;
    (void)loop;
    if (part->try_send)
        try_send(op, part);
    else
        socket_arm(part, UV_WRITABLE);
}

static void connect_failed(struct portable_socket *part, int64_t error);

static void connect_fired(struct portable_socket *part)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(part->socket->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0)
        io_complete(part->socket->opening, 0);
    else
        connect_failed(part, -error);
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

static void portable_socket_close(struct io_loop *loop, struct io_socket *socket)
{
    (void)loop;
    socket_shut(socket->driver);
}

static int portable_adopt(struct io_loop *loop, struct io_socket *socket)
{
    return socket_ready(loop, socket);
}

/* ---- connect ---- */

static void connect_failed(struct portable_socket *part, int64_t error)
{
    if (part->socket->fd < 0)
        return; /* on its way already */
    part->open_error = error;
    socket_shut(part);
}

static void portable_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    const struct io_address *address = op->io.pointer;
    int fd = io_connect_socket(loop, address);
    if (fd < 0) {
        io_complete(op, fd);
        return;
    }
    socket->fd = fd;
    int error = socket_ready(loop, socket);
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
        connect_failed(part, errno == EAGAIN ? -ECONNREFUSED : -errno);
}

/* ---- listeners ---- */

static struct listener_watch *find_listener(struct io_loop *loop, const struct io_listener *listener)
{
    struct listener_watch *watch = of(loop)->listeners;
    while (watch != NULL && watch->listener != listener)
        watch = watch->next;
    return watch;
}

static struct listener_watch *watch_listener(struct io_loop *loop, struct io_listener *listener)
{
    struct listener_watch *watch = find_listener(loop, listener);
    if (watch != NULL)
        return watch;
    watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    if (watch_open(loop, &watch->watch, listener->fd, watch) < 0) {
        free(watch);
        return NULL;
    }
    watch->loop = loop;
    watch->listener = listener;
    list_init(&watch->ops);
    watch->next = of(loop)->listeners;
    of(loop)->listeners = watch;
    return watch;
}

/* Errors of the connection that was lost, not of the listener (accept(2)). */
static bool error_is_passing(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static int accept_one(struct io_loop *loop, const struct io_listener *listener, struct io_address *peer)
{
    int fd;
    unsigned attempts = 0;
    do {
        struct sockaddr *storage = peer == NULL ? NULL : (struct sockaddr *)&peer->storage;
        if (peer != NULL)
            peer->len = sizeof peer->storage;
        fd = accept4(listener->fd, storage, peer == NULL ? NULL : &peer->len, io_accept_flags(loop));
    } while (fd < 0 && error_is_passing(errno) && ++attempts < 64);
    return fd < 0 ? -errno : fd;
}

static void accept_finish(struct io_loop *loop, struct io_op *op, int fd)
{
    struct io_socket *socket = io_op_socket(op);
    if (fd < 0) {
        io_complete(op, fd);
        return;
    }
    socket->fd = fd;
    int error = socket_ready(loop, socket);
    if (error < 0) {
        socket->fd = -1;
        close(fd);
    }
    io_complete(op, error);
}

static void listener_fired(uv_poll_t *poll, int status, int events);

/* Accepts for what waits, in order. */
static void try_accept(struct listener_watch *watch)
{
    while (!list_empty(&watch->ops)) {
        struct io_op *op = CONTAINER_OF(watch->ops.next, struct io_op, io.node);
        int fd = accept_one(watch->loop, watch->listener, op->io.pointer);
        if (fd == -EAGAIN || fd == -EWOULDBLOCK) {
            watch_set(&watch->watch, UV_READABLE, listener_fired);
            return;
        }
        accept_finish(watch->loop, op, error_is_passing(-fd) ? -ECONNABORTED : fd);
    }
}

static void listener_fired(uv_poll_t *poll, int status, int events)
{
    struct listener_watch *watch = poll->data;
    (void)watch_fired(&watch->watch, status, events);
    if (list_empty(&watch->ops))
        watch_set(&watch->watch, 0, listener_fired);
    else
        try_accept(watch);
}

static void portable_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener)
{
    struct listener_watch *watch = watch_listener(loop, listener);
    (void)socket;
    if (watch == NULL) {
        io_complete(op, -ENOMEM);
        return;
    }
    bool first = list_empty(&watch->ops);
    list_push_back(&watch->ops, &op->io.node);
    if (first)
        try_accept(watch);
}

static void listener_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void portable_listener_release(struct io_loop *loop, struct io_listener *listener)
{
    struct listener_watch **at = &of(loop)->listeners;
    while (*at != NULL && (*at)->listener != listener)
        at = &(*at)->next;
    struct listener_watch *watch = *at;
    if (watch == NULL)
        return;
    CHECK(list_empty(&watch->ops));
    *at = watch->next;
    uv_close((uv_handle_t *)&watch->watch.poll, listener_watch_closed);
}

/* ---- foreign descriptors ---- */

static void foreign_fired(uv_poll_t *poll, int status, int events);

static void foreign_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void portable_foreign_release(struct io_loop *loop, struct io_foreign *foreign)
{
    struct foreign_watch *watch = foreign->driver;
    (void)loop;
    if (watch == NULL)
        return;
    foreign->driver = NULL;
    watch->foreign = NULL;
    uv_close((uv_handle_t *)&watch->watch.poll, foreign_watch_closed);
}

static int wanted_events(const struct io_foreign *foreign)
{
    int wanted = 0;
    for (const struct list_node *node = foreign->ops.next; node != &foreign->ops; node = node->next)
        wanted |= (int)CONTAINER_OF(node, struct io_op, io.node)->io.offset;
    return (wanted & IO_READABLE ? UV_READABLE : 0) | (wanted & IO_WRITABLE ? UV_WRITABLE : 0);
}

static void foreign_fired(uv_poll_t *poll, int status, int events)
{
    struct foreign_watch *watch = poll->data;
    struct io_foreign *foreign = watch->foreign;
    bool matched = false;
    events = watch_fired(&watch->watch, status, events);
    int ready = (events & UV_READABLE ? IO_READABLE : 0) | (events & UV_WRITABLE ? IO_WRITABLE : 0);
    struct list_node *node = foreign->ops.next;
    while (node != &foreign->ops) {
        struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
        node = node->next;
        if ((op->io.offset & (uint64_t)ready) == 0)
            continue;
        matched = true;
        io_complete(op, status < 0 ? ready : (ready & (int)op->io.offset));
    }
    if (!foreign->owned && list_empty(&foreign->ops))
        portable_foreign_release(watch->loop, foreign);
    else if (!matched || status < 0)
        watch_set(&watch->watch, wanted_events(foreign), foreign_fired);
}

static int watch_foreign(struct io_loop *loop, struct io_foreign *foreign)
{
    struct foreign_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    int error = watch_open(loop, &watch->watch, foreign->fd, watch);
    if (error < 0) {
        free(watch);
        return error;
    }
    watch->loop = loop;
    watch->foreign = foreign;
    foreign->driver = watch;
    return 0;
}

static void portable_poll(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign)
{
    int error = foreign->driver == NULL ? watch_foreign(loop, foreign) : 0;
    if (error < 0) {
        io_complete(op, error);
        return;
    }
    struct foreign_watch *watch = foreign->driver;
    int wanted = wanted_events(foreign);
    if ((watch->watch.armed & wanted) != wanted)
        watch_set(&watch->watch, wanted, foreign_fired);
}

static void cancel_poll(struct io_loop *loop, struct io_op *op)
{
    struct io_foreign *foreign = op->io.pointer;
    io_complete(op, -ECANCELED);
    if (!foreign->owned && list_empty(&foreign->ops))
        portable_foreign_release(loop, foreign);
}

/* ---- cancel, the loop ---- */

static void portable_cancel(struct io_loop *loop, struct io_op *op)
{
    if (op->io.kind == IO_KIND_POLL)
        cancel_poll(loop, op);
    else if (op->io.kind == IO_KIND_CONNECT)
        connect_failed(io_op_socket(op)->driver, -ECANCELED);
    else
        io_complete(op, -ECANCELED);
}

static void async_fired(uv_async_t *async)
{
    (void)async; /* to return from uv_run is its purpose */
}

static void timer_fired(uv_timer_t *timer)
{
    (void)timer;
}

static int portable_init(struct io *io)
{
    (void)io;
    /* libuv 1.45 and later would batch epoll_ctl through a ring of its own. */
    return setenv("UV_USE_IO_URING", "0", 1) < 0 ? -errno : 0;
}

static int portable_loop_init(struct io_loop *loop)
{
    struct portable_loop *part = of(loop);
    int error = uv_loop_init(&part->uv);
    if (error < 0)
        return error;
    CHECK(uv_timer_init(&part->uv, &part->timer) == 0);
    error = uv_async_init(&part->uv, &part->async, async_fired);
    if (error < 0) {
        uv_close((uv_handle_t *)&part->timer, NULL);
        uv_run(&part->uv, UV_RUN_DEFAULT);
        CHECK(uv_loop_close(&part->uv) == 0);
    }
    return error;
}

static void portable_loop_deinit(struct io_loop *loop)
{
    struct portable_loop *part = of(loop);
    CHECK(part->listeners == NULL);
    uv_close((uv_handle_t *)&part->async, NULL);
    uv_close((uv_handle_t *)&part->timer, NULL);
    uv_run(&part->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&part->uv) == 0);
}

static void portable_wait(struct io_loop *loop, uint64_t timeout_ns)
{
    struct portable_loop *part = of(loop);
    const uint64_t ns_per_ms = 1000000;
    if (timeout_ns == 0) {
        uv_run(&part->uv, UV_RUN_NOWAIT);
        return;
    }
    if (timeout_ns != UINT64_MAX) {
        uv_update_time(&part->uv);
        uint64_t ms =
            timeout_ns / ns_per_ms + (timeout_ns % ns_per_ms != 0); /* never early, which would spin */
        CHECK(uv_timer_start(&part->timer, timer_fired, ms, 0) == 0);
    }
    uv_run(&part->uv, UV_RUN_ONCE);
    uv_timer_stop(&part->timer);
}

static void portable_wake(struct io_loop *loop)
{
    CHECK(uv_async_send(&of(loop)->async) == 0);
}

const struct io_driver io_driver_portable = {
    .name = "portable",
    .choice = IO_PORTABLE,
    .nonblocking = true,
    .loop_bytes = sizeof(struct portable_loop),
    .socket_bytes = sizeof(struct portable_socket),
    .init = portable_init,
    .loop_init = portable_loop_init,
    .loop_deinit = portable_loop_deinit,
    .wait = portable_wait,
    .wake = portable_wake,
    .listener_release = portable_listener_release,
    .accept = portable_accept,
    .connect = portable_connect,
    .adopt = portable_adopt,
    .recv = portable_recv,
    .send = portable_send,
    .poll = portable_poll,
    .cancel = portable_cancel,
    .socket_close = portable_socket_close,
    .foreign_release = portable_foreign_release,
};
