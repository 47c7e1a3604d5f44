/*
 * Items: what both tiers store. An item is a kind, a key and a value; the pair (kind, key) is its identity.
 *
 * All kinds go to disk, and their numbers are the format's. The cache doesn't look into values: heads are
 * encoded by the proxy (proxy/head.h).
 *
 * A `struct item` is the memory form: metadata and key in a slot, the value in extents of the memory tier's
 * arena (4, 16, 64, 256 KiB, each 4 KiB-aligned), so that disk reads land in it and disk writes and sends
 * leave from it.
 *
 * struct item  | born by            | owned by                    | dies by
 *              | memory_take        | its references (taker, the  | the last item_unref, once it is
 *              |                    | tier's table, sends, disk)  | out of the table
 * States: filling (private to the taker, but readers that were handed a reference may read the first
 * item_filled() bytes) -> complete (immutable from now on). Only complete items may be inserted or written to
 * disk. Any thread may hold and drop references; only the taker fills.
 */
#pragma once

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/bytes.h"

enum item_kind {
    ITEM_HEAD = 1,   /* of an object: status, fields, validators, body id; small bodies inline */
    ITEM_CHUNK = 2,  /* of a body: key is body id (16 bytes) and number (8 bytes, little-endian) */
    ITEM_VARY = 3,   /* which request fields select */
    ITEM_REMOVE = 4, /* hides an identity */
    ITEM_PURGE = 5,  /* hides many: see purge.h */
    ITEM_PURGE_OBJECT = 6,
};

#define ITEM_KEY_MAX 3072
#define ITEM_VALUE_MAX (64u << 20)

struct item_key {
    enum item_kind kind;
    struct bytes bytes; /* 1 to ITEM_KEY_MAX */
};

struct memory;
struct item;

struct item *item_ref(struct item *item);
/* Drops one reference and nulls the pointer; NULL is fine. */
void item_unref(struct item **item);

struct item_key item_key(const struct item *item);
/* Of the whole value. */
uint32_t item_value_len(const struct item *item);
/* Where the bytes held begin in the value: 0, but for parts that a disk read returned. */
uint32_t item_value_from(const struct item *item);
/* How many bytes are held once complete: value_len, but for parts. */
uint32_t item_held_len(const struct item *item);
/* How many of the held bytes are there (acquire): all of them once complete. */
uint32_t item_filled(const struct item *item);

/* The store-wide sequence number; 0 until the item was inserted or put. */
uint64_t item_sequence(const struct item *item);
/* For the disk tier: of items read back from it, and of those that are put on disk only. Before anybody else
 * sees the item. */
void item_sequence_set(struct item *item, uint64_t sequence);

/* No purge up to this sequence hides the item (purges.h); 0: unknown, or hidden for ever. The taker sets it
 * to a sequence drawn before the origin was asked; without that, it is the sequence of the put. */
uint64_t item_clear_of(const struct item *item);
void item_clear_of_set(struct item *item, uint64_t sequence);
/* The engine's: never lowers it. */
void item_clear_of_raise(struct item *item, uint64_t sequence);

/* The disk tier's mark: admission refused the item at its put, a hit in memory has it written. Taking: true
 * for one caller per mark. */
void item_await_hit(struct item *item);
bool item_awaits_hit(const struct item *item);
bool item_take_hit(struct item *item);

/* Parts of memory that hold the bytes [from, from + len) counted from the first byte held; len within
 * held_len. Returns the number of parts, or -1 when `max` is too small. ITEM_VECTOR_MAX is enough for any
 * item of up to 1 MiB; nearly always it is 1 to 12; more parts come of many scattered pins. With a head
 * before them they may exceed IO_VECTOR_MAX: send what item_vector_some() gives. */
#define ITEM_VECTOR_MAX 64
int item_vector(const struct item *item, uint32_t from, uint32_t len, struct iovec *iov, int max);
/* The same for as many of the bytes as fit in `max` parts (1 or more); *parts is how many. Returns the bytes
 * they hold. */
uint32_t item_vector_some(
    const struct item *item, uint32_t from, uint32_t len, struct iovec *iov, int max, int *parts);
/* Parts that hold the first `blocks` * 4 KiB of the item's memory, the room past held_len in its last 4 KiB
 * included: for direct I/O in whole blocks. Results as item_vector's. */
int item_vector_blocks(const struct item *item, uint32_t blocks, struct iovec *iov, int max);
/* Copies out; the range must be filled. */
void item_copy(const struct item *item, uint32_t from, uint32_t len, void *to);
/* The first bytes in place: up to `len` bytes from the start as one contiguous piece (the first extent);
 * heads up to 4 KiB are one piece. Returns what there is in one piece. */
struct bytes item_front(const struct item *item);

/* The taker appends; never past held_len. Release order towards item_filled. */
void item_append(struct item *item, struct bytes bytes);
/* The same of `len` bytes that another item holds, from `from` on; they must be filled. */
void item_append_from(struct item *item, const struct item *other, uint32_t from, uint32_t len);
/* For reads that land in place: the vector to fill, then item_filled_set(). */
void item_filled_set(struct item *item, uint32_t filled);
/* Ends filling: filled must equal held_len. */
void item_complete(struct item *item);
bool item_is_complete(const struct item *item);
