/*
 * The purges in force, of both tiers: a bounded table of records, and for single objects a table of slots.
 *
 * Each item carries a *clear-of*: no purge up to that sequence hides it. It begins as the sequence at which
 * the origin was asked (so that what was fetched before a purge and stored after it is hidden too), is raised
 * when the item is judged, and is written to disk with it, in each place anew. Only records above it are
 * looked at, so a look-up costs one comparison, with or without records, but for the first one after a purge.
 *
 * A record is in the table before it is in the log of any device, and an item is judged under the device's
 * lock when it gets its place. So what lies behind a record in a log is clear of it, and what it hides lies
 * before it, and is gone when the record's segment is reclaimed. The table keeps a record until that is so on
 * every device and memory has been swept (each purge sweeps a share of it). The sequence of the last one
 * given up is the *floor*: what is not clear of that is taken for hidden.
 *
 * When the table is full, records of the older half are merged into one for their bucket, or, where that
 * gains nothing, for everything: more is hidden than was asked for, never less.
 *
 * Objects are purged one at a time, often, and without end. Each has a slot by its name's hash, which holds
 * the sequence of the latest such purge: an older item of an object of that slot is hidden. Slots need no
 * sweeping and never fill up; that two names share one costs a miss now and then. The head under the object's
 * own name is taken out of index and memory as well, exactly, so of what is read from disk only heads under
 * longer keys (versions, variants) are asked for their slot: else after some 10,000 purges of objects every
 * older head on disk would look purged.
 *
 * Chunks are not judged: they hang on body ids, and are found through a head only.
 *
 * Rejected: a table without clear-of in the items (each look-up would compare with every record), purging by
 * walking the index (it has no keys), an exact table of purged objects (unbounded).
 *
 * struct purges | born by purges_create | owned by the disk, or the cache without one | dies with it
 * Threads: any. Its lock is the innermost, but for nothing.
 */
#pragma once

#include <stdatomic.h>

#include "cache/purge.h"

#define PURGES_MAX 2048              /* records */
#define PURGES_TEXT_MAX (256u << 10) /* bytes of their prefixes and tags */
#define PURGES_DEVICES_MAX 16
#define PURGE_SLOTS 8192
/* Of the encoding for a snapshot: count, slots, records. */
#define PURGES_ENCODED_MAX (8 + 8 * PURGE_SLOTS + 24 * PURGES_MAX + PURGES_TEXT_MAX)

struct purges;

/* What the owner of the keys tells of them. Members may be NULL: the whole key names the object, everything
 * is one bucket, no tags. Called with locks held: no waiting, no calls of the cache. */
struct purge_view {
    size_t (*object_len)(struct bytes key);    /* the leading bytes that name the object */
    size_t (*bucket_len)(struct bytes prefix); /* the leading bytes that name the bucket; 0: none does */
    bool (*has_tag)(const struct item *item, struct bytes tag);
};

MUST_CHECK int purges_create(struct purges **purges);
void purges_destroy(struct purges *purges);
/* Before the first put; must outlive the table. */
void purges_view(struct purges *purges, const struct purge_view *view);

/* In force when it returns. *sequence is drawn from the counter that sequences of items come from. True: the
 * table was full, older records were widened. */
bool purges_add(
    struct purges *purges, const struct purge *purge, _Atomic uint64_t *counter, uint64_t *sequence);
/* Of one object, hard. */
uint64_t purges_add_object(struct purges *purges, struct bytes object, _Atomic uint64_t *counter);

enum purge_verdict { PURGE_CLEAR, PURGE_STALE, PURGE_GONE };
/* On disk: read from there, or about to be carried. */
enum purge_where { PURGE_IN_MEMORY, PURGE_ON_DISK };
/* Whole items of any kind. CLEAR raises the item's clear-of. */
enum purge_verdict purges_judge(struct purges *purges, struct item *item, enum purge_where where);
/* Whether a sweep may leave the item in memory and have the purges up to there given up: it is clear of them,
 * and later ones make it stale at most. */
bool purges_outlives(struct purges *purges, struct item *item, uint64_t up_to);
/* Of what has that key and unknown tags: whether a purge after `since` may hide it. */
enum purge_verdict purges_since(struct purges *purges, struct bytes key, uint64_t since);

/* ---- where records lie ---- */

/* The record with that sequence lies in the device's segment of that generation. */
void purges_placed(struct purges *purges, unsigned device, uint64_t sequence, uint64_t generation);
/* The device's segments below that generation are gone. */
void purges_passed(struct purges *purges, unsigned device, uint64_t below_generation);
/* The device has become empty, or was closed. */
void purges_left(struct purges *purges, unsigned device);
/* A record was found in a device's log. */
void purges_found(struct purges *purges, unsigned device, uint64_t sequence, uint64_t generation,
    const struct purge *purge);
void purges_found_object(struct purges *purges, uint64_t hash, uint64_t sequence);
/* As the row of an ITEM_PURGE_OBJECT record has it: the same on all devices. */
uint64_t purges_object_hash(struct bytes object);
/* Everything in memory was judged after this sequence was drawn. */
void purges_swept(struct purges *purges, uint64_t up_to);

/* ---- the snapshot ---- */

/* What concerns the device; at most PURGES_ENCODED_MAX bytes. */
size_t purges_encode(struct purges *purges, unsigned device, uint8_t *to);
/* Adds it. E_CORRUPT: nothing was added that was not encoded; read the log. */
MUST_CHECK int purges_decode(struct purges *purges, unsigned device, struct bytes from);

struct purges_stats {
    uint64_t records, added, added_objects, widened, memory_bytes;
};
void purges_stats(struct purges *purges, struct purges_stats *stats);
