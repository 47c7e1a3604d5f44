#include "cache/segment.h"

#include <xxhash.h>

#include "cache/checksum.h"

#define ITEM_MAGIC 0x4d544959u                    /* "YITM" */
#define FOOTER_MAGIC UINT64_C(0x454c424154415459) /* "YTATABLE" */
#define VERSION 1

static_assert(SEGMENT_LARGE_BYTES % SEGMENT_CHECKED_BYTES == 0, "blocks of a part start at block boundaries");
static_assert(SEGMENT_CHECKED_BYTES % SEGMENT_BLOCK == 0, "a checked block is whole device blocks");
static_assert(SEGMENT_HEADER_FIXED % 8 == 0 && SEGMENT_BLOCK % SEGMENT_ITEM_ALIGN == 0, "alignments agree");

uint64_t segment_hash(uint64_t seed, enum item_kind kind, struct bytes key)
{
    return XXH3_64bits_withSeed(key.ptr, key.len, seed + (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15));
}

uint32_t segment_header_len(size_t key_len, uint32_t value_len)
{
    CHECK(key_len <= SEGMENT_KEY_MAX && value_len <= ITEM_VALUE_MAX);
    uint32_t len = SEGMENT_HEADER_FIXED + (uint32_t)key_len + 8 * segment_checksum_count(value_len);
    return segment_is_large(value_len) ? segment_blocks_up(len) : len;
}

uint32_t segment_item_len(size_t key_len, uint32_t value_len)
{
    uint32_t header_len = segment_header_len(key_len, value_len);
    if (segment_is_large(value_len))
        return header_len + segment_blocks_up(value_len);
    return (header_len + value_len + SEGMENT_ITEM_ALIGN - 1) / SEGMENT_ITEM_ALIGN * SEGMENT_ITEM_ALIGN;
}

uint32_t segment_table_len(uint32_t row_count)
{
    return segment_blocks_up((uint64_t)row_count * SEGMENT_ROW_BYTES + SEGMENT_FOOTER_BYTES);
}

static uint64_t header_checksum(const uint8_t *header, size_t len, uint64_t seed, uint64_t place)
{
    return checksum_of(seed ^ (place * UINT64_C(0xd6e8feb86659fd93)), header + 8, len - 8);
}

void segment_item_encode(
    const struct segment_item *item, const uint64_t *checksums, uint64_t seed, uint64_t place, uint8_t *to)
{
    uint32_t count = segment_checksum_count(item->value_len);
    uint32_t meta_len = SEGMENT_HEADER_FIXED + (uint32_t)item->key.len + 8 * count;
    CHECK(item->header_len == segment_header_len(item->key.len, item->value_len));
    struct writer w = writer_of(to, item->header_len);
    write_u64(&w, 0);
    write_u32(&w, ITEM_MAGIC);
    write_u8(&w, VERSION);
    write_u8(&w, (uint8_t)item->kind);
    write_u16(&w, (uint16_t)item->key.len);
    write_u64(&w, item->generation);
    write_u64(&w, item->sequence);
    write_u64(&w, item->stored_ns);
    write_u32(&w, item->value_len);
    write_u32(&w, item->header_len);
    write_u64(&w, item->clear_of);
    write_bytes(&w, item->key);
    for (uint32_t i = 0; i < count; i++)
        write_u64(&w, checksums[i]);
    CHECK(!w.failed && writer_bytes(&w).len == meta_len);
    memset(w.at, 0, item->header_len - meta_len);
    w = writer_of(to, 8);
    write_u64(&w, header_checksum(to, meta_len, seed, place));
}

/* All that can be told without the checksum. */
static bool header_makes_sense(const struct segment_item *item, uint32_t magic, uint8_t version)
{
    return magic == ITEM_MAGIC && version == VERSION && item->key.len >= 1 &&
           item->key.len <= SEGMENT_KEY_MAX && item->value_len <= ITEM_VALUE_MAX && item->sequence > 0 &&
           item->header_len == segment_header_len(item->key.len, item->value_len);
}

int segment_item_decode(struct segment_item *item, struct bytes from, uint64_t seed, uint64_t place)
{
    *item = (struct segment_item){0};
    struct reader r = reader_of(from);
    uint64_t checksum = read_u64(&r);
    uint32_t magic = read_u32(&r);
    uint8_t version = read_u8(&r);
    struct segment_item found = {.kind = (enum item_kind)read_u8(&r)};
    found.key.len = read_u16(&r);
    found.generation = read_u64(&r);
    found.sequence = read_u64(&r);
    found.stored_ns = read_u64(&r);
    found.value_len = read_u32(&r);
    found.header_len = read_u32(&r);
    found.clear_of = read_u64(&r);
    if (r.failed)
        return E_TRUNCATED;
    if (!header_makes_sense(&found, magic, version))
        return E_CORRUPT;
    uint32_t meta_len =
        SEGMENT_HEADER_FIXED + (uint32_t)found.key.len + 8 * segment_checksum_count(found.value_len);
    if (from.len < meta_len)
        return E_TRUNCATED;
    if (checksum != header_checksum(from.ptr, meta_len, seed, place))
        return E_CORRUPT;
    found.key.ptr = from.ptr + SEGMENT_HEADER_FIXED;
    found.checksums = found.key.ptr + found.key.len;
    *item = found;
    return 0;
}

bool segment_item_mend(uint8_t *at, size_t len, uint64_t seed, uint64_t place)
{
    struct segment_item item;
    struct reader r = reader_of(bytes_of(at, len));
    read_u64(&r);
    uint32_t magic = read_u32(&r);
    if (r.failed || __builtin_popcount(magic ^ ITEM_MAGIC) > 1)
        return false;
    len = len < SEGMENT_BLOCK ? len : SEGMENT_BLOCK;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int result = segment_item_decode(&item, bytes_of(at, len), seed, place);
        if (result == 0)
            return true;
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return false;
}

