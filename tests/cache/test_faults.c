/* Faults of a device, by the fake: errors, no room, a stall, a lost segment; the tier goes on and says so. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "cache/tier.h"
#include "disk_stage.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)

static void begin(struct stage *stage)
{
    stage_init(stage, 40 * MIB);
    stage->driver = IO_FAKE;
}

static void end(struct stage *stage)
{
    fake_disk_heal(stage->io);
    stage_close(stage);
    assert_int_equal(io_destroy(stage->io), 0);
}

static void advance(struct stage *stage, uint64_t ns)
{
    fake_clock_advance(stage->io, ns);
    for (unsigned i = 0; i < 50; i++)
        io_loop_turn(stage->loop, NS_PER_MS);
}

static void no_room_at_creation(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    struct io_config config = {.choice = IO_FAKE, .fake_seed = 1};
    struct io_report report;
    assert_int_equal(io_create(&stage.io, &config, &report), 0);
    fake_disk_capacity(stage.io, 10 * MIB);
    assert_true(stage_open(&stage) < 0);
    assert_int_equal(stage.events[DISK_EVENT_REFUSED], 1);
    assert_int_equal(stage_put(&stage, 1, 1, 100), E_UNSUPPORTED);
    assert_int_equal(stage_close(&stage), 0);
    fake_disk_capacity(stage.io, 100 * MIB); /* there is room now: the half-made file is ours */
    assert_int_equal(stage_open(&stage), 0);
    assert_int_equal(stage_put(&stage, 1, 1, 100), 0);
    end(&stage);
}

static void one_write_fails(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    struct fake_fault fault = {.kinds = FAKE_WRITE, .error = -EIO, .count = 1};
    fake_disk_fail(stage.io, &fault);
    stage_put(&stage, 1, 1, 262144);
    stage_put(&stage, 2, 1, 262144);
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, 1), 1); /* written again, elsewhere */
    assert_int_equal(stage_version(&stage, 2), 1);
    assert_true(stage.events[DISK_EVENT_DEGRADED] > 0);
    assert_int_equal(stage_stats(&stage).devices_out, 0);
    assert_int_equal(stage_stats(&stage).io_errors, 1);
    assert_int_equal(stage_flush(&stage), 0);
    end(&stage);
}

static void a_failing_device_goes_out_and_comes_back(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 1, 1000);
    stage_put(&stage, 2, 1, 1000);
    assert_int_equal(stage_flush(&stage), 0);
    struct fake_fault fault = {.kinds = FAKE_WRITE, .error = -EIO};
    fake_disk_fail(stage.io, &fault);
    assert_true(stage_remove(&stage, 1) < 0); /* in force, not durable */
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    for (unsigned i = 10; i < 20; i++)
        stage_put(&stage, i, 1, 262144);
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).devices_out, 1);
    assert_int_equal(stage_put(&stage, 30, 1, 100), E_UNSUPPORTED);
    assert_int_equal(stage_version(&stage, 2), E_MISSING);
    advance(&stage, 11 * NS_PER_S);
    assert_int_equal(stage_stats(&stage).devices_out, 1); /* tried, and still bad */
    fake_disk_heal(stage.io);
    advance(&stage, 11 * NS_PER_S);
    assert_int_equal(stage_stats(&stage).devices_out, 0);
    assert_int_equal(stage.events[DISK_EVENT_RESTORED], 1);
    assert_int_equal(stage_version(&stage, 2), E_MISSING); /* it missed a remove: it came back empty */
    assert_int_equal(stage_put(&stage, 2, 2, 1000), 0);
    assert_int_equal(stage_flush(&stage), 0);
    struct fake_disk *disk = fake_disk_cut(stage.io, FAKE_POWER);
    stage_close(&stage);
    io_destroy(stage.io);
    struct io_config config = {.choice = IO_FAKE, .fake_seed = 2};
    struct io_report report;
    assert_int_equal(io_create(&stage.io, &config, &report), 0);
    fake_disk_attach(stage.io, disk);
    assert_int_equal(stage_open(&stage), 0);
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    assert_int_equal(stage_version(&stage, 2), 2);
    end(&stage);
}

