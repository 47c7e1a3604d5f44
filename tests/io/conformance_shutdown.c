/* The end of a loop: what is in flight ends, what was left open is counted, a stalled disk op holds nobody
 * up. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"
#include "io/fake.h"

static void test_everything_in_flight(void **state)
{
    (void)state;
    struct rig rig;
    struct probe accepting, receiving, sending, timer, connecting, lingering, polling = {0};
    struct io_address address, nowhere;
    struct io_handle pairs[3][2];
    static uint8_t data[4 << 20];
    struct iovec part = {data, sizeof data};
    int fd = -1;
    unsigned descriptors = descriptors_open();
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int i = 0; i < 3; i++)
        pair_open(&rig, &pairs[i][0], &pairs[i][1]);
    io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
    io_recv(rig.loop, probe_start(&rig, &receiving), pairs[0][0]);
    io_send(rig.loop, probe_start(&rig, &sending), pairs[1][0], &part, 1, false);
    io_linger(rig.loop, probe_start(&rig, &lingering), pairs[2][0], 3600 * NS_PER_S, UINT64_MAX);
    io_timer(rig.loop, probe_start(&rig, &timer), UINT64_MAX);
    assert_int_equal(io_address_parse(&nowhere, "192.0.2.1", 9), 0);
    io_connect(rig.loop, probe_start(&rig, &connecting), &nowhere);
    if (!rig.fake) {
        fd = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0);
        io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_READABLE);
        io_foreign_close(rig.loop, fd);
    }
    rig_turn(&rig);
    rig.turning = true;
    int left = io_loop_destroy(rig.loop, NS_PER_S);
    rig.turning = false;
    assert_int_equal(left, 5); /* five ends were not closed; the lingering one closed itself */
    assert_int_equal(rig.started, rig.finished);
    assert_int_equal(accepting.result, -ECANCELED);
    assert_int_equal(receiving.result, -ECANCELED);
    assert_int_equal(timer.result, -ECANCELED);
    assert_int_equal(io_destroy(rig.io), 1); /* the listener */
    if (descriptors_return())
        assert_int_equal(descriptors_open(), descriptors);
}

static void submit_more(struct probe *probe)
{
    struct probe *next = probe->user;
    struct rig *rig = probe->rig;
    io_timer(rig->loop, probe_start(rig, next), 0);
}

/* Ops that are submitted by callbacks of the shutdown itself get their callback too. */
static void test_submitting_while_it_ends(void **state)
{
    (void)state;
    struct rig rig;
    struct probe timer, next;
    rig_open(&rig);
    io_timer(rig.loop, probe_start_then(&rig, &timer, submit_more, &next), UINT64_MAX);
    rig_close(&rig);
    assert_int_equal(timer.result, -ECANCELED);
    assert_int_equal(next.done, 1);
}

static void test_leaks_are_counted(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe receiving;
    conformance_path("leaked"); /* makes its directory */
    unsigned descriptors = descriptors_open();
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    assert_int_equal(send_whole(&rig, client, "x", 1), 1);
    io_recv(rig.loop, probe_start(&rig, &receiving), server);
    assert_int_equal(probe_wait(&receiving), 1);
    file_open(&rig, conformance_path("leaked"), IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE);
    assert_int_equal(io_loop_destroy(rig.loop, NS_PER_S), 3); /* two sockets, one buffer */
    assert_int_equal(io_destroy(rig.io), 1);                  /* one file */
    if (descriptors_return())
        assert_int_equal(descriptors_open(), descriptors); /* counted, and closed all the same */
}

/* Disk operations in flight are waited for. */
static void test_disk_operations_finish(void **state)
{
    (void)state;
    enum { COUNT = 200, BLOCK = 4096 };
    struct rig rig;
    struct probe writes[COUNT];
    struct iovec part[COUNT];
    static uint8_t data[BLOCK];
    rig_open(&rig);
    struct io_handle file = file_open(&rig, conformance_path("finishing"), IO_OPEN_WRITE | IO_OPEN_CREATE);
    for (unsigned i = 0; i < COUNT; i++) {
        part[i] = (struct iovec){data, BLOCK};
        io_file_write(rig.loop, probe_start(&rig, &writes[i]), file, &part[i], 1, i * BLOCK);
    }
    rig.turning = true;
    assert_int_equal(io_loop_destroy(rig.loop, 120 * NS_PER_S), 0);
    rig.turning = false;
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(writes[i].result, BLOCK);
    assert_int_equal(io_destroy(rig.io), 1); /* the file */
}

static _Atomic bool stuck_runs;

static void work_stuck(struct io_op *op)
{
    stuck_runs = true;
    op->result = 0;
    sleep(300);
}

/* In a process of its own, which ends without freeing, as the design says: the drain is bounded. */
int child_stall(void)
{
    struct rig rig;
    struct probe stuck;
    static char byte;
    static struct iovec part = {&byte, 1};
    rig_open(&rig);
    if (rig.fake) {
        struct io_handle file =
            file_open(&rig, "/fake/stalled", IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE);
        fake_disk_stall(rig.io, "/fake/stalled", true);
        io_file_write(rig.loop, probe_start(&rig, &stuck), file, &part, 1, 0);
    } else {
        io_work(rig.loop, probe_start(&rig, &stuck), work_stuck);
        while (!stuck_runs)
            rig_idle(&rig, NS_PER_MS);
    }
    rig_idle(&rig, 20 * NS_PER_MS);
    uint64_t start = clock_monotonic_ns();
    rig.turning = true;
    int left = io_loop_destroy(rig.loop, 200 * NS_PER_MS);
    uint64_t took = clock_monotonic_ns() - start;
    _exit(left == 1 && stuck.done == 0 && took < 60 * NS_PER_S ? 0 : 1);
}

static void test_stalled_disk_operation(void **state)
{
    (void)state;
    assert_int_equal(child_run("stall", NULL), 0);
}

int run_shutdown(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_everything_in_flight),
        cmocka_unit_test(test_submitting_while_it_ends), cmocka_unit_test(test_leaks_are_counted),
        cmocka_unit_test(test_disk_operations_finish), cmocka_unit_test(test_stalled_disk_operation)};
    return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
