/* Files: open, read, write, vectors, ends, sync, sizes, many at once, close; disk operations can't be
 * cancelled. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "conformance.h"

#define READ_WRITE (IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE)

static struct io_file_info stat_of(struct rig *rig, struct io_handle file)
{
    struct io_file_info info;
    struct probe probe;
    memset(&info, 0xff, sizeof info);
    io_file_stat(rig->loop, probe_start(rig, &probe), file, &info);
    assert_int_equal(probe_wait(&probe), 0);
    return info;
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct rig rig;
    struct probe syncing;
    uint8_t data[10000], got[sizeof data];
    rig_open(&rig);
    pattern_fill(data, sizeof data, 9);
    struct io_handle file = file_open(&rig, conformance_path("plain"), READ_WRITE);
    assert_int_equal(stat_of(&rig, file).size_bytes, 0);
    assert_int_equal(file_write(&rig, file, data, sizeof data, 5), sizeof data);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 5), sizeof got);
    assert_memory_equal(got, data, sizeof data);
    io_file_sync(rig.loop, probe_start(&rig, &syncing), file);
    assert_int_equal(probe_wait(&syncing), 0);
    struct iovec parts[2] = {{data + 5000, 5000}, {data, 5000}};
    io_file_write_sync(rig.loop, probe_start(&rig, &syncing), file, parts, 2, 5);
    assert_int_equal(probe_wait(&syncing), sizeof data);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 5), sizeof got);
    assert_memory_equal(got, data + 5000, 5000);
    assert_memory_equal(got + 5000, data, 5000);
    memcpy(data, got, sizeof data);
    struct io_file_info info = stat_of(&rig, file);
    assert_int_equal(info.size_bytes, sizeof data + 5);
    assert_true(info.regular && !info.directory && !info.block_device);
    file_close(&rig, file);
    /* what was written is there for the next that opens it */
    file = file_open(&rig, conformance_path("plain"), IO_OPEN_READ | IO_OPEN_REGULAR);
    memset(got, 0, sizeof got);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 5), sizeof got);
    assert_memory_equal(got, data, sizeof data);
    file_close(&rig, file);
    rig_close(&rig);
}

static void test_end_of_file(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t data[1000], got[3000];
    rig_open(&rig);
    pattern_fill(data, sizeof data, 2);
    struct io_handle file = file_open(&rig, conformance_path("short"), READ_WRITE);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 0), 0);
    assert_int_equal(file_write(&rig, file, data, sizeof data, 0), sizeof data);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 0), 1000);
    assert_memory_equal(got, data, 1000);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 999), 1);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 1000), 0);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 1 << 30), 0);
    file_close(&rig, file);
    rig_close(&rig);
}

static void test_vectors(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    enum { PART = 700 };
    uint8_t data[IO_VECTOR_MAX * PART], got[sizeof data];
    struct iovec parts[IO_VECTOR_MAX];
    rig_open(&rig);
    pattern_fill(data, sizeof data, 4);
    struct io_handle file = file_open(&rig, conformance_path("vectors"), READ_WRITE);
    for (unsigned i = 0; i < IO_VECTOR_MAX; i++)
        parts[i] = (struct iovec){data + i * PART, PART};
    io_file_write(rig.loop, probe_start(&rig, &probe), file, parts, IO_VECTOR_MAX, 0);
    assert_int_equal(probe_wait(&probe), sizeof data);
    for (unsigned i = 0; i < IO_VECTOR_MAX; i++)
        parts[i] = (struct iovec){got + i * PART, PART};
    io_file_read(rig.loop, probe_start(&rig, &probe), file, parts, IO_VECTOR_MAX, 0);
    assert_int_equal(probe_wait(&probe), sizeof data);
    assert_memory_equal(got, data, sizeof data);
    /* short in the middle of the vector */
    for (unsigned i = 0; i < IO_VECTOR_MAX; i++)
        parts[i] = (struct iovec){got + i * PART, PART};
    memset(got, 0, sizeof got);
    io_file_read(rig.loop, probe_start(&rig, &probe), file, parts, IO_VECTOR_MAX, 1234);
    assert_int_equal(probe_wait(&probe), sizeof data - 1234);
    assert_memory_equal(got, data + 1234, sizeof data - 1234);
    file_close(&rig, file);
    rig_close(&rig);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct rig rig;
    struct probe opening;
    rig_open(&rig);
    assert_int_equal(file_open_result(&rig, conformance_path("absent"), IO_OPEN_READ), -ENOENT);
    io_open(rig.loop, probe_start(&rig, &opening), conformance_path("absent"), IO_OPEN_READ);
    probe_wait(&opening);
    assert_false(io_handle_valid(opening.op.handle));
    rig_close(&rig);
}

