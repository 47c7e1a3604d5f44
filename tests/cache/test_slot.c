/* Slots: sizes, ids, no overlap, slabs that go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/random.h"
#include "cache/slot.h"

static void *take(struct slots *slots, uint32_t bytes)
{
    void *slot = slots_take(slots, bytes);
    if (slot)
        return slot;
    uint32_t frame;
    assert_true(space_take_slot_frame(slots->space, &frame));
    slots_add(slots, bytes, frame);
    return slots_take(slots, bytes);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        uint32_t asked, had;
    } rows[] = {
        {1, 128}, {128, 128}, {129, 192}, {257, 384}, {900, 960}, {961, 1984}, {1985, 4032}, {4032, 4032}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(slot_bytes(rows[i].asked), rows[i].had);
}

static void test_life(void **state)
{
    (void)state;
    struct space space;
    struct slots slots;
    assert_int_equal(space_init(&space, 2), 0);
    slots_init(&slots, &space);
    assert_null(slots_take(&slots, 100));
    void *taken[31];
    for (unsigned i = 0; i < 31; i++) {
        taken[i] = take(&slots, 100);
        assert_int_equal((uintptr_t)taken[i] % SLOT_UNIT, 0);
        assert_int_not_equal(slot_id(&space, taken[i]), 0);
        assert_ptr_equal(slot_at(space.base, slot_id(&space, taken[i])), taken[i]);
        memset(taken[i], (int)i, 128);
    }
    assert_null(slots_take(&slots, 100)); /* a slab holds 31 */
    for (unsigned i = 0; i < 31; i++)
        for (unsigned j = 0; j < 128; j++)
            assert_int_equal(((unsigned char *)taken[i])[j], i);
    unsigned at = 0, seen = 0;
    while (slab_next(&space, 0, &at))
        seen++;
    assert_int_equal(seen, 31);
    for (unsigned i = 0; i < 31; i++)
        slots_give(&slots, taken[i]);
    assert_int_equal(space.free_frames, 128);
    assert_null(slots_take(&slots, 100));
    space_deinit(&space);
}

static void test_churn(void **state)
{
    (void)state;
    struct space space;
    struct slots slots;
    assert_int_equal(space_init(&space, 16), 0);
    slots_init(&slots, &space);
    struct random random;
    random_init(&random, 3);
    struct {
        unsigned char *slot;
        uint32_t bytes;
    } taken[500] = {0};
    for (unsigned turn = 0; turn < 100000; turn++) {
        unsigned i = (unsigned)random_below(&random, 500);
        if (taken[i].slot) {
            for (uint32_t j = 0; j < taken[i].bytes; j += 97)
                assert_int_equal(taken[i].slot[j], (unsigned char)i);
            slots_give(&slots, taken[i].slot);
            taken[i].slot = NULL;
        } else {
            taken[i].bytes =
                1 + (uint32_t)random_below(&random, random_below(&random, 10) ? 300 : SLOT_BYTES_MAX);
            taken[i].slot = take(&slots, taken[i].bytes);
            memset(taken[i].slot, (int)i, taken[i].bytes);
        }
    }
    for (unsigned i = 0; i < 500; i++)
        if (taken[i].slot)
            slots_give(&slots, taken[i].slot);
    assert_int_equal(space.free_frames, 16 * 64);
    space_deinit(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_churn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
