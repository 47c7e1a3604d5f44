/* The fake driver as a simulator: same seed, same run; faults, stalls, and what a loss of power leaves. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "conformance.h"
#include "io/fake.h"

#define BLOCK 4096
#define READ_WRITE (IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT | IO_OPEN_DEVICE)

/* This program is always the fake. */
enum io_choice conformance_driver(void)
{
    return IO_FAKE;
}

const char *conformance_driver_name(void)
{
    return "fake";
}

bool conformance_is_fake(void)
{
    return true;
}

const char *conformance_path(const char *name)
{
    return name;
}

static uint8_t *block_of(uint8_t value, size_t blocks)
{
    uint8_t *memory = aligned_alloc(BLOCK, blocks * BLOCK);
    assert_non_null(memory);
    memset(memory, value, blocks * BLOCK);
    return memory;
}

static void rig_open_seeded(struct rig *rig, uint64_t seed)
{
    rig_open_with(rig, (struct io_config){.fake_seed = seed});
}

static void allocate(struct rig *rig, struct io_handle file, uint64_t len, int64_t expected)
{
    struct probe probe;
    io_file_allocate(rig->loop, probe_start(rig, &probe), file, len);
    assert_int_equal(probe_wait(&probe), expected);
}

static int64_t sync_file(struct rig *rig, struct io_handle file)
{
    struct probe probe;
    io_file_sync(rig->loop, probe_start(rig, &probe), file);
    return probe_wait(&probe);
}

/* ---- order and clock ---- */

enum { RACERS = 40 };

static uint64_t run_of(uint64_t seed)
{
    struct rig rig;
    struct probe probes[RACERS];
    struct iovec part[RACERS];
    uint8_t *memory = block_of(1, 1);
    uint64_t print = 0;
    rig_open_seeded(&rig, seed);
    struct io_handle file = file_open(&rig, "racing", READ_WRITE);
    for (unsigned i = 0; i < RACERS; i++) {
        part[i] = (struct iovec){memory, BLOCK};
        io_file_write(rig.loop, probe_start(&rig, &probes[i]), file, &part[i], 1, (uint64_t)i * BLOCK);
    }
    for (unsigned i = 0; i < RACERS; i++)
        probe_wait(&probes[i]);
    for (unsigned i = 0; i < RACERS; i++)
        print = print * 1000003 + (probes[i].order - probes[0].order);
    print ^= io_now_ns(rig.loop);
    file_close(&rig, file);
    rig_close(&rig);
    free(memory);
    return print;
}

static void test_same_seed_same_run(void **state)
{
    (void)state;
    assert_true(run_of(1) == run_of(1));
    assert_true(run_of(2) == run_of(2));
    assert_true(run_of(1) != run_of(2));
}

static void test_clock_jumps(void **state)
{
    (void)state;
    struct rig rig;
    struct probe timer;
    rig_open_seeded(&rig, 1);
    uint64_t real = clock_monotonic_ns(), start = io_now_ns(rig.loop), wall = io_wall_ns(rig.loop);
    io_timer(rig.loop, probe_start(&rig, &timer), start + 86400 * NS_PER_S);
    while (timer.done == 0) {
        rig.turning = true;
        io_loop_turn(rig.loop, UINT64_MAX);
        rig.turning = false;
    }
    assert_int_equal(io_now_ns(rig.loop), start + 86400 * NS_PER_S);
    assert_int_equal(io_wall_ns(rig.loop), wall + 86400 * NS_PER_S);
    assert_true(clock_monotonic_ns() - real < 5 * NS_PER_S);
    fake_clock_set_wall(rig.io, 77);
    rig_turn(&rig);
    assert_in_range(io_wall_ns(rig.loop), 77, 77 + NS_PER_S);
    rig_close(&rig);
}

/* Two loops of one io, turned in alternation: each sees its timers on time. */
static void test_two_loops(void **state)
{
    (void)state;
    struct rig rig;
    struct io_loop *second;
    struct probe mine;
    struct probe theirs;
    rig_open_seeded(&rig, 1);
    assert_int_equal(io_loop_create(rig.io, &second), 0);
    uint64_t start = io_now_ns(rig.loop);
    io_timer(rig.loop, probe_start(&rig, &mine), start + 50);
    io_timer(second, probe_start(&rig, &theirs), start + 20);
    rig.turning = true;
    while (mine.done == 0) {
        io_loop_turn(rig.loop, UINT64_MAX);
        io_loop_turn(second, 0);
        if (theirs.done == 1 && mine.done == 0)
            assert_int_equal(io_now_ns(second), start + 20);
    }
    assert_int_equal(theirs.done, 1);
    assert_int_equal(io_loop_destroy(second, 0), 0);
    rig.turning = false;
    rig_close(&rig);
}

