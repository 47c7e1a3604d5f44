/*
 * The I/O contract: one completion interface, two drivers (uring, portable) and a fake for tests.
 *
 *  1. A `struct io_op` is allocated by the caller, inside its own object. From the call that submits it to
 * its *final* callback `done`, the op and every byte that it names belong to the driver. Exactly one final
 *     callback for each submitted op, also after a cancel, a close and at shutdown. Callbacks run from
 *     io_loop_turn() only, never inside a submitting call; a callback may submit, cancel and close anything.
 *     Submission never fails: what can't be started completes with an error.
 *  2. A send reports *accepted* (`op->accepted`, may be NULL: op->result bytes were taken) and *released*
 *     (`done`: the buffers may be reused) apart. Copying sends report both at once, accepted first.
 *  3. Sockets, listeners and files are handles with a generation; a stale handle completes with -EBADF.
 *     Close is explicit. io_loop_destroy() and io_destroy() count what was left open or in flight.
 *  4. Short transfers: io_recv and io_send may complete short (at least 1 byte); files are finished by the
 *     driver, a file read is short only at the end of the file. EINTR and EAGAIN never reach a caller.
 *  5. Disk operations (io_file_*) can't be cancelled: io_cancel() of one has no effect. So the op and its
 * buffer belong to a pooled object of the device, never to a request.
 *
 * Results: op->result is 0 or more on success, below 0 it is -errno or one of base/error.h.
 *
 * Lifetimes     | born by            | owned by     | dies by            | threads
 * struct io     | io_create          | process, lib | io_destroy         | handles, pools: any; rest: its
 * creator io_loop       | io_loop_create     | its worker   | io_loop_destroy    | its own, except io_post,
 * io_loop_stop socket handle | accept, connect,   | its loop     | io_close, io_linger| the loop's | adopt |
 * |                    | listener, file| io_listen, io_open | struct io    | io_close           | any loop of
 * that io may submit ops leased buffer | done of io_recv    | the callee   | io_buffer_give     | the loop's
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/list.h"

struct io;
struct io_loop;
struct io_op;

/* ---- set-up ---- */

enum io_choice { IO_AUTO, IO_URING, IO_PORTABLE, IO_FAKE };

struct io_config {
    enum io_choice choice;
    unsigned socket_capacity; /* open sockets per loop; 0: 4096 */
    unsigned buffer_count;    /* receive buffers per loop; 0: 256 */
    size_t buffer_bytes;      /* of each; 0: 16 KiB */
    unsigned work_threads;    /* pool of io_work and of opens; 0: 4 */
    unsigned device_threads;  /* portable: pool of each device file (IO_OPEN_DEVICE); 0: 32 */
    uint64_t fake_seed;       /* IO_FAKE only; see io/fake.h */
};

struct io_report {
    enum io_choice chosen; /* never IO_AUTO */
    char reason[200];      /* why this one: what the probe said, or what was asked for */
};

/* Probes and chooses the driver. E_UNSUPPORTED when uring was asked for and is not to be had: report->reason
 * says why (not built in, ENOSYS, EPERM by seccomp or sysctl, a missing opcode, a probe operation that
 * failed). */
MUST_CHECK int io_create(struct io **io, const struct io_config *config, struct io_report *report);
/* After all loops are destroyed. Returns how many files and listeners were still open (a leak; 0 is right).
 */
int io_destroy(struct io *io);
/* "uring", "portable" or "fake"; static. */
const char *io_driver_name(const struct io *io);

/* ---- the loop ---- */

MUST_CHECK int io_loop_create(struct io *io, struct io_loop **loop);
/* One turn: waits for a completion, timer or message, at most wait_ns (0: does not wait, UINT64_MAX: no
 * bound), and runs the callbacks of everything that is due. Returns how many callbacks ran. */
unsigned io_loop_turn(struct io_loop *loop, uint64_t wait_ns);
/* For a program that waits elsewhere (poll, another loop): hands over what was submitted and announces the
 * sleep. Returns a descriptor that becomes readable when there is something to do, and in *wait_ns how long
 * the program may wait for that (0: not at all, UINT64_MAX: without bound); then io_loop_turn(loop, 0), in
 * any case before the next call of this. E_UNSUPPORTED under the fake, whose clock jumps. The loop's own
 * thread. */
