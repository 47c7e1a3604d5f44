/*
 * Memory and disk as one store. Reads of one whole item from disk are joined: the first asker starts a read
 * that belongs to the cache, the others wait for it, on whatever loops; each is answered on its own.
 *
 * An item read from disk enters memory under the lock that guards the joined reads, unless its key was
 * removed or replaced meanwhile. Removing and replacing work in this order: disk, joined reads, memory. So
 * either the read knows, or what it kept is taken out again before the removal returns.
 *
 * What a hit has written (hits.h) must never land on disk behind what replaced or hides it. The disk takes it
 * while memory holds it; so whatever takes its place leaves it out of memory first, then tells the disk.
 *
 * One lock guards the joined reads; it is never held over I/O or a callback, and memory hits don't touch it.
 */
#include "cache/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/hits.h"
#include "cache/reader.h"
#include "cache/segment.h"

#define CHAINS 1024
#define WORKERS_MAX 256
#define SWEEP_SHARES 4 /* of memory, by each purge */

/* A read that several wait for. */
struct joined {
    struct list_node chain;
    struct list_node waiters; /* struct cache_get */
    struct cache *cache;
    struct disk_get *disk_get;
    uint64_t hash;
    bool keep, removed;
    enum item_kind kind;
    size_t key_len;
    uint8_t key[];
};

struct cache_worker {
    struct io_loop *loop;
    struct cache *cache;
    struct list_node ready; /* struct cache_get; under the cache's lock */
    struct io_message message;
    bool posted, leaving;
    struct hits hits; /* with a disk */
    void (*left)(void *context);
    void *left_context;
};

struct cache {
    struct memory *memory;
    struct disk *disk;
    struct purges *purges;     /* the disk's, or without one our own */
    _Atomic uint64_t sequence; /* without a disk */
    pthread_mutex_t sweep_lock;
    uint32_t sweep_at;
    uint64_t sweep_began;
    pthread_mutex_t lock;
    struct list_node chains[CHAINS];
    /* Found by the loop's address, so that no search reads a worker that may be leaving. */
    _Atomic(const struct io_loop *) loops[WORKERS_MAX];
    _Atomic(struct cache_worker *) workers[WORKERS_MAX];
};

int cache_create(struct cache **cache_out, struct memory *memory, struct disk *disk)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return -ENOMEM;
    cache->memory = memory;
    cache->disk = disk;
    if (disk != NULL)
        cache->purges = disk_purges(disk);
    else if (purges_create(&cache->purges) < 0) {
        free(cache);
        return -ENOMEM;
    }
    pthread_mutex_init(&cache->sweep_lock, NULL);
    pthread_mutex_init(&cache->lock, NULL);
    for (unsigned i = 0; i < CHAINS; i++)
        list_init(&cache->chains[i]);
    *cache_out = cache;
    return 0;
}

void cache_destroy(struct cache *cache)
{
    if (cache == NULL)
        return;
    for (unsigned i = 0; i < CHAINS; i++)
        CHECK(list_empty(&cache->chains[i]));
    pthread_mutex_destroy(&cache->lock);
    pthread_mutex_destroy(&cache->sweep_lock);
    if (cache->disk == NULL)
        purges_destroy(cache->purges);
    free(cache);
}

struct memory *cache_memory(struct cache *cache)
{
    return cache->memory;
}

struct disk *cache_disk(struct cache *cache)
{
    return cache->disk;
}

void cache_view(struct cache *cache, const struct purge_view *view)
{
    purges_view(cache->purges, view);
}

uint64_t cache_now(struct cache *cache)
{
    return cache->disk != NULL ? disk_next_sequence(cache->disk) : atomic_fetch_add(&cache->sequence, 1) + 1;
}

/* ---- loops ---- */

static struct cache_worker *worker_of(struct cache *cache, const struct io_loop *loop)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (atomic_load_explicit(&cache->loops[i], memory_order_acquire) == loop)
            return atomic_load_explicit(&cache->workers[i], memory_order_acquire);
    return NULL;
}

static void deliver(struct io_message *message);