static void test_reset_on_demand(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe receiving[2];
    rig_open_seeded(&rig, 3);
    pair_open(&rig, &client, &server);
    io_recv(rig.loop, probe_start(&rig, &receiving[0]), client);
    io_recv(rig.loop, probe_start(&rig, &receiving[1]), server);
    fake_socket_reset(rig.loop, server);
    assert_int_equal(probe_wait(&receiving[0]), -ECONNRESET);
    assert_int_equal(probe_wait(&receiving[1]), -ECONNRESET);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* ---- faults ---- */

static void test_faults(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t *data = block_of(7, 1);
    rig_open_seeded(&rig, 1);
    struct io_handle file = file_open(&rig, "faulty", READ_WRITE),
                     other = file_open(&rig, "other", READ_WRITE);
    assert_int_equal(file_write(&rig, file, data, BLOCK, 0), BLOCK);
    fake_disk_fail(rig.io,
        &(struct fake_fault){.path = "faulty", .kinds = FAKE_READ, .error = -EIO, .skip = 1, .count = 2});
    static const int64_t expected[] = {BLOCK, -EIO, -EIO, BLOCK, BLOCK};
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(file_read(&rig, file, data, BLOCK, 0), expected[i]);
    fake_disk_fail(
        rig.io, &(struct fake_fault){
                    .path = "faulty", .kinds = FAKE_WRITE, .error = -ENOSPC, .offset = BLOCK, .len = 1});
    assert_int_equal(file_write(&rig, file, data, BLOCK, 0), BLOCK);
    assert_int_equal(file_write(&rig, file, data, BLOCK, BLOCK), -ENOSPC);
    assert_int_equal(file_write(&rig, file, data, BLOCK, 2 * BLOCK), BLOCK);
    assert_int_equal(file_write(&rig, other, data, BLOCK, BLOCK), BLOCK);
    fake_disk_heal(rig.io);
    assert_int_equal(file_write(&rig, file, data, BLOCK, BLOCK), BLOCK);
    fake_disk_fail(rig.io, &(struct fake_fault){.kinds = FAKE_SYNC | FAKE_OPEN, .error = -EROFS});
    assert_int_equal(sync_file(&rig, other), -EROFS);
    assert_int_equal(file_open_result(&rig, "other", READ_WRITE), -EROFS);
    file_close(&rig, file);
    file_close(&rig, other);
    rig_close(&rig);
    free(data);
}

static void test_stall_and_capacity(void **state)
{
    (void)state;
    struct rig rig;
    struct probe stalled;
    uint8_t *data = block_of(7, 1);
    struct iovec part = {data, BLOCK};
    rig_open_seeded(&rig, 1);
    struct io_handle file = file_open(&rig, "slow", READ_WRITE), other = file_open(&rig, "other", READ_WRITE);
    fake_disk_stall(rig.io, "slow", true);
    io_file_write(rig.loop, probe_start(&rig, &stalled), file, &part, 1, 0);
    assert_int_equal(file_write(&rig, other, data, BLOCK, 0), BLOCK);
    rig_idle(&rig, 60 * NS_PER_S);
    assert_int_equal(stalled.done, 0);
    fake_disk_stall(rig.io, "slow", false);
    assert_int_equal(probe_wait(&stalled), BLOCK);
    fake_disk_capacity(rig.io, 4 * BLOCK);
    allocate(&rig, file, 3 * BLOCK, 0);
    allocate(&rig, other, 2 * BLOCK, -ENOSPC);
    assert_int_equal(file_write(&rig, other, data, BLOCK, BLOCK), -ENOSPC);
    file_close(&rig, file);
    file_close(&rig, other);
    rig_close(&rig);
    free(data);
}

/* O_DIRECT's rule holds here more strictly than on most disks. */
static void test_alignment(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t *data = block_of(7, 2);
    rig_open_seeded(&rig, 1);
    struct io_handle file = file_open(&rig, "aligned", READ_WRITE);
    assert_int_equal(file_write(&rig, file, data, BLOCK, 512), -EINVAL);
    assert_int_equal(file_write(&rig, file, data, 512, 0), -EINVAL);
    assert_int_equal(file_write(&rig, file, data + 512, BLOCK, 0), -EINVAL);
    assert_int_equal(file_write(&rig, file, data, BLOCK, 0), BLOCK);
    assert_int_equal(file_read(&rig, file, data + 8, BLOCK, 0), -EINVAL);
    file_close(&rig, file);
    rig_close(&rig);
    free(data);
}

/* ---- the end of power and of processes ---- */

enum { BLOCKS = 16 };

/* Writes 1 everywhere and syncs, 2 everywhere without, has 3 everywhere in flight, cuts; counts what survives
 * where. */
static void cut_and_count(uint64_t seed, enum fake_cut cut, unsigned counts[4])
{
    struct rig rig, next;
    struct probe flying[BLOCKS];
    struct iovec part[BLOCKS];
    uint8_t *ones = block_of(1, BLOCKS), *twos = block_of(2, BLOCKS), *threes = block_of(3, BLOCKS);
    rig_open_seeded(&rig, seed);
    struct io_handle file = file_open(&rig, "device", READ_WRITE | IO_OPEN_LOCK);
    assert_int_equal(file_write(&rig, file, ones, BLOCKS * BLOCK, 0), BLOCKS * BLOCK);
    assert_int_equal(sync_file(&rig, file), 0);
    assert_int_equal(file_write(&rig, file, twos, BLOCKS * BLOCK, 0), BLOCKS * BLOCK);
    for (unsigned i = 0; i < BLOCKS; i++) {
        part[i] = (struct iovec){threes + i * BLOCK, BLOCK};
        io_file_write(rig.loop, probe_start(&rig, &flying[i]), file, &part[i], 1, (uint64_t)i * BLOCK);
    }
    struct fake_disk *disk = fake_disk_cut(rig.io, cut);
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_int_equal(probe_wait(&flying[i]), -EIO);
    assert_int_equal(file_read(&rig, file, twos, BLOCK, 0), -EIO);
    file_close(&rig, file);
    rig_close(&rig);

    rig_open_seeded(&next, seed + 1000);
    fake_disk_attach(next.io, disk);
    file = file_open(&next, "device", (READ_WRITE | IO_OPEN_LOCK) & ~(unsigned)IO_OPEN_CREATE);
    assert_int_equal(file_read(&next, file, ones, BLOCKS * BLOCK, 0), BLOCKS * BLOCK);
    for (unsigned i = 0; i < BLOCKS * BLOCK; i++) {
        assert_in_range(ones[i], 1, 3);
        assert_int_equal(ones[i], ones[i - i % 512]); /* sectors are whole */
        counts[ones[i]] += i % 512 == 0;
    }
    file_close(&next, file);
    rig_close(&next);
    free(ones);
    free(twos);
    free(threes);
}

static void test_power_cut(void **state)
{
    (void)state;
    unsigned counts[4] = {0};
    for (uint64_t seed = 0; seed < 60; seed++)
        cut_and_count(seed, FAKE_POWER, counts);
    assert_true(counts[1] > 100 && counts[2] > 100 && counts[3] > 100);
}

static void test_kill_loses_no_completed_write(void **state)
{
    (void)state;
    unsigned counts[4] = {0};
    for (uint64_t seed = 0; seed < 60; seed++)
        cut_and_count(seed, FAKE_KILL, counts);
    assert_int_equal(counts[1], 0);
    assert_true(counts[2] > 100 && counts[3] > 100);
}

/* The cut comes after the third operation: the third write has happened, the fourth has not. */
static void test_cut_after_an_operation(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t *ones = block_of(1, 1);
    uint64_t len;
    rig_open_seeded(&rig, 1);
    struct io_handle file = file_open(&rig, "device", READ_WRITE);
    allocate(&rig, file, 4 * BLOCK, 0);
    fake_disk_cut_after(rig.io, 3, FAKE_KILL);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(fake_disk_is_cut(rig.io), i == 3);
        assert_int_equal(file_write(&rig, file, ones, BLOCK, i * BLOCK), i < 3 ? BLOCK : -EIO);
    }
    file_close(&rig, file);
    struct fake_disk *disk = fake_disk_cut(rig.io, FAKE_POWER); /* has been: by the death of the process */
    rig_close(&rig);
    rig_open_seeded(&rig, 2);
    fake_disk_attach(rig.io, disk);
    const uint8_t *bytes = fake_disk_bytes(rig.io, "device", &len);
    assert_int_equal(len, 4 * BLOCK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bytes[i * BLOCK], i < 3 ? 1 : 0);
    rig_close(&rig);
    free(ones);
}

