/*
 * The format of segments: pure codec of item headers, table rows and footers, and of the scan. Little-endian.
 *
 * A segment is filled from its start with items and padding, and, when it is full, its last bytes become a
 * table of them. Each use of a segment has a *generation*, higher than that of all segments opened before it
 * on this device; the order of (generation, offset) is the order of the log.
 *
 * An item is header, key, checksums of its blocks, payload:
 *    0 checksum u64 of all from 8 to the end of the block checksums, seeded with hash seed and place
 *    8 magic u32        12 version u8     13 kind u8      14 key length u16
 *   16 generation u64   24 sequence u64   32 stored at, wall ns u64
 *   40 value length u32                   44 header length u32, from the item's start to the payload
 *   48 clear-of u64 (purges.h)
 *   56 key, then a u64 checksum per 16 KiB block of the payload, seeded with the hash seed
 *
 * Under 64 KiB of value, the item starts at a multiple of 16 and the payload follows at once. From 64 KiB on,
 * it starts at a 4 KiB boundary, the header is padded with zeroes to whole 4 KiB blocks, and so is the
 * payload. A remove record has no payload; its key is the kind of what it hides (one byte) and that one's
 * key. The keys of purge records are in purge.h.
 *
 * Padding is zeroes up to the next 4 KiB boundary. A scan goes from header to header and over padding; it
 * ends at the first thing that is neither. It never looks into payloads, so nothing in them can be taken for
 * an item. One flipped bit does not end it, for what lies behind may hide what lies before: a header with one
 * wrong bit is mended, padding may have one. (When its item is read, it is not mended, and is a miss.)
 *
 * The table lies at the segment's end: rows in order of offset, then the footer in the last 64 bytes.
 * A row (the hash of a remove record's is that of what it hides, that of an object's purge is of its name,
 * unseeded):
 *    0 hash u64         8 sequence u64         16 offset u32      20 value length u32
 *   24 key length u16  26 kind u8              27 zero, 5 bytes
 * A footer:
 *    0 magic u64        8 version u32          12 rows u32        16 generation u64
 *   24 end of items u32                        28 zero u32        32 highest sequence u64
 *   40 checksum of the rows u64                48 zero u64        56 checksum u64
 * Both checksums are seeded with the hash seed and the segment's place.
 *
 * Rejected: a header block per segment (the first item's header already tells the generation), a table at the
 * start (it would have to be written twice), one checksum per item (a part of a chunk could not be verified).
 */
#pragma once

#include "base/error.h"
#include "cache/item.h"

#define SEGMENT_BLOCK 4096u
#define SEGMENT_CHECKED_BYTES 16384u /* of payload per checksum */
#define SEGMENT_LARGE_BYTES 65536u   /* values from here on are aligned */
#define SEGMENT_ITEM_ALIGN 16u
#define SEGMENT_HEADER_FIXED 56u
#define SEGMENT_ROW_BYTES 32u
#define SEGMENT_FOOTER_BYTES 64u
#define SEGMENT_KEY_MAX (ITEM_KEY_MAX + 1)
/* Nothing but the header and key of the longest key, and the checksums of a value of 64 MiB. */
#define SEGMENT_HEADER_MAX                                                                                   \
    (SEGMENT_HEADER_FIXED + SEGMENT_KEY_MAX + 8 * (ITEM_VALUE_MAX / SEGMENT_CHECKED_BYTES))

/* What of a device can be addressed: 40 bits of 16-byte units. */
#define PLACE_BYTES_MAX (UINT64_C(1) << 44)

struct segment_item {
    enum item_kind kind;
    struct bytes key; /* decoded: points into the bytes given */
    uint64_t generation, sequence, stored_ns, clear_of;
    uint32_t value_len, header_len;
    const uint8_t *checksums; /* decoded: of the blocks, unaligned */
};

struct segment_row {
    uint64_t hash, sequence;
    uint32_t offset, value_len;
    uint16_t key_len;
    uint8_t kind;
};

struct segment_footer {
    uint32_t row_count, data_end;
    uint64_t generation, highest_sequence, rows_checksum;
};

/* Of (kind, key), seeded; identifies the item in index and tables. */
uint64_t segment_hash(uint64_t seed, enum item_kind kind, struct bytes key);

static inline uint32_t segment_blocks_up(uint64_t bytes)
{
    return (uint32_t)((bytes + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK * SEGMENT_BLOCK);
}
static inline uint32_t segment_checksum_count(uint32_t value_len)
{
    return (value_len + SEGMENT_CHECKED_BYTES - 1) / SEGMENT_CHECKED_BYTES;
}
static inline bool segment_is_large(uint32_t value_len)
{
    return value_len >= SEGMENT_LARGE_BYTES;
}
/* What hides items and is none. */
static inline bool segment_is_record(unsigned kind)
{
    return kind == ITEM_REMOVE || kind == ITEM_PURGE || kind == ITEM_PURGE_OBJECT;
}
/* From the item's start to its payload. */
uint32_t segment_header_len(size_t key_len, uint32_t value_len);
/* From the item's start to where the next may start (for large ones a 4 KiB boundary). */
uint32_t segment_item_len(size_t key_len, uint32_t value_len);
/* Of rows and footer, in whole blocks. */
uint32_t segment_table_len(uint32_t row_count);

/* Writes header, key, checksums and padding up to the payload: item->header_len bytes. The checksums of the
 * payload are given. */
void segment_item_encode(
    const struct segment_item *item, const uint64_t *checksums, uint64_t seed, uint64_t place, uint8_t *to);
/* E_TRUNCATED: it needs more bytes than these, as far as can be told. E_CORRUPT: not a header. */
MUST_CHECK int segment_item_decode(
    struct segment_item *item, struct bytes from, uint64_t seed, uint64_t place);
/* Puts right the one bit that keeps the header at `at` from decoding; false, and nothing changed, if there is
 * none. Not for headers longer than 4 KiB. */
bool segment_item_mend(uint8_t *at, size_t len, uint64_t seed, uint64_t place);
/* Of one block of payload (the last may be short). */
uint64_t segment_checksum(uint64_t seed, const void *block, size_t len);
/* Whether block `number` of the item has the checksum in its header. */
bool segment_block_matches(
    const struct segment_item *item, uint32_t number, uint64_t seed, const void *block, size_t len);

void segment_row_encode(const struct segment_row *row, uint8_t *to);
struct segment_row segment_row_decode(const uint8_t *from);
uint64_t segment_rows_checksum(uint64_t seed, uint64_t place, struct bytes rows);
void segment_footer_encode(const struct segment_footer *footer, uint64_t seed, uint64_t place, uint8_t *to);
/* From the last 64 bytes of the segment at `place`; E_CORRUPT if it has no table. */
MUST_CHECK int segment_footer_decode(
    struct segment_footer *footer, struct bytes from, uint64_t seed, uint64_t place, uint32_t segment_bytes);
/* Whether the row can be of an item in a segment whose items end at data_end. */
bool segment_row_valid(const struct segment_row *row, uint32_t data_end);

/* One step of a scan. `from` are the bytes of the segment from `offset` on, as far as they are at hand.
 * Returns 1 and the item, 0 after padding (both set *next), E_TRUNCATED when more bytes are needed, E_CORRUPT
 * at the end of what can be read. */
MUST_CHECK int segment_scan(struct segment_item *item, struct bytes from, uint32_t offset, uint64_t seed,
    uint64_t segment_place, uint32_t *next);
