/* Items: filling, parts of values, vectors, copies, references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "cache/item_private.h"

static struct memory *memory;

static int setup(void **state)
{
    (void)state;
    return memory_create(&memory, &(struct memory_config){.budget_bytes = 192u << 20});
}

static int teardown(void **state)
{
    (void)state;
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_int_equal(stats.pinned_bytes, 0);
    memory_destroy(memory);
    return 0;
}

static struct item *take(uint32_t value_len, uint32_t value_from, uint32_t held_len)
{
    struct item *item;
    struct item_key key = {ITEM_HEAD, BYTES("a key")};
    assert_int_equal(
        memory_take(memory, key, (struct item_shape){value_len, value_from, held_len}, &item), 0);
    return item;
}

static unsigned char byte_at(uint32_t at)
{
    return (unsigned char)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static void append(struct item *item, uint32_t len)
{
    unsigned char *bytes = malloc(len + 1);
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = byte_at(item_filled(item) + i);
    item_append(item, bytes_of(bytes, len));
    free(bytes);
}

static void test_shape(void **state)
{
    (void)state;
    struct item *item = take(10000, 4096, 5000);
    assert_int_equal(item_value_len(item), 10000);
    assert_int_equal(item_value_from(item), 4096);
    assert_int_equal(item_held_len(item), 5000);
    assert_int_equal(item_filled(item), 0);
    assert_int_equal(item_sequence(item), 0);
    assert_int_equal(item_key(item).kind, ITEM_HEAD);
    assert_true(bytes_equal(item_key(item).bytes, BYTES("a key")));
    item_unref(&item);
    item_unref(&item); /* NULL is fine */
}

static void test_filling(void **state)
{
    (void)state;
    static const uint32_t lens[] = {0, 1, 4095, 4096, 4097, 20480, 65537, 300001, 1u << 20, 5000000};
    for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
        struct item *item = take(lens[i], 0, lens[i]);
        for (uint32_t step = 1; item_filled(item) < lens[i]; step = step * 3 + 1)
            append(item, step < lens[i] - item_filled(item) ? step : lens[i] - item_filled(item));
        assert_false(item_is_complete(item));
        item_complete(item);
        assert_true(item_is_complete(item));
        unsigned char *out = malloc(lens[i] + 1);
        item_copy(item, 0, lens[i], out);
        for (uint32_t at = 0; at < lens[i]; at++)
            if (out[at] != byte_at(at))
                fail();
        struct bytes front = item_front(item);
        assert_true(front.len >= (lens[i] < 4096 ? lens[i] : 4096) && front.len <= lens[i]);
        assert_memory_equal(front.ptr, out, front.len);
        free(out);
        item_unref(&item);
    }
}

/* Any range: the parts hold its bytes, in order. */
static void test_vector(void **state)
{
    (void)state;
    struct item *scatter[40], *item;
    for (unsigned i = 0; i < 40; i++)
        scatter[i] = take(4096 * (i % 7 + 1), 0, 4096 * (i % 7 + 1));
    for (unsigned i = 0; i < 40; i += 2)
        item_unref(&scatter[i]);
    uint32_t len = 700001;
    item = take(len, 0, len);
    append(item, len);
    for (uint32_t from = 0; from <= len; from += 9973)
        for (uint32_t want = 0; want <= len - from; want = want * 5 + 1) {
            struct iovec iov[ITEM_VECTOR_MAX];
            int parts = item_vector(item, from, want, iov, ITEM_VECTOR_MAX);
            assert_true(parts >= (want > 0));
            uint32_t at = from;
            for (int i = 0; i < parts; i++) {
                assert_int_equal(((unsigned char *)iov[i].iov_base)[0], byte_at(at));
                at += (uint32_t)iov[i].iov_len;
                assert_int_equal(((unsigned char *)iov[i].iov_base)[iov[i].iov_len - 1], byte_at(at - 1));
            }
            assert_int_equal(at, from + want);
        }
    for (unsigned i = 1; i < 40; i += 2)
        item_unref(&scatter[i]);
    item_unref(&item);
}

