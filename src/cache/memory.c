/*
 * The tier's operations; the parts are s3fifo.h (order), table.h (look-up), extent.h and slot.h (memory),
 * room.h (making room), item_private.h (references and locks).
 */
#include "cache/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/item_private.h"
#include "cache/room.h"

#define BUDGET_MIN (8u << 20)

static uint32_t ghost_count(uint64_t frames)
{
    return (uint32_t)(frames - frames / 10);
}

static uint64_t overhead_bytes(uint32_t blocks)
{
    uint64_t frames = (uint64_t)blocks * BLOCK_FRAMES;
    return sizeof(struct memory) + space_overhead_bytes(blocks) + table_bytes(frames) +
           s3fifo_ghost_memory(ghost_count(frames)) + residents_bytes(frames);
}

/* As many blocks as the budget holds together with what they cost. */
static uint32_t block_count(uint64_t budget_bytes)
{
    uint64_t fit = budget_bytes / BLOCK_BYTES;
    uint32_t blocks = fit < ARENA_BLOCKS_MAX ? (uint32_t)fit : ARENA_BLOCKS_MAX;
    while (overhead_bytes(blocks) + (uint64_t)blocks * BLOCK_BYTES > budget_bytes)
        blocks--;
    return blocks;
}

int memory_create(struct memory **created, const struct memory_config *config)
{
    if (config->budget_bytes < BUDGET_MIN)
        return -EINVAL;
    struct memory *memory = aligned_alloc(64, sizeof(*memory));
    if (!memory)
        return -ENOMEM;
    *memory = (struct memory){.budget_bytes = config->budget_bytes};
    uint32_t blocks = block_count(config->budget_bytes);
    uint64_t frames = (uint64_t)blocks * BLOCK_FRAMES;
    memory->overhead_bytes = overhead_bytes(blocks);
    memory->ghosts = calloc(1, s3fifo_ghost_memory(ghost_count(frames)));
    if (!memory->ghosts || space_init(&memory->space, blocks) < 0) {
        free(memory->ghosts);
        free(memory);
        return -ENOMEM;
    }
    if (table_init(&memory->table, frames, memory->space.base) < 0) {
        space_deinit(&memory->space);
        free(memory->ghosts);
        free(memory);
        return -ENOMEM;
    }
    if (residents_init(&memory->residents, frames) < 0) {
        table_deinit(&memory->table);
        space_deinit(&memory->space);
        free(memory->ghosts);
        free(memory);
        return -ENOMEM;
    }
    random_os(&memory->hash_seed, sizeof(memory->hash_seed));
    pthread_mutex_init(&memory->lock, NULL);
    slots_init(&memory->slots, &memory->space);
    s3fifo_init(&memory->fifo, frames * FRAME_BYTES, memory->ghosts, ghost_count(frames));
    *created = memory;
    return 0;
}

static void check_unpinned(struct s3fifo_queue *queue)
{
    for (struct list_node *at = queue->nodes.next; at != &queue->nodes; at = at->next)
        CHECK(item_evictable(item_of_node(CONTAINER_OF(at, struct s3fifo_node, link))));
}

void memory_destroy(struct memory *memory)
{
    CHECK(memory->private_count == 0);
    check_unpinned(&memory->fifo.small);
    check_unpinned(&memory->fifo.main);
    pthread_mutex_destroy(&memory->lock);
    residents_deinit(&memory->residents);
    table_deinit(&memory->table);
    space_deinit(&memory->space);
    free(memory->ghosts);
    free(memory);
}

