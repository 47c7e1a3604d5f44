/*
 * Between the core of io/ and a driver. Private to src/io/ (and to the fake's control interface).
 *
 * The core (loop.c, timer.c, mailbox.c, pool.c, socket.c, file.c, ...) is what all drivers share: handle
 * tables, timers, mailbox, thread pools, leased buffers, close and linger protocols, accounting. It needs no
 * system call for any of them. A driver does what the kernel must do: waits, wakes, starts and cancels
 * operations on sockets.
 *
 * The rules:
 *  1. A driver ends an op by io_complete(op, result), on the loop's thread, at any time: also inside the hook
 * that starts it, since that only queues it; callbacks run later in the turn. Exactly once per start:
 * CHECKed.
 *  2. A start hook never fails: it completes the op with the error.
 *  3. cancel() is called for ops in state IO_DRIVEN only, possibly more than once for the same op. The driver
 * must still complete it, with -ECANCELED or its own result, at once or in a later wait(). After cancel() of
 * a *poll* returns, the descriptor may be closed and reused by its owner: no later effect of the old poll may
 * touch it.
 *  4. A socket's memory (and its driver part) lives until the driver calls io_socket_closed(). The core calls
 *     socket_close() only when no op is in flight on the socket, its callbacks included.
 *  5. An accept or connect owns a reserved struct io_socket. On success the driver has set socket->fd (or its
 * own part) and readied its driver part; on failure it has closed what it opened and its part needs no close.
 * The core makes the handle or frees the slot.
 *  6. Hooks run on the loop's thread, except wake (any) and those that take a struct io (any thread).
 *     loop_init may run on another thread than the first turn.
 *
 * What the core guarantees: stale handles, busy sockets (CHECK), exhausted tables and ending loops never
 * reach a driver. Where a nullable hook is NULL, the core makes the ordinary system call on the descriptor.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/error.h"
#include "io/io.h"

enum io_kind {
    IO_KIND_NONE,
    IO_KIND_ACCEPT,  /* target: reserved socket; pointer: peer; pointer2: struct io_listener */
    IO_KIND_CONNECT, /* target: reserved socket; pointer: const struct io_address */
    IO_KIND_RECV,    /* target: socket */
    IO_KIND_SEND,    /* target: socket; iov, count; flags: IO_FLAG_MORE */
    IO_KIND_CLOSE,
    IO_KIND_LINGER,
    IO_KIND_POLL, /* fd; offset: events; pointer: struct io_foreign */
    IO_KIND_TIMER,
    IO_KIND_WORK,
    IO_KIND_OPEN,         /* from here on: files, io_op_file(). pointer: path; offset: IO_OPEN_* */
    IO_KIND_OPEN_BENEATH, /* the same; pointer2: the directory's struct io_file */
    IO_KIND_STAT,         /* pointer: struct io_file_info */
    IO_KIND_READ,         /* iov, count, offset; fd: the file's */
    IO_KIND_WRITE,        /* the same; flags: IO_FLAG_SYNC */
    IO_KIND_SYNC,
    IO_KIND_ALLOCATE, /* offset: len */
    IO_KIND_TRUNCATE,
    IO_KIND_DISCARD, /* offset; partial: len */
    IO_KIND_FILE_CLOSE,
};

enum io_state {
    IO_IDLE,       /* not submitted */
    IO_TIMED,      /* in the timer heap */
    IO_BUFFERLESS, /* a receive that waits for a leased buffer */
    IO_BATCHED,    /* for a pool, not handed over yet */
    IO_POOLED,     /* a pool's, queued or running */
    IO_CLOSING,    /* the core's, waiting for other ops (close, linger, file close) */
    IO_DRIVEN,     /* the driver's */
    IO_READY,      /* complete; its callback runs soon */
};

#define IO_FLAG_MORE 1    /* send: MSG_MORE */
#define IO_FLAG_CANCEL 2  /* a cancel was asked for */
#define IO_FLAG_RUNNING 4 /* pool: taken by a thread; under the pool's lock */
#define IO_FLAG_SYNC 8    /* write: then fdatasync */

#define IO_INDEX_SHARED UINT32_C(0x80000000) /* handle index of struct io: files, listeners */

/* ---- what the core and drivers share ---- */

/* One slot of the loop's socket table. */
struct io_socket {
    int fd; /* -1: none */
    uint32_t index, generation;
    bool used, stale, close_started, shut_send;
    struct io_op *opening; /* accept or connect */
    struct io_op *recv, *send;
    struct io_op *closing;    /* close or linger */
    struct lingering *linger; /* while lingering */
    uint32_t next_free;
    void *driver; /* driver->socket_bytes, zeroed when the slot is taken */
};

