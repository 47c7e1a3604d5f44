/*
 * The way to disk of items that admission had refused at their put and that were hit in memory since: the
 * second request that admission waits for.
 *
 * A hit must cost nothing: it takes the item's mark, puts a reference into this ring of a loop, and a message
 * of the loop writes them, some bytes a turn. So an item is in one ring at most, and pinned for a few turns.
 * When the ring is full, or another thread is at it, the mark stays for a next hit.
 *
 * struct hits | in its loop's cache_worker | init when the loop joins | ends before it leaves the disk
 * Threads: the loop's, but hits_add (any).
 */
#pragma once

#include <pthread.h>

#include "cache/disk.h"

#define HITS_MAX 64u

struct hits {
    struct disk *disk;
    struct io_loop *loop;
    pthread_mutex_t lock; /* what follows; hits_add never waits for it */
    struct item *ring[HITS_MAX];
    unsigned first, count;
    bool posted, ending;
    struct io_message message;
    void (*ended)(void *context);
    void *context;
};

void hits_init(struct hits *hits, struct disk *disk, struct io_loop *loop);
/* Of an item that awaits its hit; takes a reference. Nothing once the loop leaves. No allocation. */
void hits_add(struct hits *hits, struct item *item);
/* Writes what waits. `ended` when no message is under way; maybe inside. Then hits_deinit. */
void hits_end(struct hits *hits, void (*ended)(void *context), void *context);
void hits_deinit(struct hits *hits);
