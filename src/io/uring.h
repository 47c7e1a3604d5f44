/* Between the files of the io_uring driver: uring.c (ring and turn), uring_op.c (operations), uring_probe.c.
 */
#pragma once

#include <errno.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/driver.h"

#define URING_BUFFER_GROUP 0
#define URING_FLAGS                                                                                          \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE)

/* Under TSan rings are never unmapped; see uring.c. */
#if defined(__SANITIZE_THREAD__)
#define URING_KEPT 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define URING_KEPT 1
#endif
#endif
#ifndef URING_KEPT
#define URING_KEPT 0
#endif

/* What an entry's user_data points to: the low bits of the pointer. */
enum uring_tag { URING_OP, URING_CLOSE /* struct io_socket */, URING_IGNORE, URING_WAKE, URING_TAGS };

/* The transfers of one device; by the index of its pool. */
struct uring_queue {
    unsigned used;            /* the kernel's, of this loop */
    struct list_node waiting; /* ops, in order, until one of the former ends */
};

/* The loop's driver part. */
struct uring {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    unsigned buffer_mask;
    bool enabled; /* by the thread that turns the loop, at its first turn */
    bool reaping; /* completions are being looked at: nothing may reap */
    bool wake_armed;
    int wake_fd;
    _Atomic int ready_fd;      /* for programs that wait themselves; -1 until one does; wakers read it */
    uint64_t wake_count;       /* what the armed read writes */
    unsigned transfers;        /* reads and writes of files that wait for a submission, about */
    struct list_node deferred; /* ops that found no room in the submission queue while reaping */
    struct uring_queue queues[IO_POOLS_MAX];
};

/* The socket's driver part. */
struct uring_socket {
    bool more; /* the last receive left bytes behind: try at once instead of polling first */
    bool full; /* the last send was short: poll first instead of trying */
    uint8_t spare[6];
};

static inline struct uring *uring_of(const struct io_loop *loop)
{
    return loop->driver_data;
}

/* uring.c. Submits what is gathered, without waiting; not while reaping. */
void uring_submit(struct io_loop *loop);
/* A free entry; NULL only while reaping. */
struct io_uring_sqe *uring_entry(struct io_loop *loop);

/* io_uring_enable_rings(), which the shared library of liburing 2.3 declares but does not export. 0 or
 * -errno. */
static inline int uring_enable(struct io_uring *ring)
{
    return syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0 ? -errno
                                                                                                    : 0;
}

static inline void uring_entry_set(struct io_uring_sqe *entry, const void *pointer, enum uring_tag tag)
{
    CHECK(((uintptr_t)pointer & 7) == 0);
    io_uring_sqe_set_data64(entry, (uintptr_t)pointer | tag);
}

/* uring_op.c. Starts an op that was deferred. */
void uring_restart(struct io_loop *loop, struct io_op *op);
/* Looks at the completion of an op. */
void uring_finish(struct io_loop *loop, struct io_op *op, int result, unsigned flags);
void uring_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener);
void uring_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
int uring_adopt(struct io_loop *loop, struct io_socket *socket);
void uring_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void uring_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void uring_poll(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign);
void uring_cancel(struct io_loop *loop, struct io_op *op);
void uring_socket_close(struct io_loop *loop, struct io_socket *socket);
bool uring_blocking(struct io_loop *loop, struct io_op *op);

/* uring_probe.c */
int uring_probe(char *reason, size_t reason_bytes);
