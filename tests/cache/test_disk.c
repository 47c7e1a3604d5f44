/* The disk tier over a real file (YATA_IO=portable or uring) or the fake. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/tier.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)

static const uint32_t lens[] = {
    8, 9, 100, 4000, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 100000, 262144, 262145, 700001};
enum { LENS = sizeof lens / sizeof lens[0] };

static void finish(struct stage *stage)
{
    if (stage->io != NULL)
        assert_int_equal(io_destroy(stage->io), 0);
    for (unsigned i = 0; i < stage->config.device_count; i++)
        unlink(stage->config.devices[i].path);
}

static void put_get_every_length(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < LENS; i++)
        assert_int_equal(stage_put(&stage, i, 1, lens[i]), 0);
    for (unsigned i = 0; i < LENS; i++) /* most are still in writing */
        assert_int_equal(stage_get(&stage, i, 1, lens[i]), 0);
    stage_settle(&stage);
    for (unsigned i = 0; i < LENS; i++)
        assert_int_equal(stage_get(&stage, i, 1, lens[i]), 0);
    assert_int_equal(stage_get(&stage, 99, 1, 1), E_MISSING);
    struct disk_stats stats = stage_stats(&stage);
    assert_int_equal(stats.corrupt, 0);
    assert_int_equal(stats.items, LENS);
    assert_true(stats.hits >= 2 * LENS && stats.reads >= LENS && stats.misses >= 1);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void parts(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, len;
    } rows[] = {{0, 1}, {0, 16384}, {1, 16384}, {16384, 1}, {100000, 50000}, {262143, 1},
        {262000, UINT32_MAX}, {0, 300000}};
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 7, 262144);
    stage_put(&stage, 2, 8, 30000);
    stage_put(&stage, 4, 9, 262100);
    stage_settle(&stage);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(stage_get_part(&stage, 1, 7, 262144, rows[i].from, rows[i].len), 0);
        if (rows[i].from < 262100)
            assert_int_equal(stage_get_part(&stage, 4, 9, 262100, rows[i].from, rows[i].len), 0);
    }
    assert_int_equal(stage_get_part(&stage, 2, 8, 30000, 20000, 5), 0);
    assert_int_equal(stage_get_part(&stage, 1, 7, 262144, 262144, 1), E_MISSING); /* past its end */
    assert_int_equal(stage_get_part(&stage, 2, 8, 30000, 30000, 1), E_MISSING);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void replace_and_remove(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    for (uint64_t version = 1; version <= 3; version++) {
        assert_int_equal(stage_put(&stage, 1, version, (uint32_t)(1000 * version)), 0);
        assert_int_equal(stage_version(&stage, 1), version);
    }
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, 1), 3);
    assert_int_equal(stage_remove(&stage, 1), 0);
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    assert_int_equal(stage_put(&stage, 1, 4, 50), 0);
    assert_int_equal(stage_version(&stage, 1), 4);
    assert_int_equal(stage_remove(&stage, 2), 0); /* never there */
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void fill(struct stage *stage)
{
    for (unsigned i = 0; i < LENS; i++)
        assert_int_equal(stage_put(stage, i, 1, lens[i]), 0);
    for (unsigned i = 0; i < LENS; i += 3)
        assert_int_equal(stage_put(stage, i, 2, lens[i]), 0);
    assert_int_equal(stage_remove(stage, 4), 0);
    assert_int_equal(stage_remove(stage, 10), 0);
    assert_int_equal(stage_flush(stage), 0);
}

static void check_filled(struct stage *stage)
{
    for (unsigned i = 0; i < LENS; i++) {
        int64_t expect = i == 4 || i == 10 ? E_MISSING : i % 3 == 0 ? 2 : 1;
        assert_int_equal(stage_version(stage, i), expect);
    }
    assert_int_equal(stage_stats(stage).corrupt, 0);
}