/* A place that is the worker's, where nobody looks for it yet; WORKERS_MAX: there is none. */
static unsigned place_take(struct cache *cache, struct cache_worker *worker)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct cache_worker *none = NULL;
        if (atomic_compare_exchange_strong(&cache->workers[i], &none, worker))
            return i;
    }
    return WORKERS_MAX;
}

int cache_join(struct cache *cache, struct io_loop *loop)
{
    if (worker_of(cache, loop) != NULL)
        return -EEXIST;
    struct cache_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    unsigned place = place_take(cache, worker);
    int result = place == WORKERS_MAX ? E_EXHAUSTED : cache->disk != NULL ? disk_join(cache->disk, loop) : 0;
    if (result < 0) {
        if (place < WORKERS_MAX)
            atomic_store(&cache->workers[place], NULL);
        free(worker);
        return result;
    }
    *worker = (struct cache_worker){.loop = loop, .cache = cache, .message = {.deliver = deliver}};
    list_init(&worker->ready);
    hits_init(&worker->hits, cache->disk, loop);
    atomic_store_explicit(&cache->loops[place], loop, memory_order_release);
    return 0;
}

static void left_now(struct cache_worker *worker)
{
    struct cache *cache = worker->cache;
    void (*left)(void *) = worker->left;
    void *context = worker->left_context;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (atomic_load(&cache->workers[i]) != worker)
            continue;
        atomic_store(&cache->loops[i], NULL);
        atomic_store(&cache->workers[i], NULL);
    }
    CHECK(list_empty(&worker->ready));
    hits_deinit(&worker->hits);
    free(worker);
    left(context);
}

/* The disk has let go; a message to this loop may still be on its way. */
static void disk_left(void *context)
{
    struct cache_worker *worker = context;
    pthread_mutex_lock(&worker->cache->lock);
    worker->leaving = true;
    bool now = !worker->posted;
    pthread_mutex_unlock(&worker->cache->lock);
    if (now)
        left_now(worker);
}

static void leave_posted(struct io_message *message)
{
    struct cache_worker *worker = CONTAINER_OF(message, struct cache_worker, message);
    worker->posted = false;
    disk_left(worker);
}

/* Nor is any hit on its way. */
static void hits_ended(void *context)
{
    struct cache_worker *worker = context;
    disk_leave(worker->cache->disk, worker->loop, disk_left, worker);
}

