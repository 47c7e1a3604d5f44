/* What only the io_uring driver promises: auto takes it where its probe succeeds, and the hit path needs no
 * worker. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "conformance.h"

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

const char *conformance_path(const char *name)
{
    return name;
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_takes_it), cmocka_unit_test(test_streams_need_no_worker)};
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