static void flip(const struct stage *stage, off_t at)
{
    int fd = open(stage->config.devices[0].path, O_RDWR);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 2;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_clean_stop_leaves_everything(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    fill(&stage);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(stage_close(&stage), 0);
        assert_int_equal(stage_open(&stage), 0);
        assert_int_equal(stage_stats(&stage).recovering, 0); /* by the snapshot */
        check_filled(&stage);
    }
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void a_crash_leaves_what_was_flushed(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    fill(&stage);
    for (unsigned round = 0; round < 3; round++) {
        stage_crash(&stage);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        check_filled(&stage);
    }
    assert_int_equal(stage_stats(&stage).recovered_items > LENS, true);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

/* Several times the capacity, checking all the time; then a crash and a clean stop. */
static void wraps(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.config.expected_item_bytes = 8192; /* the index drops nothing */
    assert_int_equal(stage_open(&stage), 0);
    struct random random;
    random_init(&random, 5);
    enum { KEYS = 400 };
    uint64_t versions[KEYS] = {0};
    unsigned found = 0, asked = 0;
    for (uint64_t i = 1; i <= 2500; i++) {
        uint64_t key = random_below(&random, KEYS);
        uint32_t len = lens[random_below(&random, LENS)];
        int result;
        while ((result = stage_put(&stage, key, i, len)) == E_EXHAUSTED) /* the write buffer is full */
            stage_turn(&stage);
        assert_int_equal(result, 0);
        versions[key] = i;
        key = random_below(&random, KEYS);
        int64_t version = stage_version(&stage, key);
        asked++;
        if (version >= 0) {
            assert_int_equal(version, versions[key]);
            found++;
        }
    }
    stage_settle(&stage);
    struct disk_stats stats = stage_stats(&stage);
    print_message("found %u of %u, reclaimed %lu, carried %lu, corrupt %lu, dropped %lu\n", found, asked,
        (unsigned long)stats.reclaimed_segments, (unsigned long)stats.carried, (unsigned long)stats.corrupt,
        (unsigned long)stats.dropped_full);
    assert_int_equal(stats.corrupt, 0);
    assert_true(stats.reclaimed_segments > 60 && stats.carried > 0);
    assert_true(found > asked / 4);
    assert_int_equal(stage_flush(&stage), 0);
    for (unsigned round = 0; round < 2; round++) {
        int64_t before[KEYS];
        for (unsigned i = 0; i < KEYS; i++)
            before[i] = stage_version(&stage, i);
        if (round == 0)
            stage_crash(&stage);
        else
            assert_int_equal(stage_close(&stage), 0);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        for (unsigned i = 0; i < KEYS; i++)
            assert_int_equal(stage_version(&stage, i), before[i]);
    }
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void what_is_used_is_carried(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.config.write_buffer_bytes = 4 * MIB; /* leaves the memory tier to the item in it */
    assert_int_equal(stage_open(&stage), 0);
    enum { HOT = 10 };
    for (unsigned i = 0; i < HOT; i++)
        assert_int_equal(stage_put(&stage, 1000 + i, 1, 10000), 0);
    /* One more that is never read from disk, but lies in memory. */
    uint8_t buf[64];
    struct item *item = stage_item(&stage, 2000, 1, 5000);
    memory_insert(stage.memory, item, item_sequence(item));
    assert_int_equal(disk_put(stage.disk, stage.loop, item, 0), 0);
    item_unref(&item);
    stage_put(&stage, 3000, 1, 5000); /* never used */
    stage_settle(&stage);
    for (uint64_t i = 0; i < 400; i++) {
        while (stage_put(&stage, i, 1, 262144) != 0)
            stage_turn(&stage);
        if (i % 5 == 0)
            for (unsigned j = 0; j < HOT; j++)
                assert_int_equal(stage_get(&stage, 1000 + j, 1, 10000), 0);
        if (i % 20 == 0)
            item_unref(&(struct item *){memory_find(stage.memory, stage_key(2000, buf))});
    }
    assert_int_equal(stage_get(&stage, 2000, 1, 5000), 0);
    assert_int_equal(stage_get(&stage, 3000, 1, 5000), E_MISSING);
    assert_true(stage_stats(&stage).carried > HOT);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

/* Flips bits all over the file: every item is right or missing. */
static void flipped_bits(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    if (stage.driver == IO_FAKE)
        skip();
    struct random random;
    random_init(&random, 9);
    for (unsigned round = 0; round < 6; round++) {
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        fill(&stage);
        if (round % 2 == 0)
            assert_int_equal(stage_close(&stage), 0);
        else
            stage_crash(&stage);
        int fd = open(stage.config.devices[0].path, O_RDWR);
        assert_true(fd >= 0);
        for (unsigned i = 0; i < 3000; i++) {
            /* Anywhere but in the superblocks, mostly where there is something. */
            uint64_t span = i % 3 == 0 ? 40 * MIB : 5 * MIB;
            off_t at = (off_t)(8192 + random_below(&random, span - 8192));
            uint8_t byte = 0;
            if (pread(fd, &byte, 1, at) != 1)
                continue;
            byte ^= (uint8_t)(1u << random_below(&random, 8));
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        close(fd);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        unsigned missing = 0;
        for (unsigned i = 0; i < LENS; i++) {
            int64_t version = stage_version(&stage, i);
            assert_true(version == 1 || version == 2 || version < 0);
            missing += version < 0;
        }
        struct disk_stats stats = stage_stats(&stage);
        print_message(
            "round %u: %u of %u missing, corrupt %lu\n", round, missing, LENS, (unsigned long)stats.corrupt);
        assert_true(missing > 0);
        assert_int_equal(stage_close(&stage), 0);
    }
    finish(&stage);
}

static void a_second_process_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    if (stage.driver == IO_FAKE)
        skip();
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork(); /* before there are threads */
    if (child == 0) {
        char byte;
        close(ready[1]); /* the end of the parent, skipped or failed, is the end of the child */
        struct stage other = {.driver = stage.driver, .config = stage.config};
        other.config.event_context = &other;
        bool held = read(ready[0], &byte, 1) == 1;
        _exit(held && stage_open(&other) < 0 && other.events[DISK_EVENT_REFUSED] == 1 ? 0 : 1);
    }
    assert_int_equal(stage_open(&stage), 0);
    assert_int_equal(write(ready[1], "x", 1), 1);
    int status;
    waitpid(child, &status, 0);
    close(ready[0]);
    close(ready[1]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void foreign_files_are_left_alone(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    if (stage.driver == IO_FAKE)
        skip();
    static const unsigned sizes[] = {1, 100, 4096, 20000};
    for (unsigned i = 0; i < 4; i++) {
        char text[20000], back[20001];
        memset(text, 'x', sizeof text);
        int fd = open(stage.config.devices[0].path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, text, sizes[i]), sizes[i]);
        assert_true(stage_open(&stage) < 0);
        assert_int_equal(stage.events[DISK_EVENT_REFUSED], i + 1);
        assert_int_equal(pread(fd, back, sizeof back, 0), sizes[i]);
        assert_memory_equal(text, back, sizes[i]);
        close(fd);
        assert_int_equal(stage_put(&stage, 1, 1, 100), E_UNSUPPORTED);
        assert_int_equal(stage_version(&stage, 1), E_MISSING);
        assert_int_equal(stage_remove(&stage, 1), E_UNSUPPORTED);
        assert_int_equal(stage_close(&stage), 0);
    }
    finish(&stage);
}

/* One copy of the superblock is enough; without both, or of a newer format, the file is refused and kept. */
static void damaged_superblocks(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    if (stage.driver == IO_FAKE)
        skip();
    assert_int_equal(stage_open(&stage), 0);
    fill(&stage);
    assert_int_equal(stage_close(&stage), 0);
    for (unsigned copy = 0; copy < 2; copy++) {
        flip(&stage, copy * 4096 + 30);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        check_filled(&stage);
        assert_int_equal(stage_close(&stage), 0);
    }
    static const unsigned at[] = {0, 8, 30, 50, 130, 4090};
    for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
        flip(&stage, at[i]);
        flip(&stage, 4096 + at[i]);
        assert_true(stage_open(&stage) < 0);
        assert_int_equal(stage_close(&stage), 0);
        flip(&stage, at[i]);
        flip(&stage, 4096 + at[i]);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        check_filled(&stage);
        assert_int_equal(stage_close(&stage), 0);
    }
    assert_int_equal(stage.events[DISK_EVENT_REFUSED], sizeof at / sizeof at[0]);
    finish(&stage);
}

static void sizes(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    fill(&stage);
    uint64_t before = stage_stats(&stage).capacity_bytes;
    assert_true(before <= 40 * MIB);
    assert_int_equal(stage_close(&stage), 0);
    stage.config.devices[0].size_bytes = 60 * MIB; /* grows, keeps all */
    assert_int_equal(stage_open(&stage), 0);
    assert_int_equal(stage_stats(&stage).capacity_bytes, before + 20 * MIB);
    check_filled(&stage);
    assert_int_equal(stage_close(&stage), 0);
    stage.config.devices[0].size_bytes = 36 * MIB; /* shrinks, starts empty */
    assert_int_equal(stage_open(&stage), 0);
    assert_true(stage_stats(&stage).capacity_bytes <= 36 * MIB);
    assert_int_equal(stage_stats(&stage).items, 0);
    assert_int_equal(stage_put(&stage, 1, 1, 1000), 0);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
    stage_init(&stage, 10 * MIB); /* too small */
    assert_true(stage_open(&stage) < 0);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void several_devices(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.config.device_count = 3;
    for (unsigned i = 0; i < 3; i++)
        stage.config.devices[i] = (struct disk_device_config){stage_path(i), 40 * MIB};
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(stage_put(&stage, i, 1, 5000), 0);
    assert_int_equal(stage_flush(&stage), 0);
    assert_int_equal(stage_close(&stage), 0);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(stage_version(&stage, i), 1);
    assert_int_equal(stage_close(&stage), 0);
    /* One is away: its keys are misses, and come back nowhere else. */
    if (stage.driver != IO_FAKE) {
        char moved[220];
        snprintf(moved, sizeof moved, "%s-moved", stage.config.devices[1].path);
        assert_int_equal(rename(stage.config.devices[1].path, moved), 0);
        assert_int_equal(mkdir(stage.config.devices[1].path, 0700), 0);
        assert_int_equal(stage_open(&stage), 0);
        unsigned found = 0, refused = 0;
        for (unsigned i = 0; i < 60; i++) {
            found += stage_version(&stage, i) == 1;
            refused += stage_put(&stage, i, 2, 5000) == E_UNSUPPORTED;
        }
        assert_true(found > 20 && found < 60);
        assert_int_equal(found + refused, 60);
        assert_int_equal(stage_close(&stage), 0);
        /* It comes back and is behind: it starts empty. */
        assert_int_equal(rmdir(stage.config.devices[1].path), 0);
        assert_int_equal(rename(moved, stage.config.devices[1].path), 0);
        assert_int_equal(stage_open(&stage), 0);
        stage_settle(&stage);
        for (unsigned i = 0; i < 60; i++)
            assert_true(stage_version(&stage, i) != 1);
        assert_int_equal(stage_close(&stage), 0);
    }
    finish(&stage);
}

static void admission(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.config.admission = DISK_ADMIT_SECOND_REQUEST;
    assert_int_equal(stage_open(&stage), 0);
    assert_int_equal(stage_put(&stage, 1, 1, 1000), E_REFUSED);
    assert_int_equal(stage_version(&stage, 1), E_MISSING);
    assert_int_equal(stage_put(&stage, 1, 2, 1000), 0);
    assert_int_equal(stage_version(&stage, 1), 2);
    assert_int_equal(stage_stats(&stage).dropped_admission, 1);
    /* By another hash than the key's: what has a new key each time. */
    struct item *made = stage_item(&stage, 10, 1, 1000), *anew = stage_item(&stage, 11, 1, 1000);
    assert_int_equal(disk_put(stage.disk, stage.loop, made, 4711), E_REFUSED);
    assert_int_equal(disk_put(stage.disk, stage.loop, anew, 4711), 0);
    item_unref(&made);
    item_unref(&anew);
    assert_int_equal(stage_version(&stage, 11), 1);
    /* Refused, then hit: written as long as memory holds it. */
    struct item *item = stage_item(&stage, 2, 1, 1000);
    assert_int_equal(disk_put(stage.disk, stage.loop, item, 0), E_REFUSED);
    assert_true(item_awaits_hit(item));
    assert_true(item_take_hit(item));
    assert_false(item_take_hit(item));
    assert_int_equal(disk_put_hit(stage.disk, stage.loop, item), E_MISSING);
    memory_insert(stage.memory, item, item_sequence(item));
    for (unsigned i = 100; i < 10000; i++) /* in whatever slots, later puts are newer */
        (void)stage_put(&stage, i, 1, 8), (void)stage_put(&stage, i, 1, 8);
    stage_settle(&stage);
    assert_int_equal(disk_put_hit(stage.disk, stage.loop, item), 0);
    assert_int_equal(stage_version(&stage, 2), 1);
    /* A late one does not take out what came meanwhile. */
    (void)stage_put(&stage, 2, 2, 1000); /* its hash may have been overwritten among those seen */
    assert_int_equal(stage_put(&stage, 2, 2, 1000), 0);
    memory_remove(stage.memory, item_key(item), UINT64_MAX);
    assert_int_equal(disk_put_hit(stage.disk, stage.loop, item), E_MISSING);
    assert_int_equal(stage_version(&stage, 2), 2);
    item_unref(&item);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);

    stage_init(&stage, 40 * MIB);
    stage.config.write_budget_bytes_s = 1000;
    assert_int_equal(stage_open(&stage), 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < 10; i++)
        taken += stage_put(&stage, i, 1, 700000) == 0;
    assert_int_equal(taken, 5); /* the burst is 4 MiB */
    assert_int_equal(stage_stats(&stage).dropped_budget, 5);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void the_write_buffer_is_bounded(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    stage.config.write_buffer_bytes = MIB;
    assert_int_equal(stage_open(&stage), 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < 20; i++) {
        taken += stage_put(&stage, i, 1, 262144) == 0;
        assert_true(stage_stats(&stage).waiting_bytes <= MIB);
    }
    assert_int_equal(taken, 3);
    assert_int_equal(stage_stats(&stage).dropped_full, 17);
    stage_settle(&stage);
    assert_int_equal(stage_put(&stage, 1, 1, 262144), 0);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

/* By another loop, which drew its number first and comes second: nothing is lost but what is older than what
 * is there, although the disk remembers only by slots what has been put lately. */
static void numbers_out_of_order(void **state)
{
    (void)state;
    struct stage stage;
    uint8_t buf[64];
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    struct device *device = stage.disk->devices[0];
    uint64_t slots[2], other = 1;
    struct item_key key = stage_key(1, buf);
    slots[0] = device_hash(device, key.kind, key.bytes) % RECENT_SLOTS;
    do {
        key = stage_key(++other, buf);
        slots[1] = device_hash(device, key.kind, key.bytes) % RECENT_SLOTS;
    } while (slots[0] != slots[1]);

    struct item *early = stage_item(&stage, 1, 1, 5000);
    memory_insert(stage.memory, early, item_sequence(early));
    assert_int_equal(stage_put(&stage, other, 1, 5000), 0);
    assert_int_equal(disk_put(stage.disk, stage.loop, early, 0), 0);
    assert_int_equal(stage_version(&stage, 1), 1);
    assert_int_equal(stage_version(&stage, other), 1);

    struct item *old = stage_item(&stage, 1, 2, 5000), *new = stage_item(&stage, 1, 3, 5000);
    memory_insert(stage.memory, old, item_sequence(old));
    memory_insert(stage.memory, new, item_sequence(new));
    assert_int_equal(disk_put(stage.disk, stage.loop, new, 0), 0);
    assert_int_equal(disk_put(stage.disk, stage.loop, old, 0), E_CHANGED);
    assert_true(stage_version(&stage, 1) == 3 || stage_version(&stage, 1) == E_MISSING);
    assert_int_equal(disk_put(stage.disk, stage.loop, new, 0), 0);
    assert_int_equal(stage_version(&stage, 1), 3);
    item_unref(&early);
    item_unref(&old);
    item_unref(&new);
    assert_int_equal(stage_close(&stage), 0);
    assert_int_equal(stage_open(&stage), 0);
    stage_settle(&stage);
    assert_int_equal(stage_version(&stage, 1), 3);
    assert_int_equal(stage_version(&stage, other), 1);
    assert_int_equal(stage_close(&stage), 0);
    finish(&stage);
}

static void nothing(void *context, int result, struct item *item)
{
    (void)context;
    (void)result;
    (void)item;
    fail();
}

static void letting_go(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    assert_int_equal(stage_open(&stage), 0);
    stage_put(&stage, 1, 1, 262144);
    stage_settle(&stage);
    uint8_t buf[64];
    for (unsigned i = 0; i < 20; i++)
        disk_get_abandon(
            disk_get(stage.disk, stage.loop, stage_key(i % 2, buf), 0, UINT32_MAX, nothing, NULL));
    assert_int_equal(stage_close(&stage), 0); /* waits for the reads */
    finish(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_process_is_refused),
        cmocka_unit_test(put_get_every_length),
        cmocka_unit_test(parts),
        cmocka_unit_test(replace_and_remove),
        cmocka_unit_test(a_clean_stop_leaves_everything),
        cmocka_unit_test(a_crash_leaves_what_was_flushed),
        cmocka_unit_test(wraps),
        cmocka_unit_test(what_is_used_is_carried),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(foreign_files_are_left_alone),
        cmocka_unit_test(damaged_superblocks),
        cmocka_unit_test(sizes),
        cmocka_unit_test(several_devices),
        cmocka_unit_test(admission),
        cmocka_unit_test(the_write_buffer_is_bounded),
        cmocka_unit_test(numbers_out_of_order),
        cmocka_unit_test(letting_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
