/*
 * Room for new items: what is evicted, and how scattered free memory is made whole.
 *
 * In steady state: evict in the order of S3-FIFO until the frames suffice, and take them in at most 12 parts
 * for each MiB. When what is free is too scattered for that, *gather*: look through the blocks, most free
 * ones first, for runs of frames that are free or hold only what can be evicted, and evict exactly what lies
 * in the chosen ones. As a last resort every block is looked at and ITEM_VECTOR_MAX parts for each MiB will
 * do.
 *
 * So room is refused only when (a) fewer frames are unpinned than asked for, or (b) the unpinned ones don't
 * make up the value in ITEM_VECTOR_MAX parts for each MiB. Up to 256 KiB there is no (b): 64 single frames
 * are 64 parts. For 1 MiB it takes a pin in every fifth frame of the whole tier, a fifth of it in pins of 4
 * KiB, evenly spread. A frame of slots is pinned while one of its items is.
 *
 * Threads: under the memory tier's lock, which taking room holds.
 */
#pragma once

#include <stdint.h>

struct memory;

/* Returns the number of extents (at most ITEM_EXTENTS_MAX); -1: refused. */
int room_for_value(struct memory *memory, uint64_t frames, uint32_t *extents);
/* NULL: refused. */
void *room_for_slot(struct memory *memory, uint32_t bytes);
