/*
 * Slots for item metadata: sizes from 128 bytes to a whole frame's, cut from frames of the same arena
 * ("slabs"), so that metadata is within the budget and its room goes back when it isn't needed.
 *
 * A slab is one frame: this header, then slots of one size. An item's id is its slot's distance from the
 * arena's start / 64: 32 bits where a pointer would be 64.
 *
 * Threads: under the memory tier's lock.
 */
#pragma once

#include "cache/extent.h"

#define SLOT_UNIT 64u
#define SLOT_BYTES_MAX (FRAME_BYTES - SLOT_UNIT)
#define SLOT_CLASSES 8

struct slab {
    uint32_t used;       /* a bit per slot */
    uint32_t prev, next; /* 1 + frame, among those of its class with room */
    uint32_t frame;
    uint8_t class;
};

struct slots {
    struct space *space;
    uint32_t with_room[SLOT_CLASSES]; /* 1 + frame */
};

void slots_init(struct slots *slots, struct space *space);
/* A slot of at least `bytes` (at most SLOT_BYTES_MAX), or NULL: the class needs another slab. */
void *slots_take(struct slots *slots, uint32_t bytes);
/* The frame, taken, becomes a slab for slots of `bytes`. */
void slots_add(struct slots *slots, uint32_t bytes, uint32_t frame);
/* An empty slab goes back to the space. */
void slots_give(struct slots *slots, void *slot);

/* The first used slot of a slab at index *at or later; advances *at; NULL at the end. */
void *slab_next(const struct space *space, uint32_t frame, unsigned *at);
/* What slots of `bytes` really take. */
uint32_t slot_bytes(uint32_t bytes);

static inline uint32_t slot_id(const struct space *space, const void *slot)
{
    return (uint32_t)(((const unsigned char *)slot - space->base) / SLOT_UNIT);
}

static inline void *slot_at(const unsigned char *base, uint32_t id)
{
    return (void *)(base + (size_t)id * SLOT_UNIT);
}
