/* The memory tier: identity, sequences, pins, eviction, room under pins and after a change of sizes, threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/memory.h"
#include "trace.h"

#define MIB (UINT64_C(1) << 20)

/* Keys and values derive from a number; every word of a value names its item and its place. */
static struct item_key key_of(uint64_t *number)
{
    return (struct item_key){ITEM_CHUNK, bytes_of(number, sizeof(*number))};
}

static uint64_t word_of(uint64_t number, uint64_t at)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + at;
}

static void fill(struct item *item, uint64_t number)
{
    uint64_t words[512];
    for (uint32_t at = 0; at < item_held_len(item);) {
        for (uint64_t i = 0; i < 512; i++)
            words[i] = word_of(number, at / 8 + i);
        uint32_t len = item_held_len(item) - at < sizeof(words) ? item_held_len(item) - at : sizeof(words);
        item_append(item, bytes_of(words, len));
        at += len;
    }
    item_complete(item);
}

static bool intact(const struct item *item, uint64_t number)
{
    struct iovec iov[512];
    int parts = item_vector(item, 0, item_held_len(item), iov, 512);
    uint64_t at = 0;
    for (int i = 0; i < parts; i++)
        for (size_t j = 0; j + 8 <= iov[i].iov_len; j += 8, at++) {
            uint64_t word;
            memcpy(&word, (char *)iov[i].iov_base + j, 8);
            if (word != word_of(number, at))
                return false;
        }
    return parts >= 0 && at == item_held_len(item) / 8;
}

static int take(struct memory *memory, uint64_t number, uint32_t len, struct item **item)
{
    return memory_take(memory, key_of(&number), (struct item_shape){.value_len = len, .held_len = len}, item);
}

static struct item *take_filled(struct memory *memory, uint64_t number, uint32_t len)
{
    struct item *item;
    assert_int_equal(take(memory, number, len, &item), 0);
    fill(item, number);
    return item;
}

static void put(struct memory *memory, uint64_t number, uint32_t len, uint64_t sequence)
{
    struct item *item = take_filled(memory, number, len);
    memory_insert(memory, item, sequence);
    item_unref(&item);
}

static struct memory *create(uint64_t budget_bytes)
{
    struct memory *memory;
    assert_int_equal(memory_create(&memory, &(struct memory_config){.budget_bytes = budget_bytes}), 0);
    return memory;
}

static struct memory_stats stats_of(struct memory *memory)
{
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.used_bytes <= stats.budget_bytes);
    return stats;
}

static void test_create(void **state)
{
    (void)state;
    struct memory *memory;
    assert_int_equal(memory_create(&memory, &(struct memory_config){.budget_bytes = 8 * MIB - 1}), -EINVAL);
    memory = create(8 * MIB);
    struct memory_stats stats = stats_of(memory);
    assert_int_equal(stats.budget_bytes, 8 * MIB);
    assert_true(stats.used_bytes > 0 && stats.used_bytes < MIB / 2);
    memory_destroy(memory);
}

static void test_identity(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    uint64_t number = 7, other = 8;
    assert_null(memory_find(memory, key_of(&number)));
    put(memory, number, 5000, 1);
    struct item *item = memory_find(memory, key_of(&number));
    assert_non_null(item);
    assert_true(intact(item, number));
    assert_int_equal(item_sequence(item), 1);
    assert_true(bytes_equal(item_key(item).bytes, key_of(&number).bytes));
    item_unref(&item);
    assert_null(item);
    assert_null(memory_find(memory, key_of(&other)));
    struct item_key head = key_of(&number);
    head.kind = ITEM_HEAD;
    assert_null(memory_find(memory, head));
    assert_true(memory_has(memory, key_of(&number)));
    assert_false(memory_has(memory, head));
    struct memory_stats stats = stats_of(memory);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 3);
    assert_int_equal(stats.items, 1);
    memory_destroy(memory);
}

