/*
 * The policy on published traces, against published miss counts and against ours. Golden sizes and counts are
 * by object bytes, without overhead; skipped with a line where the vectors are absent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/s3fifo.h"
#include "trace.h"

static uint64_t run(const struct trace *trace, uint64_t capacity_bytes, unsigned promote_uses)
{
    return trace_run_rounded(trace, capacity_bytes, promote_uses, 1, 0);
}

/* The same cache with least-recently-used order, to compare with. */
static uint64_t run_lru(const struct trace *trace, uint64_t capacity_bytes)
{
    struct s3fifo_node *nodes = calloc(trace->object_count, sizeof(*nodes));
    assert_non_null(nodes);
    struct list_node order;
    list_init(&order);
    uint64_t misses = 0, bytes = 0;
    for (size_t i = 0; i < trace->count; i++) {
        struct s3fifo_node *node = &nodes[trace->requests[i].object];
        if (list_linked(&node->link)) {
            list_remove(&node->link);
        } else {
            misses++;
            node->bytes = trace->requests[i].bytes;
            bytes += node->bytes;
            while (bytes > capacity_bytes)
                bytes -= CONTAINER_OF(list_pop_front(&order), struct s3fifo_node, link)->bytes;
        }
        list_push_back(&order, &node->link);
    }
    free(nodes);
    return misses;
}

/* Misses at 128, 256, ... 1,024 MiB. */
static const uint64_t published_lru[8] = {93374, 89783, 83572, 81722, 72494, 72104, 71972, 71704};
static const uint64_t published_s3fifo[8] = {89307, 82387, 77041, 76791, 71300, 70343, 70455, 70355};
static const uint64_t first_use[8] = {88746, 80630, 76450, 71638, 67380, 65680, 66125, 64417};

static void test_published(void **state)
{
    (void)state;
    struct trace trace;
    if (!trace_read(&trace, "cloudphysics.txt.xz", false))
        skip();
    for (unsigned i = 0; i < 8; i++) {
        uint64_t capacity_bytes = (uint64_t)(i + 1) << 27;
        assert_int_equal(run_lru(&trace, capacity_bytes), published_lru[i]); /* trace and loop are right */
        assert_int_equal(run(&trace, capacity_bytes, 2), published_s3fifo[i]);
        assert_int_equal(run(&trace, capacity_bytes, S3FIFO_PROMOTE_USES), first_use[i]);
        assert_true(first_use[i] <= published_s3fifo[i]);
    }
    free(trace.requests);
}

/* At 10, 20 and 50 % of the bytes of all objects. */
static void test_adaptsize(void **state)
{
    (void)state;
    static const unsigned percents[] = {10, 20, 50};
    struct trace trace;
    if (!trace_read(&trace, "adaptsize.trace.xz", true))
        skip();
    for (unsigned i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
        uint64_t capacity_bytes = trace.unique_bytes * percents[i] / 100;
        uint64_t lru = run_lru(&trace, capacity_bytes);
        uint64_t ours = run(&trace, capacity_bytes, S3FIFO_PROMOTE_USES);
        printf("adaptsize at %u %%: misses %lu, second use %lu, LRU %lu\n", percents[i], ours,
            run(&trace, capacity_bytes, 2), lru);
        assert_true(ours <= run(&trace, capacity_bytes, 2));
        assert_true(ours * 1000 <= lru * 1005);
    }
    free(trace.requests);
}

/* Rules, one by one, on nodes of 10 bytes in a cache of 100. */
struct small_world {
    struct s3fifo fifo;
    struct s3fifo_node nodes[64];
    uint64_t ghosts[64];
};

static struct small_world *world(void)
{
    struct small_world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_true(s3fifo_ghost_memory(24) <= sizeof(w->ghosts));
    s3fifo_init(&w->fifo, 100, w->ghosts, 24);
    return w;
}

static struct s3fifo_node *enter(struct small_world *w, unsigned i)
{
    w->nodes[i].hash = mix(i + 1);
    w->nodes[i].bytes = 10;
    s3fifo_insert(&w->fifo, &w->nodes[i], s3fifo_recall(&w->fifo, w->nodes[i].hash));
    return &w->nodes[i];
}