MUST_CHECK int io_loop_prepare(struct io_loop *loop, uint64_t *wait_ns);
/* Turns until io_loop_stop(). */
void io_loop_run(struct io_loop *loop);
/* Makes io_loop_run return after the current turn. Any thread. */
void io_loop_stop(struct io_loop *loop);
/* Ends the loop. Cancels what is in flight and runs final callbacks; waits for disk operations at most
 * drain_ns. Returns 0, or how many ops, sockets and leased buffers were left; where disk operations are still
 * stalled, they and the loop's memory are left to the process, which should end (design section 3, rule 5).
 */
int io_loop_destroy(struct io_loop *loop, uint64_t drain_ns);

/* Monotonic and wall time of this turn (cached; the fake's own clock under the fake). */
uint64_t io_now_ns(const struct io_loop *loop);
uint64_t io_wall_ns(const struct io_loop *loop);
/* Monotonic time right now, for durations that may lie within one turn. */
uint64_t io_clock_ns(struct io_loop *loop);

struct io_loop_stats {
    uint64_t turns, completions, submissions, system_waits;
    unsigned ops_in_flight, sockets_open, buffers_leased, timers, disk_ops_in_flight;
};
void io_loop_stats(const struct io_loop *loop, struct io_loop_stats *stats);

/* ---- handles and ops ---- */

struct io_handle {
    uint32_t index;      /* top bit set: of struct io (files, listeners); clear: of the loop */
    uint32_t generation; /* 0 is never a live handle */
};
#define IO_HANDLE_NONE ((struct io_handle){0, 0})

static inline bool io_handle_valid(struct io_handle handle)
{
    return handle.generation != 0;
}

struct io_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* "1.2.3.4", "::1", with the port; numeric only. -EINVAL otherwise. */
MUST_CHECK int io_address_parse(struct io_address *address, const char *host, uint16_t port);
/* "1.2.3.4:80" or "[::1]:80"; at most IO_ADDRESS_TEXT bytes with NUL. */
#define IO_ADDRESS_TEXT 64
void io_address_format(const struct io_address *address, char *text);
uint16_t io_address_port(const struct io_address *address);
bool io_address_is_loopback(const struct io_address *address);

struct io_op {
    void (*done)(struct io_op *op);     /* set by the caller before submitting; final */
    void (*accepted)(struct io_op *op); /* sends only; may be NULL */
    int64_t result;                     /* valid in the callbacks */
    struct io_handle handle;            /* accept, connect, open: the new handle, where result >= 0 */
    uint8_t *buffer;                    /* recv: the leased buffer, where result > 0 */
    struct {                            /* the driver's from submit to done */
        struct list_node node;
        struct io_loop *loop;
        uint8_t kind, state, flags, spare;
        int fd;
        struct io_handle target;
        uint32_t timer_index;
        uint64_t offset, deadline_ns;
        union {
            struct {
                struct iovec *iov;
                unsigned count;
            };
            struct {
                void *pointer, *pointer2;
            };
            void (*work)(struct io_op *op);
            char small[64]; /* e.g. a msghdr */
        };
        int64_t partial;
    } io;
};

/* Zeroes the op and sets its final callback. An op may be submitted again from its own final callback on. */
static inline void io_op_init(struct io_op *op, void (*done)(struct io_op *op))
{
    *op = (struct io_op){.done = done};
}

/* Between submit and final callback. */
bool io_op_busy(const struct io_op *op);

/* Asks for an early end: the final callback still comes, with -ECANCELED or with the op's own result if that
 * was first. No effect on idle ops and on disk operations. The loop's thread. */
void io_cancel(struct io_loop *loop, struct io_op *op);

/* ---- sockets ---- */

