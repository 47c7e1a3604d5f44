/*
 * The superblock of a device: two copies of 4 KiB, at 0 and at 4096. Pure codec and planning of the geometry.
 *
 * A copy, little-endian:
 *    0 magic "YATADISK"           8 version u32            12 length of a copy u32 (4096)
 *   16 counter u64                24 device id, 16 bytes   40 hash seed u64
 *   48 segment bytes u64          56 data offset u64       64 snapshot offset u64    72 snapshot bytes u64
 *   80 segment count u64          88 index buckets u64     96 epoch u64             104 dead below u64
 *  112 generation bound u64      120 snapshot mark u64    128 peer count u32, 0 u32
 *  136 peers, 16 x 16 bytes      392 attach u64           400 whole u64            408 zeroes
 * 4088 checksum u64 of the 4088 bytes before
 *
 * The copy with the higher counter is the current one; each change is written to the other copy and synced.
 * At open both are written, so that a lost copy never brings an earlier epoch or the mark of a used snapshot
 * back. A copy one step older is harmless otherwise: its dead-below keeps one more segment alive, a longer
 * suffix of the same log.
 *
 * Meaning: `epoch` is the high 20 bits of sequences. Segments of a generation under `dead_below` are dead,
 * whatever they hold. No generation at or above `generation_bound` was ever used. `snapshot_mark` is the
 * checksum of the state of a valid snapshot (snapshot.h), 0 if there is none. `peers` are the ids of all
 * devices of the tier, this one's included: a key belongs to one of them, also while that one is away.
 * `attach` is drawn at random when the tier is attached, the same for all devices present; odd if none was
 * away; 2 if one is missing that no superblock names: what is written then is good for that attach only.
 * `whole` is that of the last attach before this one when none was away.
 *
 * The geometry is fixed at creation, but for segment_count, which may grow.
 */
#pragma once

#include "base/bytes.h"

#define SUPERBLOCK_BYTES 4096u
#define SUPERBLOCK_COPIES 2
#define SUPERBLOCK_VERSION 1
#define SUPERBLOCK_PEERS_MAX 16
#define EPOCH_BITS 20
#define EPOCH_SHIFT 44
#define SEGMENT_BYTES_MIN (UINT64_C(1) << 20)
#define SEGMENT_BYTES_MAX (UINT64_C(64) << 20)
#define SEGMENT_COUNT_MIN 32

struct device_id {
    uint8_t bytes[16];
};

struct superblock {
    uint64_t counter;
    struct device_id id;
    uint64_t hash_seed;
    uint64_t segment_bytes, data_offset, snapshot_offset, snapshot_bytes;
    uint64_t segment_count, index_buckets;
    uint64_t epoch, dead_below, generation_bound, snapshot_mark;
    uint64_t attach, whole;
    uint32_t peer_count;
    struct device_id peers[SUPERBLOCK_PEERS_MAX];
};

/* The geometry for a new device of `size_bytes`, everything included; id, seed, epoch and peers are left 0.
 * -EINVAL if it is too small for 32 segments of 1 MiB. */
MUST_CHECK int superblock_plan(struct superblock *block, uint64_t size_bytes, uint64_t expected_item_bytes);
/* How many segments fit in `size_bytes` with the geometry of the superblock. */
uint64_t superblock_segments_in(const struct superblock *block, uint64_t size_bytes);
/* First byte past the last segment. */
uint64_t superblock_end(const struct superblock *block);

void superblock_encode(const struct superblock *block, uint8_t *copy);
/* E_FOREIGN: not ours. E_UNSUPPORTED: a newer format. E_CORRUPT: ours, but fails its check or makes no sense.
 */
MUST_CHECK int superblock_decode(struct superblock *block, struct bytes copy);
/* The newest of both copies (2 * 4096 bytes, or what a shorter file has). Errors as above, the most telling
 * of both. */
MUST_CHECK int superblock_choose(struct superblock *block, struct bytes copies);
/* Whether both copies hold nothing, or torn parts of a first superblock and nothing else: a loss of power
 * while a device was made leaves that. */
bool superblock_is_half_made(struct bytes copies);
