/*
 * The decoders of what lies on a device: item headers, footers, scans, superblock, snapshot. Two thirds of
 * the inputs get right checksums, so that the fields behind them are reached too. What decodes must make
 * sense, and stay inside the input.
 */
#include <stdlib.h>
#include <xxhash.h>

#include "base/error.h"
#include "cache/segment.h"
#include "cache/snapshot.h"
#include "cache/superblock.h"

#define SEED 5
#define SUPERBLOCK_SEED UINT64_C(0x9a1f0c6e5b3d7284) /* as in superblock.c */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *at, const uint8_t *from, size_t len, uint64_t seed)
{
    uint64_t sum = XXH3_64bits_withSeed(from, len, seed);
    memcpy(at, &sum, 8);
}

static void fuzz_item(uint8_t *data, size_t size, bool sealed)
{
    if (sealed && size >= SEGMENT_HEADER_FIXED) {
        uint16_t key_len;
        uint32_t value_len;
        memcpy(&key_len, data + 14, 2);
        memcpy(&value_len, data + 40, 4);
        uint64_t meta =
            (uint64_t)SEGMENT_HEADER_FIXED + key_len + 8 * (((uint64_t)value_len + 16383) / 16384);
        if (meta <= size)
            seal(data, data + 8, meta - 8, SEED);
    }
    struct segment_item item;
    if (segment_item_decode(&item, bytes_of(data, size), SEED, 0) == 0) {
        CHECK(item.key.len >= 1 && item.key.ptr + item.key.len <= data + size);
        CHECK(item.checksums + 8 * (size_t)segment_checksum_count(item.value_len) <= data + size);
    }
    if (segment_item_mend(data, size, SEED, 0))
        CHECK(segment_item_decode(&item, bytes_of(data, size), SEED, 0) == 0);
    uint32_t offset = 0, next = 0;
    for (unsigned steps = 0; offset < size; steps++) {
        int result = segment_scan(&item, bytes_of(data + offset, size - offset), offset, SEED, 0, &next);
        if (result < 0)
            break;
        CHECK(next > offset && steps <= size);
        offset = next;
    }
}

static void fuzz_footer(uint8_t *data, size_t size, bool sealed)
{
    if (size < SEGMENT_FOOTER_BYTES)
        return;
    if (sealed)
        seal(data + SEGMENT_FOOTER_BYTES - 8, data, SEGMENT_FOOTER_BYTES - 8, SEED);
    struct segment_footer footer;
    if (segment_footer_decode(&footer, bytes_of(data, SEGMENT_FOOTER_BYTES), SEED, 0, 1 << 20) == 0)
        CHECK((uint64_t)footer.data_end + segment_table_len(footer.row_count) <= 1 << 20);
    if (size >= SEGMENT_FOOTER_BYTES + SEGMENT_ROW_BYTES) {
        struct segment_row row = segment_row_decode(data + SEGMENT_FOOTER_BYTES);
        if (segment_row_valid(&row, 1 << 20))
            CHECK((uint64_t)row.offset + segment_item_len(row.key_len, row.value_len) <= 1 << 20);
    }
}

static void fuzz_superblock(const uint8_t *data, size_t size, bool sealed)
{
    static uint8_t copies[2 * SUPERBLOCK_BYTES];
    memset(copies, 0, sizeof copies);
    memcpy(copies, data, size < sizeof copies ? size : sizeof copies);
    if (sealed)
        seal(copies + SUPERBLOCK_BYTES - 8, copies, SUPERBLOCK_BYTES - 8, SUPERBLOCK_SEED);
    struct superblock block;
    if (superblock_choose(&block, bytes_of(copies, sizeof copies)) == 0)
        CHECK(superblock_end(&block) > block.data_offset && block.peer_count <= SUPERBLOCK_PEERS_MAX);
    (void)superblock_is_half_made(bytes_of(copies, sizeof copies));
}

static void fuzz_snapshot(uint8_t *data, size_t size, bool sealed)
{
    uint64_t mark = 1;
    size_t whole = size / 4096 * 4096;
    if (whole == 0)
        return;
    if (sealed)
        seal(data, data + 8, whole - 8, SEED);
    memcpy(&mark, data, 8);
    struct snapshot snapshot;
    if (snapshot_decode(&snapshot, bytes_of(data, whole), SEED, mark) != 0)
        return;
    for (uint64_t i = 0; i < snapshot.segment_count; i++)
        (void)snapshot_segment_at(&snapshot, i);
    for (uint64_t i = 0; i < snapshot.piece_count; i++)
        (void)snapshot_piece_at(&snapshot, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t *data = malloc(size);
    memcpy(data, input + 1, size - 1);
    size--;
    bool sealed = (input[0] >> 2) % 3 != 0;
    switch (input[0] & 3) {
    case 0:
        fuzz_item(data, size, sealed);
        break;
    case 1:
        fuzz_footer(data, size, sealed);
        break;
    case 2:
        fuzz_superblock(data, size, sealed);
        break;
    default:
        fuzz_snapshot(data, size, sealed);
        break;
    }
    free(data);
    return 0;
}