static void failing_reads_are_misses(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < 4; i++)
        stage_put(&stage, i, 1, 100000);
    stage_settle(&stage);
    struct fake_fault fault = {.kinds = FAKE_READ, .error = -EIO};
    fake_disk_fail(stage.io, &fault);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(stage_version(&stage, i % 4), -EIO);
    assert_int_equal(stage_stats(&stage).devices_out, 0);
    assert_int_equal(stage_version(&stage, 1), -EIO);
    assert_int_equal(stage_stats(&stage).devices_out, 1);
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    fake_disk_heal(stage.io);
    advance(&stage, 11 * NS_PER_S);
    assert_int_equal(stage_version(&stage, 1), 1); /* nothing was missed: it is all still there */
    end(&stage);
}

/* While its superblock is written, which can no longer say that it starts empty. */
static void a_remove_while_a_device_comes_back(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 1, 100000);
    stage_put(&stage, 2, 1, 100000);
    assert_int_equal(stage_flush(&stage), 0);
    struct fake_fault fault = {.kinds = FAKE_READ, .error = -EIO};
    fake_disk_fail(stage.io, &fault);
    while (stage_stats(&stage).devices_out == 0)
        assert_int_equal(stage_version(&stage, 2), -EIO);
    stage_settle(&stage);
    fake_disk_heal(stage.io);
    fake_disk_stall(stage.io, NULL, true);
    advance(&stage, 11 * NS_PER_S);
    assert_non_null(stage.disk->devices[0]->retry_write.buffer);
    assert_true(stage_remove(&stage, 1) < 0);
    fake_disk_stall(stage.io, NULL, false);
    advance(&stage, NS_PER_S);
    assert_int_equal(stage.events[DISK_EVENT_RESTORED], 0);
    advance(&stage, 11 * NS_PER_S);
    assert_int_equal(stage.events[DISK_EVENT_RESTORED], 1);
    assert_int_equal(stage_version(&stage, 2), E_MISSING);
    stage_crash(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    end(&stage);
}

/* Whatever the error: gets miss or fail, puts are dropped, nobody waits; when it is over the device comes
 * back. */
static void out_and_back(unsigned kinds, int error)
{
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < 10; i++)
        stage_put(&stage, i, 1, 100000);
    assert_int_equal(stage_flush(&stage), 0);
    struct fake_fault fault = {.kinds = kinds, .error = error};
    fake_disk_fail(stage.io, &fault);
    for (unsigned i = 0; i < 40; i++) {
        int64_t version = stage_version(&stage, i % 10);
        assert_true(version == 1 || version == E_MISSING || version == error);
        int result = stage_put(&stage, 100 + i, 1, 262144);
        assert_true(result == 0 || result == E_UNSUPPORTED || result == E_EXHAUSTED);
    }
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).devices_out, 1);
    assert_true(stage.events[DISK_EVENT_DEGRADED] > 0);
    assert_int_equal(stage_put(&stage, 1, 2, 100), E_UNSUPPORTED);
    uint64_t dropped = stage_stats(&stage).dropped_device;
    assert_true(dropped > 0);
    fake_disk_heal(stage.io);
    advance(&stage, 11 * NS_PER_S);
    assert_int_equal(stage_stats(&stage).devices_out, 0);
    assert_int_equal(stage.events[DISK_EVENT_RESTORED], 1);
    assert_int_equal(stage_put(&stage, 1, 3, 100), 0);
    assert_int_equal(stage_flush(&stage), 0);
    assert_int_equal(stage_version(&stage, 1), 3);
    end(&stage);
}

static void no_room_later(void **state)
{
    (void)state;
    out_and_back(FAKE_WRITE, -ENOSPC);
}