struct io_listener {
    int fd;
    struct io_handle handle;
    _Atomic bool stale;
    unsigned refs; /* loops that watch it; under io->lock */
    void *driver;  /* the driver's (fake) */
};

struct io_file {
    int fd;
    struct io_handle handle;
    unsigned flags; /* IO_OPEN_* */
    bool direct, regular, block_device, directory, locked;
    bool waits;                  /* even a transfer that is not to wait may wait in the kernel */
    unsigned queue_room;         /* with more transfers under way, the next may wait for the disk's queue */
    _Atomic unsigned queue_used; /* the driver's, of all loops */
    _Atomic bool stale;
    _Atomic unsigned pending; /* ops in flight */
    struct io_op *closing;
    unsigned pool; /* index: 0 the common one, else of its device */
    void *driver;  /* the driver's (fake's content, uring's registration); NULL at first */
};

/* A descriptor of another library on this loop. */
struct io_foreign {
    int fd;
    bool owned; /* by io_foreign_open: closed by us, so a driver may keep its watch between polls */
    bool closing;
    unsigned polls;
    uint64_t device, inode; /* which socket an owned one is */
    struct list_node ops;   /* io_op.io.node, while IO_DRIVEN */
    void *driver;           /* the driver's; see foreign_release */
};

struct io_driver {
    const char *name;
    enum io_choice choice;
    bool nonblocking; /* sockets and listeners are made with SOCK_NONBLOCK */
    size_t io_bytes, loop_bytes,
        socket_bytes; /* zeroed parts: io->driver_data, loop->driver_data, socket->driver */

    /* NULL: always possible. 0, or below 0 with a reason. On success the reason is what was proved. */
    int (*probe)(char *reason, size_t reason_bytes);
    int (*init)(struct io *io);    /* nullable */
    void (*deinit)(struct io *io); /* nullable */
    int (*loop_init)(struct io_loop *loop);
    /* Every descriptor that is still open is closed here or by the core after it; nothing completes any more.
     */
    void (*loop_deinit)(struct io_loop *loop);

    /* Submits what is gathered, waits for the first completion at most timeout_ns (0: just looks, UINT64_MAX:
     * no bound), and completes what is due. Spurious returns are fine. */
    void (*wait)(struct io_loop *loop, uint64_t timeout_ns);
    /* Submits what is gathered and makes sure that a wake() shows; a descriptor that is readable when wait(0)
     * would find something. nullable */
    int (*descriptor)(struct io_loop *loop);
    /* Any thread. Makes the present or the next wait() return. */
    void (*wake)(struct io_loop *loop);
    void (*now)(struct io_loop *loop, uint64_t *monotonic_ns, uint64_t *wall_ns); /* nullable */

    /* Listeners of struct io. listen sets listener->fd or ->driver. */
    int (*listen)(struct io *io, struct io_listener *listener, const struct io_address *address,
        const struct io_listen_options *options); /* nullable */
    /* This loop lets go of a stale listener; its accepts have been cancelled and have completed. nullable */
    void (*listener_release)(struct io_loop *loop, struct io_listener *listener);
    void (*listener_close)(struct io *io, struct io_listener *listener); /* the last; nullable */
    int (*listener_address)(
        struct io *io, struct io_listener *listener, struct io_address *address); /* nullable */