/* Cuts, and opens the rig again over what is left of the file, which has so many blocks. */
static const uint8_t *after_power_cut(
    struct rig *rig, struct io_handle file, const char *path, unsigned blocks)
{
    uint64_t len;
    struct fake_disk *disk = fake_disk_cut(rig->io, FAKE_POWER);
    file_close(rig, file);
    rig_close(rig);
    rig_open_seeded(rig, 1);
    fake_disk_attach(rig->io, disk);
    const uint8_t *bytes = fake_disk_bytes(rig->io, path, &len);
    assert_int_equal(len, blocks * BLOCK);
    return bytes;
}

/* A write with its sync: it is durable, and what had completed before it. Where the sync fails, that is not
 * said. */
static void test_write_sync_covers_both(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig rig;
        uint8_t *ones = block_of(1, 1);
        struct probe writing;
        struct iovec part = {ones, BLOCK};
        rig_open_seeded(&rig, seed);
        struct io_handle file = file_open(&rig, "synced", READ_WRITE);
        allocate(&rig, file, 4 * BLOCK, 0);
        assert_int_equal(file_write(&rig, file, ones, BLOCK, 0), BLOCK);
        io_file_write_sync(rig.loop, probe_start(&rig, &writing), file, &part, 1, BLOCK);
        assert_int_equal(probe_wait(&writing), BLOCK);
        struct fake_disk_counts counts;
        fake_disk_counts(rig.io, &counts);
        assert_int_equal(counts.writes, 2);
        assert_int_equal(counts.syncs, 1);
        assert_int_equal(file_write(&rig, file, ones, BLOCK, 2 * BLOCK), BLOCK);
        fake_disk_fail(rig.io, &(struct fake_fault){.kinds = FAKE_SYNC, .error = -EIO});
        io_file_write_sync(rig.loop, probe_start(&rig, &writing), file, &part, 1, 3 * BLOCK);
        assert_int_equal(probe_wait(&writing), -EIO);
        const uint8_t *bytes = after_power_cut(&rig, file, "synced", 4);
        assert_memory_equal(bytes, ones, BLOCK);
        assert_memory_equal(bytes + BLOCK, ones, BLOCK);
        lost += bytes[2 * BLOCK] == 0;
        rig_close(&rig);
        free(ones);
    }
    assert_true(lost > 0);
}

