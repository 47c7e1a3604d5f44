/*
 * The io_uring driver: one ring per loop, one system call per turn, more only where file transfers gather.
 *
 * Entries gather in the submission queue while callbacks run; wait() submits them all and waits for the first
 * completion in one io_uring_enter(2). Task work runs only there (DEFER_TASKRUN), so nothing interrupts
 * callbacks, and the kernel needs no lock against a second submitter (SINGLE_ISSUER). That flag binds the
 * ring to one thread: it is made disabled, maybe on the main thread, and enabled by the thread of the first
 * turn.
 *
 *  - Sockets are in blocking mode: on a non-blocking one the ring answers EAGAIN instead of waiting.
 *  - Receives take their buffer from a ring of provided buffers when bytes are there, so an idle connection
 *    holds none. The free buffers lie in that ring; a give puts one back with a store.
 *  - Disk reads are entries too, and direct writes to block devices. What would block inside the kernel goes
 * to the core's pools: open, sync, allocate, writes to files, anything on FUSE. An entry is first tried by
 * the thread that submits it, told not to wait; but on file systems it may sleep all the same: in a journal,
 * for the times of access and modification, and in the block layer, for a place in the disk's queue. While a
 * disk stalls, such a sleep would stop all that the loop serves. So times of access stay (disk.c), and what
 * might find the queue full (disk_queue.c) waits in ours.
 *  - No io-wq worker is ever needed on the hit path; their number is capped.
 *  - Reads and writes of files don't wait for the turn's end: every fourth submits. A device that gets all of
 * a turn's reads at once ends them at once too, and idles while they are looked at; at depth 16 that cost a
 *    quarter of the reads per second, and one system call for four costs less CPU than the idling did.
 *  - A full submission queue is submitted and used again. Completions that overflow their queue are kept by
 * the kernel (NODROP) and fetched.
 *
 * Rejected: SQPOLL (burns a core), multishot receive and accept (back-pressure by not asking is lost), linked
 * chains (a short transfer breaks the chain), registered descriptors for sockets (an update per connection
 * costs more than it saves), registered device files (other loops' rings would keep a closed device open and
 * locked).
 *
 * Under TSan rings are never unmapped: liburing maps by raw system calls, so TSan would take the next owner
 * of the addresses for a racing one.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/uring.h"

#define ENTRIES 1024
#define COMPLETIONS 8192
#define BUFFERS_MAX 32768

/* ---- set-up ---- */

static int init_ring(struct uring *uring)
{
    struct io_uring_params params = {
        .flags = URING_FLAGS | IORING_SETUP_R_DISABLED, .cq_entries = COMPLETIONS};
    return io_uring_queue_init_params(ENTRIES, &uring->ring, &params);
}

static int init_buffers(struct io_loop *loop, struct uring *uring)
{
    unsigned entries = 1;
    while (entries < loop->io->config.buffer_count)
        entries *= 2;
    if (entries > BUFFERS_MAX)
        return -EINVAL;
    size_t bytes = (entries * sizeof(struct io_uring_buf) + 4095) / 4096 * 4096;
    uring->buffers = aligned_alloc(4096, bytes);
    if (uring->buffers == NULL)
        return -ENOMEM;
    io_uring_buf_ring_init(uring->buffers);
    uring->buffer_mask = entries - 1;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)uring->buffers, .ring_entries = entries, .bgid = URING_BUFFER_GROUP};
    return io_uring_register_buf_ring(&uring->ring, &reg, 0);
}

static void loop_deinit(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    if (URING_KEPT)
        return;
    io_uring_queue_exit(&uring->ring);
    close(uring->wake_fd);
    if (uring->ready_fd >= 0)
        close(uring->ready_fd);
    free(uring->buffers);
}

static int loop_init(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    list_init(&uring->deferred);
    for (unsigned i = 0; i < IO_POOLS_MAX; i++)
        list_init(&uring->queues[i].waiting);
    atomic_init(&uring->ready_fd, -1);
    uring->wake_fd = eventfd(0, EFD_CLOEXEC); /* blocking, as all that the ring waits on */
    if (uring->wake_fd < 0)
        return -errno;
    int error = init_ring(uring);
    if (error < 0) {
        close(uring->wake_fd);
        return error;
    }
    error = init_buffers(loop, uring);
    if (error < 0)
        loop_deinit(loop);
    return error;
}

/* On the thread that will turn the loop: the ring, its short-cut descriptor and its io-wq are bound to it. */
static void enable(struct uring *uring)
{
    unsigned workers[2] = {8, 8}; /* for regular files; for what may wait for ever */
    int error = uring_enable(&uring->ring);
    CHECK(error == 0);
    /* both only help: a refusal is nothing to stop for */
    (void)io_uring_register_ring_fd(&uring->ring);
    (void)io_uring_register_iowq_max_workers(&uring->ring, workers);
    uring->enabled = true;
}

static void buffer_free(struct io_loop *loop, unsigned index)
{
    struct uring *uring = uring_of(loop);
    uint8_t *memory = loop->buffers.memory + (size_t)index * loop->buffers.bytes;
    io_uring_buf_ring_add(uring->buffers, memory, (unsigned)loop->buffers.bytes, (unsigned short)index,
        (int)uring->buffer_mask, 0);
    io_uring_buf_ring_advance(uring->buffers, 1);
}

/* ---- completions ---- */

static void on_completion(struct io_loop *loop, const struct io_uring_cqe *completion)
{
    struct uring *uring = uring_of(loop);
    void *pointer = (void *)(uintptr_t)(completion->user_data & ~UINT64_C(7));
    switch ((enum uring_tag)(completion->user_data & 7)) {
    case URING_OP:
        uring_finish(loop, pointer, completion->res, completion->flags);
        break;
    case URING_CLOSE:
        ((struct io_socket *)pointer)->fd = -1;
        io_socket_closed(loop, pointer);
        break;
    case URING_WAKE:
        uring->wake_armed = false;
        break;
    case URING_IGNORE:
        break;
    default:
        UNREACHABLE();
    }
}