/* An item in three parts, made by hand. */
static void test_vector_bounds(void **state)
{
    (void)state;
    struct item *whole = take(64 * 4096, 0, 64 * 4096);
    append(whole, 64 * 4096);
    uint32_t frame = extent_frame(item_extents(whole)[0]);
    struct item *item = take(10 * 4096 - 5, 0, 10 * 4096 - 5);
    const uint32_t own = item_extents(item)[0];
    uint32_t scattered[3] = {extent_of(frame + 8, 2), extent_of(frame, 3), extent_of(frame + 20, 5)};
    struct item *fake = calloc(1, sizeof(*fake) + sizeof(scattered));
    memcpy(fake, item, sizeof(*fake));
    memcpy(fake->extents, scattered, sizeof(scattered));
    fake->extent_count = 3;
    struct iovec iov[4];
    assert_int_equal(item_vector(fake, 0, 10 * 4096 - 5, iov, 4), 3);
    assert_int_equal(iov[2].iov_len, 5 * 4096 - 5);
    assert_int_equal(item_vector_blocks(fake, 10, iov, 4), 3);
    assert_int_equal(iov[2].iov_len, 5 * 4096);
    assert_int_equal(item_vector(fake, 0, 10 * 4096 - 5, iov, 2), -1);
    assert_int_equal(item_vector(fake, 100, 2 * 4096 - 100, iov, 1), 1);
    assert_int_equal(item_vector(fake, 100, 2 * 4096 - 99, iov, 1), -1);
    int parts;
    assert_int_equal(item_vector_some(fake, 100, 9 * 4096, iov, 2, &parts), 5 * 4096 - 100);
    assert_int_equal(parts, 2);
    assert_ptr_equal(iov[1].iov_base, space_at(&memory->space, frame));
    assert_int_equal(item_vector_some(fake, 5 * 4096 + 1, 10, iov, 2, &parts), 10);
    assert_ptr_equal(iov[0].iov_base, space_at(&memory->space, frame + 20) + 1);
    assert_int_equal(own, item_extents(item)[0]);
    free(fake);
    item_unref(&item);
    item_unref(&whole);
}

/* The largest value, in memory where every other frame is taken: its extents need a frame of their own. */
static void test_largest(void **state)
{
    (void)state;
    struct item *item = take(ITEM_VALUE_MAX, 0, ITEM_VALUE_MAX);
    assert_true(item->extent_count > ITEM_EXTENTS_INLINE);
    for (uint32_t at = 0; at < ITEM_VALUE_MAX; at += 1u << 20)
        append(item, 1u << 20);
    item_complete(item);
    assert_true(bytes_equal(item_key(item).bytes, BYTES("a key")));
    memory_insert(memory, item, 1);
    item_unref(&item);
    item = memory_find(memory, (struct item_key){ITEM_HEAD, BYTES("a key")});
    for (uint32_t at = 0; at < ITEM_VALUE_MAX; at += 1234567) {
        unsigned char byte;
        item_copy(item, at, 1, &byte);
        assert_int_equal(byte, byte_at(at));
    }
    item_unref(&item);
}

/* A reader follows a filler: what item_filled() says is there. */
static void *follow(void *context)
{
    struct item *item = context;
    uint32_t seen = 0;
    while (seen < item_held_len(item)) {
        uint32_t filled = item_filled(item);
        unsigned char bytes[4096];
        while (seen < filled) {
            uint32_t step = filled - seen < sizeof(bytes) ? filled - seen : sizeof(bytes);
            item_copy(item, seen, step, bytes);
            for (uint32_t i = 0; i < step; i++)
                if (bytes[i] != byte_at(seen + i))
                    return context;
            seen += step;
        }
    }
    item_unref(&item);
    return NULL;
}

static void test_follow(void **state)
{
    (void)state;
    struct item *item = take(300000, 0, 300000);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, follow, item_ref(item)), 0);
    while (item_filled(item) < 300000)
        append(item, 300000 - item_filled(item) < 1000 ? 300000 - item_filled(item) : 1000);
    item_complete(item);
    item_unref(&item);
    void *wrong;
    pthread_join(thread, &wrong);
    assert_null(wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_filling),
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_vector_bounds),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_follow),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
