/*
 * Can io_uring be had here? Asked by doing: a ring with the flags of the driver, its operations, a read, a
 * receive into a provided buffer, and the cancel of a receive that waits. Kernels, seccomp filters and
 * sysctls each say no in their own way; the reason names the step and, where errno tells, the cause.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/uring.h"

#define PAGE 4096
#define OPERATIONS 256 /* as many as there can be */

struct probe {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    uint8_t *memory;
    int file, ends[2];
    const char *step;
};

static const int needed[] = {IORING_OP_NOP, IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_RECV,
    IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE,
    IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV};

static const char *sysctl_reason(void)
{
    char text[8] = "";
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) == NULL)
            text[0] = '\0';
        fclose(file);
    }
    if (text[0] == '2')
        return "kernel.io_uring_disabled is 2";
    if (text[0] == '1')
        return "kernel.io_uring_disabled is 1 and this user is not in kernel.io_uring_group";
    return "a seccomp filter forbids it, as containers do by default";
}

static void explain(const struct probe *probe, int error, char *reason, size_t reason_bytes)
{
    const char *cause = strerror(-error);
    const char *name = strerrorname_np(-error);
    if (error == -ENOSYS)
        cause = "this kernel has no io_uring, or a filter hides it";
    else if (error == -EPERM || error == -EACCES)
        cause = sysctl_reason();
    else if (error == -ENOMEM)
        cause = "no memory, or RLIMIT_MEMLOCK is too low";
    else if (error == -EINVAL)
        cause = "the kernel is older than 6.1";
    snprintf(reason, reason_bytes, "io_uring: %s failed with %s: %s", probe->step, name == NULL ? "?" : name,
        cause);
}

static int set_up(struct probe *probe)
{
    struct io_uring_params params = {.flags = URING_FLAGS | IORING_SETUP_R_DISABLED, .cq_entries = 64};
    probe->step = "set-up";
    int error = io_uring_queue_init_params(8, &probe->ring, &params);
    if (error < 0) {
        probe->ring.ring_fd = -1;
        return error;
    }
    probe->step = "enabling the ring";
    error = uring_enable(&probe->ring);
    if (error < 0)
        return error;
    probe->step = "the check of features";
    unsigned features =
        IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL;
    return (params.features & features) == features ? 0 : -EINVAL;
}

static int check_operations(struct probe *probe)
{
    alignas(struct io_uring_probe) unsigned char
        memory[sizeof(struct io_uring_probe) + OPERATIONS * sizeof(struct io_uring_probe_op)] = {0};
    struct io_uring_probe *known = (void *)memory;
    probe->step = "the list of operations";
    int error = io_uring_register_probe(&probe->ring, known, OPERATIONS);
    for (unsigned i = 0; i < sizeof needed / sizeof *needed && error >= 0; i++) {
        if (!io_uring_opcode_supported(known, needed[i]))
            error = -EINVAL;
    }
    return error;
}

/* Submits and waits for one completion, not for ever. */
static int wait_one(struct probe *probe, uint64_t *data, int *result, unsigned *flags)
{
    struct io_uring_cqe *completion = NULL;
    struct __kernel_timespec patience = {10, 0}; /* a busy machine is no reason to do without */
    int error = io_uring_submit_and_wait_timeout(&probe->ring, &completion, 1, &patience, NULL);
    if (error < 0)
        return error;
    if (completion == NULL)
        return -ETIME;
    *data = completion->user_data;
    *result = completion->res;
    *flags = completion->flags;
    io_uring_cqe_seen(&probe->ring, completion);
    return 0;
}

static int expect(struct probe *probe, int expected, unsigned *flags)
{
    uint64_t data;
    int result, error = wait_one(probe, &data, &result, flags);
    if (error < 0)
        return error;
    return result == expected ? 0 : result < 0 ? result : -EIO;
}

