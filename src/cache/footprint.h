/*
 * How much memory the disk tier holds at most, as a sum of what it allocates: pure arithmetic from geometry
 * and configuration, printed at open and held to by tests/cache/test_footprint.c.
 *
 *   fixed    index (64 bytes a bucket) and tables (24 + 8 bytes a segment, the device's own state)
 *   writing  batches in flight (at most DEVICE_BATCHES_MAX of 256 KiB); rows and table of each segment that
 * may be unsealed; what reclaiming reads; one entry for each item that waits (at most one for each
 *            FOOTPRINT_WAITING_SHARE bytes of the write buffer); header and tail of each large item
 *   reading  gets and buffers of reads in flight: DEVICE_READ_BYTES_MAX
 *   recovering  only while tables are read after a crash: buffer and rows of RECOVERY_DEPTH segments (written
 *            under the same expected size of items), hashes taken out meanwhile, places of purge records
 *   loop     for each loop that joined: kept gets and buffers
 *
 * Fixed, reading, and what is there for each item that waits are exact, within 2 %, when their bound is
 * reached; batches are mapped as a whole at the first. The rest are upper bounds, of cases that exclude one
 * another: rows of segments full of the smallest items, reclaiming at its longest, tables of those at a
 * start.
 *
 * The bytes that wait to be written are not in it: they lie in the memory tier, whose budget counts
 * everything. So are the values that are read. A get that was answered without a read, and whose callback has
 * not come yet, is its caller's number to bound; so are views of values (yata.h), whose items lie in the
 * memory tier.
 */
#pragma once

#include "cache/device.h"

#define FOOTPRINT_WAITING_SHARE 2048u

struct footprint {
    uint64_t fixed, writing, reading, recovering; /* of a device */
    uint64_t tier;                                /* of the tier, writing of all devices included */
    uint64_t entry, large; /* of the tier's: for one item that waits; more, if it is a large one */
    uint64_t loop;
};

/* Of an open device and its tier. */
struct footprint footprint_of(const struct device *device);