void cache_leave(struct cache *cache, struct io_loop *loop, void (*done)(void *context), void *context)
{
    struct cache_worker *worker = worker_of(cache, loop);
    CHECK(worker != NULL);
    worker->left = done;
    worker->left_context = context;
    if (cache->disk != NULL) {
        hits_end(&worker->hits, hits_ended, worker);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    bool posted = worker->posted;
    worker->leaving = posted;
    pthread_mutex_unlock(&cache->lock);
    if (posted)
        return;
    worker->posted = true;
    worker->message.deliver = leave_posted;
    io_post(loop, &worker->message);
}

/* ---- look-up ---- */

struct item *cache_find(struct cache *cache, struct item_key key)
{
    struct item *item = memory_find(cache->memory, key);
    if (item == NULL || purges_judge(cache->purges, item, PURGE_IN_MEMORY) != PURGE_GONE)
        return item;
    memory_remove(cache->memory, key, item_sequence(item) + 1);
    item_unref(&item);
    return NULL;
}

void cache_hit(struct cache *cache, struct io_loop *loop, struct item *item)
{
    if (item_awaits_hit(item))
        hits_add(&worker_of(cache, loop)->hits, item); /* with no disk nothing awaits one */
}

bool cache_is_stale(struct cache *cache, struct item *item)
{
    return purges_judge(cache->purges, item, PURGE_IN_MEMORY) != PURGE_CLEAR;
}

bool cache_may_have(struct cache *cache, struct item_key key)
{
    return memory_has(cache->memory, key) || (cache->disk != NULL && disk_may_have(cache->disk, key));
}

/* ---- gets ---- */

/* Under lock: the get has its result and goes to its loop. */
static void ready_add(struct cache *cache, struct cache_get *get, int result, struct item *item)
{
    struct cache_worker *worker = worker_of(cache, get->cache.loop);
    CHECK(worker != NULL);
    get->cache.pending = NULL;
    get->cache.result = result;
    get->cache.item = item;
    list_push_back(&worker->ready, &get->cache.node);
    if (worker->posted)
        return;
    worker->posted = true;
    io_post(worker->loop, &worker->message);
}

static struct cache_get *ready_next(struct cache_worker *worker)
{
    pthread_mutex_lock(&worker->cache->lock);
    struct list_node *node = list_pop_front(&worker->ready);
    pthread_mutex_unlock(&worker->cache->lock);
    return node != NULL ? CONTAINER_OF(node, struct cache_get, cache.node) : NULL;
}

static void deliver(struct io_message *message)
{
    struct cache_worker *worker = CONTAINER_OF(message, struct cache_worker, message);
    for (struct cache_get *get; (get = ready_next(worker)) != NULL;) {
        struct item *item = get->cache.item;
        get->cache.item = NULL;
        get->done(get, get->cache.result, item);
    }
    pthread_mutex_lock(&worker->cache->lock);
    bool more = !list_empty(&worker->ready);
    worker->posted = more;
    bool now = worker->leaving && !more;
    pthread_mutex_unlock(&worker->cache->lock);
    if (more)
        io_post(worker->loop, &worker->message);
    else if (now)
        left_now(worker);
}

static void joined_done(void *context, int result, struct item *item)
{
    struct joined *joined = context;
    struct cache *cache = joined->cache;
    bool whole = result == 0 && item_held_len(item) == item_value_len(item);
    pthread_mutex_lock(&cache->lock);
    /* Since the read was judged, a purge may have come, and who asked after it may have joined. */
    if (whole && purges_judge(cache->purges, item, PURGE_ON_DISK) == PURGE_GONE) {
        whole = false;
        result = E_MISSING;
    }
    if (whole && joined->keep && !joined->removed)
        memory_insert(cache->memory, item, item_sequence(item));
    list_remove(&joined->chain);
    for (struct list_node *node; (node = list_pop_front(&joined->waiters)) != NULL;) {
        struct cache_get *get = CONTAINER_OF(node, struct cache_get, cache.node);
        ready_add(cache, get, result, result == 0 ? item_ref(item) : NULL);
    }
    pthread_mutex_unlock(&cache->lock);
    if (item != NULL)
        item_unref(&item);
    free(joined);
}

/* Under lock: the read of that item that is under way, if any. */
static struct joined *joined_find(struct cache *cache, uint64_t hash, struct item_key key)
{
    struct list_node *chain = &cache->chains[hash % CHAINS];
    for (struct list_node *node = chain->next; node != chain; node = node->next) {
        struct joined *joined = CONTAINER_OF(node, struct joined, chain);
        if (joined->hash == hash && !joined->removed && joined->kind == key.kind &&
            bytes_equal(bytes_of(joined->key, joined->key_len), key.bytes))
            return joined;
    }
    return NULL;
}

static struct joined *joined_create(struct cache *cache, uint64_t hash, struct item_key key, bool keep_it)
{
    struct joined *joined = malloc(sizeof *joined + key.bytes.len);
    if (joined == NULL)
        return NULL;
    *joined = (struct joined){
        .cache = cache, .hash = hash, .keep = keep_it, .kind = key.kind, .key_len = key.bytes.len};
    memcpy(joined->key, key.bytes.ptr, key.bytes.len);
    list_init(&joined->waiters);
    list_push_back(&cache->chains[hash % CHAINS], &joined->chain);
    return joined;
}

/* Joins a read of the whole item, or starts one. */
static void get_joined(struct cache *cache, struct cache_get *get, struct item_key key)
{
    uint64_t hash = segment_hash(0, key.kind, key.bytes);
    pthread_mutex_lock(&cache->lock);
    struct joined *joined = joined_find(cache, hash, key);
    bool first = joined == NULL;
    if (first)
        joined = joined_create(cache, hash, key, get->cache.keep);
    if (joined == NULL) {
        ready_add(cache, get, E_EXHAUSTED, NULL);
    } else {
        joined->keep = joined->keep || get->cache.keep;
        get->cache.pending = joined;
        list_push_back(&joined->waiters, &get->cache.node);
    }
    pthread_mutex_unlock(&cache->lock);
    if (joined == NULL || !first)
        return;
    joined->disk_get = disk_get(cache->disk, get->cache.loop, key, 0, UINT32_MAX, joined_done, joined);
    if (joined->disk_get == NULL)
        joined_done(joined, E_EXHAUSTED, NULL);
}

static void answer_get(struct cache *cache, struct cache_get *get, int result, struct item *item)
{
    pthread_mutex_lock(&cache->lock);
    ready_add(cache, get, result, item);
    pthread_mutex_unlock(&cache->lock);
}

static void part_done(void *context, int result, struct item *item)
{
    struct cache_get *get = context;
    get->cache.disk_get = NULL;
    get->done(get, result, item);
}

void cache_get_start(struct cache *cache, struct io_loop *loop, struct cache_get *get, struct item_key key,
    uint32_t from, uint32_t len, bool keep)
{
    memset(&get->cache, 0, sizeof get->cache);
    get->cache.cache = cache;
    get->cache.loop = loop;
    get->cache.keep = keep;
    struct item *item = cache_find(cache, key);
    if (item != NULL || cache->disk == NULL) {
        answer_get(cache, get, item != NULL ? 0 : E_MISSING, item);
    } else if (from == 0 && len == UINT32_MAX) {
        get_joined(cache, get, key);
    } else {
        get->cache.disk_get = disk_get(cache->disk, loop, key, from, len, part_done, get);
        if (get->cache.disk_get == NULL)
            answer_get(cache, get, E_EXHAUSTED, NULL);
    }
}

void cache_get_abandon(struct cache_get *get)
{
    struct cache *cache = get->cache.cache;
    if (get->cache.disk_get != NULL) {
        disk_get_abandon(get->cache.disk_get);
        get->cache.disk_get = NULL;
        return;
    }
    pthread_mutex_lock(&cache->lock);
    if (list_linked(&get->cache.node))
        list_remove(&get->cache.node);
    struct item *item = get->cache.item;
    get->cache.item = NULL;
    pthread_mutex_unlock(&cache->lock);
    if (item != NULL)
        item_unref(&item);
}

/* ---- puts and removes ---- */

int cache_take(struct cache *cache, struct item_key key, uint32_t value_len, struct item **item)
{
    return memory_take(
        cache->memory, key, (struct item_shape){.value_len = value_len, .held_len = value_len}, item);
}

/* Reads under way of a key that goes: their askers get what they read, later ones read again. */
static void unjoin(struct cache *cache, struct item_key key)
{
    uint64_t hash = segment_hash(0, key.kind, key.bytes);
    pthread_mutex_lock(&cache->lock);
    struct joined *joined = joined_find(cache, hash, key);
    if (joined != NULL)
        joined->removed = true;
    pthread_mutex_unlock(&cache->lock);
}

int cache_put(struct cache *cache, struct io_loop *loop, struct item *item, unsigned where, uint64_t asked)
{
    CHECK(item_is_complete(item));
    uint64_t sequence = cache_now(cache);
    if (item_clear_of(item) == 0)
        item_clear_of_set(item, sequence);
    item_sequence_set(item, sequence); /* also where a newer one has overtaken it in memory */
    if (purges_judge(cache->purges, item, PURGE_IN_MEMORY) != PURGE_CLEAR) {
        cache_forget(cache, item_key(item));
        return 0;
    }
    if (where & CACHE_PUT_MEMORY)
        memory_insert(cache->memory, item, sequence);
    if (cache->disk == NULL)
        return 0;
    if (!(where & CACHE_PUT_MEMORY))
        memory_remove(cache->memory, item_key(item), sequence); /* before the disk is told */
    int result = 0;
    if (where & CACHE_PUT_DISK)
        result = disk_put(cache->disk, loop, item, asked); /* dropped ones are counted there */
    else
        disk_forget(cache->disk, item_key(item), sequence);
    /* Who asks from now on must not be answered by a read that began before, even if memory has evicted the
     * item again. */
    unjoin(cache, item_key(item));
    memory_remove(cache->memory, item_key(item), sequence); /* an older one that such a read has kept */
    return result;
}

/* ---- answers without a disk ---- */

struct later {
    struct io_message message;
    void (*done)(void *context, int result);
    void *context;
};

static void later_deliver(struct io_message *message)
{
    struct later *later = CONTAINER_OF(message, struct later, message);
    struct later now = *later;
    free(later);
    now.done(now.context, 0);
}

static struct later *later_create(void (*done)(void *context, int result), void *context)
{
    struct later *later = malloc(sizeof *later);
    if (later != NULL)
        *later = (struct later){.message.deliver = later_deliver, .done = done, .context = context};
    return later;
}

/* ---- purges ---- */

static bool is_swept(void *context, struct item *item)
{
    struct cache *cache = context;
    return !purges_outlives(cache->purges, item, cache->sweep_began);
}

/* After a purge, a share of memory: what earlier purges hide goes, the rest is known to be clear of them. A
 * full round lets the table give up the records from before it. What this round's purges make stale stays for
 * now: it is still good for a revalidation. */
static void sweep(struct cache *cache, uint64_t sequence)
{
    pthread_mutex_lock(&cache->sweep_lock);
    if (cache->sweep_at == 0)
        cache->sweep_began = sequence - 1;
    memory_sweep(cache->memory, cache->sweep_at, SWEEP_SHARES, is_swept, cache);
    cache->sweep_at = (cache->sweep_at + SWEEP_SHARES) % MEMORY_SHARES;
    if (cache->sweep_at == 0)
        purges_swept(cache->purges, cache->sweep_began);
    pthread_mutex_unlock(&cache->sweep_lock);
}

uint64_t cache_purge(struct cache *cache, struct io_loop *loop, const struct purge *purge, bool *widened,
    void (*done)(void *context, int result), void *context)
{
    uint64_t sequence = 0;
    struct later *later = cache->disk == NULL ? later_create(done, context) : NULL;
    *widened = false;
    if (cache->disk != NULL) {
        sequence = disk_purge(cache->disk, loop, purge, widened, done, context);
    } else if (later != NULL) {
        *widened = purges_add(cache->purges, purge, &cache->sequence, &sequence);
        io_post(loop, &later->message);
    }
    if (sequence != 0)
        sweep(cache, sequence);
    return sequence;
}

uint64_t cache_purge_object(struct cache *cache, struct io_loop *loop, struct bytes object,
    void (*done)(void *context, int result), void *context)
{
    uint64_t sequence = 0;
    struct item_key head = {ITEM_HEAD, object};
    struct later *later = cache->disk == NULL ? later_create(done, context) : NULL;
    if (cache->disk != NULL) {
        sequence = disk_purge_object(cache->disk, loop, object, done, context);
        unjoin(cache, head);
    } else if (later != NULL) {
        sequence = purges_add_object(cache->purges, object, &cache->sequence);
        io_post(loop, &later->message);
    }
    memory_remove(cache->memory, head, sequence); /* of 0: nothing */
    return sequence;
}

enum purge_verdict cache_purged_since(struct cache *cache, struct bytes key, uint64_t since)
{
    return purges_since(cache->purges, key, since);
}

void cache_purge_stats(struct cache *cache, struct purges_stats *stats)
{
    purges_stats(cache->purges, stats);
}

/* ---- removes ---- */

int cache_remove(struct cache *cache, struct io_loop *loop, struct item_key key,
    void (*done)(void *context, int result), void *context)
{
    struct later *later = cache->disk == NULL ? later_create(done, context) : NULL;
    if (cache->disk == NULL && later == NULL)
        return -ENOMEM;
    memory_remove(cache->memory, key, UINT64_MAX);
    if (later != NULL) {
        io_post(loop, &later->message);
        return 0;
    }
    int result = disk_remove(cache->disk, loop, key, done, context);
    unjoin(cache, key);
    memory_remove(cache->memory, key, UINT64_MAX);
    return result;
}

void cache_forget(struct cache *cache, struct item_key key)
{
    memory_remove(cache->memory, key, UINT64_MAX);
    if (cache->disk == NULL)
        return;
    disk_forget(cache->disk, key, disk_next_sequence(cache->disk));
    unjoin(cache, key);
    memory_remove(cache->memory, key, UINT64_MAX);
}
