#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "cache/index.h"

static uint64_t by_place(void *context, uint64_t place)
{
    (void)context;
    return place;
}
static const struct index_age age = {by_place, NULL};

static uint64_t hash_of(uint64_t i)
{
    i += 0x9e3779b97f4a7c15;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
    i = (i ^ i >> 27) * 0x94d049bb133111eb;
    return i ^ i >> 31;
}

static void one_item(void **state)
{
    (void)state;
    struct index *index = index_create(64);
    struct index_entry e = {.place = 4096, .value_len = 123, .use = 2}, back, dropped;
    assert_false(index_find(index, 5, &back));
    assert_int_equal(index_insert(index, 5, &e, age, &dropped), INDEX_ADDED);
    assert_true(index_find(index, 5, &back));
    assert_memory_equal(&e, &back, sizeof e);
    index_touch(index, 5, 8192);
    index_find(index, 5, &back);
    assert_int_equal(back.use, 2);
    for (unsigned i = 0; i < 3; i++)
        index_touch(index, 5, 4096);
    index_find(index, 5, &back);
    assert_int_equal(back.use, 3);
    e = (struct index_entry){.place = (UINT64_C(1) << 44) - 16, .value_len = (1u << 26) - 1};
    assert_int_equal(index_insert(index, 5, &e, age, &dropped), INDEX_REPLACED);
    index_find(index, 5, &back);
    assert_memory_equal(&e, &back, sizeof e);
    assert_int_equal(index_count(index), 1);
    assert_false(index_remove_at(index, 5, 4096));
    assert_true(index_remove_at(index, 5, e.place));
    assert_false(index_remove(index, 5, NULL));
    assert_int_equal(index_count(index), 0);
    index_destroy(index);
}

/* Sized for n items, holding n of them: at least 99 % are found, in 16 bytes each. */
static void full_as_promised(void **state)
{
    (void)state;
    enum { ITEMS = 1000000 };
    uint64_t buckets = index_buckets_for(ITEMS);
    struct index *index = index_create(buckets);
    assert_true(index_bytes(index) <= 16 * ITEMS + 64);
    uint64_t dropped = 0, found = 0;
    for (uint64_t i = 0; i < ITEMS; i++) {
        struct index_entry e = {.place = 16 * (i + 1)}, gone;
        dropped += index_insert(index, hash_of(i), &e, age, &gone) == INDEX_DROPPED;
    }
    for (uint64_t i = 0; i < ITEMS; i++) {
        struct index_entry e;
        found += index_find(index, hash_of(i), &e) && e.place == 16 * (i + 1);
    }
    print_message("dropped %lu, found %lu of %d\n", (unsigned long)dropped, (unsigned long)found, ITEMS);
    assert_true(found >= ITEMS / 100 * 99);
    assert_int_equal(index_count(index), ITEMS - dropped);
    index_destroy(index);
}

/* Far too many items in one pair of buckets: the youngest ten stay. */
static void the_older_goes(void **state)
{
    (void)state;
    struct index *index = index_create(1);
    uint64_t dropped = 0;
    for (uint64_t i = 0; i < 100; i++) {
        struct index_entry e = {.place = 16 * (i + 1)}, gone;
        if (index_insert(index, hash_of(i), &e, age, &gone) == INDEX_DROPPED) {
            dropped++;
            assert_int_equal(gone.place, 16 * dropped);
        }
    }
    assert_int_equal(dropped, 95);
    for (uint64_t i = 0; i < 100; i++) {
        struct index_entry e;
        assert_true(index_find(index, hash_of(i), &e) == (i >= 95));
    }
    index_destroy(index);
}

static void sweep_and_adopt(void **state)
{
    (void)state;
    struct index *index = index_create(1024);
    for (uint64_t i = 0; i < 1000; i++) {
        struct index_entry e = {.place = 16 * (i + 1)}, gone;
        assert_int_equal(index_insert(index, hash_of(i), &e, age, &gone), INDEX_ADDED);
    }
    assert_int_equal(index_sweep(index, 16 * 101, 16 * 201), 100);
    assert_int_equal(index_count(index), 900);
    struct index *copy = index_create(1024);
    memcpy(index_raw(copy), index_raw(index), index_bytes(index));
    index_adopt(copy, 16, 16 * 501);
    assert_int_equal(index_count(copy), 400);
    struct index_entry e;
    assert_true(index_find(copy, hash_of(50), &e));
    assert_false(index_find(copy, hash_of(150), &e));
    assert_false(index_find(copy, hash_of(600), &e));
    index_destroy(index);
    index_destroy(copy);
}

/* Returns NULL, or the index if it showed what was never put: cmocka knows nothing of a thread's asserts. */
static void *churn(void *context)
{
    struct index *index = context;
    bool wrong = false;
    struct random random;
    random_init(&random, (uintptr_t)&random);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t n = random_below(&random, 2000);
        struct index_entry e = {.place = 16 * (n + 1), .value_len = (uint32_t)n}, gone;
        switch (random_below(&random, 4)) {
        case 0:
            index_insert(index, hash_of(n), &e, age, &gone);
            break;
        case 1:
            index_remove(index, hash_of(n), NULL);
            break;
        default:
            if (index_find(index, hash_of(n), &e)) {
                wrong = wrong || e.place != 16 * (n + 1) || e.value_len != n;
                index_touch(index, hash_of(n), e.place);
            }
        }
    }
    return wrong ? index : NULL;
}

static void threads(void **state)
{
    (void)state;
    struct index *index = index_create(300);
    pthread_t thread[3];
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, churn, index), 0);
    for (unsigned i = 0; i < 3; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    uint64_t count = index_count(index);
    assert_int_equal(index_sweep(index, 0, UINT64_MAX), count);
    index_destroy(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_item), cmocka_unit_test(full_as_promised),
        cmocka_unit_test(the_older_goes), cmocka_unit_test(sweep_and_adopt), cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