static void it_vanishes(void **state)
{
    (void)state;
    out_and_back(FAKE_READ | FAKE_WRITE | FAKE_SYNC | FAKE_OPEN | FAKE_ALLOCATE, -ENODEV);
}

static void it_is_read_only(void **state)
{
    (void)state;
    out_and_back(FAKE_WRITE | FAKE_SYNC, -EROFS);
}

static unsigned answers;
static void counted(void *context, int result, struct item *item)
{
    (void)context;
    (void)result;
    answers++;
    if (item != NULL)
        item_unref(&item);
}

/* Reads hang; later gets miss at once, let-go ones cost nobody; when the device answers again all is well. */
static void a_stall(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < 4; i++)
        stage_put(&stage, i, 1, 100000);
    stage_settle(&stage);
    fake_disk_stall(stage.io, NULL, true);
    uint8_t buf[64];
    answers = 0;
    disk_get(stage.disk, stage.loop, stage_key(1, buf), 0, UINT32_MAX, counted, NULL);
    struct disk_get *let_go =
        disk_get(stage.disk, stage.loop, stage_key(2, buf), 0, UINT32_MAX, counted, NULL);
    advance(&stage, 6 * NS_PER_S);
    assert_int_equal(answers, 0);
    disk_get_abandon(let_go);
    assert_int_equal(stage_version(&stage, 3), E_EXHAUSTED); /* at once */
    fake_disk_stall(stage.io, NULL, false);
    advance(&stage, NS_PER_S);
    assert_int_equal(answers, 1);
    assert_int_equal(stage_version(&stage, 3), 1);
    end(&stage);
}

/* Writes hang for 10 s: puts are taken up to the bound and then dropped at once, what waits is read from
 * memory, and all that was taken is written in the end. */
static void writes_stall(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    stage.config.write_buffer_bytes = 4 * MIB;
    assert_int_equal(stage_open(&stage), 0);
    fake_disk_stall(stage.io, NULL, true);
    unsigned taken = 0;
    for (unsigned i = 0; i < 40; i++)
        taken += stage_put(&stage, i, 1, 262144) == 0;
    struct disk_stats stats = stage_stats(&stage);
    assert_true(taken > 0 && taken < 40);
    assert_int_equal(stats.dropped_full, 40 - taken);
    assert_true(stats.waiting_bytes <= stats.waiting_limit_bytes);
    advance(&stage, 10 * NS_PER_S);
    for (unsigned i = 0; i < taken; i++)
        assert_int_equal(stage_version(&stage, i), 1);
    assert_int_equal(stage_stats(&stage).devices_out, 0);
    fake_disk_stall(stage.io, NULL, false);
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).waiting_bytes, 0);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(stage_version(&stage, i), i < taken ? 1 : E_MISSING);
    end(&stage);
}

/* A stalled device does not hold up the end: detach gives up at its deadline. */
static void a_stall_at_the_end(void **state)
{
    (void)state;
    static struct stage stage; /* what is stalled is left to the process, which ends here */
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 1, 100000);
    stage_settle(&stage);
    fake_disk_stall(stage.io, NULL, true);
    stage_put(&stage, 2, 1, 100000);
    assert_int_equal(stage_detach(&stage, 2 * NS_PER_S), E_TIMEOUT);
}

static void a_sync_fails(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 1, 1000);
    stage_settle(&stage); /* nothing is left to ride on */
    struct fake_fault fault = {.kinds = FAKE_SYNC, .error = -ENOSPC, .count = 1};
    fake_disk_fail(stage.io, &fault);
    assert_int_equal(stage_flush(&stage), -ENOSPC);
    assert_int_equal(stage_stats(&stage).io_errors, 1);
    assert_int_equal(stage_flush(&stage), 0);
    end(&stage);
}

struct flushed {
    bool done;
    int result;
};

static void flushed(void *context, int result)
{
    *(struct flushed *)context = (struct flushed){true, result};
}

static struct fake_disk_counts counts_of(struct stage *stage)
{
    struct fake_disk_counts counts;
    fake_disk_counts(stage->io, &counts);
    return counts;
}

