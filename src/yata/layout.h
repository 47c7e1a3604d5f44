/*
 * How a value becomes items. Pure.
 *
 * The key of a value is the key of its head item. A value of up to LAYOUT_INLINE_MAX bytes lies in the head,
 * behind LAYOUT_INLINE_AT bytes that describe it (so many that the value is aligned to 16): one item, one
 * read. A longer one is chunks of LAYOUT_CHUNK_BYTES, the last one shorter, under (body id, number); the head
 * then holds the id, 128 random bits new for each put, and the chunk size. So chunks of two versions can't
 * mix, and a head that appears after all its chunks makes the whole value appear.
 *
 * Head, little-endian: magic u32, format u8, kind u8, zero u16, value length u64; then inline the value, or
 * chunk bytes u32, zero u32, body id 16 bytes. What does not decode (a proxy's head, a newer format) is a
 * miss.
 */
#pragma once

#include "base/bytes.h"
#include "cache/item.h"

#define LAYOUT_CHUNK_BYTES (256u << 10)
#define LAYOUT_INLINE_MAX LAYOUT_CHUNK_BYTES
#define LAYOUT_INLINE_AT 16
#define LAYOUT_CHUNKED_LEN 40
#define LAYOUT_BODY_ID 16
#define LAYOUT_CHUNK_KEY 24

struct layout {
    uint64_t value_len;
    uint32_t chunk_bytes; /* 0: inline */
    uint8_t body_id[LAYOUT_BODY_ID];
};

/* Writes what lies before the inline value, or the whole head of a chunked one; `to` has LAYOUT_CHUNKED_LEN
 * bytes. Returns which of them are meant. */
struct bytes layout_encode(const struct layout *layout, uint8_t *to);
/* `front` is the head's beginning, at least LAYOUT_CHUNKED_LEN bytes where it has them; head_len its whole
 * length. E_FOREIGN if it is not a head of ours. */
MUST_CHECK int layout_decode(struct layout *layout, struct bytes front, uint32_t head_len);

/* Of a chunked value. */
uint64_t layout_chunk_count(const struct layout *layout);
uint32_t layout_chunk_len(const struct layout *layout, uint64_t number);
/* The key points to `to`, of LAYOUT_CHUNK_KEY bytes. */
struct item_key layout_chunk_key(const uint8_t *body_id, uint64_t number, uint8_t *to);

static inline struct item_key layout_head_key(struct bytes key)
{
    return (struct item_key){ITEM_HEAD, key};
}
