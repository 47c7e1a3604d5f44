/*
 * Where items lie: a table of places without keys, at most 16 bytes per item at 80 % load.
 *
 * Buckets of 64 bytes: one lock word and five slots of 12 bytes. A slot is 96 bits: place (40, in units of 16
 * bytes; 0 is an empty slot, since offset 0 is the superblock), tag (28), value length (26), use (2). Each
 * hash has two buckets and goes to the emptier; when both are full the older of the ten (by the caller's
 * notion of age) is dropped.
 *
 * The tag is not the key: whoever reads a place compares the key in the header found there. Two keys with the
 * same tag in the same bucket displace each other, which costs a miss every 2^26 or so.
 *
 * Any thread; a bucket's spin lock is held for the touch of one or two cache lines. No pointers, so the
 * buckets are what a snapshot writes.
 *
 * Rejected: one bucket per hash (at 80 % load 10 % of the items would be lost), cuckoo moves (they lock
 * chains of buckets), a sequence per slot (the order of the log already is the order of precedence, see
 * device.h).
 */
#pragma once

#include <stdatomic.h>

#include "base/bytes.h"

#define INDEX_BUCKET_BYTES 64
#define INDEX_SLOTS 5
#define INDEX_BUCKETS_MAX (UINT64_C(1) << 32)
#define INDEX_PLACE_UNIT 16

struct index;

struct index_entry {
    uint64_t place;     /* byte offset in the device, a multiple of 16, not 0 */
    uint32_t value_len; /* below 2^26 */
    unsigned use;       /* 0 to 3 */
};

struct index_age {
    uint64_t (*of)(void *context, uint64_t place); /* lower is older */
    void *context;
};

/* Buckets for that many items at 80 % load. */
uint64_t index_buckets_for(uint64_t items);
/* NULL when memory is short. */
struct index *index_create(uint64_t buckets);
void index_destroy(struct index *index);

/* Brings the hash's buckets near: for who knows ahead what it will ask. */
void index_prefetch(struct index *index, uint64_t hash);
bool index_find(struct index *index, uint64_t hash, struct index_entry *entry);
enum index_outcome { INDEX_ADDED, INDEX_REPLACED, INDEX_DROPPED };
/* In place of what the hash had. INDEX_DROPPED: another item went, *dropped tells its place. `use` starts at
 * the entry's. */
enum index_outcome index_insert(struct index *index, uint64_t hash, const struct index_entry *entry,
    struct index_age age, struct index_entry *dropped);
/* True if there was one; *removed (may be NULL) tells it. */
bool index_remove(struct index *index, uint64_t hash, struct index_entry *removed);
/* Only if it is at that place. */
bool index_remove_at(struct index *index, uint64_t hash, uint64_t place);
/* Counts a use, up to 3, if it is at that place. */
void index_touch(struct index *index, uint64_t hash, uint64_t place);
/* Removes every entry with from <= place < to; the whole table is walked. Returns how many went. */
uint64_t index_sweep(struct index *index, uint64_t from, uint64_t to);
void index_clear(struct index *index);

uint64_t index_count(const struct index *index);
uint64_t index_bytes(const struct index *index);
/* The buckets as they are written and read by snapshots: index_bytes() of them. Nobody else may use the index
 * meanwhile. */
uint8_t *index_raw(struct index *index);
/* After the raw bytes were filled: counts, drops what does not lie in [from, to). */
void index_adopt(struct index *index, uint64_t from, uint64_t to);
