/* What reclaiming costs and keeps, on the fake: how full the device is, and what is carried of what was read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "cache/tier.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)
enum { LEN = 60000 };

static void begin(struct stage *stage)
{
    stage_init(stage, 40 * MIB);
    stage->config.expected_item_bytes = LEN / 8; /* so many buckets that no two of a hash are ever full */
    assert_int_equal(stage_open(stage), 0);
}

static void end(struct stage *stage)
{
    struct disk_stats stats = stage_stats(stage);
    assert_int_equal(stats.corrupt, 0);
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(io_destroy(stage->io), 0);
    unlink(stage->config.devices[0].path);
}

static void put(struct stage *stage, uint64_t key)
{
    while (stage_put(stage, key, 1, LEN) == E_EXHAUSTED) /* the write buffer is full */
        stage_turn(stage);
}

static double share_filled(struct stage *stage)
{
    struct disk_stats stats = stage_stats(stage);
    return (double)(stats.items * LEN) / (double)(stats.segments * stats.segment_bytes);
}

/* Puts that reclaiming keeps up with: little more than the open segment of 37 holds nothing. */
static void slow_puts_use_all_of_the_device(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    uint64_t key = 0;
    while (stage_stats(&stage).reclaimed_segments < 20) {
        put(&stage, key++);
        stage_settle(&stage);
    }
    double least = 1;
    while (stage_stats(&stage).reclaimed_segments < 80) {
        put(&stage, key++);
        stage_settle(&stage);
        double share = share_filled(&stage);
        least = share < least ? share : least;
    }
    print_message("at least %.1f %% of the device held items\n", 100 * least);
    assert_true(least > 0.9);
    end(&stage);
}

/* Puts as fast as they are taken: segments are kept free, nothing is lost, and later it is all used again. */
static void a_burst_passes(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    uint64_t key = 0;
    while (key < 4000)
        put(&stage, key++);
    stage_settle(&stage);
    uint64_t reclaimed = stage_stats(&stage).reclaimed_segments;
    while (stage_stats(&stage).reclaimed_segments < reclaimed + 60) {
        put(&stage, key++);
        stage_settle(&stage);
    }
    assert_true(share_filled(&stage) > 0.9);
    for (uint64_t back = 1; back <= 500; back++)
        assert_int_equal(stage_get(&stage, key - back, 1, LEN), 0);
    assert_int_equal(stage_stats(&stage).dropped_index, 0);
    end(&stage);
}

/* Of what was read once since it was written all is carried while it fits, and none of it when everything
 * was. */
static void what_was_read_once(void **state)
{
    (void)state;
    for (unsigned every = 1; every <= 8; every += 7) {
        struct stage stage;
        begin(&stage);
        for (uint64_t key = 0; key < 1500; key++) {
            put(&stage, key);
            stage_settle(&stage);
            if (key % every == 0)
                assert_int_equal(stage_get(&stage, key, 1, LEN), 0);
        }
        struct disk_stats stats = stage_stats(&stage);
        print_message("every %uth read: carried %lu\n", every, (unsigned long)stats.carried);
        assert_true(every == 1 ? stats.carried == 0 : stats.carried > 0);
        end(&stage);
    }
}

/* What a flush covers may wait for a segment first; when it has its place, its batch is written at once. */
static void a_flush_behind_what_waits(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    for (uint64_t key = 0; key < 700; key++)
        put(&stage, key);
    stage_settle(&stage);
    uint64_t longest_ns = 0;
    for (unsigned round = 0; round < 20; round++) {
        for (uint64_t key = 1000; stage_put(&stage, key, 1, 5000) == 0; key++) {
        }
        assert_int_equal(stage_flush(&stage), 0);
        assert_int_equal(stage_put(&stage, 1, 2, 5000), 0);
        for (uint64_t key = 2000; stage_put(&stage, key, 1, 5000) == 0; key++) {
        }
        uint64_t start_ns = io_now_ns(stage.loop);
        assert_int_equal(stage_flush(&stage), 0);
        uint64_t took_ns = io_now_ns(stage.loop) - start_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
    }
    print_message("the longest flush took %.1f ms\n", (double)longest_ns / NS_PER_MS);
    assert_true(longest_ns < 150 * NS_PER_MS);
    end(&stage);
}

/* No segment is free: neither an open nor recovery takes one, since nothing would be carried; a put does. */
static void an_open_takes_no_segment(void **state)
{
    (void)state;
    for (unsigned clean = 0; clean < 2; clean++) {
        struct stage stage;
        begin(&stage);
        uint64_t key = 0;
        do {
            put(&stage, key++);
            stage_settle(&stage);
        } while (key < 700 || stage.disk->devices[0]->free_count > 0);
        assert_int_equal(stage_flush(&stage), 0);
        stage_settle(&stage);
        if (clean)
            assert_int_equal(stage_close(&stage), 0);
        else
            stage_crash(&stage);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        assert_int_equal(stage_stats(&stage).reclaimed_segments, 0);
        put(&stage, key);
        stage_settle(&stage);
        assert_int_equal(stage_get(&stage, key, 1, LEN), 0);
        end(&stage);
    }
}

/* Puts as fast as they are taken, and all the time some small items are read: those stay. */
static void what_is_read_stays_under_overload(void **state)
{
    (void)state;
    enum { HOT = 100, HOT_LEN = 3000 };
    struct stage stage;
    begin(&stage);
    for (uint64_t i = 0; i < 4 * HOT; i++)
        put(&stage, i);
    for (uint64_t i = 0; i < HOT; i++)
        while (stage_put(&stage, 100000 + i, 1, HOT_LEN) != 0)
            stage_turn(&stage);
    unsigned there = 0;
    for (uint64_t key = 0; key < 6000; key++) {
        put(&stage, key);
        if (key % 100 != 0)
            continue;
        there = 0;
        for (uint64_t i = 0; i < HOT; i++)
            there += stage_get(&stage, 100000 + i, 1, HOT_LEN) == 0;
    }
    print_message("%u of %u\n", there, HOT);
    assert_true(there > HOT * 7 / 10);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_puts_use_all_of_the_device),
        cmocka_unit_test(a_burst_passes),
        cmocka_unit_test(what_was_read_once),
        cmocka_unit_test(a_flush_behind_what_waits),
        cmocka_unit_test(an_open_takes_no_segment),
        cmocka_unit_test(what_is_read_stays_under_overload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