/* The one write that a flush waits for syncs too, in one operation. Without one a flush syncs for itself,
 * however little there is. */
static void a_flush_rides_on_its_write(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned round = 0; round < 2; round++) {
        struct fake_disk_counts before = counts_of(&stage);
        for (uint64_t key = 1; key <= 3; key++)
            stage_put(&stage, key, round, 10000);
        assert_int_equal(stage_flush(&stage), 0);
        struct fake_disk_counts after = counts_of(&stage);
        assert_int_equal(after.writes - before.writes, 1);
        assert_int_equal(after.syncs - before.syncs, 1);
        assert_int_equal(stage_flush(&stage), 0);
        assert_int_equal(counts_of(&stage).syncs - after.syncs, 1);
        assert_int_equal(counts_of(&stage).writes, after.writes);
    }
    end(&stage);
}

/* A sync that fails with the write that it came with: the flush says so, in the system's words, and that is
 * all. The write itself is not to blame, so neither its segment nor the device is given up. */
static void syncs_fail_with_their_writes(void **state)
{
    (void)state;
    unsigned unsynced = 0;
    for (unsigned seed = 1; seed <= 8; seed++) {
        struct stage stage;
        begin(&stage);
        assert_int_equal(stage_open(&stage), 0);
        for (unsigned i = 0; i < seed; i++) /* turns of the fake's dice */
            assert_int_equal(stage_flush(&stage), 0);
        assert_int_equal(stage_put(&stage, 7, 1, 1000), 0);
        assert_int_equal(stage_flush(&stage), 0);
        struct fake_fault fault = {.kinds = FAKE_SYNC, .error = -ENOSPC, .count = 3};
        fake_disk_fail(stage.io, &fault);
        struct fake_disk_counts before = counts_of(&stage);
        for (uint64_t key = 1; key <= 3; key++) {
            assert_int_equal(stage_put(&stage, key, 1, 1000), 0);
            assert_int_equal(stage_flush(&stage), -ENOSPC);
            /* Were the segment given up, its table would be through by then, and the next flush ride on a
             * write with what was to be written again. */
            for (uint64_t until = io_now_ns(stage.loop) + 2 * NS_PER_MS; io_now_ns(stage.loop) < until;)
                io_loop_turn(stage.loop, NS_PER_MS / 10);
        }
        unsynced += counts_of(&stage).writes > before.writes;
        assert_int_equal(stage_flush(&stage), 0);
        assert_int_equal(stage_stats(&stage).devices_out, 0);
        assert_int_equal(stage_stats(&stage).io_errors, 3);
        assert_int_equal(stage_version(&stage, 7), 1);
        for (uint64_t key = 1; key <= 3; key++)
            assert_int_equal(stage_version(&stage, key), 1);
        end(&stage);
    }
    assert_true(unsynced > 0);
}

/* A write that is on its way when the flush comes will not sync. */
static void a_flush_that_comes_late_does_not_ride(void **state)
{
    (void)state;
    struct stage stage;
    struct flushed answer = {0};
    begin(&stage);
    assert_int_equal(stage_open(&stage), 0);
    struct fake_disk_counts before = counts_of(&stage);
    stage_put(&stage, 1, 1, 1000000); /* large: a write of its own, and at once */
    assert_int_equal(disk_flush(stage.disk, stage.loop, flushed, &answer), 0);
    while (!answer.done)
        io_loop_turn(stage.loop, NS_PER_MS);
    assert_int_equal(answer.result, 0);
    struct fake_disk_counts after = counts_of(&stage);
    assert_int_equal(after.writes - before.writes, 1);
    assert_int_equal(after.syncs - before.syncs, 1);
    end(&stage);
}

/* What a flush covers waits for a segment, gets its place, and can't be written while the rest still waits:
 * it is to be written once more, behind what the flush waits for, so the flush fails. */
