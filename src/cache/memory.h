/*
 * The memory tier: a byte budget that counts everything (arena, item slots, table, ghost queue), all of it
 * allocated once at creation; eviction by S3-FIFO (Yang et al., SOSP 2023: small, main and ghost queues).
 *
 * Memory is extents of fixed classes cut from 2 MiB pages of one arena; whole pages move between classes by
 * evicting their unpinned items. The table is striped (at least 1,024 stripes); a stripe's lock is held for
 * the look-up only. A reference keeps an item's memory; an item with references is never reused, however
 * evicted.
 *
 * References past the tier's own are *pins*. Their bytes are counted: memory_pins_full() tells senders when a
 * quarter of the tier is pinned; then they send from a small private copy instead of holding the item.
 *
 * All functions: any thread, unless said otherwise.
 */
#pragma once

#include "cache/item.h"

struct memory_config {
    uint64_t budget_bytes; /* at least 8 MiB */
};

/* -ENOMEM; -EINVAL for a budget under 8 MiB. */
MUST_CHECK int memory_create(struct memory **memory, const struct memory_config *config);
/* Every reference must be gone. */
void memory_destroy(struct memory *memory);

/* A new private item in state filling, with memory for held_len bytes, evicting as needed. E_EXHAUSTED when
 * what is not pinned does not suffice. value_from and held_len describe a part; 0 and value_len for a whole
 * value. */
struct item_shape {
    uint32_t value_len, value_from, held_len;
};
MUST_CHECK int memory_take(
    struct memory *memory, struct item_key key, struct item_shape shape, struct item **item);

/* Makes a complete, whole item visible under its key, in place of an older one. Where the table holds one of
 * a higher sequence the call changes nothing. The tier takes its own reference. sequence > 0. */
void memory_insert(struct memory *memory, struct item *item, uint64_t sequence);

/* A reference to the item, or NULL. Counts a use. No allocation, no I/O. */
struct item *memory_find(struct memory *memory, struct item_key key);
/* Whether it is there; counts no use. */
bool memory_has(struct memory *memory, struct item_key key);
/* Whether an item of that sequence may be there: false is sure, true is a guess. For who has no key at hand.
 */
bool memory_may_hold(const struct memory *memory, uint64_t sequence);
/* Whether it is this very item that lies there under its key. */
bool memory_holds(struct memory *memory, const struct item *item);
/* Takes it out of the table where its sequence is below the given one (UINT64_MAX: always). True if it was
 * there. */
bool memory_remove(struct memory *memory, struct item_key key, uint64_t below_sequence);

/* Takes out the items that `goes` says so of, among those of shares [from, from + count) of MEMORY_SHARES;
 * holds the tier's lock meanwhile. `goes` may not call the tier. */
#define MEMORY_SHARES 1024u
void memory_sweep(struct memory *memory, uint32_t from, uint32_t count,
    bool (*goes)(void *context, struct item *item), void *context);

bool memory_pins_full(const struct memory *memory);

struct memory_stats {
    uint64_t budget_bytes, used_bytes, pinned_bytes, items;
    uint64_t hits, misses, inserts, evictions, evicted_bytes, ghost_hits, exhausted, page_moves;
};
void memory_stats(const struct memory *memory, struct memory_stats *stats);