static void reap(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    CHECK(!uring->reaping);
    uring->reaping = true;
    for (;;) {
        struct io_uring_cqe *completion;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&uring->ring, head, completion)
        {
            on_completion(loop, completion);
            count++;
        }
        io_uring_cq_advance(&uring->ring, count);
        if (!io_uring_cq_has_overflow(&uring->ring))
            break;
        if (io_uring_get_events(&uring->ring) < 0)
            break;
    }
    uring->reaping = false;
}

/* What io_uring_enter(2) says of the moment: later it may go on. EAGAIN, ENOMEM: the kernel has no memory. */
static bool is_passing(int error)
{
    return error == -EINTR || error == -EBUSY || error == -EAGAIN || error == -ENOMEM;
}

struct io_uring_sqe *uring_entry(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    if (entry != NULL || uring->reaping)
        return entry;
    if (!uring->enabled)
        enable(uring);
    while (entry == NULL) {
        int submitted = io_uring_submit(&uring->ring);
        CHECK(submitted >= 0 || is_passing(submitted));
        if (submitted < 0)
            reap(loop); /* EBUSY: completions overflow; they must be taken first */
        entry = io_uring_get_sqe(&uring->ring);
    }
    return entry;
}

void uring_submit(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    uring->transfers = 0;
    if (uring->enabled && !uring->reaping)
        (void)io_uring_submit(&uring->ring); /* what it refuses now is submitted at the turn's end */
}

/* ---- the turn ---- */

static void arm_wake(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *entry = uring_entry(loop);
    io_uring_prep_read(entry, uring->wake_fd, &uring->wake_count, sizeof uring->wake_count, 0);
    uring_entry_set(entry, NULL, URING_WAKE);
    uring->wake_armed = true;
}

static void restart_deferred(struct io_loop *loop)
{
    struct list_node *node;
    while ((node = list_pop_front(&uring_of(loop)->deferred)) != NULL)
        uring_restart(loop, CONTAINER_OF(node, struct io_op, io.node));
}

static int submit_and_wait(struct uring *uring, uint64_t timeout_ns)
{
    struct io_uring_cqe *completion;
    if (timeout_ns == 0)
        return io_uring_submit_and_get_events(&uring->ring);
    if (timeout_ns == UINT64_MAX)
        return io_uring_submit_and_wait(&uring->ring, 1);
    struct __kernel_timespec span = {(long long)(timeout_ns / NS_PER_S), (long long)(timeout_ns % NS_PER_S)};
    return io_uring_submit_and_wait_timeout(&uring->ring, &completion, 1, &span, NULL);
}

static void wait_turn(struct io_loop *loop, uint64_t timeout_ns)
{
    struct uring *uring = uring_of(loop);
    if (!uring->enabled)
        enable(uring);
    if (!uring->wake_armed)
        arm_wake(loop);
    restart_deferred(loop);
    uring->transfers = 0;
    int result = submit_and_wait(uring, timeout_ns);
    /* EEXIST: turned by another thread than the first turn's, which is a bug of the loop's owner */
    CHECK(result >= 0 || result == -ETIME || is_passing(result));
    reap(loop);
}

static int ready_open(struct uring *uring)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int error = io_uring_register_eventfd(&uring->ring, fd);
    if (error < 0) {
        close(fd);
        return error;
    }
    /* A wake that does not see it yet has signalled wake_fd, which the turn that follows takes. */
    atomic_store(&uring->ready_fd, fd);
    return fd;
}

/* An eventfd that the kernel signals when it has work for the ring. The ring's own descriptor does not show
 * completions while they wait for this thread to run them (DEFER_TASKRUN). */
static int descriptor(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    if (!uring->enabled)
        enable(uring);
    int fd = atomic_load(&uring->ready_fd);
    if (fd < 0)
        fd = ready_open(uring);
    if (fd < 0)
        return fd;
    uint64_t count;
    ssize_t drained = read(fd, &count, sizeof count);
    CHECK(drained == (ssize_t)sizeof count || errno == EAGAIN || errno == EINTR);
    do {
        wait_turn(loop, 0);
    } while (!uring->wake_armed); /* a wake that is reaped here leaves nothing that would show the next one */
    return fd;
}

static void signal_event(int fd)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    CHECK(written == (ssize_t)sizeof one);
}

/* The loop may sleep in the ring or, by its program, on ready_fd; the kernel does not pass the one on to the
 * other from within a write to an eventfd. */
static void wake(struct io_loop *loop)
{
    struct uring *uring = uring_of(loop);
    signal_event(uring->wake_fd);
    int fd = atomic_load(&uring->ready_fd);
    if (fd >= 0)
        signal_event(fd);
}

const struct io_driver io_driver_uring = {
    .name = "uring",
    .choice = IO_URING,
    .nonblocking = false,
    .loop_bytes = sizeof(struct uring),
    .socket_bytes = sizeof(struct uring_socket),
    .probe = uring_probe,
    .loop_init = loop_init,
    .loop_deinit = loop_deinit,
    .wait = wait_turn,
    .descriptor = descriptor,
    .wake = wake,
    .accept = uring_accept,
    .connect = uring_connect,
    .adopt = uring_adopt,
    .recv = uring_recv,
    .send = uring_send,
    .poll = uring_poll,
    .cancel = uring_cancel,
    .socket_close = uring_socket_close,
    .blocking = uring_blocking,
    .buffer_free = buffer_free,
};