static void test_wrong_direction(void **state)
{
    (void)state;
    struct rig rig;
    char byte = 0;
    rig_open(&rig);
    struct io_handle file = file_open(&rig, conformance_path("direction"), IO_OPEN_WRITE | IO_OPEN_CREATE);
    assert_int_equal(file_write(&rig, file, "abc", 3, 0), 3);
    assert_int_equal(file_read(&rig, file, &byte, 1, 0), -EBADF);
    file_close(&rig, file);
    file = file_open(&rig, conformance_path("direction"), IO_OPEN_READ);
    assert_int_equal(file_write(&rig, file, "abc", 3, 0), -EBADF);
    struct probe probe;
    io_file_write_sync(rig.loop, probe_start(&rig, &probe), file, &(struct iovec){&byte, 1}, 1, 0);
    assert_int_equal(probe_wait(&probe), -EBADF);
    assert_int_equal(file_read(&rig, file, &byte, 1, 0), 1);
    file_close(&rig, file);
    rig_close(&rig);
}

/* That fdatasync is called shows where there is none: a device takes the write and refuses the sync. */
static void test_write_sync_syncs(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip(); /* shown by power cuts there */
    struct rig rig;
    struct probe probe;
    char byte = 0;
    rig_open(&rig);
    struct io_handle file = file_open(&rig, "/dev/null", IO_OPEN_WRITE);
    assert_int_equal(file_write(&rig, file, &byte, 1, 0), 1);
    io_file_write_sync(rig.loop, probe_start(&rig, &probe), file, &(struct iovec){&byte, 1}, 1, 0);
    assert_int_equal(probe_wait(&probe), -EINVAL);
    file_close(&rig, file);
    rig_close(&rig);
}

static void test_stale_file(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    struct io_file_info info;
    char byte = 0;
    rig_open(&rig);
    struct io_handle file = file_open(&rig, conformance_path("stale"), READ_WRITE);
    file_close(&rig, file);
    assert_int_equal(file_read(&rig, file, &byte, 1, 0), -EBADF);
    assert_int_equal(file_write(&rig, file, &byte, 1, 0), -EBADF);
    io_file_write_sync(rig.loop, probe_start(&rig, &probe), file, &(struct iovec){&byte, 1}, 1, 0);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_file_stat(rig.loop, probe_start(&rig, &probe), file, &info);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_file_sync(rig.loop, probe_start(&rig, &probe), file);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_file_close(rig.loop, probe_start(&rig, &probe), file);
    assert_int_equal(probe_wait(&probe), -EBADF);
    assert_int_equal(file_read(&rig, IO_HANDLE_NONE, &byte, 1, 0), -EBADF);
    io_recv(rig.loop, probe_start(&rig, &probe), file);
    assert_int_equal(probe_wait(&probe), -EBADF);
    rig_close(&rig);
}

static void test_sizes(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    uint8_t data[8192], got[sizeof data];
    rig_open(&rig);
    memset(data, 0x55, sizeof data);
    struct io_handle file = file_open(&rig, conformance_path("sizes"), READ_WRITE);
    io_file_allocate(rig.loop, probe_start(&rig, &probe), file, 1 << 20);
    assert_int_equal(probe_wait(&probe), 0);
    assert_int_equal(stat_of(&rig, file).size_bytes, 1 << 20);
    assert_int_equal(file_write(&rig, file, data, sizeof data, 65536), sizeof data);
    io_file_discard(rig.loop, probe_start(&rig, &probe), file, 65536, 4096);
    if (probe_wait(&probe) >= 0) { /* a hint: where it worked, zeroes are read */
        assert_int_equal(file_read(&rig, file, got, sizeof got, 65536), sizeof got);
        for (unsigned i = 0; i < sizeof got; i++)
            assert_int_equal(got[i], i < 4096 ? 0 : 0x55);
    }
    assert_int_equal(stat_of(&rig, file).size_bytes, 1 << 20);
    io_file_truncate(rig.loop, probe_start(&rig, &probe), file, 65536 + 6000);
    assert_int_equal(probe_wait(&probe), 0);
    assert_int_equal(stat_of(&rig, file).size_bytes, 65536 + 6000);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 65536), 6000);
    /* growing again shows zeroes, not what was cut */
    io_file_truncate(rig.loop, probe_start(&rig, &probe), file, 65536 + 8192);
    assert_int_equal(probe_wait(&probe), 0);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 65536), 8192);
    assert_int_equal(got[5999], 0x55);
    assert_int_equal(got[6000], 0);
    assert_int_equal(got[8191], 0);
    file_close(&rig, file);
    rig_close(&rig);
}

