/*
 * The engine as the proxy uses it: memory tier and disk tier as one store of items.
 *
 * A look-up on the hit path is cache_find(): memory only, immediate. What is not there may be on disk:
 * cache_get() asks memory, then disk, and puts whole items it read into memory. cache_put() makes an item
 * visible in memory and hands it to the disk. Concurrent reads of one item from disk are one read.
 *
 * What a purge hides hard is not found by either; whether an item that was found is stale by a soft purge is
 * asked by cache_is_stale().
 *
 * The disk tier attaches and detaches while requests run; without one everything works from memory.
 */
#pragma once

#include "cache/disk.h"
#include "cache/purges.h"

struct cache;

enum cache_tier { CACHE_NONE, CACHE_MEMORY, CACHE_DISK };

/* Where a put goes: a bit set. */
enum { CACHE_PUT_MEMORY = 1, CACHE_PUT_DISK = 2 };

/* `memory` and `disk` (NULL: none) stay the caller's and outlive the cache. */
MUST_CHECK int cache_create(struct cache **cache, struct memory *memory, struct disk *disk);
void cache_destroy(struct cache *cache);
struct memory *cache_memory(struct cache *cache);
struct disk *cache_disk(struct cache *cache);
/* What purges must know of the keys; before the first put, and outlives the cache. */
void cache_view(struct cache *cache, const struct purge_view *view);
/* A sequence above all that were drawn: for item_clear_of_set(), before the origin is asked. */
uint64_t cache_now(struct cache *cache);

/* Per worker, around all other calls of its loop. */
MUST_CHECK int cache_join(struct cache *cache, struct io_loop *loop);
void cache_leave(struct cache *cache, struct io_loop *loop, void (*done)(void *context), void *context);

/* Memory only; a reference or NULL. No allocation. */
struct item *cache_find(struct cache *cache, struct item_key key);
/* What cache_find gave answers a request: where admission kept it off the disk at its put, it is now written,
 * later on that loop (when too many wait for that, a next hit does it). Any thread, while the loop is joined.
 * No allocation; waits for no lock. */
void cache_hit(struct cache *cache, struct io_loop *loop, struct item *item);
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
/* Gives the item its sequence and makes it visible where asked. One that a purge hides by now, hard or soft,
 * is not; nor is what had its key. The caller keeps its reference. Returns 0, or why the disk that was asked
 * for did not take it, as disk_put's; after E_EXHAUSTED disk_put() may be tried again. `asked` as disk_put's.
 */
int cache_put(struct cache *cache, struct io_loop *loop, struct item *item, unsigned where, uint64_t asked);
/* Gone from every tier, durably, when done(context, result) comes; invisible at once. -ENOMEM: it is not
 * removed (though it may be gone from memory), and done does not come. */
MUST_CHECK int cache_remove(struct cache *cache, struct io_loop *loop, struct item_key key,
    void (*done)(void *context, int result), void *context);
/* Hides what is older than the call, on every tier: in force when it returns the purge's sequence, durable
 * when done comes with 0; with another result in force until the restart, or until a disk is attached that
 * was not yet. Costs the same whatever it hides. *widened: the table of purges was full, older ones now hide
 * more than was asked for. 0: there is no memory for it, nothing was done, and done does not come. */
MUST_CHECK uint64_t cache_purge(struct cache *cache, struct io_loop *loop, const struct purge *purge,
    bool *widened, void (*done)(void *context, int result), void *context);
/* The same of one object, hard: of what lies under its name and, as the view says, under longer keys. */
MUST_CHECK uint64_t cache_purge_object(struct cache *cache, struct io_loop *loop, struct bytes object,
    void (*done)(void *context, int result), void *context);
/* Whether a soft purge hides an item that was found. */
bool cache_is_stale(struct cache *cache, struct item *item);
/* Whether a purge after `since` may hide what has that key and unknown tags. */
enum purge_verdict cache_purged_since(struct cache *cache, struct bytes key, uint64_t since);
void cache_purge_stats(struct cache *cache, struct purges_stats *stats);

/* As cache_remove, without waiting for durability: for items found wrong. */
void cache_forget(struct cache *cache, struct item_key key);
