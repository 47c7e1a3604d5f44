/* Counters of all parts as one structure, as far as the caller knows it. */
#include <errno.h>
#include <string.h>

#include "yata/store.h"

static void add_memory(const struct yata *yata, struct yata_stats *stats)
{
    struct memory_stats memory;
    memory_stats(yata->memory, &memory);
    stats->memory_budget_bytes = memory.budget_bytes;
    stats->memory_used_bytes = memory.used_bytes;
    stats->memory_pinned_bytes = memory.pinned_bytes;
    stats->memory_items = memory.items;
    stats->memory_hits = memory.hits;
    stats->memory_misses = memory.misses;
    stats->memory_evictions = memory.evictions;
}

static void add_disk(const struct yata *yata, struct yata_stats *stats)
{
    struct disk_stats disk;
    disk_stats(yata->disk, &disk);
    stats->disk_capacity_bytes = disk.capacity_bytes;
    stats->disk_items = disk.items;
    stats->disk_index_bytes = disk.index_bytes;
    stats->disk_hits = disk.hits;
    stats->disk_misses = disk.misses;
    stats->disk_corrupt = disk.corrupt;
    stats->disk_read_bytes = disk.read_bytes;
    stats->disk_written_bytes = disk.written_bytes;
    stats->disk_io_errors = disk.io_errors;
    stats->disk_evictions = disk.evicted;
    stats->disk_recovered_items = disk.recovered_items;
    stats->dropped_full = disk.dropped_full;
    stats->dropped_budget = disk.dropped_budget;
    stats->dropped_device = disk.dropped_device;
    stats->dropped_index = disk.dropped_index;
    stats->waiting_bytes = disk.waiting_bytes;
    stats->waiting_limit_bytes = disk.waiting_limit_bytes;
    stats->devices = disk.devices;
    stats->devices_out = disk.devices_out;
    stats->devices_recovering = disk.recovering;
}

int yata_stats(const struct yata *yata, struct yata_stats *given)
{
    if (yata == NULL || given == NULL || given->struct_bytes < sizeof given->struct_bytes)
        return -EINVAL;
    size_t bytes = given->struct_bytes;
    struct yata_stats stats = {.struct_bytes = bytes};
    add_memory(yata, &stats);
    if (yata->disk != NULL)
        add_disk(yata, &stats);
    stats.dropped_admission = counter_get(&yata->not_admitted);
    stats.puts = counter_get(&yata->puts);
    stats.gets = counter_get(&yata->gets);
    stats.removes = counter_get(&yata->removes);
    stats.timeouts = counter_get(&yata->timeouts);
    stats.under_way = atomic_load(&yata->under_way);
    if (bytes > sizeof stats)
        memset((unsigned char *)given + sizeof stats, 0, bytes - sizeof stats);
    memcpy(given, &stats, bytes < sizeof stats ? bytes : sizeof stats);
    return 0;
}