struct io_listen_options {
    int backlog; /* 0: 1024 */
    bool ipv6_only;
};
/* Immediate. Port 0 picks one: io_local_address() says which. Any loop may accept on it. */
MUST_CHECK int io_listen(struct io *io, const struct io_address *address,
    const struct io_listen_options *options, struct io_handle *listener);
/* Takes over an inherited listening descriptor. */
MUST_CHECK int io_adopt_listener(struct io *io, int fd, struct io_handle *listener);
/* Immediate; of a listener or socket. */
MUST_CHECK int io_local_address(struct io_loop *loop, struct io_handle handle, struct io_address *address);
/* Stops listening now: pending accepts complete with -ECANCELED on their loops. */
void io_listener_close(struct io *io, struct io_handle listener);

/* One connection: op->handle; *peer is written if not NULL (the driver's until done). Pausing is not
 * submitting the next. TCP_NODELAY is on. -EMFILE, -ENFILE, E_EXHAUSTED (socket_capacity) are values: try
 * again later. */
void io_accept(struct io_loop *loop, struct io_op *op, struct io_handle listener, struct io_address *peer);
/* *address is the driver's until done. */
void io_connect(struct io_loop *loop, struct io_op *op, const struct io_address *address);
/* Takes over a connected stream socket (socketpair ends in tests). Immediate. */
MUST_CHECK int io_adopt(struct io_loop *loop, int fd, struct io_handle *socket);

/* Receives into a buffer leased from the loop's pool: result > 0 bytes in op->buffer, to be given back; 0:
 * end of stream. While no buffer is free the op waits for one, in order. One receive per socket at a time. */
void io_recv(struct io_loop *loop, struct io_op *op, struct io_handle socket);
/* Gives a leased buffer back; nulls the pointer. */
void io_buffer_give(struct io_loop *loop, uint8_t **buffer);

/* Sends a vector of at most IO_VECTOR_MAX parts; the array and what it names are the driver's until done. May
 * be short. One send per socket at a time. `more`: another send follows at once (MSG_MORE). */
#define IO_VECTOR_MAX 64
void io_send(struct io_loop *loop, struct io_op *op, struct io_handle socket, struct iovec *iov,
    unsigned count, bool more);
/* Half-close: no more sends. Immediate. */
int io_shutdown_send(struct io_loop *loop, struct io_handle socket);
/* Closes: ends the ops in flight on it (each gets its own final callback first), closes, then done. The
 * handle is stale at once. */
void io_close(struct io_loop *loop, struct io_op *op, struct io_handle socket);
/* Lingering close: half-closes, receives and drops until the peer ends, at most max_ns and max_bytes, then
 * closes; so that an error answer is not lost to a reset. The handle is stale at once. With no memory for it
 * the ordinary close. */
void io_linger(
    struct io_loop *loop, struct io_op *op, struct io_handle socket, uint64_t max_ns, uint64_t max_bytes);
/* Bytes that the peer has not acknowledged yet, or below 0. Immediate. */
int64_t io_unsent_bytes(struct io_loop *loop, struct io_handle socket);
/* io_close will reset the connection: the peer sees an error instead of an end. Immediate. */
int io_reset_on_close(struct io_loop *loop, struct io_handle socket);

/* ---- foreign sockets: libcurl's ---- */

/* A non-blocking, close-on-exec socket whose descriptor another library uses; counted. */
MUST_CHECK int io_foreign_open(struct io_loop *loop, int family, int type, int protocol);
/* Ends polls on it, awaits their final callbacks, then closes. Immediate for the caller. */
void io_foreign_close(struct io_loop *loop, int fd);
/* Whether the other library has closed it without a word; its number may be another file's by now. Then the
 * loop has let go of it: polls on it end with -ECANCELED, and it is not to be closed here. To be asked before
 * the loop makes other descriptors: a driver takes a number for what it was. */
MUST_CHECK bool io_foreign_lost(struct io_loop *loop, int fd);
#define IO_READABLE 1
#define IO_WRITABLE 2
/* Single-shot: result is a mask of what is ready (errors show as both). The descriptor may also be one that
 * the other library opened itself: then it must cancel the poll before it closes it. */
void io_poll(struct io_loop *loop, struct io_op *op, int fd, int events);

