/*
 * What the modules of the memory tier share: an item's layout and the tier's own struct. Nobody else includes
 * this.
 *
 * References: bit 0 of `references` is the tier's, the rest counts the others' in steps of ITEM_REFERENCE. So
 * "evictable" is the value 1, and exactly one thread sees it become 0 and frees. Others' first reference to a
 * resident item is taken under its stripe's lock only; the tier's is dropped after the item is out of the
 * table.
 *
 * Locks: memory->lock (queues, space, slots), then one stripe's. A hit takes the stripe's only.
 */
#pragma once

#include <pthread.h>

#include "base/stats.h"
#include "cache/item.h"
#include "cache/memory.h"
#include "cache/residents.h"
#include "cache/s3fifo.h"
#include "cache/slot.h"
#include "cache/table.h"

#define ITEM_TIER 1u
#define ITEM_REFERENCE 2u
#define ITEM_EXTENTS_INLINE 64u
#define ITEM_EXTENTS_MAX (FRAME_BYTES / sizeof(uint32_t))

struct item {
    _Atomic uint32_t references;
    uint32_t next; /* in its chain of the table: an id, 0 at the end */
    struct s3fifo_node node;
    uint16_t key_len, extent_count;
    uint8_t kind;
    _Atomic bool complete, awaits_hit;
    struct memory *memory;
    uint32_t value_len, value_from, held_len;
    _Atomic uint32_t filled;
    _Atomic uint64_t sequence, clear_of;
    uint32_t extents[]; /* in order; where they are more than ITEM_EXTENTS_INLINE the one frame that holds
                           them; then the key */
};

/* Pinned bytes, in shares of their own for the threads, so that hits of two never meet here; a share alone
 * may be below 0. */
#define PIN_SHARDS 32
struct pin_shard {
    _Alignas(64) _Atomic int64_t bytes;
};

/* The calling thread's; its first call assigns one, in turn. */
unsigned pin_shard(void);
/* How many have been assigned; the rest are 0. */
unsigned pin_shard_count(void);

struct memory {
    struct space space;
    struct table table;
    uint64_t hash_seed, budget_bytes, overhead_bytes;
    struct pin_shard pins[PIN_SHARDS];

    _Alignas(64) pthread_mutex_t lock; /* of all below, and of space */
    struct slots slots;
    struct s3fifo fifo;
    void *ghosts;
    struct residents residents; /* of what the table holds */
    uint64_t private_count;     /* items that exist outside the table */
    uint64_t inserts, evictions, evicted_bytes, ghost_hits, exhausted, page_moves;
};

const uint32_t *item_extents(const struct item *item);

static inline uint32_t item_inline_extents(const struct item *item)
{
    return item->extent_count > ITEM_EXTENTS_INLINE ? 1 : item->extent_count;
}

static inline struct bytes item_key_bytes(const struct item *item)
{
    return bytes_of(item->extents + item_inline_extents(item), item->key_len);
}

static inline struct item *item_of_node(struct s3fifo_node *node)
{
    return (struct item *)(void *)((char *)node - offsetof(struct item, node));
}

static inline bool item_evictable(const struct item *item)
{
    return atomic_load_explicit(&item->references, memory_order_relaxed) == ITEM_TIER;
}

static inline void pins_add(struct memory *memory, int64_t bytes)
{
    atomic_fetch_add_explicit(&memory->pins[pin_shard()].bytes, bytes, memory_order_relaxed);
}

/* Adds a reference to one of a resident item (under its stripe's lock) or to one already held. */
static inline void item_pin(struct item *item)
{
    uint32_t old = atomic_fetch_add_explicit(&item->references, ITEM_REFERENCE, memory_order_relaxed);
    CHECK(old != 0 && old < UINT32_MAX / 2);
    if (old < ITEM_REFERENCE)
        pins_add(item->memory, item->node.bytes);
}

/* The tier lets go of an item that is out of table and queues; under the lock. */
void memory_release(struct memory *memory, struct item *item);
/* The last reference went; not under the lock. */
void memory_free(struct memory *memory, struct item *item);
