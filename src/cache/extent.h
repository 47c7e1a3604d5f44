/*
 * The arena: one mapping, cut in frames of 4 KiB, blocks of 64 frames (256 KiB) and pages of 8 blocks (2 MiB,
 * the mapping's alignment, so that the kernel can back it by huge pages). What is given out are extents: runs
 * of 1 to 64 frames within one block.
 *
 * Idea: a block's state is one 64-bit mask, so finding room is arithmetic on words. A block's *class* is the
 * largest of 4, 16, 64 and 256 KiB that it has free and aligned; blocks are listed by class, and an extent is
 * cut from the smallest class that holds it. Large room is thereby broken only when no smaller does. Classes
 * belong to blocks from moment to moment: nothing has to be reassigned when the mix of sizes changes, only
 * emptied (room.h).
 *
 * Blocks that hold item metadata (slot.h) are kept apart, so that small long-lived frames don't break up
 * large room.
 *
 * Rejected: whole pages bound to one class (slabs): each class strands what it doesn't use, evicting in order
 * of use frees the wrong class, and one pinned 4 KiB holds 2 MiB.
 *
 * Invariants: free frames are poisoned under ASan; free_frames counts those of value blocks; a block is
 * listed by class and by number of free frames exactly where its mask says.
 *
 * Threads: under the memory tier's lock. Memory of extents is the taker's, without lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

#define FRAME_BYTES 4096u
#define BLOCK_FRAMES 64u
#define BLOCK_BYTES (FRAME_BYTES * BLOCK_FRAMES)
#define PAGE_BYTES (2u << 20)
#define ARENA_BLOCKS_MAX (1u << 20) /* 256 GiB: an extent names its frame by 26 bits */

/* An extent is packed in 32 bits: frame << 6 | frames - 1. */

static inline uint32_t extent_of(uint32_t frame, uint32_t frames)
{
    return frame << 6 | (frames - 1);
}

static inline uint32_t extent_frame(uint32_t e)
{
    return e >> 6;
}

static inline uint32_t extent_frames(uint32_t e)
{
    return (e & 63) + 1;
}

#define OWNER_NONE 0u         /* free, or taken and not yet owned */
#define OWNER_SLAB UINT32_MAX /* slots of items; else the owner is an item's id */

#define BLOCK_CLASSES 5 /* full, 4, 16, 64, 256 KiB */

struct block_links {
    uint32_t prev, next; /* 1 + block; 0 at the ends */
};

struct block {
    uint64_t used;
    struct block_links by_class, by_free;
    uint8_t class, free, slots; /* slots: holds slabs */
};

struct space {
    unsigned char *base;
    void *mapping;
    size_t mapping_bytes;
    uint32_t block_count;
    uint64_t free_frames;      /* of value blocks */
    uint64_t free_slot_frames; /* of slot blocks */
    struct block *blocks;
    uint32_t *owners;                                                         /* by frame */
    uint32_t by_class[BLOCK_CLASSES], by_free[BLOCK_FRAMES + 1], slot_blocks; /* 1 + block */
};

/* What `block_count` blocks cost besides themselves. */
uint64_t space_overhead_bytes(uint32_t block_count);
/* -ENOMEM. */
MUST_CHECK int space_init(struct space *space, uint32_t block_count);
void space_deinit(struct space *space);

static inline unsigned char *space_at(const struct space *space, uint32_t frame)
{
    return space->base + (size_t)frame * FRAME_BYTES;
}

/* Frames in all, in at most `max` parts, where adjacent extents are one part (an extent ends with its block,
 * a part need not). Returns the number of extents, at most 2 * max + frames / 64, or -1 and nothing is taken.
 */
int space_take(struct space *space, uint64_t frames, uint32_t *extents, unsigned max);
/* Takes this very run, which is free. */
void space_take_run(struct space *space, uint32_t run);
void space_give(struct space *space, uint32_t e);
void space_own(struct space *space, uint32_t e, uint32_t owner);

/* A frame for slots from a slot block, or from a free block that becomes one. False: none. */
bool space_take_slot_frame(struct space *space, uint32_t *frame);
/* The block of this whole free run becomes one of slots. */
void space_make_slot_block(struct space *space, uint32_t block);
/* The other way round. */
void space_make_value_block(struct space *space, uint32_t block);

/* Bits at which a run of `len` ones begins. */
uint64_t mask_runs(uint64_t mask, unsigned len);