/* ---- files ---- */

enum {
    IO_OPEN_READ = 1,
    IO_OPEN_WRITE = 2,
    IO_OPEN_CREATE = 4,    /* mode 0600 */
    IO_OPEN_DIRECT = 8,    /* O_DIRECT where a real read proves it, else buffered: see io_file_info.direct */
    IO_OPEN_LOCK = 16,     /* exclusive against other processes, -EBUSY if taken */
    IO_OPEN_NOFOLLOW = 32, /* -ELOOP if the last part is a symlink */
    IO_OPEN_DIRECTORY = 64,
    IO_OPEN_DEVICE = 128, /* a device of the disk tier: pool of its own (portable), registered (uring) */
    IO_OPEN_REGULAR =
        256, /* E_REFUSED if it is neither a regular file nor, with IO_OPEN_DEVICE, a block device */
};

/* op->handle at done. `path` is the driver's until done. */
void io_open(struct io_loop *loop, struct io_op *op, const char *path, unsigned flags);
/* Below an open directory: no component may leave it, no symlink is followed (openat2 RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS, or a walk with O_NOFOLLOW). The path is relative, without empty, "." or ".." parts. */
void io_open_beneath(
    struct io_loop *loop, struct io_op *op, struct io_handle directory, const char *path, unsigned flags);

struct io_file_info {
    uint64_t size_bytes, inode, mtime_ns;
    bool regular, directory, block_device, direct;
};
/* *info is the driver's until done. */
void io_file_stat(struct io_loop *loop, struct io_op *op, struct io_handle file, struct io_file_info *info);
/* With IO_OPEN_DIRECT: offset, lengths and memory in multiples of 4 KiB. result: bytes; short only at end of
 * file. */
void io_file_read(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset);
/* Whole or an error. */
void io_file_write(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset);
/* Then fdatasync, in one hand-over: whole, and with all that was written to the file before it durable; or an
 * error, after which that is unknown. */
void io_file_write_sync(struct io_loop *loop, struct io_op *op, struct io_handle file, struct iovec *iov,
    unsigned count, uint64_t offset);
/* fdatasync. */
void io_file_sync(struct io_loop *loop, struct io_op *op, struct io_handle file);
/* Reserves real space up to `len` bytes and sets the size (posix_fallocate semantics, without writing where
 * the file system can; -ENOSPC). No effect on block devices. */
void io_file_allocate(struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t len);
void io_file_truncate(struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t len);
/* Punches a hole or discards; a hint: failure is a value. */
void io_file_discard(
    struct io_loop *loop, struct io_op *op, struct io_handle file, uint64_t offset, uint64_t len);
/* Waits for this loop's ops on the file, closes it. Other loops must have none. */
void io_file_close(struct io_loop *loop, struct io_op *op, struct io_handle file);

/* ---- timers, messages, work ---- */

/* Fires at deadline_ns of io_now_ns(), never early: result 0; -ECANCELED if cancelled. Nothing else, whatever
 * memory there is. After a standstill of the loop's thread (200 ms and more), in the first turn from 100 ms
 * later on: what came meanwhile is handed on first. */
void io_timer(struct io_loop *loop, struct io_op *op, uint64_t deadline_ns);
/* Moves the deadline of a timer in flight; cheap (no system call). */
void io_timer_move(struct io_loop *loop, struct io_op *op, uint64_t deadline_ns);

/* A message's node is the sender's, inside its own object, from post to deliver: post neither fails nor
 * allocates. Delivered once per post, in order per sender; deliver() may post it again. */
struct io_message {
    void (*deliver)(struct io_message *message);
    struct io_message *next; /* the mailbox's */
};
/* Any thread. Messages posted to a loop that is being destroyed are delivered before it ends. */
void io_post(struct io_loop *loop, struct io_message *message);

/* Runs work(op) on a pool thread, then done on the loop; work sets op->result. A cancel before it starts
 * gives -ECANCELED without running it. */
void io_work(struct io_loop *loop, struct io_op *op, void (*work)(struct io_op *op));