static void test_sequences(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    uint64_t number = 1;
    put(memory, number, 4096, 5);
    struct item *old = memory_find(memory, key_of(&number));
    put(memory, number, 8192, 4); /* older: changes nothing */
    struct item *found = memory_find(memory, key_of(&number));
    assert_ptr_equal(found, old);
    item_unref(&found);
    put(memory, number, 8192, 6);
    found = memory_find(memory, key_of(&number));
    assert_int_equal(item_value_len(found), 8192);
    assert_true(intact(old, number)); /* displaced, still readable */
    assert_int_equal(stats_of(memory).items, 1);
    memory_insert(memory, found, 9); /* itself: raises the sequence */
    assert_int_equal(item_sequence(found), 9);
    assert_true(memory_may_hold(memory, 9));
    for (uint64_t sequence = 4; sequence < 9; sequence++) /* what was refused, displaced, raised */
        assert_false(memory_may_hold(memory, sequence));
    item_unref(&found);
    item_unref(&old);
    assert_false(memory_remove(memory, key_of(&number), 9));
    assert_true(memory_remove(memory, key_of(&number), 10));
    assert_false(memory_may_hold(memory, 9));
    assert_false(memory_remove(memory, key_of(&number), UINT64_MAX));
    assert_int_equal(stats_of(memory).pinned_bytes, 0);
    memory_destroy(memory);
}

static void test_keys(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    uint8_t bytes[ITEM_KEY_MAX];
    memset(bytes, 'k', sizeof(bytes));
    for (size_t len = 1; len <= ITEM_KEY_MAX; len += len < 200 ? 1 : 100) {
        struct item_key key = {ITEM_HEAD, bytes_of(bytes, len)};
        struct item *item;
        assert_int_equal(
            memory_take(memory, key, (struct item_shape){.value_len = 100, .held_len = 100}, &item), 0);
        fill(item, len);
        memory_insert(memory, item, 1);
        item_unref(&item);
        item = memory_find(memory, key);
        assert_non_null(item);
        assert_true(intact(item, len));
        assert_true(bytes_equal(item_key(item).bytes, key.bytes));
        item_unref(&item);
    }
    memory_destroy(memory);
}

static void test_pins(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    struct item *items[64];
    unsigned count = 0;
    while (!memory_pins_full(memory)) {
        assert_true(stats_of(memory).pinned_bytes < 2 * MIB);
        items[count] = take_filled(memory, count, 256 << 10);
        count++;
    }
    assert_true(stats_of(memory).pinned_bytes >= 2 * MIB);
    assert_int_equal(count, 8);
    memory_insert(memory, items[0], 1);
    struct item *again = item_ref(items[0]);
    item_unref(&again);
    assert_true(memory_pins_full(memory));
    item_unref(&items[0]);
    assert_false(memory_pins_full(memory));
    uint64_t number = 0;
    items[0] = memory_find(memory, key_of(&number));
    assert_true(memory_pins_full(memory));
    while (count > 0)
        item_unref(&items[--count]);
    assert_int_equal(stats_of(memory).pinned_bytes, 0);
    memory_destroy(memory);
}

static void test_pinned_survives_eviction(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    uint64_t number = 1000000;
    put(memory, number, 300000, 1);
    struct item *held = memory_find(memory, key_of(&number));
    for (uint64_t i = 0; i < 5000; i++)
        put(memory, i, 20000, 1);
    assert_true(stats_of(memory).evictions > 4000);
    assert_true(intact(held, number));
    assert_true(memory_remove(memory, key_of(&number), UINT64_MAX)); /* passed over, so still there */
    for (uint64_t i = 0; i < 5000; i++)
        put(memory, i, 20000, 2);
    assert_true(intact(held, number));
    item_unref(&held);
    memory_destroy(memory);
}

static void test_exhaustion(void **state)
{
    (void)state;
    struct memory *memory = create(8 * MIB);
    struct item *items[512];
    unsigned count = 0;
    while (take(memory, count, 64 << 10, &items[count]) == 0)
        count++;
    assert_true(count >= 100); /* 128 less the overhead */
    assert_int_equal(stats_of(memory).exhausted, 1);
    item_unref(&items[50]);
    assert_int_equal(take(memory, 50, 64 << 10, &items[50]), 0);
    while (count > 0)
        item_unref(&items[--count]);
    put(memory, 1, 4096, 1);
    struct item *large;
    assert_int_equal(take(memory, 2, 9 << 20, &large), E_EXHAUSTED);
    uint64_t number = 1;
    assert_true(memory_has(memory, key_of(&number))); /* nothing was evicted in vain */
    memory_destroy(memory);
}

