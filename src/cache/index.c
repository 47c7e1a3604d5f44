#include "cache/index.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PLACE_BITS 40
#define LEN_BITS 26
#define TAG_BITS 28

static_assert(PLACE_BITS + LEN_BITS + TAG_BITS + 2 == 96, "a slot is 12 bytes");

struct bucket {
    _Atomic uint32_t lock;
    uint8_t slots[INDEX_SLOTS][12];
};
static_assert(sizeof(struct bucket) == INDEX_BUCKET_BYTES, "a bucket is a cache line");

struct index {
    struct bucket *buckets;
    uint64_t bucket_count;
    _Atomic uint64_t items;
};

struct slot {
    uint64_t place; /* in units */
    uint32_t tag, value_len;
    unsigned use;
};

static struct slot slot_load(const uint8_t *raw)
{
    uint64_t low;
    uint32_t high;
    memcpy(&low, raw, 8);
    memcpy(&high, raw + 8, 4);
    return (struct slot){
        .place = low & ((UINT64_C(1) << PLACE_BITS) - 1),
        .tag = (uint32_t)(low >> PLACE_BITS) | (high >> 28) << 24,
        .value_len = high & ((1u << LEN_BITS) - 1),
        .use = high >> LEN_BITS & 3,
    };
}

static void slot_store(uint8_t *raw, struct slot slot)
{
    uint64_t low = slot.place | (uint64_t)(slot.tag & 0xffffff) << PLACE_BITS;
    uint32_t high = slot.value_len | slot.use << LEN_BITS | (slot.tag >> 24) << 28;
    memcpy(raw, &low, 8);
    memcpy(raw + 8, &high, 4);
}

static void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void lock(struct bucket *bucket)
{
    while (atomic_exchange_explicit(&bucket->lock, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&bucket->lock, memory_order_relaxed) != 0)
            spin_pause();
}

static void unlock(struct bucket *bucket)
{
    atomic_store_explicit(&bucket->lock, 0, memory_order_release);
}

/* The two buckets of a hash, locked in address order; they may be one. */
struct pair {
    struct bucket *a, *b;
    uint32_t tag;
};

static uint64_t reduce(uint64_t hash, uint64_t count)
{
    return (uint64_t)((unsigned __int128)hash * count >> 64);
}

static struct pair pair_of(struct index *index, uint64_t hash)
{
    uint64_t second = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (struct pair){
        .a = &index->buckets[reduce(hash, index->bucket_count)],
        .b = &index->buckets[reduce(second, index->bucket_count)],
        .tag = (uint32_t)hash & ((1u << TAG_BITS) - 1),
    };
}

static struct pair pair_lock(struct index *index, uint64_t hash)
{
    struct pair pair = pair_of(index, hash);
    struct bucket *first = pair.a < pair.b ? pair.a : pair.b;
    struct bucket *second = pair.a < pair.b ? pair.b : pair.a;
    lock(first);
    if (second != first)
        lock(second);
    return pair;
}

static void pair_unlock(struct pair *pair)
{
    unlock(pair->a);
    if (pair->b != pair->a)
        unlock(pair->b);
}

static uint8_t *bucket_find(struct bucket *bucket, uint32_t tag)
{
    for (unsigned i = 0; i < INDEX_SLOTS; i++) {
        struct slot slot = slot_load(bucket->slots[i]);
        if (slot.place != 0 && slot.tag == tag)
            return bucket->slots[i];
    }
    return NULL;
}

static uint8_t *pair_find(const struct pair *pair)
{
    uint8_t *raw = bucket_find(pair->a, pair->tag);
    return raw != NULL ? raw : bucket_find(pair->b, pair->tag);
}

static struct index_entry entry_of(struct slot slot)
{
    return (struct index_entry){slot.place * INDEX_PLACE_UNIT, slot.value_len, slot.use};
}

