/* What the portable driver watches besides its sockets: listeners, and descriptors of another library. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/portable.h"

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

static struct portable_loop *of(struct io_loop *loop)
{
    return loop->driver_data;
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
    int error = portable_adopt(loop, socket);
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

void portable_accept(
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

void portable_listener_release(struct io_loop *loop, struct io_listener *listener)
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

void portable_foreign_release(struct io_loop *loop, struct io_foreign *foreign)
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

void portable_poll(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign)
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

void portable_poll_cancel(struct io_loop *loop, struct io_op *op)
{
    struct io_foreign *foreign = op->io.pointer;
    io_complete(op, -ECANCELED);
    if (!foreign->owned && list_empty(&foreign->ops))
        portable_foreign_release(loop, foreign);
}