/* Items of one size, then of another: each time what is asked for is had, and most of the budget serves. */
static void test_sizes_change(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {4096, 262144, 1, 20480, 1048576, 4096, 65536, 2 << 20, 100, 262144};
    struct memory *memory = create(16 * MIB);
    uint64_t number = 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (uint64_t bytes = 0; bytes < 32 * MIB; bytes += sizes[i] < 4096 ? 4096 : sizes[i])
            put(memory, number++, sizes[i], 1);
        uint64_t there = 0;
        for (uint64_t old = 0; old < number; old++)
            there += memory_has(memory, key_of(&(uint64_t){old}));
        struct memory_stats stats = stats_of(memory);
        assert_int_equal(there, stats.items);
        assert_true(stats.used_bytes > 13 * MIB);
        struct item *item = take_filled(memory, number, sizes[i]);
        struct iovec iov[ITEM_VECTOR_MAX];
        if (sizes[i] <= MIB)
            assert_in_range(item_vector(item, 0, sizes[i], iov, ITEM_VECTOR_MAX), 1, 12);
        item_unref(&item);
    }
    memory_destroy(memory);
}

/* The tier filled with 4 KiB items of which every `step`th is pinned; then large items. */
static void pinned_steps(uint64_t budget_bytes, uint64_t step, uint32_t size)
{
    struct memory *memory = create(budget_bytes);
    uint64_t number = 0;
    while (stats_of(memory).evictions == 0)
        put(memory, number++, 4096, 1);
    struct item **held = calloc(number, sizeof(*held));
    uint64_t held_count = 0;
    for (uint64_t i = 0; i < number; i += step)
        if ((held[held_count] = memory_find(memory, key_of(&i))) != NULL)
            held_count++;
    for (int round = 0; round < 20; round++) {
        struct item *item = take_filled(memory, number + 1, size);
        struct iovec iov[ITEM_VECTOR_MAX];
        assert_true(item_vector(item, 0, size, iov, ITEM_VECTOR_MAX) > 0);
        assert_true(intact(item, number + 1));
        memory_insert(memory, item, (uint64_t)round + 1);
        item_unref(&item);
    }
    for (uint64_t i = 0; i < held_count; i++) {
        uint64_t word;
        item_copy(held[i], 0, 8, &word);
        memcpy(&number, item_key(held[i]).bytes.ptr, 8);
        assert_int_equal(word, word_of(number, 0));
        item_unref(&held[i]);
    }
    free(held);
    memory_destroy(memory);
}

static void test_room_among_pins(void **state)
{
    (void)state;
    pinned_steps(8 * MIB, 64, 256 << 10);
    pinned_steps(8 * MIB, 16, 256 << 10);
    pinned_steps(8 * MIB, 4, 256 << 10); /* the quarter past which senders copy */
    pinned_steps(8 * MIB, 3, 256 << 10);
    pinned_steps(8 * MIB, 2, 256 << 10);
    pinned_steps(8 * MIB, 16, 1 << 20);
    pinned_steps(8 * MIB, 6, 1 << 20);
    pinned_steps(24 * MIB, 4, 256 << 10);
    pinned_steps(24 * MIB, 8, 1 << 20);
}

/* Half of the memory pinned at random in items of all sizes. */
static void test_room_among_random_pins(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 42);
    struct memory *memory = create(16 * MIB);
    for (uint64_t round = 0; round < 8; round++) {
        struct item *held[4096];
        unsigned count = 0;
        while (stats_of(memory).pinned_bytes < 7 * MIB) {
            uint64_t number = random_below(&random, 1000000);
            uint32_t size = (uint32_t)random_below(&random, random_below(&random, 4) ? 16384 : 262144);
            put(memory, number, size, round + 1);
            if (random_below(&random, 3) == 0 && (held[count] = memory_find(memory, key_of(&number))) != NULL)
                count++;
        }
        for (unsigned i = 0; i < 10; i++) {
            struct item *item = take_filled(memory, 2000000 + i, 256 << 10);
            struct iovec iov[ITEM_VECTOR_MAX];
            assert_true(item_vector(item, 0, 256 << 10, iov, ITEM_VECTOR_MAX) > 0);
            item_unref(&item);
        }
        while (count > 0)
            item_unref(&held[--count]);
    }
    memory_destroy(memory);
}

/* What is used stays while a scan goes through. */
static void test_scan(void **state)
{
    (void)state;
    struct memory *memory = create(16 * MIB);
    for (uint64_t i = 0; i < 500; i++)
        put(memory, i, 4096, 1);
    for (uint64_t i = 0; i < 500; i++) {
        struct item *item = memory_find(memory, key_of(&i));
        item_unref(&item);
    }
    for (uint64_t i = 0; i < 20000; i++)
        put(memory, 1000 + i, 4096, 1);
    for (uint64_t i = 0; i < 500; i++)
        assert_true(memory_has(memory, key_of(&i)));
    assert_true(stats_of(memory).evictions > 15000);
    uint64_t before = stats_of(memory).ghost_hits; /* a fingerprint of 32 bits may be another one's */
    put(memory, 1000 + 20000 - 4500, 4096, 1);     /* lately evicted */
    assert_int_equal(stats_of(memory).ghost_hits, before + 1);
    memory_destroy(memory);
}

