/* What can't be read when a device is opened after a crash: what it may have hidden stays away, for good. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cache/tier.h"
#include "disk_stage.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)
enum { REMOVED = 1, LATER = 2, FILLER = 10, HEAD_BYTES = 65536, LARGE = 262144 };

/* Where the record lies that hides REMOVED. */
struct scene {
    struct stage stage;
    uint64_t segment, segment_bytes;
};

static void fill(struct stage *stage, unsigned mib)
{
    for (unsigned i = 0; i < 4 * mib; i++)
        assert_int_equal(stage_put(stage, FILLER + i, 1, LARGE), 0);
    assert_int_equal(stage_flush(stage), 0);
}

static void note_segment(struct scene *scene)
{
    struct device *device = scene->stage.disk->devices[0];
    assert_non_null(device->open);
    scene->segment = device_segment_place(device, device->open->segment);
    scene->segment_bytes = device->segment_bytes;
}

/* REMOVED lies some segments before the record; LATER with it, or in the segment behind. Then the process
 * dies. */
static void set(struct scene *scene, uint64_t size_bytes, bool sealed)
{
    struct stage *stage = &scene->stage;
    stage_init(stage, size_bytes);
    stage->driver = IO_FAKE;
    assert_int_equal(stage_open(stage), 0);
    assert_int_equal(stage_put(stage, REMOVED, 1, 1000), 0);
    fill(stage, 3);
    assert_int_equal(stage_remove(stage, REMOVED), 0);
    note_segment(scene);
    if (sealed)
        fill(stage, 2);
    assert_int_equal(stage_put(stage, LATER, 1, 1000), 0);
    assert_int_equal(stage_flush(stage), 0);
    stage_settle(stage);
    stage_crash(stage);
}

static void reads_fail(struct stage *stage, uint64_t from, uint64_t len, unsigned count)
{
    struct fake_fault fault = {.kinds = FAKE_READ, .error = -EIO, .offset = from, .len = len, .count = count};
    fake_disk_fail(stage->io, &fault);
}

static void end(struct stage *stage)
{
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(io_destroy(stage->io), 0);
}

/* Opens with the fault, dies, opens without it. Returns whether LATER was found at first. */
static bool stays_away(struct scene *scene, uint64_t from, uint64_t len, unsigned count)
{
    struct stage *stage = &scene->stage;
    reads_fail(stage, from, len, count);
    assert_int_equal(stage_open(stage), 0);
    stage_settle(stage);
    assert_true(stage_stats(stage).io_errors > 0);
    bool found = stage_version(stage, LATER) == 1;
    assert_int_not_equal(stage_version(stage, REMOVED), 1);
    fake_disk_heal(stage->io);
    fill(stage, 2); /* it is used on */
    stage_crash(stage);
    assert_int_equal(stage_open(stage), 0);
    stage_settle(stage);
    assert_int_not_equal(stage_version(stage, REMOVED), 1);
    assert_int_equal(stage_version(stage, FILLER), 1);
    end(stage);
    return found;
}

/* One or two failures are got over: nothing is lost. */
static void for_a_moment(void **state)
{
    (void)state;
    for (unsigned sealed = 0; sealed < 2; sealed++)
        for (unsigned count = 1; count < 3; count++)
            for (unsigned tail = 0; tail < 2; tail++) {
                struct scene scene;
                if (sealed && !tail)
                    continue; /* its table is enough */
                set(&scene, 40 * MIB, sealed);
                uint64_t at = tail ? scene.segment_bytes - HEAD_BYTES : 0;
                assert_true(stays_away(&scene, scene.segment + at, HEAD_BYTES, count));
            }
}

/* Nothing of the segment can be read, so not how old it is: the device starts empty. */
static void for_good(void **state)
{
    (void)state;
    for (unsigned sealed = 0; sealed < 2; sealed++) {
        struct scene scene;
        set(&scene, 40 * MIB, sealed);
        assert_false(stays_away(&scene, scene.segment, scene.segment_bytes, 0));
        assert_true(scene.stage.events[DISK_EVENT_DEGRADED] > 0);
    }
}

/* Its age is known, its table is not to be had: what is older goes, what is newer is there. */
static void a_table(void **state)
{
    (void)state;
    struct scene scene;
    set(&scene, 40 * MIB, true);
    assert_true(stays_away(&scene, scene.segment + scene.segment_bytes - HEAD_BYTES, HEAD_BYTES, 0));
}

/* The first header of the open segment: by its footer it would be a free one. */
static void a_first_header(void **state)
{
    (void)state;
    struct scene scene;
    set(&scene, 40 * MIB, false);
    assert_false(stays_away(&scene, scene.segment, HEAD_BYTES, 0));
}

/* The scan of the open segment comes to where it can't read: what it has found by then may be hidden by what
 * lies behind. */
static void amid_a_scan(void **state)
{
    (void)state;
    struct scene scene;
    set(&scene, 300 * MIB, false);
    assert_true(scene.segment_bytes >= 4 * MIB);
    assert_false(stays_away(&scene, scene.segment + 2 * MIB, scene.segment_bytes - 3 * MIB, 0));
}

