#include "cache/table.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/item_private.h"

static_assert(sizeof(struct stripe) == 64, "a stripe is one cache line");
static_assert(
    offsetof(struct item, extents) == 88, "an item with a chunk's key and one extent fits 128 bytes");

static uint64_t bucket_count(uint64_t items)
{
    uint64_t count = TABLE_STRIPES;
    while (count < items)
        count *= 2;
    return count;
}

uint64_t table_bytes(uint64_t items)
{
    return bucket_count(items) * sizeof(uint32_t) + TABLE_STRIPES * sizeof(struct stripe);
}

int table_init(struct table *table, uint64_t items, const unsigned char *base)
{
    *table = (struct table){.base = base, .bucket_mask = (uint32_t)(bucket_count(items) - 1)};
    table->stripes = aligned_alloc(64, TABLE_STRIPES * sizeof(struct stripe));
    table->buckets = calloc(bucket_count(items), sizeof(*table->buckets));
    if (!table->stripes || !table->buckets) {
        free(table->stripes);
        free(table->buckets);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < TABLE_STRIPES; i++) {
        table->stripes[i] = (struct stripe){.hits = 0};
        pthread_mutex_init(&table->stripes[i].lock, NULL);
    }
    return 0;
}

void table_deinit(struct table *table)
{
    for (unsigned i = 0; i < TABLE_STRIPES; i++)
        pthread_mutex_destroy(&table->stripes[i].lock);
    free(table->stripes);
    free(table->buckets);
}

/* A bucket belongs to one stripe: both are chosen by the hash's low bits. */
static struct stripe *stripe_lock(struct table *table, uint64_t hash)
{
    struct stripe *stripe = &table->stripes[hash % TABLE_STRIPES];
    pthread_mutex_lock(&stripe->lock);
    return stripe;
}

static void stripe_unlock(struct stripe *stripe)
{
    pthread_mutex_unlock(&stripe->lock);
}

static struct item *item_at(const struct table *table, uint32_t id)
{
    return slot_at(table->base, id);
}

static bool item_matches(const struct item *item, uint64_t hash, struct item_key key)
{
    return item->node.hash == hash && item->kind == key.kind && bytes_equal(item_key_bytes(item), key.bytes);
}

/* The link that leads to the item of a key; leads to 0 where there is none. */
static uint32_t *link_to(struct table *table, uint64_t hash, struct item_key key)
{
    uint32_t *link = &table->buckets[hash & table->bucket_mask];
    while (*link && !item_matches(item_at(table, *link), hash, key))
        link = &item_at(table, *link)->next;
    return link;
}

struct item *table_find(struct table *table, uint64_t hash, struct item_key key)
{
    struct stripe *stripe = stripe_lock(table, hash);
    uint32_t id = *link_to(table, hash, key);
    struct item *item = id ? item_at(table, id) : NULL;
    if (item) {
        item_pin(item);
        s3fifo_use(&item->node);
        stripe->hits++;
    } else {
        stripe->misses++;
    }
    stripe_unlock(stripe);
    return item;
}

bool table_has(struct table *table, uint64_t hash, struct item_key key)
{
    struct stripe *stripe = stripe_lock(table, hash);
    bool there = *link_to(table, hash, key) != 0;
    stripe_unlock(stripe);
    return there;
}

bool table_holds(struct table *table, const struct item *item)
{
    struct stripe *stripe = stripe_lock(table, item->node.hash);
    uint32_t id = *link_to(table, item->node.hash, item_key(item));
    bool holds = id && item_at(table, id) == item;
    stripe_unlock(stripe);
    return holds;
}

/* Decides under the stripe's lock; see table_enter. */
static bool enter_locked(struct table *table, struct item *item, uint64_t sequence, struct item **displaced)
{
    uint32_t *link = link_to(table, item->node.hash, item_key(item));
    struct item *old = *link ? item_at(table, *link) : NULL;
    if (old && item_sequence(old) >= sequence)
        return false;
    item_sequence_set(item, sequence);
    if (old == item)
        return false;
    item->next = old ? old->next : 0;
    *link = (uint32_t)(((const unsigned char *)item - table->base) / SLOT_UNIT);
    uint32_t references = atomic_fetch_add_explicit(&item->references, ITEM_TIER, memory_order_relaxed);
    CHECK(!(references & ITEM_TIER) && references != 0);
    *displaced = old;
    return true;
}

bool table_enter(struct table *table, struct item *item, uint64_t sequence, struct item **displaced)
{
    *displaced = NULL;
    struct stripe *stripe = stripe_lock(table, item->node.hash);
    bool entered = enter_locked(table, item, sequence, displaced);
    stripe_unlock(stripe);
    return entered;
}

struct item *table_remove(struct table *table, uint64_t hash, struct item_key key, uint64_t below_sequence)
{
    struct stripe *stripe = stripe_lock(table, hash);
    uint32_t *link = link_to(table, hash, key);
    struct item *item = *link ? item_at(table, *link) : NULL;
    if (item && below_sequence != UINT64_MAX && item_sequence(item) >= below_sequence)
        item = NULL;
    if (item)
        *link = item->next;
    stripe_unlock(stripe);
    return item;
}

void table_remove_item(struct table *table, struct item *item)
{
    struct stripe *stripe = stripe_lock(table, item->node.hash);
    uint32_t *link = &table->buckets[item->node.hash & table->bucket_mask];
    while (*link && item_at(table, *link) != item)
        link = &item_at(table, *link)->next;
    CHECK(*link != 0);
    *link = item->next;
    stripe_unlock(stripe);
}

struct item *table_take_next(
    struct table *table, uint32_t number, bool (*goes)(void *context, struct item *item), void *context)
{
    struct stripe *stripe = stripe_lock(table, number);
    for (uint32_t bucket = number; bucket <= table->bucket_mask; bucket += TABLE_STRIPES)
        for (uint32_t *link = &table->buckets[bucket]; *link; link = &item_at(table, *link)->next) {
            struct item *item = item_at(table, *link);
            if (!goes(context, item))
                continue;
            *link = item->next;
            stripe_unlock(stripe);
            return item;
        }
    stripe_unlock(stripe);
    return NULL;
}

void table_counts(struct table *table, uint64_t *hits, uint64_t *misses)
{
    *hits = *misses = 0;
    for (unsigned i = 0; i < TABLE_STRIPES; i++) {
        struct stripe *stripe = &table->stripes[i];
        pthread_mutex_lock(&stripe->lock);
        *hits += stripe->hits;
        *misses += stripe->misses;
        pthread_mutex_unlock(&stripe->lock);
    }
}