/* Real memory, in extents, does as the policy alone does with the same rounding: room is not made at the cost
 * of order. */
static void test_traces(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool numbered;
        uint64_t budget_bytes;
    } rows[] = {{"cloudphysics.txt.xz", false, 128 * MIB}, {"cloudphysics.txt.xz", false, 640 * MIB},
        {"adaptsize.trace.xz", true, 60 * MIB}, {"adaptsize.trace.xz", true, 130 * MIB}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct trace trace;
        if (!trace_read(&trace, rows[i].name, rows[i].numbered))
            skip();
        struct memory *memory = create(rows[i].budget_bytes);
        uint64_t room_bytes = rows[i].budget_bytes - stats_of(memory).used_bytes;
        for (size_t j = 0; j < trace.count; j++) {
            struct item *item = memory_find(memory, key_of(&trace.requests[j].object));
            if (!item) {
                assert_int_equal(take(memory, trace.requests[j].object, trace.requests[j].bytes, &item), 0);
                item_filled_set(item, trace.requests[j].bytes);
                item_complete(item);
                memory_insert(memory, item, 1);
            }
            item_unref(&item);
        }
        struct memory_stats stats = stats_of(memory);
        uint64_t alone = trace_run_rounded(&trace, room_bytes, S3FIFO_PROMOTE_USES, 4096, 128);
        printf("%s, %lu MiB: misses %lu, policy alone %lu, moves %lu\n", rows[i].name,
            rows[i].budget_bytes / MIB, stats.misses, alone, stats.page_moves);
        assert_true(stats.misses * 100 <= alone * 101);
        assert_true(stats.used_bytes * 100 >= stats.budget_bytes * 99);
        memory_destroy(memory);
        free(trace.requests);
    }
}

struct churn {
    struct memory *memory;
    uint64_t seed, finds, wrong, exhausted;
};

static const uint32_t churn_sizes[] = {1, 100, 4096, 5000, 20480, 65536, 262144, 300000};

static void *churn(void *context)
{
    struct churn *churn = context;
    struct random random;
    random_init(&random, churn->seed);
    struct item *held[16] = {0};
    uint64_t numbers[16] = {0};
    for (unsigned turn = 0; turn < 5000; turn++) {
        uint64_t number = random_below(&random, random_below(&random, 2) ? 200 : 2000);
        uint32_t size = churn_sizes[number % 8];
        unsigned place = (unsigned)random_below(&random, 16);
        switch (random_below(&random, 16)) {
        case 0:
            memory_remove(churn->memory, key_of(&number), UINT64_MAX);
            break;
        case 1:
            memory_pins_full(churn->memory);
            memory_has(churn->memory, key_of(&number));
            break;
        default:
            if (held[place]) {
                churn->wrong += !intact(held[place], numbers[place]);
                item_unref(&held[place]);
            }
            numbers[place] = number;
            held[place] = memory_find(churn->memory, key_of(&number));
            churn->finds += held[place] != NULL;
            if (held[place])
                break;
            if (take(churn->memory, number, size, &held[place]) < 0) {
                churn->exhausted++;
                break;
            }
            fill(held[place], number);
            memory_insert(churn->memory, held[place], turn + 1);
        }
    }
    for (unsigned i = 0; i < 16; i++)
        item_unref(&held[i]);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct memory *memory = create(24 * MIB);
    struct churn churns[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        churns[i] = (struct churn){.memory = memory, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    uint64_t finds = 0;
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churns[i].wrong, 0);
        assert_int_equal(churns[i].exhausted, 0); /* at most 64 x 300 KB are pinned, of 24 MiB */
        finds += churns[i].finds;
    }
    struct memory_stats stats = stats_of(memory);
    assert_true(finds > 500);
    assert_true(stats.evictions > 500);
    assert_int_equal(stats.pinned_bytes, 0);
    memory_destroy(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_pinned_survives_eviction),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_sizes_change),
        cmocka_unit_test(test_room_among_pins),
        cmocka_unit_test(test_room_among_random_pins),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