uint64_t index_buckets_for(uint64_t items)
{
    uint64_t buckets = (items + 3) / 4; /* five slots at 80 % hold four */
    if (buckets < 64)
        return 64;
    return buckets < INDEX_BUCKETS_MAX ? buckets : INDEX_BUCKETS_MAX;
}

/* In whole blocks, for direct reads and writes. */
static size_t mapped_bytes(const struct index *index)
{
    return (index_bytes(index) + 4095) / 4096 * 4096;
}

/* Fresh pages are empty buckets, and cost nothing before they are touched: a snapshot is read into them. */
struct index *index_create(uint64_t buckets)
{
    CHECK(buckets >= 1 && buckets <= INDEX_BUCKETS_MAX);
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL)
        return NULL;
    index->bucket_count = buckets;
    index->buckets =
        mmap(NULL, mapped_bytes(index), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (index->buckets == MAP_FAILED) {
        free(index);
        return NULL;
    }
    (void)madvise(index->buckets, mapped_bytes(index), MADV_HUGEPAGE); /* buckets are touched at random */
    return index;
}

void index_destroy(struct index *index)
{
    if (index == NULL)
        return;
    (void)munmap(index->buckets, mapped_bytes(index));
    free(index);
}

void index_prefetch(struct index *index, uint64_t hash)
{
    struct pair pair = pair_of(index, hash);
    __builtin_prefetch(pair.a, 1);
    __builtin_prefetch(pair.b, 1);
}

bool index_find(struct index *index, uint64_t hash, struct index_entry *entry)
{
    struct pair pair = pair_of(index, hash);
    lock(pair.a);
    uint8_t *raw = bucket_find(pair.a, pair.tag);
    if (raw != NULL)
        *entry = entry_of(slot_load(raw));
    unlock(pair.a);
    if (raw != NULL || pair.a == pair.b)
        return raw != NULL;
    lock(pair.b);
    raw = bucket_find(pair.b, pair.tag);
    if (raw != NULL)
        *entry = entry_of(slot_load(raw));
    unlock(pair.b);
    return raw != NULL;
}

static unsigned bucket_load(const struct bucket *bucket, uint8_t (**free_slot)[12])
{
    unsigned load = 0;
    for (unsigned i = 0; i < INDEX_SLOTS; i++) {
        if (slot_load(bucket->slots[i]).place != 0)
            load++;
        else
            *free_slot = (uint8_t(*)[12]) & bucket->slots[i];
    }
    return load;
}

static uint8_t *pair_oldest(const struct pair *pair, struct index_age age)
{
    uint8_t *oldest = NULL;
    uint64_t oldest_age = UINT64_MAX;
    struct bucket *both[2] = {pair->a, pair->b};
    for (unsigned i = 0; i < 2 * INDEX_SLOTS; i++) {
        uint8_t *raw = both[i / INDEX_SLOTS]->slots[i % INDEX_SLOTS];
        uint64_t its = age.of(age.context, slot_load(raw).place * INDEX_PLACE_UNIT);
        if (its <= oldest_age) {
            oldest_age = its;
            oldest = raw;
        }
    }
    return oldest;
}

enum index_outcome index_insert(struct index *index, uint64_t hash, const struct index_entry *entry,
    struct index_age age, struct index_entry *dropped)
{
    CHECK(entry->place != 0 && entry->place % INDEX_PLACE_UNIT == 0 && entry->value_len < (1u << LEN_BITS));
    CHECK(entry->place / INDEX_PLACE_UNIT < UINT64_C(1) << PLACE_BITS && entry->use <= 3);
    enum index_outcome outcome = INDEX_REPLACED;
    struct pair pair = pair_lock(index, hash);
    uint8_t *raw = pair_find(&pair);
    if (raw == NULL) {
        uint8_t(*free_a)[12] = NULL, (*free_b)[12] = NULL;
        unsigned load_a = bucket_load(pair.a, &free_a), load_b = bucket_load(pair.b, &free_b);
        outcome = INDEX_ADDED;
        if (load_a < INDEX_SLOTS && load_a <= load_b) {
            raw = *free_a;
        } else if (load_b < INDEX_SLOTS) {
            raw = *free_b;
        } else {
            raw = pair_oldest(&pair, age);
            *dropped = entry_of(slot_load(raw));
            outcome = INDEX_DROPPED;
        }
    }
    slot_store(raw, (struct slot){.place = entry->place / INDEX_PLACE_UNIT,
                        .tag = pair.tag,
                        .value_len = entry->value_len,
                        .use = entry->use});
    pair_unlock(&pair);
    if (outcome == INDEX_ADDED)
        atomic_fetch_add_explicit(&index->items, 1, memory_order_relaxed);
    return outcome;
}

