#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/superblock.h"

static struct superblock sample(void)
{
    struct superblock block;
    assert_int_equal(superblock_plan(&block, UINT64_C(10) << 30, 65536), 0);
    block.counter = 7;
    block.hash_seed = 0x1122334455667788;
    block.epoch = 5;
    block.dead_below = 9;
    block.generation_bound = 300;
    block.snapshot_mark = 42;
    block.attach = 43;
    block.whole = 44;
    block.peer_count = 3;
    memset(block.id.bytes, 0xa5, 16);
    for (unsigned i = 0; i < 3; i++)
        memset(block.peers[i].bytes, (int)i + 1, 16);
    return block;
}

static void geometry(void **state)
{
    (void)state;
    static const struct {
        uint64_t size, segment_bytes;
        int result;
    } rows[] = {
        {0, 0, -EINVAL}, {UINT64_C(32) << 20, 0, -EINVAL}, /* 32 segments and nothing beside them */
        {UINT64_C(34) << 20, UINT64_C(1) << 20, 0}, {UINT64_C(70) << 20, UINT64_C(2) << 20, 0},
        {UINT64_C(1) << 30, UINT64_C(16) << 20, 0}, {UINT64_C(10) << 30, UINT64_C(64) << 20, 0},
        {UINT64_C(1) << 40, UINT64_C(64) << 20, 0},
        {UINT64_C(1) << 45, 0, -EINVAL}, /* more than places can name */
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct superblock block;
        assert_int_equal(superblock_plan(&block, rows[i].size, 65536), rows[i].result);
        if (rows[i].result != 0)
            continue;
        assert_int_equal(block.segment_bytes, rows[i].segment_bytes);
        assert_true(block.segment_count >= 32);
        assert_true(superblock_end(&block) <= rows[i].size);
        assert_true(superblock_end(&block) + block.segment_bytes > rows[i].size);
        assert_true(block.data_offset >= block.snapshot_offset + block.snapshot_bytes);
    }
}

static void round_trip(void **state)
{
    (void)state;
    struct superblock block = sample(), back;
    uint8_t copy[SUPERBLOCK_BYTES];
    superblock_encode(&block, copy);
    assert_int_equal(superblock_decode(&back, bytes_of(copy, sizeof copy)), 0);
    assert_memory_equal(&block, &back, sizeof block);
    assert_int_equal(superblock_decode(&back, bytes_of(copy, 4095)), E_FOREIGN);
}

static void every_bit_is_guarded(void **state)
{
    (void)state;
    struct superblock block = sample(), back;
    uint8_t copy[SUPERBLOCK_BYTES];
    superblock_encode(&block, copy);
    for (unsigned bit = 0; bit < 8 * SUPERBLOCK_BYTES; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(superblock_decode(&back, bytes_of(copy, sizeof copy)) < 0);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(superblock_decode(&back, bytes_of(copy, sizeof copy)), 0);
}

static void the_newest_copy_counts(void **state)
{
    (void)state;
    struct superblock block = sample(), back;
    uint8_t copies[2 * SUPERBLOCK_BYTES];
    superblock_encode(&block, copies);
    block.counter++;
    block.dead_below++;
    superblock_encode(&block, copies + SUPERBLOCK_BYTES);
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), 0);
    assert_int_equal(back.counter, 8);
    copies[SUPERBLOCK_BYTES + 100] ^= 1;
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), 0);
    assert_int_equal(back.counter, 7);
    copies[100] ^= 1;
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), E_CORRUPT);
    memset(copies, 0, sizeof copies);
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), E_FOREIGN);
    assert_int_equal(superblock_choose(&back, bytes_of(copies, 100)), E_FOREIGN);
}

/* A newer version counts when the copy proves it, or when nothing else is left; a flipped bit is no proof. */
static void a_newer_format_is_told_apart(void **state)
{
    (void)state;
    struct superblock block = sample(), back;
    uint8_t copies[2 * SUPERBLOCK_BYTES];
    superblock_encode(&block, copies);
    superblock_encode(&block, copies + SUPERBLOCK_BYTES);
    copies[8] = 2;
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), 0);
    copies[SUPERBLOCK_BYTES + 100] ^= 1;
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), E_UNSUPPORTED);
    superblock_encode(&block, copies + SUPERBLOCK_BYTES);
    uint64_t sum = XXH3_64bits_withSeed(copies, SUPERBLOCK_BYTES - 8, UINT64_C(0x9a1f0c6e5b3d7284));
    memcpy(copies + SUPERBLOCK_BYTES - 8, &sum, 8);
    assert_int_equal(superblock_choose(&back, bytes_of(copies, sizeof copies)), E_UNSUPPORTED);
}

/* What a loss of power leaves of the very first writes, and what only looks like it. */
static void half_made(void **state)
{
    (void)state;
    struct superblock block = sample();
    uint8_t whole[SUPERBLOCK_BYTES], copies[2 * SUPERBLOCK_BYTES];
    superblock_encode(&block, whole);
    for (unsigned torn = 0; torn < 16; torn++) { /* first and last sector of each copy */
        memset(copies, 0, sizeof copies);
        for (unsigned i = 0; i < 4; i++) {
            unsigned in_copy = i % 2 == 0 ? 0 : SUPERBLOCK_BYTES - 512;
            if (torn >> i & 1)
                memcpy(copies + i / 2 * SUPERBLOCK_BYTES + in_copy, whole + in_copy, 512);
        }
        assert_true(superblock_is_half_made(bytes_of(copies, sizeof copies)));
        assert_false(superblock_is_half_made(bytes_of(copies, sizeof copies - 1)));
        static const unsigned foreign[] = {0, 7, 512, 1024, 4087, 4096, 4608, 8000};
        for (unsigned i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
            copies[foreign[i]] ^= 0x11;
            assert_false(superblock_is_half_made(bytes_of(copies, sizeof copies)));
            copies[foreign[i]] ^= 0x11;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(geometry), cmocka_unit_test(round_trip),
        cmocka_unit_test(every_bit_is_guarded), cmocka_unit_test(the_newest_copy_counts),
        cmocka_unit_test(a_newer_format_is_told_apart), cmocka_unit_test(half_made)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
