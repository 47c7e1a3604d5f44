#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "cache/segment.h"

#define SEED 77
#define PLACE 8192

/* Encodes an item with a payload of `fill` bytes; returns its whole length. */
static uint32_t put(
    uint8_t *to, uint64_t place, const char *key, uint32_t value_len, uint64_t generation, uint8_t fill)
{
    uint64_t sums[64];
    struct segment_item item = {.kind = ITEM_CHUNK,
        .key = bytes_of_string(key),
        .generation = generation,
        .sequence = 1234,
        .stored_ns = 99,
        .value_len = value_len,
        .header_len = segment_header_len(strlen(key), value_len)};
    uint32_t len = segment_item_len(strlen(key), value_len);
    memset(to, 0, len);
    memset(to + item.header_len, fill, value_len);
    for (uint32_t i = 0; i < segment_checksum_count(value_len); i++) {
        uint32_t left = value_len - i * SEGMENT_CHECKED_BYTES;
        sums[i] = segment_checksum(SEED, to + item.header_len + i * SEGMENT_CHECKED_BYTES,
            left < SEGMENT_CHECKED_BYTES ? left : SEGMENT_CHECKED_BYTES);
    }
    segment_item_encode(&item, sums, SEED, place, to);
    return len;
}

static void layout(void **state)
{
    (void)state;
    static const struct {
        uint32_t key_len, value_len, header_len, item_len;
    } rows[] = {
        {1, 0, 57, 64},
        {32, 4096, 96, 4192},
        {24, 65535, 112, 65648},
        {24, 65536, 4096, 69632},
        {24, 262144, 4096, 266240},
        {24, 262145, 4096, 270336},
        {3073, 1048576, 4096, 1052672},
        {3073, 4194304, 8192, 4202496},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(segment_header_len(rows[i].key_len, rows[i].value_len), rows[i].header_len);
        assert_int_equal(segment_item_len(rows[i].key_len, rows[i].value_len), rows[i].item_len);
    }
    assert_int_equal(segment_table_len(0), 4096);
    assert_int_equal(segment_table_len(126), 4096);
    assert_int_equal(segment_table_len(127), 8192);
}

static void round_trip(void **state)
{
    (void)state;
    static const uint32_t lens[] = {0, 1, 100, 16384, 16385, 65535, 65536, 300000};
    uint8_t *buf = malloc(400000);
    for (unsigned i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        uint32_t len = put(buf, PLACE, "key", lens[i], 5, 0x5a);
        struct segment_item item;
        assert_int_equal(segment_item_decode(&item, bytes_of(buf, len), SEED, PLACE), 0);
        assert_true(bytes_equal(item.key, BYTES("key")));
        assert_int_equal(item.value_len, lens[i]);
        assert_int_equal(item.generation, 5);
        assert_int_equal(item.sequence, 1234);
        assert_int_equal(item.stored_ns, 99);
        assert_int_equal(item.kind, ITEM_CHUNK);
        for (uint32_t b = 0; b < segment_checksum_count(lens[i]); b++) {
            uint32_t left = lens[i] - b * SEGMENT_CHECKED_BYTES;
            size_t n = left < SEGMENT_CHECKED_BYTES ? left : SEGMENT_CHECKED_BYTES;
            uint8_t *block = buf + item.header_len + b * SEGMENT_CHECKED_BYTES;
            assert_true(segment_block_matches(&item, b, SEED, block, n));
            block[n / 2] ^= 4;
            assert_false(segment_block_matches(&item, b, SEED, block, n));
        }
        for (uint32_t have = 0; have < 59 && have < len; have++)
            assert_int_equal(segment_item_decode(&item, bytes_of(buf, have), SEED, PLACE), E_TRUNCATED);
    }
    free(buf);
}

