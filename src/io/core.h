/* Between the files of the core; drivers see driver.h only. */
#pragma once

#include "io/driver.h"

/* op.c. Marks an op submitted; CHECKs that it was idle. False: the loop is ending and the op was completed.
 */
bool op_submit(struct io_loop *loop, struct io_op *op, enum io_kind kind);
/* Runs the callbacks of a complete op (taken from loop->ready) and settles what waited for it. */
void op_dispatch(struct io_op *op);

/* timer.c */
int timers_init(struct io_loop *loop);
void timers_deinit(struct io_loop *loop);
/* Of the earliest, or UINT64_MAX. May be earlier than the truth. */
uint64_t timers_next_ns(const struct io_loop *loop);
void timers_expire(struct io_loop *loop);
void timer_cancel(struct io_loop *loop, struct io_op *op);
void timers_cancel_all(struct io_loop *loop);
unsigned timers_count(const struct io_loop *loop);

/* mailbox.c */
bool mailbox_waiting(struct io_loop *loop);
/* Delivers what was there at the call; returns how many. */
unsigned mailbox_deliver(struct io_loop *loop);
/* Completes what pools have finished. */
void mailbox_collect(struct io_loop *loop);
/* Any thread: hands a finished op back to its loop. */
void mailbox_finish(struct io_op *op);
/* Any thread. */
void loop_wake(struct io_loop *loop);
/* Until no other thread is inside a post. */
void mailbox_quiesce(struct io_loop *loop);

/* pool.c */
int pool_create(struct io *io, unsigned index, unsigned threads_max);
void pool_destroy(struct io *io, unsigned index);
/* Index of a pool for a device file: a new one, a free one, or the common one when there are too many.
 * io->lock held. */
unsigned pool_take_for_device(struct io *io);
void pool_give(struct io *io, unsigned index);
/* Puts an op into this turn's batch for the pool. */
void pool_submit(struct io_loop *loop, struct io_op *op, unsigned index);
/* Hands the batches over. */
void pool_flush(struct io_loop *loop);
/* Takes the op back if no thread has started it. */
bool pool_retract(struct io_loop *loop, struct io_op *op);
/* Cancels all io_work() of the loop that has not started. */
void pool_cancel_all(struct io_loop *loop);

/* disk.c: runs a file op on the calling thread; the result. */
int64_t disk_execute(struct io_op *op);

/* disk_queue.c: how many transfers of a block device, or of files on it, may be under way before the next
 * may wait for its queue. Reads sysfs. */
unsigned disk_queue_room(dev_t device);

/* socket.c */
int sockets_init(struct io_loop *loop);
void sockets_deinit(struct io_loop *loop);
struct io_socket *socket_find(struct io_loop *loop, struct io_handle handle);
struct io_socket *socket_reserve(struct io_loop *loop);
void socket_release(struct io_loop *loop, struct io_socket *socket);
void socket_opened(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
/* Starts a receive below the handle check (also for a lingering socket). */
void socket_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
/* Makes the handle stale and ends the ops on it. */
void socket_begin_close(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
/* Goes on with a close if no op is left on the socket. */
void socket_settle(struct io_loop *loop, struct io_socket *socket);
void sockets_cancel_all(struct io_loop *loop);
/* Closes those without a pending close; returns how many were open. */
unsigned sockets_force_close(struct io_loop *loop);

/* linger.c */
void linger_settle(struct io_loop *loop, struct io_socket *socket);
/* Ends the lingering now: the close follows. */
void linger_stop(struct io_loop *loop, struct io_socket *socket, int result);

/* listener.c */
/* 0, -EBADF, -ENOMEM. */
int listener_hold(struct io_loop *loop, struct io_handle handle, struct io_listener **held);
/* Ends accepts on stale listeners and lets go of them. */
void listeners_sweep(struct io_loop *loop, bool all);
void listener_shut(struct io *io, struct io_listener *listener);

/* foreign.c */
void foreign_settle(struct io_loop *loop, struct io_foreign *foreign);
void foreign_cancel_all(struct io_loop *loop);
unsigned foreign_deinit(struct io_loop *loop);

/* buffer.c */
int buffers_init(struct io_loop *loop);
void buffers_deinit(struct io_loop *loop);
/* Receives may start again. */
bool buffers_waiting(const struct io_loop *loop);
void buffers_restart(struct io_loop *loop);

/* file.c */
void file_opened(struct io_loop *loop, struct io_op *op);
void file_closed(struct io_loop *loop, struct io_op *op);
void file_settle(struct io_loop *loop, struct io_file *file);
void file_shut(struct io *io, struct io_file *file);

/* handle.c: the table of struct io. All take io->lock themselves, but slot_get. */
enum slot_kind { SLOT_FREE, SLOT_FILE, SLOT_LISTENER };
int slot_put(struct io *io, enum slot_kind kind, void *object, struct io_handle *handle);
/* io->lock held. NULL: stale or of another kind. */
void *slot_get(struct io *io, enum slot_kind kind, struct io_handle handle);
/* io->lock held. The handle is stale from now on. */
void slot_drop(struct io *io, struct io_handle handle);
/* At io_destroy(): closes what was left open. */
void slots_shut(struct io *io);
