/*
 * The engine as the proxy uses it: memory tier and disk tier as one store of items.
 *
 * A look-up on the hit path is cache_find(): memory only, immediate. What is not there may be on disk:
 * cache_get() asks memory, then disk, and puts whole items it read into memory. cache_put() makes an item
 * visible in memory and hands it to the disk. Concurrent reads of one item from disk are one read.
 *
 * The disk tier attaches and detaches while requests run; without one everything works from memory.
 */
#pragma once

#include "cache/disk.h"

struct cache;

enum cache_tier { CACHE_NONE, CACHE_MEMORY, CACHE_DISK };

/* Where a put goes: a bit set. */
enum { CACHE_PUT_MEMORY = 1, CACHE_PUT_DISK = 2 };

/* `memory` and `disk` (NULL: none) stay the caller's and outlive the cache. */
MUST_CHECK int cache_create(struct cache **cache, struct memory *memory, struct disk *disk);
void cache_destroy(struct cache *cache);
struct memory *cache_memory(struct cache *cache);
struct disk *cache_disk(struct cache *cache);

/* Per worker, around all other calls of its loop. */
MUST_CHECK int cache_join(struct cache *cache, struct io_loop *loop);
void cache_leave(struct cache *cache, struct io_loop *loop, void (*done)(void *context), void *context);

/* Memory only; a reference or NULL. No allocation. */
struct item *cache_find(struct cache *cache, struct item_key key);
/* Whether a cache_get would probably find it. */
bool cache_may_have(struct cache *cache, struct item_key key);

/* Disk read of value bytes [from, from + len), len UINT32_MAX for the whole value; a whole value read enters
 * memory when `keep`. The callback as disk_get's; E_MISSING where there is none. Caller-owned, pooled with
 * the request; abandon at its deadline. */
struct cache_get {
    void (*done)(struct cache_get *get, int result, struct item *item); /* set by the caller */
    struct {                                                            /* the cache's */
        struct cache *cache;
        struct disk_get *disk_get;
        void *pending;
        struct list_node node;
        struct io_loop *loop;
        struct io_message message;
        struct item *item;
        int result;
        bool keep;
    } cache;
};
void cache_get_start(struct cache *cache, struct io_loop *loop, struct cache_get *get, struct item_key key,
    uint32_t from, uint32_t len, bool keep);
void cache_get_abandon(struct cache_get *get);

/* Room for a new value; E_EXHAUSTED: wait and try again, or do without. */
MUST_CHECK int cache_take(struct cache *cache, struct item_key key, uint32_t value_len, struct item **item);
/* Gives the item its sequence and makes it visible where asked. The caller keeps its reference. */
void cache_put(struct cache *cache, struct io_loop *loop, struct item *item, unsigned where);
/* Gone from every tier, durably, when done(context, result) comes; invisible at once. */
void cache_remove(struct cache *cache, struct io_loop *loop, struct item_key key,
    void (*done)(void *context, int result), void *context);
/* As cache_remove, without waiting for durability: for items found wrong. */
void cache_forget(struct cache *cache, struct item_key key);
