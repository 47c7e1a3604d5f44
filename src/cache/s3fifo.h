/*
 * S3-FIFO, the order of eviction (Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache
 * eviction", SOSP 2023), as a pure policy over nodes that have sizes: no memory of its own, no clock, no
 * table.
 *
 * New nodes enter *small*, a tenth of the capacity. What was used again by the time it reaches small's end
 * moves to *main*; the rest is evicted and its hash remembered in *ghosts*; what comes back while remembered
 * enters main directly. Main gives nodes one more lap for each use, of at most S3FIFO_USES_MAX. So a scan
 * flows through small and never touches what is in use, and a hit costs one store.
 *
 * The paper promotes out of small at the second use after the insert. We do at the first: measured on both
 * traces of tests/cache/test_s3fifo.c it misses less at all 16 sizes, by 0.6 to 8 % (that test holds the
 * figures).
 *
 * Busy nodes (pinned by somebody) can't go: they are passed over and keep their uses.
 *
 * Threads: s3fifo_use() from any; all else under one lock of the owner's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define S3FIFO_USES_MAX 3
#define S3FIFO_PROMOTE_USES 1

enum s3fifo_queue_name { S3FIFO_NONE, S3FIFO_SMALL, S3FIFO_MAIN };

struct s3fifo_node {
    struct list_node link;
    uint64_t hash;
    uint32_t bytes; /* > 0, constant while queued */
    _Atomic uint8_t uses;
    uint8_t queue; /* enum s3fifo_queue_name */
};

struct s3fifo_queue {
    struct list_node nodes; /* oldest first */
    uint64_t bytes, count;
};

/* A hash that is remembered; a ring in order of eviction, and chains by hash. */
struct s3fifo_ghost {
    uint32_t tag, bytes, next; /* bytes 0: no longer remembered */
};

struct s3fifo {
    struct s3fifo_queue small, main;
    uint64_t capacity_bytes;
    unsigned promote_uses;
    struct s3fifo_ghost *ghosts;
    uint32_t *ghost_buckets;
    uint32_t ghost_capacity, ghost_bucket_mask, ghost_first, ghost_count;
    uint64_t ghost_bytes;
};

/* Bytes of zeroed memory that `ghost_count` ghosts need. */
uint64_t s3fifo_ghost_memory(uint32_t ghost_count);
/* `memory` has s3fifo_ghost_memory(ghost_count) zeroed bytes, aligned to 4, and stays the caller's. */
void s3fifo_init(struct s3fifo *fifo, uint64_t capacity_bytes, void *memory, uint32_t ghost_count);
/* The capacity is where the tenth for small and the nine tenths for ghosts are taken of. */
void s3fifo_set_capacity(struct s3fifo *fifo, uint64_t capacity_bytes);

/* Counts a use of a queued node. */
static inline void s3fifo_use(struct s3fifo_node *node)
{
    uint8_t uses = atomic_load_explicit(&node->uses, memory_order_relaxed);
    if (uses < S3FIFO_USES_MAX)
        atomic_store_explicit(&node->uses, (uint8_t)(uses + 1), memory_order_relaxed);
}

/* Whether the hash was remembered; it no longer is. */
bool s3fifo_recall(struct s3fifo *fifo, uint64_t hash);
/* Queues a node whose hash and bytes are set: in main where `proven` (recalled, or in place of one in main),
 * else in small. */
void s3fifo_insert(struct s3fifo *fifo, struct s3fifo_node *node, bool proven);
/* Takes a node out, without a ghost. */
void s3fifo_remove(struct s3fifo *fifo, struct s3fifo_node *node);
/* Takes a node out that is evicted for another reason than order; it is remembered. */
void s3fifo_drop(struct s3fifo *fifo, struct s3fifo_node *node);
/* Takes out the next to go; NULL when all that is queued is busy. */
struct s3fifo_node *s3fifo_evict(struct s3fifo *fifo, bool (*busy)(struct s3fifo_node *node));