static void every_bit_of_a_header_is_guarded(void **state)
{
    (void)state;
    uint8_t buf[65536 / 2];
    put(buf, PLACE, "some key", 20000, 5, 1);
    struct segment_item item;
    uint32_t meta_len = segment_header_len(8, 20000);
    for (uint32_t bit = 0; bit < 8 * meta_len; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(segment_item_decode(&item, bytes_of(buf, sizeof buf), SEED, PLACE) < 0);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(segment_item_decode(&item, bytes_of(buf, sizeof buf), SEED, PLACE), 0);
    assert_int_equal(segment_item_decode(&item, bytes_of(buf, sizeof buf), SEED + 1, PLACE), E_CORRUPT);
    assert_int_equal(segment_item_decode(&item, bytes_of(buf, sizeof buf), SEED, PLACE + 16), E_CORRUPT);
}

static void table(void **state)
{
    (void)state;
    uint8_t rows[3 * SEGMENT_ROW_BYTES], raw[SEGMENT_FOOTER_BYTES];
    for (unsigned i = 0; i < 3; i++) {
        struct segment_row row = {i + 1, 10 + i, 4096 * i, 70000, 24, ITEM_CHUNK};
        segment_row_encode(&row, rows + i * SEGMENT_ROW_BYTES);
        struct segment_row back = segment_row_decode(rows + i * SEGMENT_ROW_BYTES);
        assert_int_equal(back.hash, row.hash);
        assert_int_equal(back.offset, row.offset);
        assert_int_equal(back.value_len, row.value_len);
        assert_true(segment_row_valid(&back, 1 << 20));
        assert_false(segment_row_valid(&back, 70000));
    }
    uint64_t sum = segment_rows_checksum(SEED, PLACE, bytes_of(rows, sizeof rows));
    for (unsigned bit = 0; bit < 8 * sizeof rows; bit++) {
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(segment_rows_checksum(SEED, PLACE, bytes_of(rows, sizeof rows)) != sum);
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    struct segment_footer footer = {3, 500000, 17, 12, sum}, back;
    segment_footer_encode(&footer, SEED, PLACE, raw);
    assert_int_equal(segment_footer_decode(&back, bytes_of(raw, sizeof raw), SEED, PLACE, 1 << 20), 0);
    assert_memory_equal(&footer, &back, sizeof back);
    assert_int_equal(segment_footer_decode(&back, bytes_of(raw, sizeof raw), SEED, PLACE, 500000), E_CORRUPT);
    for (unsigned bit = 0; bit < 8 * sizeof raw; bit++) {
        raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(segment_footer_decode(&back, bytes_of(raw, sizeof raw), SEED, PLACE, 1 << 20) < 0);
        raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Small, small, padding, large, small; then what the last lap left behind. */
static void scan_goes_from_header_to_header(void **state)
{
    (void)state;
    uint8_t *buf = calloc(1, 1 << 20);
    uint32_t at = put(buf, PLACE, "a", 100, 5, 1);
    at += put(buf + at, PLACE + at, "b", 1000, 5, 2);
    at = segment_blocks_up(at);
    at += put(buf + at, PLACE + at, "c", 100000, 5, 3);
    at += put(buf + at, PLACE + at, "d", 10, 5, 4);
    memset(buf + at, 0xff, 16);
    const char *expect = "abcd";
    uint32_t offset = 0;
    unsigned found = 0;
    for (;;) {
        struct segment_item item;
        int result =
            segment_scan(&item, bytes_of(buf + offset, (1 << 20) - offset), offset, SEED, PLACE, &offset);
        if (result < 0) {
            assert_int_equal(result, E_CORRUPT);
            break;
        }
        if (result == 1)
            assert_int_equal(item.key.ptr[0], expect[found++]);
    }
    assert_int_equal(found, 4);
    assert_int_equal(offset, at);
    free(buf);
}

/* A payload full of well-formed headers, for the very places where they lie, is stepped over. */
static void bodies_are_never_items(void **state)
{
    (void)state;
    uint8_t *buf = calloc(1, 1 << 20);
    uint32_t len = put(buf, PLACE, "outer", 200000, 5, 0);
    put(buf + 4096, PLACE + 4096, "forged", 10, 5, 0);
    struct segment_item item;
    uint32_t next;
    assert_int_equal(segment_scan(&item, bytes_of(buf, 1 << 20), 0, SEED, PLACE, &next), 1);
    assert_int_equal(next, len);
    free(buf);
}

/* Any one bit of header or padding may be wrong, two are the end. */
static void one_bit_does_not_end_a_scan(void **state)
{
    (void)state;
    uint8_t *buf = calloc(1, 1 << 17), *whole = calloc(1, 1 << 17);
    static const uint32_t value_lens[] = {0, 100, 40000, 70000};
    for (unsigned i = 0; i < sizeof value_lens / sizeof value_lens[0]; i++) {
        uint32_t len = put(whole, PLACE, "mended", value_lens[i], 5, 7);
        uint32_t meta = SEGMENT_HEADER_FIXED + 6 + 8 * segment_checksum_count(value_lens[i]);
        memcpy(buf, whole, 1 << 17);
        for (unsigned bit = 0; bit < 8 * meta; bit++) {
            buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(segment_item_mend(buf, len, SEED, PLACE));
            assert_memory_equal(buf, whole, len);
        }
        buf[9] ^= 1;
        buf[meta - 1] ^= 1;
        assert_false(segment_item_mend(buf, len, SEED, PLACE));
        assert_false(segment_item_mend(buf, 11, SEED, PLACE));
    }
    struct segment_item item;
    uint32_t next;
    memset(buf, 0, 4096);
    buf[4000] = 8;
    assert_int_equal(segment_scan(&item, bytes_of(buf, 4080), 16, SEED, PLACE, &next), 0);
    buf[3000] = 1;
    assert_int_equal(segment_scan(&item, bytes_of(buf, 4080), 16, SEED, PLACE, &next), E_CORRUPT);
    free(buf);
    free(whole);
}

static void noise_is_survived(void **state)
{
    (void)state;
    uint8_t *buf = malloc(70000);
    struct random random;
    random_init(&random, 1);
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t len = put(buf, PLACE, "noise", (uint32_t)random_below(&random, 1000), 5, 7);
        for (unsigned i = 0; i < 3; i++)
            buf[random_below(&random, segment_header_len(5, 0))] ^= (uint8_t)random_below(&random, 256);
        struct segment_item item;
        int result = segment_item_decode(&item, bytes_of(buf, random_below(&random, len + 1)), SEED, PLACE);
        assert_true(result <= 0);
    }
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layout), cmocka_unit_test(round_trip),
        cmocka_unit_test(every_bit_of_a_header_is_guarded), cmocka_unit_test(table),
        cmocka_unit_test(scan_goes_from_header_to_header), cmocka_unit_test(bodies_are_never_items),
        cmocka_unit_test(one_bit_does_not_end_a_scan), cmocka_unit_test(noise_is_survived)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