/* A sync covers what had completed when it was submitted, no more. */
static void test_sync_covers_what_completed_before(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig rig;
        struct probe syncing, late;
        uint8_t *ones = block_of(1, 1), *twos = block_of(2, 1);
        struct iovec part = {twos, BLOCK};
        rig_open_seeded(&rig, seed);
        struct io_handle file = file_open(&rig, "synced", READ_WRITE);
        allocate(&rig, file, 2 * BLOCK, 0);
        assert_int_equal(file_write(&rig, file, ones, BLOCK, 0), BLOCK);
        io_file_write(rig.loop, probe_start(&rig, &late), file, &part, 1, BLOCK);
        io_file_sync(rig.loop, probe_start(&rig, &syncing), file);
        assert_int_equal(probe_wait(&syncing), 0);
        assert_int_equal(probe_wait(&late), BLOCK);
        const uint8_t *bytes = after_power_cut(&rig, file, "synced", 2);
        assert_memory_equal(bytes, ones, BLOCK);
        lost += bytes[BLOCK] == 0;
        rig_close(&rig);
        free(ones);
        free(twos);
    }
    assert_true(lost > 5 && lost < 55);
}

static void test_flipped_bits_stay(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t len;
    uint8_t *data = block_of(9, 1);
    rig_open_seeded(&rig, 1);
    struct io_handle file = file_open(&rig, "flipped", READ_WRITE);
    assert_int_equal(file_write(&rig, file, data, BLOCK, 0), BLOCK);
    fake_disk_bytes(rig.io, "flipped", &len)[100] ^= 1;
    fake_disk_settle(rig.io, "flipped");
    assert_int_equal(file_read(&rig, file, data, BLOCK, 0), BLOCK);
    assert_int_equal(data[100], 8);
    assert_int_equal(data[99], 9);
    assert_null(fake_disk_bytes(rig.io, "absent", &len));
    struct fake_disk_counts counts;
    fake_disk_counts(rig.io, &counts);
    assert_int_equal(counts.reads, 1);
    assert_int_equal(counts.written_bytes, BLOCK);
    assert_int_equal(counts.in_flight, 0);
    file_close(&rig, file);
    rig_close(&rig);
    free(data);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_clock_jumps), cmocka_unit_test(test_two_loops),
        cmocka_unit_test(test_reset_on_demand), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_stall_and_capacity), cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_power_cut), cmocka_unit_test(test_kill_loses_no_completed_write),
        cmocka_unit_test(test_cut_after_an_operation),
        cmocka_unit_test(test_sync_covers_what_completed_before),
        cmocka_unit_test(test_write_sync_covers_both), cmocka_unit_test(test_flipped_bits_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
