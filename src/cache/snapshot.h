/*
 * The snapshot that a clean stop leaves in the device's reserved area: a state block, then the buckets of the
 * index, then the purges in force (purges.h), each from a 4 KiB boundary on.
 *
 * State, little-endian, padded with zeroes to whole 4 KiB:
 *    0 checksum u64 of the rest of the state (also the mark in the superblock)
 *    8 magic u64     16 version u32, 0 u32    24 epoch u64    32 segments u64    40 index buckets u64
 *   48 next generation u64    56 pieces u64        64 bytes of the purges u64   72 their checksum u64
 *   80 per segment: generation u64 (0: free), end of items u32, flags u32
 *      then per piece of 1 MiB of the buckets: its checksum u64
 * All checksums are seeded from the superblock. The snapshot counts only while the superblock carries its
 * mark; a piece that fails its checksum makes the whole snapshot invalid (then the tables are read).
 */
#pragma once

#include "base/bytes.h"

#define SNAPSHOT_PIECE (1u << 20)
#define SNAPSHOT_STATE_FIXED 80

struct snapshot_segment {
    uint64_t generation;
    uint32_t data_end, flags;
};

struct snapshot {
    uint64_t epoch, segment_count, index_buckets, next_generation, piece_count;
    uint64_t purge_bytes, purge_checksum;
    const uint8_t *segments, *pieces; /* decoded: into the bytes given */
};

uint64_t snapshot_pieces(uint64_t index_buckets);
/* Of the state alone, in whole blocks. */
uint64_t snapshot_state_bytes(uint64_t segment_count, uint64_t index_buckets);
/* Where the purges begin, in the reserved area. */
uint64_t snapshot_purges_at(uint64_t segment_count, uint64_t index_buckets);
/* Of the reserved area. */
uint64_t snapshot_bytes_for(uint64_t segment_count, uint64_t index_buckets);

/* Fills snapshot_state_bytes() at `to` and returns the mark, never 0. */
uint64_t snapshot_encode(const struct snapshot *snapshot, const struct snapshot_segment *segments,
    const uint64_t *pieces, uint64_t seed, uint8_t *to);
/* E_CORRUPT unless it carries that mark and is whole. */
MUST_CHECK int snapshot_decode(struct snapshot *snapshot, struct bytes from, uint64_t seed, uint64_t mark);
struct snapshot_segment snapshot_segment_at(const struct snapshot *snapshot, uint64_t number);
uint64_t snapshot_piece_at(const struct snapshot *snapshot, uint64_t number);
uint64_t snapshot_checksum(uint64_t seed, struct bytes piece);
