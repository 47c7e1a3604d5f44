#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

struct arena_block {
    alignas(16) struct arena_block *next;
};

void arena_init(struct arena *arena, void *first, size_t first_bytes, size_t heap_bound_bytes)
{
    CHECK(((uintptr_t)first & 15) == 0);
    *arena = (struct arena){.first = first, .first_bytes = first_bytes, .heap_bound_bytes = heap_bound_bytes};
}

void *arena_take(struct arena *arena, size_t len)
{
    if (len > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (len + 15) & ~(size_t)15;
    if (rounded <= arena->first_bytes - arena->used) {
        void *at = arena->first + arena->used;
        arena->used += rounded;
        return at;
    }
    size_t whole = sizeof(struct arena_block) + rounded;
    if (whole > arena->heap_bound_bytes - arena->heap_bytes)
        return NULL;
    struct arena_block *block = malloc(whole);
    if (!block)
        return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->heap_bytes += whole;
    return block + 1;
}

struct bytes arena_copy(struct arena *arena, struct bytes a)
{
    void *at = arena_take(arena, a.len);
    if (at && a.len)
        memcpy(at, a.ptr, a.len);
    return bytes_of(at, at ? a.len : 0);
}

void arena_reset(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->used = 0;
    arena->heap_bytes = 0;
}
