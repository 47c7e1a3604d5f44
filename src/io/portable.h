/* Between the files of the portable driver (portable.c says how it works). */
#pragma once

#include <uv.h>

#include "io/driver.h"

/* A descriptor in libuv's poll set. */
struct watch {
    uv_poll_t poll;
    int armed; /* UV_READABLE | UV_WRITABLE */
};

struct portable_loop {
    uv_loop_t uv;
    struct watch wake;
    int wake_fd; /* an eventfd */
    uv_timer_t timer;
    struct listener_watch *listeners;
    int table_fds; /* libuv's table has room for descriptors below it */
};

/* struct io_socket.driver */
struct portable_socket {
    struct watch watch;
    struct io_socket *socket;
    struct io_loop *loop;
    bool try_recv, try_send;
    int64_t open_error; /* of a connect that failed, until its watch is closed */
};

/* portable.c: data is the uv handle's. Below 0: the descriptor can't be watched. */
MUST_CHECK int watch_open(struct io_loop *loop, struct watch *watch, int fd, void *data);
/* Sets what the watch waits for; 0 stops it. */
void watch_set(struct watch *watch, int events, uv_poll_cb fired);
/* To be called first when it fires: what is ready. */
int watch_fired(struct watch *watch, int status, int events);

/* portable_socket.c */
/* Watches socket->fd, which is set. */
MUST_CHECK int portable_adopt(struct io_loop *loop, struct io_socket *socket);
void portable_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void portable_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void portable_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void portable_socket_close(struct io_loop *loop, struct io_socket *socket);
/* A connect ends with the error when its descriptor is closed. May be called again. */
void portable_connect_fail(struct portable_socket *part, int64_t error);

/* portable_watch.c: listeners and foreign descriptors */
void portable_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener);
void portable_listener_release(struct io_loop *loop, struct io_listener *listener);
void portable_poll(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign);
void portable_poll_cancel(struct io_loop *loop, struct io_op *op);
void portable_foreign_release(struct io_loop *loop, struct io_foreign *foreign);
