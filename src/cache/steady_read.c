/*
 * A read that an open depends on: what can't be read there may have hidden what lies before it, and is paid
 * for with that. So it is tried again, with a pause in which a path may come back. A device where one read
 * after the other fails for good is not waited for any longer.
 */
#include "cache/tier.h"
#include "cache/worker.h"

#include "base/error.h"

#define TRIES 3
#define PAUSE_NS (100 * NS_PER_MS)
#define LOST_MAX 8 /* reads in a row */

static void submit(struct steady_read *read);

static void paused(struct io_op *op)
{
    struct steady_read *read = CONTAINER_OF(op, struct steady_read, op);
    submit(read);
    worker_op_end(read->device->home);
}

static bool again(const struct steady_read *read)
{
    enum device_state state = atomic_load(&read->device->state);
    return read->tries < TRIES && read->device->reads_lost < LOST_MAX &&
           (state == DEVICE_OPENING || state == DEVICE_IN_SERVICE);
}

static void read_done(struct io_op *op)
{
    struct steady_read *read = CONTAINER_OF(op, struct steady_read, op);
    struct device *device = read->device;
    struct disk_worker *home = device->home;
    atomic_store(&device->progress_ns, io_now_ns(home->loop));
    if (op->result == (int64_t)read->iov.iov_len) {
        device->reads_lost = 0;
        read->done(read, 0);
        worker_op_end(home);
        return;
    }
    counter_add(&device->stats.io_errors, 1);
    int error = op->result < 0 ? (int)op->result : E_TRUNCATED;
    if (again(read)) {
        io_op_init(&read->op, paused);
        worker_op_begin(home);
        io_timer(home->loop, &read->op, io_now_ns(home->loop) + PAUSE_NS);
    } else {
        device->reads_lost++;
        read->done(read, error);
    }
    worker_op_end(home);
}

static void submit(struct steady_read *read)
{
    struct device *device = read->device;
    read->tries++;
    io_op_init(&read->op, read_done);
    worker_op_begin(device->home);
    io_file_read(device->home->loop, &read->op, device->file, &read->iov, 1, read->offset);
}

void steady_read_start(struct steady_read *read, struct device *device, uint8_t *to, uint32_t len,
    uint64_t offset, void (*done)(struct steady_read *read, int result))
{
    read->device = device;
    read->iov = (struct iovec){to, len};
    read->offset = offset;
    read->tries = 0;
    read->done = done;
    submit(read);
}
