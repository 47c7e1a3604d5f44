#include "proxy/marks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/random.h"

#define SET_MARKS 4
#define STRIPES 64
#define BYTES_MIN (STRIPES * sizeof(struct set)) /* a set belongs to one stripe */

struct stored {
    uint64_t low, high; /* of the hash */
    uint32_t made_s, until_s;
    uint16_t status;
    uint8_t kind;
};

struct set {
    _Alignas(64) struct stored stored[SET_MARKS];
};

static_assert(sizeof(struct stored) == 32 && sizeof(struct set) == 128, "what the budget counts");

struct marks {
    struct set *sets;
    uint64_t set_count, seed; /* a power of two */
    _Atomic uint64_t generation;
    struct {
        _Alignas(64) pthread_mutex_t lock;
    } stripes[STRIPES];
};

static uint64_t power_of_two_below(uint64_t n)
{
    return UINT64_C(1) << (63 - __builtin_clzll(n));
}

int marks_create(struct marks **created, uint64_t bytes)
{
    struct marks *marks = aligned_alloc(64, sizeof *marks);
    if (!marks)
        return -ENOMEM;
    uint64_t set_count = power_of_two_below(bytes > BYTES_MIN ? bytes : BYTES_MIN) / sizeof(struct set);
    memset(marks, 0, sizeof *marks);
    marks->sets = aligned_alloc(64, set_count * sizeof(struct set));
    if (!marks->sets) {
        free(marks);
        return -ENOMEM;
    }
    memset(marks->sets, 0, set_count * sizeof(struct set));
    marks->set_count = set_count;
    random_os(&marks->seed, sizeof marks->seed);
    for (int i = 0; i < STRIPES; i++)
        CHECK(pthread_mutex_init(&marks->stripes[i].lock, NULL) == 0);
    *created = marks;
    return 0;
}

void marks_destroy(struct marks *marks)
{
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&marks->stripes[i].lock);
    free(marks->sets);
    free(marks);
}

/* ---- one set ---- */

static XXH128_hash_t hash_of(const struct marks *marks, struct bytes identity)
{
    return XXH3_128bits_withSeed(identity.ptr, identity.len, marks->seed);
}

static struct set *lock_set(struct marks *marks, XXH128_hash_t hash)
{
    CHECK(pthread_mutex_lock(&marks->stripes[hash.low64 % STRIPES].lock) == 0);
    return &marks->sets[hash.low64 & (marks->set_count - 1)];
}

static void unlock_set(struct marks *marks, XXH128_hash_t hash)
{
    CHECK(pthread_mutex_unlock(&marks->stripes[hash.low64 % STRIPES].lock) == 0);
}

static struct stored *find(struct set *set, XXH128_hash_t hash)
{
    for (int i = 0; i < SET_MARKS; i++)
        if (set->stored[i].kind && set->stored[i].low == hash.low64 && set->stored[i].high == hash.high64)
            return &set->stored[i];
    return NULL;
}

/* Its own place, an empty one, or that of the mark which ends first. */
static struct stored *place_for(struct set *set, XXH128_hash_t hash)
{
    struct stored *place = find(set, hash);
    for (int i = 0; i < SET_MARKS && !place; i++)
        if (!set->stored[i].kind)
            place = &set->stored[i];
    if (place)
        return place;
    place = &set->stored[0];
    for (int i = 1; i < SET_MARKS; i++)
        if (set->stored[i].until_s < place->until_s)
            place = &set->stored[i];
    return place;
}

/* ---- the calls ---- */

struct mark marks_find(struct marks *marks, struct bytes identity, uint32_t now_s)
{
    struct mark mark = {0};
    XXH128_hash_t hash = hash_of(marks, identity);
    struct stored *stored = find(lock_set(marks, hash), hash);
    if (stored && now_s < stored->until_s)
        mark = (struct mark){(enum mark_kind)stored->kind, stored->status, stored->made_s, stored->until_s};
    unlock_set(marks, hash);
    return mark;
}

uint64_t marks_generation(const struct marks *marks)
{
    return atomic_load(&marks->generation);
}

/* The generation is looked at under the lock which marks_clear takes after it has raised it. */
void marks_put(
    struct marks *marks, struct bytes identity, const struct mark *mark, uint64_t generation, uint32_t now_s)
{
    CHECK(mark->kind != MARK_NONE);
    XXH128_hash_t hash = hash_of(marks, identity);
    struct set *set = lock_set(marks, hash);
    if (mark->until_s > now_s && atomic_load(&marks->generation) == generation)
        *place_for(set, hash) = (struct stored){.low = hash.low64,
            .high = hash.high64,
            .made_s = mark->made_s,
            .until_s = mark->until_s,
            .status = mark->status,
            .kind = (uint8_t)mark->kind};
    unlock_set(marks, hash);
}

void marks_remove(struct marks *marks, struct bytes identity)
{
    XXH128_hash_t hash = hash_of(marks, identity);
    struct stored *stored = find(lock_set(marks, hash), hash);
    if (stored)
        stored->kind = MARK_NONE;
    unlock_set(marks, hash);
}

void marks_clear(struct marks *marks)
{
    atomic_fetch_add(&marks->generation, 1);
    for (unsigned stripe = 0; stripe < STRIPES; stripe++) {
        CHECK(pthread_mutex_lock(&marks->stripes[stripe].lock) == 0);
        for (uint64_t i = stripe; i < marks->set_count; i += STRIPES)
            for (int k = 0; k < SET_MARKS; k++)
                marks->sets[i].stored[k].kind = MARK_NONE;
        CHECK(pthread_mutex_unlock(&marks->stripes[stripe].lock) == 0);
    }
}