static void test_rules(void **state)
{
    (void)state;
    struct small_world *w = world();
    assert_null(s3fifo_evict(&w->fifo, NULL));
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(enter(w, i)->queue, S3FIFO_SMALL);
    s3fifo_use(&w->nodes[0]);
    assert_ptr_equal(s3fifo_evict(&w->fifo, NULL), &w->nodes[1]); /* 0 was used and moves on */
    assert_int_equal(w->nodes[0].queue, S3FIFO_MAIN);
    assert_int_equal(w->nodes[1].queue, S3FIFO_NONE);
    assert_true(s3fifo_recall(&w->fifo, w->nodes[1].hash));
    assert_false(s3fifo_recall(&w->fifo, w->nodes[1].hash)); /* once */
    assert_ptr_equal(s3fifo_evict(&w->fifo, NULL), &w->nodes[2]);
    assert_int_equal(enter(w, 2)->queue, S3FIFO_MAIN); /* came back while remembered */
    assert_int_equal(w->fifo.small.bytes, 70);
    assert_int_equal(w->fifo.main.bytes, 20);
    s3fifo_remove(&w->fifo, &w->nodes[0]);
    assert_false(s3fifo_recall(&w->fifo, w->nodes[0].hash));
    s3fifo_drop(&w->fifo, &w->nodes[2]);
    assert_true(s3fifo_recall(&w->fifo, w->nodes[2].hash));
    free(w);
}

static void test_main_laps(void **state)
{
    (void)state;
    struct small_world *w = world();
    for (unsigned i = 0; i < 10; i++) {
        w->nodes[i] = (struct s3fifo_node){.hash = mix(i + 1), .bytes = 10};
        s3fifo_insert(&w->fifo, &w->nodes[i], true);
    }
    for (unsigned use = 0; use < 9; use++)
        s3fifo_use(&w->nodes[0]);
    assert_int_equal(w->nodes[0].uses, S3FIFO_USES_MAX);
    for (unsigned lap = 0; lap < 9; lap++)
        assert_ptr_equal(s3fifo_evict(&w->fifo, NULL), &w->nodes[lap + 1]);
    assert_ptr_equal(s3fifo_evict(&w->fifo, NULL), &w->nodes[0]);
    assert_false(s3fifo_recall(&w->fifo, w->nodes[0].hash)); /* main's are not remembered */
    free(w);
}

static const struct s3fifo_node *busy_first, *busy_last;

static bool busy(struct s3fifo_node *node)
{
    return node >= busy_first && node <= busy_last;
}

static void test_busy(void **state)
{
    (void)state;
    struct small_world *w = world();
    for (unsigned i = 0; i < 10; i++)
        enter(w, i);
    busy_first = &w->nodes[0];
    busy_last = &w->nodes[7];
    assert_ptr_equal(s3fifo_evict(&w->fifo, busy), &w->nodes[8]);
    busy_last = &w->nodes[9];
    assert_null(s3fifo_evict(&w->fifo, busy));
    assert_int_equal(w->fifo.small.count, 9);
    busy_first = &w->nodes[1];
    assert_ptr_equal(s3fifo_evict(&w->fifo, busy), &w->nodes[0]);
    free(w);
}

/* Remembered are 90 bytes' worth, the latest. */
static void test_ghosts_bounded(void **state)
{
    (void)state;
    struct small_world *w = world();
    for (unsigned i = 0; i < 40; i++) {
        enter(w, i);
        assert_ptr_equal(s3fifo_evict(&w->fifo, NULL), &w->nodes[i]);
        assert_true(w->fifo.ghost_bytes <= 90);
    }
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(s3fifo_recall(&w->fifo, w->nodes[i].hash), i > 30);
    assert_int_equal(w->fifo.ghost_bytes, 0);
    for (unsigned i = 0; i < 60; i++) { /* more than the ring holds, all of them recalled at once */
        w->nodes[i % 40].bytes = 1;
        s3fifo_insert(&w->fifo, &w->nodes[i % 40], false);
        s3fifo_evict(&w->fifo, NULL);
        assert_true(w->fifo.ghost_count <= 24);
    }
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_main_laps),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_ghosts_bounded),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_adaptsize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