/* A write failed, and what lies behind the hole is found by the table only. */
static void a_hole(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 16; seed++) {
        struct scene scene;
        struct stage *stage = &scene.stage;
        stage_init(stage, 40 * MIB);
        stage->driver = IO_FAKE;
        stage->seed = seed;
        assert_int_equal(stage_open(stage), 0);
        assert_int_equal(stage_put(stage, REMOVED, 1, 1000), 0);
        fill(stage, 3);
        assert_int_equal(stage_put(stage, FILLER, 1, LARGE), 0); /* before the hole: its age can be told */
        assert_int_equal(stage_flush(stage), 0);
        struct fake_fault fault = {.kinds = FAKE_WRITE, .error = -EIO, .count = 1, .torn = true};
        fake_disk_fail(stage->io, &fault);
        assert_int_equal(stage_put(stage, FILLER + 1, 1, LARGE), 0);
        note_segment(&scene);
        assert_int_equal(stage_put(stage, REMOVED, 2, LARGE), 0); /* replaced, that is */
        stage_settle(stage);
        assert_int_equal(stage_put(stage, LATER, 1, 1000), 0);
        assert_int_equal(stage_flush(stage), 0);
        stage_crash(stage);
        /* As often as the footer is asked for; then a scan would find what lies before the hole. */
        stays_away(&scene, scene.segment + scene.segment_bytes - HEAD_BYTES, HEAD_BYTES, 6);
    }
}

static void counted(void *context, int result)
{
    assert_int_equal(result, 0);
    ++*(unsigned *)context;
}

static size_t three_bytes(struct bytes prefix)
{
    return prefix.len < 3 ? 0 : 3;
}

/* More purge records than recovery keeps places of: what lies before the older ones goes, what is newer
 * stays. */
static void too_many_purges(void **state)
{
    (void)state;
    static const struct purge_view buckets = {.bucket_len = three_bytes};
    enum { HEAD = 3, OTHER = 6, NEWER = 9, PURGES = PURGE_PLACES_MAX + 1000 };
    struct stage stage;
    stage_init(&stage, 120 * MIB); /* each takes a block */
    stage.driver = IO_FAKE;
    assert_int_equal(stage_open(&stage), 0);
    purges_view(disk_purges(stage.disk), &buckets);
    assert_int_equal(stage_put(&stage, HEAD, 1, 1000), 0);
    assert_int_equal(stage_put(&stage, OTHER, 1, 1000), 0);
    unsigned answers = 0;
    for (unsigned i = 0; i < PURGES; i++) {
        uint8_t buf[64];
        bool widened;
        struct purge purge = {.prefix = i == 0 ? stage_key(HEAD, buf).bytes : bytes_of_string("nothing")};
        assert_true(disk_purge(stage.disk, stage.loop, &purge, &widened, counted, &answers) > 0);
        while (i - answers > 100)
            stage_turn(&stage);
    }
    assert_int_equal(stage_put(&stage, NEWER, 1, 1000), 0);
    assert_int_equal(stage_flush(&stage), 0);
    while (answers < PURGES)
        stage_turn(&stage);
    stage_crash(&stage);
    assert_int_equal(stage_open(&stage), 0);
    purges_view(disk_purges(stage.disk), &buckets);
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, HEAD), E_MISSING);
    assert_int_equal(stage_version(&stage, OTHER), E_MISSING);
    assert_int_equal(stage_version(&stage, NEWER), 1);
    assert_int_equal(stage_stats(&stage).corrupt, 0);
    end(&stage);
}

/* So much is put while the tables are being read that their places are used again: those of this life are no
 * business of recovery. */
static void overtaken(void **state)
{
    (void)state;
    enum { PAIRS = 60, GONE = 10000 };
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.driver = IO_FAKE;
    assert_int_equal(stage_open(&stage), 0);
    for (uint64_t i = 0; i < 200; i++)
        while (stage_put(&stage, FILLER + i, 1, LARGE) != 0)
            stage_turn(&stage);
    assert_int_equal(stage_flush(&stage), 0);
    stage_crash(&stage);
    assert_int_equal(stage_open(&stage), 0);
    struct device *device = stage.disk->devices[0];
    reads_fail(&stage, MIB, 40 * MIB, 0);
    while (stage_stats(&stage).io_errors < RECOVERY_DEPTH)
        stage_turn(&stage);
    device->reads_lost = 1000; /* reclaiming does not try again, recovery still pauses */
    unsigned overlapped = 0, done = 0;
    for (uint64_t i = 0; i < PAIRS; i++) {
        uint8_t buf[64];
        while (stage_put(&stage, GONE + i, 1, 600000) != 0)
            stage_turn(&stage);
        struct item_key key = stage_key(GONE + i, buf);
        assert_int_equal(disk_remove(stage.disk, stage.loop, key, counted, &done), 0);
        overlapped += device->recovery != NULL;
    }
    fake_disk_heal(stage.io);
    while (done < PAIRS)
        stage_turn(&stage);
    stage_settle(&stage);
    print_message("recovery ended after %u of %u puts\n", overlapped, PAIRS);
    assert_true(overlapped > 45);
    for (uint64_t i = 0; i < PAIRS; i++)
        assert_int_equal(stage_version(&stage, GONE + i), E_MISSING);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(for_a_moment),
        cmocka_unit_test(for_good),
        cmocka_unit_test(a_table),
        cmocka_unit_test(a_first_header),
        cmocka_unit_test(amid_a_scan),
        cmocka_unit_test(a_hole),
        cmocka_unit_test(too_many_purges),
        cmocka_unit_test(overtaken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
