/*
 * What is not ours, or not any more: files and partitions with something else on them, things that are no
 * files, a newer format, another geometry, a file cut short. Each is refused and not touched, or begun anew
 * and told so. Real files; a loop device where there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/superblock.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)
#define SUPERBLOCK_SEED UINT64_C(0x9a1f0c6e5b3d7284) /* as in superblock.c */

static void begin(struct stage *stage)
{
    stage_init(stage, 40 * MIB);
}

static void finish(struct stage *stage)
{
    if (stage->io != NULL)
        assert_int_equal(io_destroy(stage->io), 0);
    unlink(stage->config.devices[0].path);
}

static const char *path_of(const struct stage *stage)
{
    return stage->config.devices[0].path;
}

static int open_it(const struct stage *stage)
{
    int fd = open(path_of(stage), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void write_at(const struct stage *stage, const void *bytes, size_t len, off_t at)
{
    int fd = open_it(stage);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

/* Of all bytes and the size. */
static uint64_t digest(const struct stage *stage)
{
    int fd = open(path_of(stage), O_RDONLY);
    assert_true(fd >= 0);
    XXH3_state_t *hash = XXH3_createState();
    uint8_t *block = malloc(MIB);
    XXH3_64bits_reset(hash);
    for (ssize_t got; (got = read(fd, block, MIB)) > 0;)
        XXH3_64bits_update(hash, block, (size_t)got);
    uint64_t sum = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    free(block);
    close(fd);
    return sum;
}

/* Opening says no, and says so; nothing has changed, and the tier does without. */
static void refused(struct stage *stage)
{
    uint64_t before = digest(stage);
    unsigned said = stage->events[DISK_EVENT_REFUSED];
    assert_true(stage_open(stage) < 0);
    assert_int_equal(stage->events[DISK_EVENT_REFUSED], said + 1);
    assert_int_equal(stage_put(stage, 1, 1, 100), E_UNSUPPORTED);
    assert_int_equal(stage_version(stage, 1), E_MISSING);
    assert_int_equal(stage_close(stage), 0);
    assert_true(digest(stage) == before);
}

/* Opens, holds nothing, works. */
static void begun_anew(struct stage *stage)
{
    assert_int_equal(stage_open(stage), 0);
    stage_settle(stage);
    assert_int_equal(stage_stats(stage).items, 0);
    for (unsigned key = 0; key < 30; key++)
        assert_int_equal(stage_version(stage, key), E_MISSING);
    assert_int_equal(stage_put(stage, 1, 9, 70000), 0);
    assert_int_equal(stage_flush(stage), 0);
    assert_int_equal(stage_version(stage, 1), 9);
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(stage_open(stage), 0);
    assert_int_equal(stage_version(stage, 1), 9);
    assert_int_equal(stage_close(stage), 0);
}

static void make_ours(struct stage *stage)
{
    assert_int_equal(stage_open(stage), 0);
    for (unsigned key = 0; key < 30; key++)
        assert_int_equal(stage_put(stage, key, 1, 100000), 0);
    assert_int_equal(stage_remove(stage, 3), 0);
    assert_int_equal(stage_close(stage), 0);
}

/* ---- files ---- */

static void files_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *bytes;
        off_t at;
        off_t size;
    } rows[] = {
        {"a text", "dear diary", 0, 10},
        {"a picture", "\xff\xd8\xff\xe0", 0, 300000},
        {"as long as two superblocks", "#!/bin/sh", 0, 8192},
        {"as long, and empty at first", "x", 700, 8192},
        {"a longer one of zeroes", "", 0, 8193},
        {"a large one of zeroes", "", 0, 64 << 20},
        {"an ext4 image", "\x53\xef", 1080, 64 << 20},
        {"a Btrfs image", "_BHRfS_M", 65600, 64 << 20},
        {"nearly ours", "YATADISX", 0, 64 << 20},
    };
    struct stage stage;
    begin(&stage);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_at(&stage, rows[i].bytes, strlen(rows[i].bytes), rows[i].at);
        assert_int_equal(truncate(path_of(&stage), rows[i].size), 0);
        refused(&stage);
        struct stat now;
        assert_int_equal(stat(path_of(&stage), &now), 0);
        assert_int_equal(now.st_size, rows[i].size);
        unlink(path_of(&stage));
    }
    finish(&stage);
}

static void not_files(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    char target[220];
    snprintf(target, sizeof target, "%s-target", path_of(&stage));
    int fd = open(target, O_RDWR | O_CREAT, 0600);
    assert_int_equal(symlink(target, path_of(&stage)), 0);
    refused(&stage);
    struct stat now;
    assert_int_equal(fstat(fd, &now), 0);
    assert_int_equal(now.st_size, 0);
    close(fd);
    unlink(target);
    unlink(path_of(&stage));
    assert_int_equal(mkdir(path_of(&stage), 0700), 0);
    assert_true(stage_open(&stage) < 0);
    assert_int_equal(stage_close(&stage), 0);
    assert_int_equal(rmdir(path_of(&stage)), 0);
    assert_int_equal(mkfifo(path_of(&stage), 0600), 0);
    assert_true(stage_open(&stage) < 0);
    assert_int_equal(stage_close(&stage), 0);
    assert_int_equal(stage.events[DISK_EVENT_REFUSED], 3);
    finish(&stage);
}

