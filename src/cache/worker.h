/* Loops that take part in the tier: finding them, counting their ops, pooled buffers. Internal. */
#pragma once

#include "cache/device.h"

/* The buffers of reads, in three sizes, aligned to 4 KiB; kept for the next read. */
uint8_t *worker_buffer_take(struct disk_worker *worker, uint32_t len);
void worker_buffer_give(struct disk_worker *worker, uint8_t **buffer, uint32_t len);

/* Around each op that the tier submits on the loop: disk_leave waits until the count is 0. */
static inline void worker_op_begin(struct disk_worker *worker)
{
    worker->ops++;
}
void worker_op_end(struct disk_worker *worker);

struct disk_worker *worker_create(struct disk *disk, struct io_loop *loop);
void worker_destroy(struct disk_worker *worker);