    void (*accept)(
        struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener);
    void (*connect)(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
    int (*adopt)(struct io_loop *loop, struct io_socket *socket); /* socket->fd is set */
    /* Ends by io_complete; with result > 0 the driver has set op->buffer to a leased one. Where none is free:
     * io_buffer_wait(op), which starts it again later. */
    void (*recv)(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
    void (*send)(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
    void (*poll)(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign);
    void (*cancel)(struct io_loop *loop, struct io_op *op);
    /* Ends by io_socket_closed(), also at once. Closes socket->fd itself (and sets it to -1). */
    void (*socket_close)(struct io_loop *loop, struct io_socket *socket);
    int (*socket_address)(
        struct io_loop *loop, struct io_socket *socket, struct io_address *address); /* nullable */
    int (*shutdown_send)(struct io_loop *loop, struct io_socket *socket);            /* nullable */
    int64_t (*unsent_bytes)(struct io_loop *loop, struct io_socket *socket);         /* nullable */
    /* Forget the descriptor: it is closed (owned) or given up right after. nullable */
    void (*foreign_release)(struct io_loop *loop, struct io_foreign *foreign);

    /* Takes a file op or IO_KIND_WORK, of state IO_DRIVEN when called, and completes it later: true; or
     * leaves it to the core's thread pools: false. nullable: all false. Opens: on success the driver fills
     * the struct io_file io_op_file(op), which the core allocated. A file close comes only when no other op
     * is in flight on it. */
    bool (*blocking)(struct io_loop *loop, struct io_op *op);
    /* A file was opened by a pool; a file is about to be closed by a pool. On the submitting loop; nullable.
     */
    void (*file_opened)(struct io_loop *loop, struct io_file *file);
    void (*file_closing)(struct io_loop *loop, struct io_file *file);

    /* Given, when free buffers are the driver's (a provided-buffer ring): called for each at loop_init (by
     * the core, after loop_init) and at each give. The driver then leases by io_buffer_lease(). NULL:
     * io_buffer_take(). */
    void (*buffer_free)(struct io_loop *loop, unsigned index);
};

extern const struct io_driver io_driver_portable;
extern const struct io_driver io_driver_uring; /* only with HAVE_URING */
extern const struct io_driver io_driver_fake;  /* only with HAVE_FAKE */

/* ---- process-wide ---- */

#define IO_POOLS_MAX 33 /* the common one and 32 devices; further devices share the last */

struct io {
    const struct io_driver *driver;
    void *driver_data;
    struct io_config config; /* defaults filled in */
    struct io_report report;

    pthread_mutex_t lock; /* what follows */
    struct io_loop *loops;
    struct {
        struct shared_slot *slots;
        uint32_t count, free;
        unsigned files, listeners; /* open */
    } table;
    struct io_pool *pools[IO_POOLS_MAX];
    _Atomic bool abandoned; /* a loop was left with stalled disk ops: nothing is joined or freed */
};

/* The end of op->io.small, behind iov, count or pointer, pointer2, of a file op. */
struct io_op_file {
    void *taken[2];
    struct io_file *file;
};

struct io_loop {
    struct io *io;
    const struct io_driver *driver;
    void *driver_data;
    struct io_loop *next; /* io->loops */
    uint64_t now_ns, wall_ns;

    struct list_node ready; /* complete, callbacks to run */
    struct {
        struct timer_entry *entries;
        uint32_t count, capacity;
        uint64_t sequence;
        struct list_node late;              /* ops that the entries have no room for */
        uint64_t looked_ns, grace_until_ns; /* when timers were last looked at; 0: no grace */
    } timers;

    _Atomic(struct io_message *) mail; /* newest first */
    _Atomic(struct io_op *) finished;  /* from pools, newest first */
    _Atomic int sleeping;
    _Atomic unsigned posters; /* threads inside a post or a wake: the memory must outlive them */
    _Atomic bool stop, listeners_changed;

    struct {
        struct io_socket *slots;
        uint8_t *driver_parts;
        uint32_t capacity, free, used;
        unsigned open; /* handles alive or closing */
    } sockets;
    struct {
        struct io_foreign **by_fd;
        uint32_t capacity;
        unsigned owned;
    } foreign;
    struct {
        struct io_listener **held;
        unsigned count, capacity;
    } listeners;
    struct {
        uint8_t *memory;
        uint32_t *free;
        uint8_t *leased; /* by index */
        unsigned count, free_count, leased_count;
        size_t bytes;
        struct list_node waiting; /* receives, in order */
    } buffers;
    struct {
        struct list_node ops;
        unsigned count;
    } batches[IO_POOLS_MAX];
    uint64_t batches_dirty; /* bit per pool */

    unsigned in_flight, disk_in_flight, work_in_flight;
    bool ending;
    struct io_loop_stats stats;
};

/* ---- the core's services to drivers; all on the loop's thread unless said ---- */

/* Ends an op: its callbacks run later in the turn. */
void io_complete(struct io_op *op, int64_t result);
/* The socket of a socket op (reserved, for accept and connect). */
struct io_socket *io_op_socket(struct io_op *op);
/* The file of a file op. */
static inline struct io_file *io_op_file(struct io_op *op)
{
    return ((struct io_op_file *)(void *)op->io.small)->file;
}
/* Answers socket_close: the slot is free again. */
void io_socket_closed(struct io_loop *loop, struct io_socket *socket);

/* A free buffer, leased, or NULL. Undone by io_buffer_give(). */
uint8_t *io_buffer_take(struct io_loop *loop);
/* Marks one of the driver's free buffers (buffer_free) as leased to the caller of the receive. */
uint8_t *io_buffer_lease(struct io_loop *loop, unsigned index);
/* The receive (IO_DRIVEN) waits for a buffer; the core calls driver->recv again when one is given back. */
void io_buffer_wait(struct io_op *op);

/* Ordinary helpers on descriptors, for drivers that have them. */
int io_accept_flags(const struct io_loop *loop);
/* A socket for connecting to the address in the driver's mode, TCP_NODELAY on; or -errno. */
int io_connect_socket(const struct io_loop *loop, const struct io_address *address);
/* Advances over `done` bytes; returns the first part that is left and updates *count. */
struct iovec *io_vector_advance(struct iovec *iov, unsigned *count, size_t done);
