#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cache/snapshot.h"

enum { SEGMENTS = 40, BUCKETS = 40000 };

static uint64_t encode(uint8_t *to)
{
    struct snapshot_segment segments[SEGMENTS];
    uint64_t pieces[3] = {7, 8, 9};
    for (unsigned i = 0; i < SEGMENTS; i++)
        segments[i] = (struct snapshot_segment){100 + i, 4096 * i, i & 1};
    struct snapshot s = {.epoch = 3,
        .segment_count = SEGMENTS,
        .index_buckets = BUCKETS,
        .next_generation = 140,
        .piece_count = 3,
        .purge_bytes = 77,
        .purge_checksum = 78};
    assert_int_equal(snapshot_pieces(BUCKETS), 3);
    return snapshot_encode(&s, segments, pieces, 11, to);
}

static void round_trip(void **state)
{
    (void)state;
    uint8_t buf[4096];
    assert_int_equal(snapshot_state_bytes(SEGMENTS, BUCKETS), sizeof buf);
    uint64_t mark = encode(buf);
    struct snapshot s;
    assert_int_equal(snapshot_decode(&s, bytes_of(buf, sizeof buf), 11, mark), 0);
    assert_int_equal(s.epoch, 3);
    assert_int_equal(s.next_generation, 140);
    assert_int_equal(s.purge_bytes, 77);
    assert_int_equal(s.purge_checksum, 78);
    assert_int_equal(snapshot_segment_at(&s, 39).generation, 139);
    assert_int_equal(snapshot_segment_at(&s, 39).data_end, 4096 * 39);
    assert_int_equal(snapshot_segment_at(&s, 39).flags, 1);
    assert_int_equal(snapshot_piece_at(&s, 2), 9);
    assert_int_equal(snapshot_decode(&s, bytes_of(buf, sizeof buf), 12, mark), E_CORRUPT);
    assert_int_equal(snapshot_decode(&s, bytes_of(buf, sizeof buf), 11, mark + 1), E_CORRUPT);
    assert_int_equal(snapshot_decode(&s, bytes_of(buf, 60), 11, mark), E_CORRUPT);
}

static void every_bit_is_guarded(void **state)
{
    (void)state;
    uint8_t buf[4096];
    uint64_t mark = encode(buf);
    struct snapshot s;
    for (unsigned bit = 0; bit < 8 * sizeof buf; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(snapshot_decode(&s, bytes_of(buf, sizeof buf), 11, mark), E_CORRUPT);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(every_bit_is_guarded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