static void a_write_fails_before_the_flush_is_out_of_the_queue(void **state)
{
    (void)state;
    for (unsigned skip = 0; skip < 100; skip += 2) {
        struct stage stage;
        begin(&stage);
        assert_int_equal(stage_open(&stage), 0);
        for (uint64_t key = 100; key < 700; key++)
            if (stage_put(&stage, key, 1, 100000) != 0)
                stage_turn(&stage);
        while (stage_put(&stage, 1, 1, 100000) != 0)
            stage_turn(&stage);
        stage_settle(&stage);
        for (uint64_t key = 0; stage_put(&stage, key == 40 ? 1 : 1000 + key, 2, 100000) == 0;)
            key++;
        struct flushed answer = {0};
        assert_int_equal(disk_flush(stage.disk, stage.loop, flushed, &answer), 0);
        struct fake_fault fault = {.kinds = FAKE_WRITE, .error = -EIO, .skip = skip, .count = 1};
        fake_disk_fail(stage.io, &fault);
        while (!answer.done)
            io_loop_turn(stage.loop, NS_PER_MS);
        struct fake_disk_counts counts;
        fake_disk_counts(stage.io, &counts);
        assert_int_equal(counts.failed, 1);
        assert_int_equal(answer.result, -EIO);
        end(&stage);
    }
}

/* The device went out when a segment could not be declared dead, and more writes fail while it closes: their
 * items are not queued again, for nothing would free a segment for them. */
static void closing_what_is_out(void **state)
{
    (void)state;
    unsigned with_writes = 0;
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct stage stage;
        begin(&stage);
        stage.seed = seed;
        assert_int_equal(stage_open(&stage), 0);
        for (uint64_t key = 0; key < 400; key++)
            while (stage_put(&stage, key, 1, 100000) != 0)
                stage_turn(&stage);
        stage_settle(&stage);
        struct fake_fault fault = {.kinds = FAKE_WRITE, .error = -EIO, .len = MIB};
        fake_disk_fail(stage.io, &fault); /* the superblocks lie there */
        for (uint64_t key = 1000; stage_stats(&stage).devices_out == 0; key++) {
            stage_put(&stage, key, 1, 100000);
            io_loop_turn(stage.loop, NS_PER_MS / 10);
        }
        struct fake_disk_counts counts;
        fake_disk_counts(stage.io, &counts);
        with_writes += counts.in_flight > 0;
        fault.offset = MIB;
        fault.len = 100 * MIB;
        fault.count = 1; /* after some in a row it takes nothing anyway */
        fake_disk_fail(stage.io, &fault);
        uint64_t start_ns = io_now_ns(stage.loop);
        assert_int_equal(stage_detach(&stage, 5 * NS_PER_S), E_TIMEOUT); /* not clean, that is */
        assert_true(io_now_ns(stage.loop) - start_ns < NS_PER_S);
        fake_disk_heal(stage.io);
        stage_close(&stage);
        assert_int_equal(io_destroy(stage.io), 0);
    }
    print_message("with writes in flight: %u of 20\n", with_writes);
    assert_true(with_writes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_at_creation),
        cmocka_unit_test(one_write_fails),
        cmocka_unit_test(a_failing_device_goes_out_and_comes_back),
        cmocka_unit_test(a_remove_while_a_device_comes_back),
        cmocka_unit_test(no_room_later),
        cmocka_unit_test(it_vanishes),
        cmocka_unit_test(it_is_read_only),
        cmocka_unit_test(failing_reads_are_misses),
        cmocka_unit_test(writes_stall),
        cmocka_unit_test(a_stall),
        cmocka_unit_test(a_sync_fails),
        cmocka_unit_test(a_flush_rides_on_its_write),
        cmocka_unit_test(syncs_fail_with_their_writes),
        cmocka_unit_test(a_flush_that_comes_late_does_not_ride),
        cmocka_unit_test(closing_what_is_out),
        cmocka_unit_test(a_write_fails_before_the_flush_is_out_of_the_queue),
        cmocka_unit_test(a_stall_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
