/*
 * Memory of one request, dropped whole. The first block lies inside the owner and serves the hit path without
 * an allocation; what exceeds it comes from the heap, up to a bound, and goes at reset.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"

struct arena_block;

struct arena {
    unsigned char *first;
    size_t first_bytes, used, heap_bytes, heap_bound_bytes;
    struct arena_block *blocks;
};

/* `first` stays the caller's. */
void arena_init(struct arena *arena, void *first, size_t first_bytes, size_t heap_bound_bytes);
/* Aligned to 16, not cleared. NULL when the bound is reached or the heap is empty. */
void *arena_take(struct arena *arena, size_t len);
/* A copy that lives as long as the arena's content; ptr is NULL on exhaustion. */
struct bytes arena_copy(struct arena *arena, struct bytes a);
/* Frees all that was taken. */
void arena_reset(struct arena *arena);