uint64_t segment_checksum(uint64_t seed, const void *block, size_t len)
{
    CHECK(len > 0 && len <= SEGMENT_CHECKED_BYTES);
    return checksum_of(seed, block, len);
}

bool segment_block_matches(
    const struct segment_item *item, uint32_t number, uint64_t seed, const void *block, size_t len)
{
    CHECK(number < segment_checksum_count(item->value_len));
    struct reader r = reader_of(bytes_of(item->checksums + 8 * (size_t)number, 8));
    return read_u64(&r) == segment_checksum(seed, block, len);
}

void segment_row_encode(const struct segment_row *row, uint8_t *to)
{
    memset(to, 0, SEGMENT_ROW_BYTES);
    struct writer w = writer_of(to, SEGMENT_ROW_BYTES);
    write_u64(&w, row->hash);
    write_u64(&w, row->sequence);
    write_u32(&w, row->offset);
    write_u32(&w, row->value_len);
    write_u16(&w, row->key_len);
    write_u8(&w, row->kind);
    CHECK(!w.failed);
}

struct segment_row segment_row_decode(const uint8_t *from)
{
    struct reader r = reader_of(bytes_of(from, SEGMENT_ROW_BYTES));
    struct segment_row row = {0};
    row.hash = read_u64(&r);
    row.sequence = read_u64(&r);
    row.offset = read_u32(&r);
    row.value_len = read_u32(&r);
    row.key_len = read_u16(&r);
    row.kind = read_u8(&r);
    return row;
}

bool segment_row_valid(const struct segment_row *row, uint32_t data_end)
{
    if (row->key_len < 1 || row->key_len > SEGMENT_KEY_MAX || row->value_len > ITEM_VALUE_MAX)
        return false;
    uint32_t align = segment_is_large(row->value_len) ? SEGMENT_BLOCK : SEGMENT_ITEM_ALIGN;
    return row->offset % align == 0 && row->sequence > 0 &&
           (uint64_t)row->offset + segment_item_len(row->key_len, row->value_len) <= data_end;
}

uint64_t segment_rows_checksum(uint64_t seed, uint64_t place, struct bytes rows)
{
    return checksum_of(seed + place, rows.ptr, rows.len);
}

void segment_footer_encode(const struct segment_footer *footer, uint64_t seed, uint64_t place, uint8_t *to)
{
    struct writer w = writer_of(to, SEGMENT_FOOTER_BYTES);
    write_u64(&w, FOOTER_MAGIC);
    write_u32(&w, VERSION);
    write_u32(&w, footer->row_count);
    write_u64(&w, footer->generation);
    write_u32(&w, footer->data_end);
    write_u32(&w, 0);
    write_u64(&w, footer->highest_sequence);
    write_u64(&w, footer->rows_checksum);
    write_u64(&w, 0);
    write_u64(&w, checksum_of(seed + place, to, SEGMENT_FOOTER_BYTES - 8));
    CHECK(!w.failed && writer_bytes(&w).len == SEGMENT_FOOTER_BYTES);
}

int segment_footer_decode(
    struct segment_footer *footer, struct bytes from, uint64_t seed, uint64_t place, uint32_t segment_bytes)
{
    *footer = (struct segment_footer){0};
    CHECK(from.len == SEGMENT_FOOTER_BYTES);
    struct reader r = reader_of(from);
    struct segment_footer found = {0};
    uint64_t magic = read_u64(&r);
    uint32_t version = read_u32(&r);
    found.row_count = read_u32(&r);
    found.generation = read_u64(&r);
    found.data_end = read_u32(&r);
    uint32_t zero = read_u32(&r);
    found.highest_sequence = read_u64(&r);
    found.rows_checksum = read_u64(&r);
    uint64_t zero2 = read_u64(&r);
    uint64_t checksum = read_u64(&r);
    if (magic != FOOTER_MAGIC || version != VERSION || zero != 0 || zero2 != 0)
        return E_CORRUPT;
    if (checksum != checksum_of(seed + place, from.ptr, SEGMENT_FOOTER_BYTES - 8))
        return E_CORRUPT;
    if (found.row_count > segment_bytes / SEGMENT_ROW_BYTES ||
        (uint64_t)found.data_end + segment_table_len(found.row_count) > segment_bytes)
        return E_CORRUPT;
    *footer = found;
    return 0;
}

/* Zeroes, but for one bit. */
static bool is_padding(struct bytes from)
{
    int bits = 0;
    for (size_t i = 0; i < from.len && bits <= 1; i++)
        bits += __builtin_popcount(from.ptr[i]);
    return bits <= 1;
}

int segment_scan(struct segment_item *item, struct bytes from, uint32_t offset, uint64_t seed,
    uint64_t segment_place, uint32_t *next)
{
    CHECK(offset % SEGMENT_ITEM_ALIGN == 0);
    uint32_t to_boundary = segment_blocks_up(offset) - offset;
    int result = segment_item_decode(item, from, seed, segment_place + offset);
    if (result == 0) {
        if (segment_is_large(item->value_len) && to_boundary != 0)
            return E_CORRUPT;
        *next = offset + segment_item_len(item->key.len, item->value_len);
        return 1;
    }
    if (to_boundary != 0 && from.len >= to_boundary && is_padding(bytes_of(from.ptr, to_boundary))) {
        *next = offset + to_boundary;
        return 0;
    }
    return result;
}
