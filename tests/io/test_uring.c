/* What only the io_uring driver promises: auto takes it where its probe succeeds, and the hit path needs no
 * worker. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conformance.h"
#include "io/core.h"

enum io_choice conformance_driver(void)
{
    return IO_URING;
}

const char *conformance_driver_name(void)
{
    return "uring";
}

bool conformance_is_fake(void)
{
    return false;
}

/* Where direct I/O is more likely than in /tmp. */
const char *conformance_path(const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "/var/tmp/yata-uring-%d-%s", (int)getpid(), name);
    return path;
}

static void test_auto_takes_it(void **state)
{
    (void)state;
    struct io *io;
    struct io_report report;
    assert_int_equal(io_create(&io, &(struct io_config){.choice = IO_AUTO}, &report), 0);
    assert_int_equal(report.chosen, IO_URING);
    assert_string_equal(io_driver_name(io), "uring");
    assert_true(strlen(report.reason) > 0);
    assert_int_equal(io_destroy(io), 0);
}

/* Threads that the kernel made for operations that it could not do without blocking. */
static unsigned workers(void)
{
    unsigned count = 0;
    const struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], name[20] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fgets(name, sizeof name, file) != NULL && strncmp(name, "iou-", 4) == 0)
            count++;
        fclose(file);
    }
    closedir(tasks);
    return count;
}

static void test_streams_need_no_worker(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    char got[4];
    rig_open(&rig);
    unsigned before = workers(); /* maybe of the probe's read, on a file system that can't do without */
    pair_open(&rig, &client, &server);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(send_whole(&rig, client, "ping", 4), 4);
        assert_int_equal(recv_whole(&rig, server, got, 4), 4);
        assert_int_equal(send_whole(&rig, server, "pong", 4), 4);
        assert_int_equal(recv_whole(&rig, client, got, 4), 4);
    }
    socket_close(&rig, client);
    socket_close(&rig, server);
    assert_true(workers() <= before);
    rig_close(&rig);
}

/* ---- what may wait in the kernel is not done by the loop's thread ---- */

/* What the kernel has charged this thread with, which is what it has submitted itself. False: it does not
 * count. */
static bool charged(const char *name, uint64_t *bytes)
{
    char line[100];
    FILE *file = fopen("/proc/thread-self/io", "re");
    if (file == NULL)
        return false;
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
        if (found)
            *bytes = strtoull(line + strlen(name) + 1, NULL, 10);
    }
    fclose(file);
    return found;
}

#define BLOCK 4096u
#define BLOCKS 2000u
#define DEVICE (IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT | IO_OPEN_DEVICE)

/* A write to a file moves its time of modification, for which a file system may wait for its journal. */
static void test_files_are_written_by_others(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t before, after;
    rig_open(&rig);
    uint8_t *data = aligned_alloc(BLOCK, 64 * BLOCK);
    memset(data, 'x', 64 * BLOCK);
    struct io_handle file = file_open(&rig, conformance_path("written"), DEVICE);
    assert_int_equal(unlink(conformance_path("written")), 0);
    assert_int_equal(file_write(&rig, file, data, 64 * BLOCK, 0), 64 * BLOCK);
    bool counts =
        charged("write_bytes", &before); /* by what the kernel does not hand on by itself: overwriting */
    assert_int_equal(file_write(&rig, file, data, 64 * BLOCK, 0), 64 * BLOCK);
    if (counts) {
        assert_true(charged("write_bytes", &after));
        assert_int_equal(after, before);
    }
    file_close(&rig, file);
    rig_close(&rig);
    free(data);
    if (!counts)
        skip();
}

struct reads {
    struct rig rig;
    struct io_handle file;
    uint8_t *data;
    unsigned room; /* how many the disk's queue takes of us */
    struct probe probes[BLOCKS];
    struct iovec vectors[BLOCKS];
};

static void reads_open(struct reads *reads)
{
    struct stat status;
    rig_open(&reads->rig);
    reads->data = aligned_alloc(BLOCK, BLOCKS * BLOCK);
    memset(reads->data, 'x', BLOCKS * BLOCK);
    reads->file = file_open(&reads->rig, conformance_path("queue"), DEVICE);
    assert_int_equal(file_write(&reads->rig, reads->file, reads->data, BLOCKS * BLOCK, 0), BLOCKS * BLOCK);
    assert_int_equal(stat(conformance_path("queue"), &status), 0);
    assert_int_equal(unlink(conformance_path("queue")), 0);
    reads->room = disk_queue_room(status.st_dev);
    assert_in_range(reads->room, 1, BLOCKS / 2);
}

static void reads_start(struct reads *reads, struct rig *rig, unsigned from, unsigned end)
{
    for (unsigned i = from; i < end; i++) {
        reads->vectors[i] = (struct iovec){reads->data + (size_t)i * BLOCK, BLOCK};
        io_file_read(rig->loop, probe_start(rig, &reads->probes[i]), reads->file, &reads->vectors[i], 1,
            (uint64_t)i * BLOCK);
    }
}

static void reads_wait(struct reads *reads, unsigned from, unsigned end)
{
    for (unsigned i = from; i < end; i++)
        assert_int_equal(probe_wait(&reads->probes[i]), BLOCK);
}

static void reads_close(struct reads *reads)
{
    file_close(&reads->rig, reads->file);
    rig_close(&reads->rig);
    free(reads->data);
}

/* No more reads are submitted than the disk's queue takes without making the next one wait. */
static void test_full_queue_takes_no_more(void **state)
{
    (void)state;
    static struct reads reads;
    uint64_t before, after;
    reads_open(&reads);
    reads_start(&reads, &reads.rig, 0, 8); /* what runs for the first time may itself have to be read */
    reads_wait(&reads, 0, 8);
    bool counts = charged("read_bytes", &before);
    reads_start(&reads, &reads.rig, 0, BLOCKS);
    if (counts) {
        assert_true(charged("read_bytes", &after));
        assert_in_range(after - before, 0, (uint64_t)reads.room * BLOCK);
    }
    reads_wait(&reads, 0, BLOCKS);
    reads_close(&reads);
    if (!counts)
        skip();
}

/* A loop that is not turned holds all places of the queue: another goes on all the same. */
static void test_full_queue_stops_no_other_loop(void **state)
{
    (void)state;
    static struct reads reads;
    reads_open(&reads);
    struct rig other = reads.rig;
    assert_int_equal(io_loop_create(other.io, &other.loop), 0);
    reads_start(&reads, &reads.rig, 0, BLOCKS / 2);
    reads_start(&reads, &other, BLOCKS / 2, BLOCKS);
    reads_wait(&reads, BLOCKS / 2, BLOCKS);
    assert_int_equal(io_loop_destroy(other.loop, 0), 0);
    reads_wait(&reads, 0, BLOCKS / 2);
    reads_close(&reads);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_auto_takes_it),
        cmocka_unit_test(test_streams_need_no_worker), cmocka_unit_test(test_files_are_written_by_others),
        cmocka_unit_test(test_full_queue_takes_no_more),
        cmocka_unit_test(test_full_queue_stops_no_other_loop)};
    struct io *io;
    struct io_report report;
    if (io_create(&io, &(struct io_config){.choice = IO_URING}, &report) != 0) {
        printf("skipped: %s\n", report.reason);
        return 77;
    }
    if (io_destroy(io) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
