/* Loops that take part in the tier: finding them, counting their ops, pooled buffers. Internal. */
#pragma once

#include "cache/device.h"

/* The buffers of reads, in three sizes, aligned to 4 KiB. Those of a size are cut from one sheet of 2 MiB,
 * made at the first and kept, which is a huge page where there are any: then a buffer is one piece for the
 * device too; a read of two blocks into two pages from anywhere was 5 to 20 % slower at depth 16 and more.
 * Past the sheet they come from malloc and go back there. */
uint8_t *worker_buffer_take(struct disk_worker *worker, uint32_t len);
void worker_buffer_give(struct disk_worker *worker, uint8_t **buffer, uint32_t len);
/* What a buffer of that length takes. */
uint32_t worker_buffer_bytes(uint32_t len);
/* What a loop keeps at most: buffers, gets, itself. */
uint64_t worker_bytes_max(void);

/* Around each op that the tier submits on the loop: disk_leave waits until the count is 0. */
static inline void worker_op_begin(struct disk_worker *worker)
{
    worker->ops++;
}
void worker_op_end(struct disk_worker *worker);

struct disk_worker *worker_create(struct disk *disk, struct io_loop *loop);
void worker_destroy(struct disk_worker *worker);