/* Of this program: a regular file. (From a memfd the kernel would read on a worker thread, which lingers.) */
static int try_read(struct probe *probe)
{
    char got[4] = "", truth[4];
    unsigned flags;
    probe->step = "a read";
    probe->file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (probe->file < 0)
        probe->file = memfd_create("yata-probe", MFD_CLOEXEC); /* no /proc */
    if (probe->file < 0)
        return -errno;
    ssize_t len = pread(probe->file, truth, sizeof truth, 0);
    io_uring_prep_read(io_uring_get_sqe(&probe->ring), probe->file, got, sizeof got, 0);
    int error = expect(probe, (int)len, &flags);
    return error == 0 && len > 0 && memcmp(got, truth, (size_t)len) != 0 ? -EIO : error;
}

static int give_buffer(struct probe *probe)
{
    probe->step = "a ring of buffers";
    probe->buffers = aligned_alloc(PAGE, PAGE);
    probe->memory = malloc(16);
    if (probe->buffers == NULL || probe->memory == NULL)
        return -ENOMEM;
    io_uring_buf_ring_init(probe->buffers);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)probe->buffers, .ring_entries = 1, .bgid = URING_BUFFER_GROUP};
    int error = io_uring_register_buf_ring(&probe->ring, &reg, 0);
    if (error < 0)
        return error;
    io_uring_buf_ring_add(probe->buffers, probe->memory, 16, 0, 0, 0);
    io_uring_buf_ring_advance(probe->buffers, 1);
    return 0;
}

static void prepare_recv(struct probe *probe, uint64_t data)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&probe->ring);
    io_uring_prep_recv(entry, probe->ends[0], NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = URING_BUFFER_GROUP;
    entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data64(entry, data);
}

static int try_recv(struct probe *probe)
{
    unsigned flags = 0;
    probe->step = "a receive";
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe->ends) < 0)
        return -errno;
    prepare_recv(probe, 1);
    if (write(probe->ends[1], "recv", 4) != 4)
        return -errno;
    int error = expect(probe, 4, &flags);
    if (error == 0 && (!(flags & IORING_CQE_F_BUFFER) || memcmp(probe->memory, "recv", 4) != 0))
        return -EIO;
    return error;
}

static int try_cancel(struct probe *probe)
{
    uint64_t data;
    int result = 0;
    unsigned flags;
    probe->step = "a cancel";
    prepare_recv(probe, 1);
    int error = io_uring_submit(&probe->ring);
    if (error < 0)
        return error;
    struct io_uring_sqe *entry = io_uring_get_sqe(&probe->ring);
    io_uring_prep_cancel64(entry, 1, 0);
    io_uring_sqe_set_data64(entry, 2);
    for (int i = 0; i < 2; i++) {
        error = wait_one(probe, &data, &result, &flags);
        if (error < 0)
            return error;
        if (result != (data == 1 ? -ECANCELED : 0))
            return result < 0 ? result : -EIO;
    }
    return 0;
}

static void clean_up(struct probe *probe)
{
    if (URING_KEPT)
        return;
    if (probe->ring.ring_fd >= 0)
        io_uring_queue_exit(&probe->ring);
    free(probe->buffers);
    free(probe->memory);
    int fds[] = {probe->file, probe->ends[0], probe->ends[1]};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

int uring_probe(char *reason, size_t reason_bytes)
{
    static int (*const steps[])(struct probe *) = {
        set_up, check_operations, try_read, give_buffer, try_recv, try_cancel};
    struct probe probe = {.file = -1, .ends = {-1, -1}};
    int error = 0;
    for (unsigned i = 0; i < sizeof steps / sizeof *steps && error == 0; i++)
        error = steps[i](&probe);
    clean_up(&probe);
    if (error < 0) {
        explain(&probe, error, reason, reason_bytes);
        return E_UNSUPPORTED;
    }
    snprintf(reason, reason_bytes, "io_uring: set-up, operations, read, receive and cancel work here");
    return 0;
}