static uint64_t hash_of(const struct memory *memory, struct item_key key)
{
    CHECK(key.bytes.len >= 1 && key.bytes.len <= ITEM_KEY_MAX);
    return XXH3_64bits_withSeed(
        key.bytes.ptr, key.bytes.len, memory->hash_seed + (uint64_t)key.kind * UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t pinned_bytes(const struct memory *memory)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < pin_shard_count(); i++)
        sum += atomic_load_explicit(&memory->pins[i].bytes, memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0; /* a sum over moving shares may be off by what moves */
}

bool memory_pins_full(const struct memory *memory)
{
    return pinned_bytes(memory) >= memory->budget_bytes / 4;
}

/* Life of an item. */

static void give_extents(struct memory *memory, const uint32_t *extents, int count)
{
    while (count > 0)
        space_give(&memory->space, extents[--count]);
}

/* Under the lock. */
static void item_free(struct memory *memory, struct item *item)
{
    give_extents(memory, item_extents(item), item->extent_count);
    if (item->extent_count > ITEM_EXTENTS_INLINE)
        space_give(&memory->space, extent_of(item->extents[0], 1));
    slots_give(&memory->slots, item);
}

void memory_release(struct memory *memory, struct item *item)
{
    residents_remove(&memory->residents, item_sequence(item));
    uint32_t old = atomic_fetch_sub_explicit(&item->references, ITEM_TIER, memory_order_acq_rel);
    CHECK(old & ITEM_TIER);
    if (old == ITEM_TIER)
        item_free(memory, item);
    else
        memory->private_count++;
}

void memory_free(struct memory *memory, struct item *item)
{
    pthread_mutex_lock(&memory->lock);
    CHECK(memory->private_count > 0);
    memory->private_count--;
    item_free(memory, item);
    pthread_mutex_unlock(&memory->lock);
}

/* What an item is made of before it is one. */
struct parcel {
    uint32_t extents[ITEM_EXTENTS_MAX];
    int count;
    uint32_t index_frame; /* where the extents don't fit the slot */
    bool indexed;
};

static bool parcel_take(struct memory *memory, struct parcel *parcel, uint64_t frames)
{
    parcel->count = room_for_value(memory, frames, parcel->extents);
    parcel->indexed = parcel->count > (int)ITEM_EXTENTS_INLINE;
    if (parcel->count < 0)
        return false;
    uint32_t index;
    if (parcel->indexed && room_for_value(memory, 1, &index) != 1) {
        give_extents(memory, parcel->extents, parcel->count);
        return false;
    }
    if (parcel->indexed)
        parcel->index_frame = extent_frame(index);
    return true;
}

static void parcel_give(struct memory *memory, struct parcel *parcel)
{
    give_extents(memory, parcel->extents, parcel->count);
    if (parcel->indexed)
        space_give(&memory->space, extent_of(parcel->index_frame, 1));
}

/* Writes the extents into the item and the item's id into their frames. */
static void parcel_place(struct memory *memory, const struct parcel *parcel, struct item *item)
{
    uint32_t id = slot_id(&memory->space, item), *to = item->extents;
    if (parcel->indexed) {
        item->extents[0] = parcel->index_frame;
        space_own(&memory->space, extent_of(parcel->index_frame, 1), id);
        to = (uint32_t *)(void *)space_at(&memory->space, parcel->index_frame);
    }
    for (int i = 0; i < parcel->count; i++) {
        to[i] = parcel->extents[i];
        space_own(&memory->space, to[i], id);
    }
    item->extent_count = (uint16_t)parcel->count;
}

static struct item *item_make(
    struct memory *memory, struct item_key key, const struct item_shape *shape, uint64_t hash)
{
    uint64_t frames = ((uint64_t)shape->held_len + FRAME_BYTES - 1) / FRAME_BYTES;
    struct parcel parcel;
    if (frames * FRAME_BYTES + pinned_bytes(memory) > (uint64_t)memory->space.block_count * BLOCK_BYTES ||
        !parcel_take(memory, &parcel, frames))
        return NULL;
    uint32_t inline_extents = parcel.indexed ? 1 : (uint32_t)parcel.count;
    uint32_t bytes = (uint32_t)(sizeof(struct item) + inline_extents * sizeof(uint32_t) + key.bytes.len);
    struct item *item = room_for_slot(memory, bytes);
    if (!item) {
        parcel_give(memory, &parcel);
        return NULL;
    }
    *item = (struct item){
        .references = ITEM_REFERENCE,
        .node = {.hash = hash,
            .bytes = (uint32_t)((frames + parcel.indexed) * FRAME_BYTES) + slot_bytes(bytes)},
        .key_len = (uint16_t)key.bytes.len,
        .kind = (uint8_t)key.kind,
        .memory = memory,
        .value_len = shape->value_len,
        .value_from = shape->value_from,
        .held_len = shape->held_len,
    };
    parcel_place(memory, &parcel, item);
    memcpy(item->extents + inline_extents, key.bytes.ptr, key.bytes.len);
    return item;
}

int memory_take(struct memory *memory, struct item_key key, struct item_shape shape, struct item **taken)
{
    CHECK(shape.value_len <= ITEM_VALUE_MAX && shape.value_from <= shape.value_len &&
          shape.held_len <= shape.value_len - shape.value_from);
    uint64_t hash = hash_of(memory, key);
    pthread_mutex_lock(&memory->lock);
    struct item *item = item_make(memory, key, &shape, hash);
    if (item)
        memory->private_count++;
    else
        memory->exhausted++;
    pthread_mutex_unlock(&memory->lock);
    *taken = item;
    if (!item)
        return E_EXHAUSTED;
    pins_add(memory, item->node.bytes);
    return 0;
}

/* Table. */

static bool item_is_resident(const struct item *item)
{
    return (atomic_load_explicit(&item->references, memory_order_relaxed) & ITEM_TIER) != 0;
}

void memory_insert(struct memory *memory, struct item *item, uint64_t sequence)
{
    CHECK(sequence > 0 && item->memory == memory && item_is_complete(item));
    CHECK(item->value_from == 0 && item->held_len == item->value_len);
    struct item *displaced;
    pthread_mutex_lock(&memory->lock);
    uint64_t before = item_sequence(item);
    bool entered = table_enter(&memory->table, item, sequence, &displaced);
    if (!entered && item_is_resident(item) && item_sequence(item) != before) { /* it was there; raised */
        residents_remove(&memory->residents, before);
        residents_add(&memory->residents, item_sequence(item));
    }
    if (entered) {
        residents_add(&memory->residents, item_sequence(item));
        memory->private_count--;
        memory->inserts++;
        bool proven = s3fifo_recall(&memory->fifo, item->node.hash);
        memory->ghost_hits += proven;
        if (displaced) {
            proven |= displaced->node.queue == S3FIFO_MAIN;
            s3fifo_remove(&memory->fifo, &displaced->node);
            memory_release(memory, displaced);
        }
        s3fifo_insert(&memory->fifo, &item->node, proven);
    }
    pthread_mutex_unlock(&memory->lock);
}

struct item *memory_find(struct memory *memory, struct item_key key)
{
    return table_find(&memory->table, hash_of(memory, key), key);
}

bool memory_has(struct memory *memory, struct item_key key)
{
    return table_has(&memory->table, hash_of(memory, key), key);
}

bool memory_may_hold(const struct memory *memory, uint64_t sequence)
{
    return residents_may_hold(&memory->residents, sequence);
}

bool memory_holds(struct memory *memory, const struct item *item)
{
    return table_holds(&memory->table, item);
}

bool memory_remove(struct memory *memory, struct item_key key, uint64_t below_sequence)
{
    uint64_t hash = hash_of(memory, key);
    pthread_mutex_lock(&memory->lock);
    struct item *item = table_remove(&memory->table, hash, key, below_sequence);
    if (item) {
        s3fifo_remove(&memory->fifo, &item->node);
        memory_release(memory, item);
    }
    pthread_mutex_unlock(&memory->lock);
    return item != NULL;
}

static_assert(MEMORY_SHARES == TABLE_STRIPES, "a share is a stripe");

void memory_sweep(struct memory *memory, uint32_t from, uint32_t count,
    bool (*goes)(void *context, struct item *item), void *context)
{
    CHECK(from <= MEMORY_SHARES && count <= MEMORY_SHARES - from);
    pthread_mutex_lock(&memory->lock);
    for (uint32_t stripe = from; stripe < from + count; stripe++)
        for (struct item *item; (item = table_take_next(&memory->table, stripe, goes, context)) != NULL;) {
            s3fifo_remove(&memory->fifo, &item->node);
            memory_release(memory, item);
        }
    pthread_mutex_unlock(&memory->lock);
}

void memory_stats(const struct memory *const_memory, struct memory_stats *stats)
{
    struct memory *memory = (struct memory *)(uintptr_t)const_memory; /* for its locks */
    pthread_mutex_lock(&memory->lock);
    uint64_t free = memory->space.free_frames + memory->space.free_slot_frames;
    *stats = (struct memory_stats){
        .budget_bytes = memory->budget_bytes,
        .used_bytes = memory->overhead_bytes +
                      ((uint64_t)memory->space.block_count * BLOCK_FRAMES - free) * FRAME_BYTES,
        .pinned_bytes = pinned_bytes(memory),
        .items = memory->fifo.small.count + memory->fifo.main.count,
        .inserts = memory->inserts,
        .evictions = memory->evictions,
        .evicted_bytes = memory->evicted_bytes,
        .ghost_hits = memory->ghost_hits,
        .exhausted = memory->exhausted,
        .page_moves = memory->page_moves,
    };
    pthread_mutex_unlock(&memory->lock);
    table_counts(&memory->table, &stats->hits, &stats->misses);
}
