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
 * libuv 1.45 to 1.48 batches epoll_ctl through a ring of its own unless UV_USE_IO_URING is 0. The program
 * sets that (app/main.c); here it would be a library that changes its process's environment.
 *
 * libuv keeps a table of watches by descriptor, and aborts where malloc has nothing for a larger one. So the
 * memory is asked for just before, and given back for libuv to take: its table grows only when a watch is
 * made (or the loop), never later.
 *
 * Rejected: uv_tcp_t and uv_fs_*: their buffers, queues and thread pool would be a second I/O layer below
 * this one. uv_async_t: the loop that it woke spins until the sender has left uv_async_send(), which was a
 * quarter of the CPU time of reads at depth 1; a write to an eventfd of our own has nothing to wait for.
 */
#include "io/portable.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LIBUV_FDS 16 /* more than a loop of its opens for itself */

static struct portable_loop *of(struct io_loop *loop)
{
    return loop->driver_data;
}

/* ---- watches ---- */

/* Enough for the table that has room for the descriptor, and for the one before it. */
static int table_may_grow(int fd)
{
    size_t entries = 64;
    while (entries < (size_t)fd + 4)
        entries *= 2;
    void *memory = malloc(2 * entries * sizeof(void *));
    free(memory);
    return memory == NULL ? -ENOMEM : 0;
}

static void never_fired(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
    UNREACHABLE();
}

int watch_open(struct io_loop *loop, struct watch *watch, int fd, void *data)
{
    struct portable_loop *part = of(loop);
    bool grows = fd >= part->table_fds;
    int error = grows ? table_may_grow(fd) : 0;
    if (error == 0)
        error = uv_poll_init(&part->uv, &watch->poll, fd);
    if (error < 0)
        return error;
    watch->poll.data = data;
    watch->armed = 0;
    if (grows) { /* now, not when it is first set */
        CHECK(uv_poll_start(&watch->poll, UV_READABLE, never_fired) == 0);
        CHECK(uv_poll_stop(&watch->poll) == 0);
        part->table_fds = fd + 1;
    }
    return 0;
}

void watch_set(struct watch *watch, int events, uv_poll_cb fired)
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
int watch_fired(struct watch *watch, int status, int events)
{
    if (status >= 0)
        return events;
    watch->armed = 0;
    return UV_READABLE | UV_WRITABLE;
}

/* ---- cancel, the loop ---- */

static void portable_cancel(struct io_loop *loop, struct io_op *op)
{
    if (op->io.kind == IO_KIND_POLL)
        portable_poll_cancel(loop, op);
    else if (op->io.kind == IO_KIND_CONNECT)
        portable_connect_fail(io_op_socket(op)->driver, -ECANCELED);
    else
        io_complete(op, -ECANCELED);
}

/* To return from uv_run is its purpose. */
static void woken(uv_poll_t *poll, int status, int events)
{
    struct portable_loop *part = poll->data;
    uint64_t count;
    (void)watch_fired(&part->wake, status, events);
    while (read(part->wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        ; /* EAGAIN: nothing was left */
}

static int wake_open(struct io_loop *loop)
{
    struct portable_loop *part = of(loop);
    int error = watch_open(loop, &part->wake, part->wake_fd, part);
    if (error == 0)
        watch_set(&part->wake, UV_READABLE, woken);
    return error;
}

/* uv_run looks at timers before it waits: one that is due by then has fired and is gone, and the wait would
 * have no end. After uv_stop it does not wait. */
static void timer_fired(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static int portable_loop_init(struct io_loop *loop)
{
    struct portable_loop *part = of(loop);
    part->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (part->wake_fd < 0)
        return -errno;
    int error = table_may_grow(part->wake_fd + LIBUV_FDS);
    if (error == 0)
        error = uv_loop_init(&part->uv);
    if (error < 0) {
        close(part->wake_fd);
        return error;
    }
    CHECK(uv_timer_init(&part->uv, &part->timer) == 0);
    error = wake_open(loop);
    if (error < 0) {
        uv_close((uv_handle_t *)&part->timer, NULL);
        uv_run(&part->uv, UV_RUN_DEFAULT);
        CHECK(uv_loop_close(&part->uv) == 0);
        close(part->wake_fd);
    }
    return error;
}

static void portable_loop_deinit(struct io_loop *loop)
{
    struct portable_loop *part = of(loop);
    CHECK(part->listeners == NULL);
    uv_close((uv_handle_t *)&part->wake.poll, NULL);
    uv_close((uv_handle_t *)&part->timer, NULL);
    uv_run(&part->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&part->uv) == 0);
    close(part->wake_fd);
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

/* libuv's epoll descriptor; what was changed reaches it in uv_run. */
static int portable_descriptor(struct io_loop *loop)
{
    portable_wait(loop, 0);
    return uv_backend_fd(&of(loop)->uv);
}

static void portable_wake(struct io_loop *loop)
{
    const uint64_t one = 1;
    ssize_t written;
    do {
        written = write(of(loop)->wake_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    CHECK(written == (ssize_t)sizeof one);
}

const struct io_driver io_driver_portable = {
    .name = "portable",
    .choice = IO_PORTABLE,
    .nonblocking = true,
    .loop_bytes = sizeof(struct portable_loop),
    .socket_bytes = sizeof(struct portable_socket),
    .loop_init = portable_loop_init,
    .loop_deinit = portable_loop_deinit,
    .wait = portable_wait,
    .descriptor = portable_descriptor,
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