static void slot_clear(struct index *index, uint8_t *raw)
{
    memset(raw, 0, 12);
    atomic_fetch_sub_explicit(&index->items, 1, memory_order_relaxed);
}

bool index_remove(struct index *index, uint64_t hash, struct index_entry *removed)
{
    struct pair pair = pair_lock(index, hash);
    uint8_t *raw = pair_find(&pair);
    if (raw != NULL) {
        if (removed != NULL)
            *removed = entry_of(slot_load(raw));
        slot_clear(index, raw);
    }
    pair_unlock(&pair);
    return raw != NULL;
}

bool index_remove_at(struct index *index, uint64_t hash, uint64_t place)
{
    struct pair pair = pair_lock(index, hash);
    uint8_t *raw = pair_find(&pair);
    bool there = raw != NULL && slot_load(raw).place == place / INDEX_PLACE_UNIT;
    if (there)
        slot_clear(index, raw);
    pair_unlock(&pair);
    return there;
}

void index_touch(struct index *index, uint64_t hash, uint64_t place)
{
    struct pair pair = pair_lock(index, hash);
    uint8_t *raw = pair_find(&pair);
    if (raw != NULL) {
        struct slot slot = slot_load(raw);
        if (slot.place == place / INDEX_PLACE_UNIT && slot.use < 3) {
            slot.use++;
            slot_store(raw, slot);
        }
    }
    pair_unlock(&pair);
}

uint64_t index_sweep(struct index *index, uint64_t from, uint64_t to)
{
    uint64_t gone = 0;
    for (uint64_t i = 0; i < index->bucket_count; i++) {
        struct bucket *bucket = &index->buckets[i];
        lock(bucket);
        for (unsigned j = 0; j < INDEX_SLOTS; j++) {
            uint64_t place = slot_load(bucket->slots[j]).place * INDEX_PLACE_UNIT;
            if (place != 0 && place >= from && place < to) {
                slot_clear(index, bucket->slots[j]);
                gone++;
            }
        }
        unlock(bucket);
    }
    return gone;
}

void index_clear(struct index *index)
{
    /* Fresh pages in place of these: faster than zeroing what nobody may come to touch. */
    if (madvise(index->buckets, mapped_bytes(index), MADV_DONTNEED) < 0)
        memset((void *)index->buckets, 0, index_bytes(index));
    atomic_store(&index->items, 0);
}

uint64_t index_count(const struct index *index)
{
    return atomic_load_explicit(&index->items, memory_order_relaxed);
}

uint64_t index_bytes(const struct index *index)
{
    return index->bucket_count * INDEX_BUCKET_BYTES;
}

uint8_t *index_raw(struct index *index)
{
    return (uint8_t *)index->buckets;
}

void index_adopt(struct index *index, uint64_t from, uint64_t to)
{
    uint64_t items = 0;
    for (uint64_t i = 0; i < index->bucket_count; i++) {
        struct bucket *bucket = &index->buckets[i];
        atomic_store(&bucket->lock, 0);
        for (unsigned j = 0; j < INDEX_SLOTS; j++) {
            uint64_t place = slot_load(bucket->slots[j]).place * INDEX_PLACE_UNIT;
            if (place >= from && place < to)
                items++;
            else
                memset(bucket->slots[j], 0, 12);
        }
    }
    atomic_store(&index->items, items);
}
