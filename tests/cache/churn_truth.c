#include "churn_truth.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"

uint64_t truth_begin(struct truth *truth, unsigned thread, unsigned key, uint64_t *low)
{
    CHECK(thread < TRUTH_THREADS && key < truth->key_count && truth->flying[thread].key == 0);
    /* Shown first and begun second: who does not see it yet has begun before it. */
    *low = atomic_load(&truth->clock);
    atomic_store(&truth->flying[thread].since, *low);
    atomic_store(&truth->flying[thread].key, (uint64_t)key + 1);
    uint64_t version = atomic_fetch_add(&truth->clock, 1);
    for (unsigned i = 0; i < TRUTH_THREADS; i++) {
        if (atomic_load(&truth->flying[i].key) != (uint64_t)key + 1)
            continue;
        uint64_t since = atomic_load(&truth->flying[i].since);
        *low = since < *low ? since : *low;
    }
    return version;
}

void truth_end(struct truth *truth, unsigned thread, unsigned key, uint64_t low)
{
    uint64_t floor = atomic_load(&truth->floors[key]);
    while (floor < low && !atomic_compare_exchange_weak(&truth->floors[key], &floor, low))
        ;
    atomic_store(&truth->flying[thread].key, 0);
}

uint64_t truth_floor(const struct truth *truth, unsigned key)
{
    return atomic_load(&truth->floors[key]);
}

struct item_key truth_key(unsigned key, uint8_t *buf)
{
    int len = snprintf((char *)buf, TRUTH_KEY_BYTES, "object-%u-%.*s", key, (int)(key % 30),
        "abcdefghijklmnopqrstuvwxyzabcdef");
    return (struct item_key){key % 4 == 0 ? ITEM_HEAD : ITEM_CHUNK, bytes_of(buf, (size_t)len)};
}

static uint64_t seed_of(unsigned key, uint64_t version)
{
    return version << 24 ^ key;
}

uint32_t truth_len(unsigned key, uint64_t version)
{
    static const uint32_t most[] = {600, 4096, 16384, 65535, 65536, 131072, 262144, TRUTH_VALUE_MAX};
    uint64_t dice = seed_of(key, version) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t bound = most[dice >> 61];
    if ((dice >> 40 & 3) == 0)
        return bound; /* the edges */
    return 8 + (uint32_t)((dice >> 8 & 0xffffffff) % (bound - 7));
}

static void block(uint64_t seed, uint64_t version, uint32_t len, uint8_t *to)
{
    struct random random;
    random_init(&random, seed);
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = i == 0 ? version : random_next(&random);
        memcpy(to + i, &word, len - i < 8 ? len - i : 8);
    }
}

void truth_value(unsigned key, uint64_t version, uint32_t from, uint32_t len, uint8_t *value)
{
    CHECK(from % TRUTH_BLOCK == 0);
    for (uint32_t at = 0; at < len; at += TRUTH_BLOCK)
        block(seed_of(key, version) + ((uint64_t)(from + at) << 32), version,
            len - at < TRUTH_BLOCK ? len - at : TRUTH_BLOCK, value + at);
}