/* Far more ops than any ring or queue holds, submitted in one go, each with its own answer. */
static void test_many_at_once(void **state)
{
    (void)state;
    enum { COUNT = 10000, BLOCK = 512 };
    struct rig rig;
    struct probe *probes = calloc(COUNT, sizeof *probes);
    struct iovec *parts = calloc(COUNT, sizeof *parts);
    uint8_t *data = malloc(COUNT * BLOCK), *got = calloc(COUNT, BLOCK);
    struct random random;
    random_init(&random, 11);
    rig_open(&rig);
    for (unsigned i = 0; i < COUNT * BLOCK; i++)
        data[i] = (uint8_t)random_next(&random);
    struct io_handle file = file_open(&rig, conformance_path("many"), READ_WRITE);
    assert_int_equal(file_write(&rig, file, data, COUNT * BLOCK, 0), COUNT * BLOCK);
    for (unsigned i = 0; i < COUNT; i++) {
        parts[i] = (struct iovec){got + i * BLOCK, BLOCK};
        io_file_read(rig.loop, probe_start(&rig, &probes[i]), file, &parts[i], 1, i * BLOCK);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(probe_wait(&probes[i]), BLOCK);
        assert_memory_equal(got + i * BLOCK, data + i * BLOCK, BLOCK);
    }
    /* and writes */
    for (unsigned i = 0; i < COUNT; i++) {
        parts[i] = (struct iovec){data + i * BLOCK, BLOCK};
        io_file_write(rig.loop, probe_start(&rig, &probes[i]), file, &parts[i], 1, (COUNT - 1 - i) * BLOCK);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(probe_wait(&probes[i]), BLOCK);
    assert_int_equal(file_read(&rig, file, got, COUNT * BLOCK, 0), COUNT * BLOCK);
    for (unsigned i = 0; i < COUNT; i++)
        assert_memory_equal(got + i * BLOCK, data + (COUNT - 1 - i) * BLOCK, BLOCK);
    file_close(&rig, file);
    rig_close(&rig);
    free(probes);
    free(parts);
    free(data);
    free(got);
}

/* A close waits for the ops that were submitted before it. */
static void test_close_waits_for_ops(void **state)
{
    (void)state;
    enum { COUNT = 50, BLOCK = 4096 };
    struct rig rig;
    struct probe reads[COUNT], closing;
    struct iovec parts[COUNT];
    uint8_t *memory = calloc(COUNT, BLOCK);
    rig_open(&rig);
    struct io_handle file = file_open(&rig, conformance_path("closing"), READ_WRITE);
    assert_int_equal(file_write(&rig, file, memory, COUNT * BLOCK, 0), COUNT * BLOCK);
    for (unsigned i = 0; i < COUNT; i++) {
        parts[i] = (struct iovec){memory + i * BLOCK, BLOCK};
        io_file_read(rig.loop, probe_start(&rig, &reads[i]), file, &parts[i], 1, i * BLOCK);
    }
    io_file_close(rig.loop, probe_start(&rig, &closing), file);
    assert_int_equal(probe_wait(&closing), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(reads[i].done, 1);
        assert_int_equal(reads[i].result, BLOCK);
        assert_true(reads[i].order < closing.order);
    }
    rig_close(&rig);
    free(memory);
}

/* io_cancel() of a disk operation has no effect, neither before it starts nor in flight. */
static void test_disk_operations_are_not_cancelled(void **state)
{
    (void)state;
    struct rig rig;
    struct probe first, second;
    uint8_t data[4096], got[2][4096];
    struct iovec parts[2] = {{got[0], 4096}, {got[1], 4096}};
    rig_open(&rig);
    pattern_fill(data, sizeof data, 7);
    struct io_handle file = file_open(&rig, conformance_path("cancelled"), READ_WRITE);
    struct iovec whole = {data, sizeof data};
    io_file_write(rig.loop, probe_start(&rig, &first), file, &whole, 1, 0);
    io_cancel(rig.loop, &first.op);
    assert_int_equal(probe_wait(&first), sizeof data);
    io_file_read(rig.loop, probe_start(&rig, &first), file, &parts[0], 1, 0);
    io_cancel(rig.loop, &first.op);
    io_file_read(rig.loop, probe_start(&rig, &second), file, &parts[1], 1, 0);
    rig.turning = true;
    io_loop_turn(rig.loop, 0);
    rig.turning = false;
    io_cancel(rig.loop, &second.op);
    io_cancel(rig.loop, &second.op);
    assert_int_equal(probe_wait(&first), 4096);
    assert_int_equal(probe_wait(&second), 4096);
    assert_memory_equal(got[0], data, 4096);
    assert_memory_equal(got[1], data, 4096);
    file_close(&rig, file);
    rig_close(&rig);
}

int run_files(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_end_of_file), cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_open_errors), cmocka_unit_test(test_wrong_direction),
        cmocka_unit_test(test_write_sync_syncs), cmocka_unit_test(test_stale_file),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_close_waits_for_ops), cmocka_unit_test(test_disk_operations_are_not_cancelled)};
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
