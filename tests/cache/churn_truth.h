/*
 * What a reader among many writers may see of a key: the rule of the churn test. Time is one counter; an
 * operation that changes a key has the moment it began as its number, and a put writes that number into the
 * value as its version.
 *
 * Operations that overlap may take effect in either order. So when one ends, no get that starts from then on
 * may see a version that had ended before this one began. What is kept for each key is the *floor*: the
 * beginning of the oldest operation on the key that was under way when the last one began. A version below it
 * is a wrong answer; a miss never is, since this is a cache.
 *
 * Any thread; each changes one key at a time. The same number gives the same value: length and every byte
 * follow from (key, version).
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "cache/item.h"

#define TRUTH_THREADS 8
#define TRUTH_VALUE_MAX (1u << 20)

struct truth {
    unsigned key_count;
    _Atomic uint64_t clock;
    struct {
        _Atomic uint64_t key, since; /* key + 1 of the change under way; 0: none */
    } flying[TRUTH_THREADS];
    _Atomic uint64_t *floors; /* by key */
};

/* A change of the key begins on this thread: its version. */
uint64_t truth_begin(struct truth *truth, unsigned thread, unsigned key, uint64_t *low);
/* It has returned; `low` is as begin gave it. */
void truth_end(struct truth *truth, unsigned thread, unsigned key, uint64_t low);
/* Before a get. */
uint64_t truth_floor(const struct truth *truth, unsigned key);

#define TRUTH_KEY_BYTES 64
struct item_key truth_key(unsigned key, uint8_t *buf);
/* 8 to TRUTH_VALUE_MAX. */
uint32_t truth_len(unsigned key, uint64_t version);
/* The bytes [from, from + len), from in whole blocks; each block of 4 KiB begins with the version. */
#define TRUTH_BLOCK 4096u
void truth_value(unsigned key, uint64_t version, uint32_t from, uint32_t len, uint8_t *value);
