/* The arena against a plain model: no frame is given twice, counts and classes hold, pieces are within
 * bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "cache/extent.h"
#include "cache/poison.h"

static void test_mask_runs(void **state)
{
    (void)state;
    assert_int_equal(mask_runs(0xff, 1), 0xff);
    assert_int_equal(mask_runs(0xff, 3), 0x3f);
    assert_int_equal(mask_runs(0xff, 8), 1);
    assert_int_equal(mask_runs(0xff, 9), 0);
    assert_int_equal(mask_runs(~UINT64_C(0), 64), 1);
    assert_int_equal(mask_runs(~UINT64_C(0) << 1, 64), 0);
    assert_int_equal(mask_runs(UINT64_C(0xf) << 60, 4), UINT64_C(1) << 60);
}

static void test_packing(void **state)
{
    (void)state;
    for (uint32_t frames = 1; frames <= 64; frames++) {
        uint32_t e = extent_of((1u << 26) - 64, frames);
        assert_int_equal(extent_frame(e), (1u << 26) - 64);
        assert_int_equal(extent_frames(e), frames);
    }
}

/* Sizes on an empty arena are one part; smaller room is used before larger is broken. */
static void test_best_fit(void **state)
{
    (void)state;
    struct space space;
    assert_int_equal(space_init(&space, 4), 0);
    assert_int_equal((uintptr_t)space.base % PAGE_BYTES, 0);
    uint32_t a[16], b[16], c[16];
    assert_int_equal(space_take(&space, 5, a, 12), 1); /* 20 KiB */
    assert_int_equal(extent_frames(a[0]), 5);
    assert_int_equal(space_take(&space, 1, b, 12), 1);
    assert_int_equal(extent_frame(b[0]) / BLOCK_FRAMES, extent_frame(a[0]) / BLOCK_FRAMES);
    assert_int_equal(space_take(&space, 128, c, 12), 2); /* two whole blocks */
    assert_int_equal(space.free_frames, 4 * 64 - 5 - 1 - 128);
    assert_int_equal(space_take(&space, 123, a + 1, 12), -1);
    assert_int_equal(space.free_frames, 4 * 64 - 5 - 1 - 128); /* nothing was taken */
    assert_true(space_take(&space, 122, a + 1, 12) > 0);
    assert_int_equal(space.free_frames, 0);
    space_deinit(&space);
}

static void test_parts_bound(void **state)
{
    (void)state;
    struct space space;
    assert_int_equal(space_init(&space, 1), 0);
    uint32_t frames[64], taken[64];
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(space_take(&space, 1, &frames[i], 1), 1);
    for (unsigned i = 0; i < 64; i += 2)
        space_give(&space, frames[i]);
    assert_int_equal(space.free_frames, 32);
    assert_int_equal(space_take(&space, 13, taken, 12), -1);
    assert_int_equal(space.free_frames, 32);
    assert_int_equal(space_take(&space, 12, taken, 12), 12);
    space_deinit(&space);
}

static void test_poison(void **state)
{
    (void)state;
#ifdef POISONS
    struct space space;
    assert_int_equal(space_init(&space, 1), 0);
    uint32_t e;
    assert_int_equal(space_take(&space, 2, &e, 1), 1);
    assert_null(__asan_region_is_poisoned(space_at(&space, extent_frame(e)), 2 * FRAME_BYTES));
    assert_true(__asan_address_is_poisoned(space_at(&space, extent_frame(e)) + 2 * FRAME_BYTES));
    space_give(&space, e);
    assert_true(__asan_address_is_poisoned(space_at(&space, extent_frame(e))));
    space_deinit(&space);
#else
    skip();
#endif
}

struct piece {
    uint32_t extents[40];
    int count;
};

static void test_model(void **state)
{
    (void)state;
    enum { BLOCKS = 16, PIECES = 200 };
    struct space space;
    assert_int_equal(space_init(&space, BLOCKS), 0);
    bool used[BLOCKS * BLOCK_FRAMES] = {false};
    struct piece pieces[PIECES] = {0};
    struct random random;
    random_init(&random, 1);
    uint64_t used_count = 0;
    for (unsigned turn = 0; turn < 50000; turn++) {
        struct piece *piece = &pieces[random_below(&random, PIECES)];
        if (piece->count > 0) {
            for (; piece->count > 0; piece->count--) {
                uint32_t e = piece->extents[piece->count - 1];
                for (uint32_t i = 0; i < extent_frames(e); i++)
                    used[extent_frame(e) + i] = false;
                used_count -= extent_frames(e);
                space_give(&space, e);
            }
        } else {
            uint64_t frames = 1 + random_below(&random, random_below(&random, 3) ? 8 : 70), got = 0;
            piece->count = space_take(&space, frames, piece->extents, 12);
            for (int i = 0; i < piece->count; i++) {
                uint32_t e = piece->extents[i];
                got += extent_frames(e);
                for (uint32_t j = 0; j < extent_frames(e); j++) {
                    assert_false(used[extent_frame(e) + j]);
                    used[extent_frame(e) + j] = true;
                }
                memset(space_at(&space, extent_frame(e)), (int)turn, (size_t)extent_frames(e) * FRAME_BYTES);
            }
            assert_true(piece->count < 0 || got == frames);
            used_count += got;
        }
        assert_int_equal(space.free_frames + space.free_slot_frames, BLOCKS * BLOCK_FRAMES - used_count);
    }
    space_deinit(&space);
}

static void test_slot_blocks(void **state)
{
    (void)state;
    struct space space;
    assert_int_equal(space_init(&space, 2), 0);
    uint32_t frames[64], value;
    for (unsigned i = 0; i < 64; i++)
        assert_true(space_take_slot_frame(&space, &frames[i]));
    assert_int_equal(space.free_frames, 64); /* one block is enough */
    assert_int_equal(space_take(&space, 1, &value, 1), 1);
    uint32_t none;
    assert_false(space_take_slot_frame(&space, &none)); /* no block is wholly free */
    space_give(&space, extent_of(frames[3], 1));
    assert_int_equal(space.free_frames, 63); /* values don't go among slots */
    assert_int_equal(space.free_slot_frames, 1);
    assert_true(space_take_slot_frame(&space, &none));
    assert_int_equal(none, frames[3]);
    for (unsigned i = 0; i < 64; i++)
        space_give(&space, extent_of(frames[i], 1));
    assert_int_equal(space.free_frames, 127); /* an empty one serves values again */
    assert_int_equal(space.free_slot_frames, 0);
    space_deinit(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask_runs),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_best_fit),
        cmocka_unit_test(test_parts_bound),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_slot_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
