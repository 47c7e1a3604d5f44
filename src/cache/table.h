/*
 * The memory tier's table: chains of items by hash, in stripes with a lock each, held for one look-up. All of
 * it is allocated once; a chain's links are the items' ids.
 *
 * Threads: any. The stripe's lock is the innermost.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "cache/item.h"

#define TABLE_STRIPES 1024u

struct stripe {
    _Alignas(64) pthread_mutex_t lock;
    uint64_t hits, misses;
};

struct table {
    struct stripe *stripes;
    uint32_t *buckets; /* ids; 0: empty */
    uint32_t bucket_mask;
    const unsigned char *base; /* of ids */
};

uint64_t table_bytes(uint64_t items);
/* -ENOMEM. */
MUST_CHECK int table_init(struct table *table, uint64_t items, const unsigned char *base);
void table_deinit(struct table *table);

/* With a reference, counting a use and a hit or miss; or NULL. */
struct item *table_find(struct table *table, uint64_t hash, struct item_key key);
/* Neither. */
bool table_has(struct table *table, uint64_t hash, struct item_key key);

/* Whether it is this very item. */
bool table_holds(struct table *table, const struct item *item);

/* Enters `item` with the sequence unless one of its key with the same or a higher sequence is there (false).
 * *displaced is the one it took the place of, or NULL. The tier's reference is set. Where the item itself is
 * there its sequence is raised: false. */
bool table_enter(struct table *table, struct item *item, uint64_t sequence, struct item **displaced);
/* Takes out the item of a key whose sequence is below; NULL: none. */
struct item *table_remove(struct table *table, uint64_t hash, struct item_key key, uint64_t below_sequence);
/* Takes out this item, which is there. */
void table_remove_item(struct table *table, struct item *item);

/* Takes out and returns the first item of the stripe that goes(); NULL: none does. */
struct item *table_take_next(
    struct table *table, uint32_t stripe, bool (*goes)(void *context, struct item *item), void *context);

void table_counts(struct table *table, uint64_t *hits, uint64_t *misses);