static void a_newer_format(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    make_ours(&stage);
    uint8_t copy[SUPERBLOCK_BYTES];
    for (unsigned i = 0; i < SUPERBLOCK_COPIES; i++) {
        int fd = open_it(&stage);
        assert_int_equal(pread(fd, copy, sizeof copy, i * SUPERBLOCK_BYTES), sizeof copy);
        close(fd);
        copy[8] = SUPERBLOCK_VERSION + 1;
        uint64_t sum = XXH3_64bits_withSeed(copy, SUPERBLOCK_BYTES - 8, SUPERBLOCK_SEED);
        memcpy(copy + SUPERBLOCK_BYTES - 8, &sum, 8);
        write_at(&stage, copy, sizeof copy, i * SUPERBLOCK_BYTES);
        refused(&stage); /* one copy is enough */
    }
    finish(&stage);
}

/* A superblock of ours that says what the file is not: written by hand, for a larger and for a smaller one.
 */
static void another_geometry(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {36 * MIB, 60 * MIB, 3000 * MIB};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct stage stage;
        begin(&stage);
        make_ours(&stage);
        struct superblock block;
        uint8_t copy[SUPERBLOCK_BYTES];
        assert_int_equal(superblock_plan(&block, sizes[i], 65536), 0);
        block.hash_seed = 5;
        block.counter = 1000;
        block.epoch = 1000;
        block.dead_below = 1;
        block.generation_bound = 1000000;
        superblock_encode(&block, copy);
        write_at(&stage, copy, sizeof copy, 0);
        if (block.segment_bytes > MIB) {
            refused(&stage); /* not four of its segments fit in the configured size */
        } else {
            assert_int_equal(stage_open(&stage), 0); /* nothing of the other one passes its checks */
            stage_settle(&stage);
            for (unsigned key = 0; key < 30; key++)
                assert_int_equal(stage_version(&stage, key), E_MISSING);
            assert_int_equal(stage_put(&stage, 1, 9, 70000), 0);
            assert_int_equal(stage_version(&stage, 1), 9);
            assert_int_equal(stage_close(&stage), 0);
        }
        finish(&stage);
    }
}

static void cut_short(void **state)
{
    (void)state;
    static const off_t lens[] = {0, 4096, 8192, 65536, 1 << 20, 5 << 20, 39 << 20};
    for (unsigned i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct stage stage;
        begin(&stage);
        make_ours(&stage);
        assert_int_equal(truncate(path_of(&stage), lens[i]), 0);
        begun_anew(&stage);
        finish(&stage);
    }
    struct stage stage; /* not even one copy: nobody can say what it was */
    begin(&stage);
    make_ours(&stage);
    assert_int_equal(truncate(path_of(&stage), 4000), 0);
    refused(&stage);
    finish(&stage);
}

/* ---- partitions ---- */

/* A loop device over a file of that size; its number, or -1 where there are none. */
static int loop_attach(const char *file, off_t size, char *path, size_t path_len)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
    if (control >= 0)
        close(control);
    snprintf(path, path_len, "/dev/loop%d", number);
    int loop = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (loop < 0)
        return -1;
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct loop_config config = {.fd = (uint32_t)fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR}; /* ends with us */
    bool ok = fd >= 0 && ftruncate(fd, size) == 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0;
    if (fd >= 0)
        close(fd);
    if (ok)
        return loop;
    close(loop);
    return -1;
}

static void partitions(void **state)
{
    (void)state;
    static const struct {
        const char *bytes; /* NULL: nothing there */
        off_t at;
    } rows[] = {{"\x53\xef", 1080}, {"_BHRfS_M", 65600}, {"backup", (40 << 20) - 512}, {NULL, 0}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        char file[220], path[64];
        begin(&stage);
        snprintf(file, sizeof file, "%s-loop", path_of(&stage));
        int loop = loop_attach(file, 40 << 20, path, sizeof path);
        if (loop < 0) {
            unlink(file);
            skip();
        }
        stage.config.devices[0] = (struct disk_device_config){path, 40 * MIB};
        if (rows[i].bytes != NULL) {
            write_at(&stage, rows[i].bytes, strlen(rows[i].bytes), rows[i].at);
            refused(&stage);
        } else {
            begun_anew(&stage);
        }
        assert_int_equal(io_destroy(stage.io), 0);
        close(loop);
        unlink(file);
    }
}

int main(void)
{
    if (stage_driver() == IO_FAKE)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_others), cmocka_unit_test(not_files),
        cmocka_unit_test(a_newer_format), cmocka_unit_test(another_geometry), cmocka_unit_test(cut_short),
        cmocka_unit_test(partitions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
