#include "cache/footprint.h"

#include "cache/reader.h"
#include "cache/tier.h"
#include "cache/worker.h"

/* A window of the segment, the superblocks of two. */
#define RECLAIM_BYTES ((256u << 10) + 2 * SUPERBLOCK_BYTES)

/* With what an allocator keeps beside it: 8 bytes, in steps of 16. */
static uint64_t allocated(uint64_t bytes)
{
    return (bytes + 8 + 15) / 16 * 16;
}

/* Rows double as they come; the table is made when the segment is sealed. */
static uint64_t filling_bytes(const struct device *device)
{
    return sizeof(struct filling) + 2 * (uint64_t)device->rows_max * SEGMENT_ROW_BYTES +
           segment_table_len(device->rows_max) + sizeof(struct write);
}

/* What doubles is there twice for a moment, if the allocator has to move it. */
static uint64_t doubled(uint64_t bytes)
{
    return bytes + bytes / 2;
}

/* The rows of a segment while they are read: by a table or by a scan. */
static uint64_t loading_bytes(const struct device *device)
{
    uint64_t table = segment_table_len(device->rows_max), window = ROWS_WINDOW_BYTES;
    return (table > window ? table : window) +
           doubled(2 * (uint64_t)device->rows_max * sizeof(struct segment_row));
}

static uint64_t reclaim_bytes(const struct device *device)
{
    return RECLAIM_BYTES + loading_bytes(device);
}

static uint64_t recovering_bytes(const struct device *device)
{
    return RECOVERY_DEPTH * loading_bytes(device) +
           doubled(DEVICE_FORGOTTEN_MAX * sizeof *device->forgotten) +
           doubled(PURGE_PLACES_MAX * sizeof(struct purge_place)) + PURGE_LOG_WINDOW_BYTES +
           device->segment_count * sizeof(uint32_t);
}

/* Header and tail of the smallest large item; of larger ones there are fewer, and their headers grow more
 * slowly. */
static uint64_t large_bytes(void)
{
    return allocated(sizeof(struct write)) + allocated(2 * SEGMENT_BLOCK);
}

static uint64_t tier_bytes(const struct disk *disk)
{
    uint64_t limit = disk->waiting_limit_bytes;
    return sizeof *disk + limit / FOOTPRINT_WAITING_SHARE * allocated(sizeof(struct writing)) +
           limit / (SEGMENT_LARGE_BYTES + SEGMENT_BLOCK) * large_bytes();
}

struct footprint footprint_of(const struct device *device)
{
    const struct disk *disk = device->disk;
    uint64_t unsealed = disk->waiting_limit_bytes / device->segment_bytes + 2;
    return (struct footprint){
        .fixed = index_bytes(device->index) + sizeof *device +
                 (uint64_t)device->segment_count * (sizeof *device->segments + 2 * sizeof *device->live),
        .writing = DEVICE_BATCH_MEMORY + DEVICE_BATCHES_MAX * sizeof(struct write) +
                   unsealed * filling_bytes(device) + reclaim_bytes(device),
        .reading = DEVICE_READ_BYTES_MAX,
        .recovering = recovering_bytes(device),
        .tier = tier_bytes(disk),
        .entry = allocated(sizeof(struct writing)),
        .large = large_bytes(),
        .loop = worker_bytes_max(),
    };
}
