/* Cancel in every state: before it starts, in flight, at completion, after; and what a cancel must not lose.
 */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

enum moment { BEFORE, IN_FLIGHT, MOMENTS };

static void pass(struct rig *rig, enum moment moment)
{
    if (moment == IN_FLIGHT)
        for (int i = 0; i < 3; i++) {
            rig->turning = true;
            io_loop_turn(rig->loop, 0);
            rig->turning = false;
        }
}

static void expect_cancelled(struct rig *rig, struct probe *probe, enum moment moment)
{
    pass(rig, moment);
    assert_int_equal(probe->done, 0);
    io_cancel(rig->loop, &probe->op);
    io_cancel(rig->loop, &probe->op);
    assert_int_equal(probe->done, 0);
    assert_int_equal(probe_wait(probe), -ECANCELED);
    io_cancel(rig->loop, &probe->op);
    rig_turn(rig);
    assert_int_equal(probe->done, 1);
}

static void test_recv(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe probe;
    char got[4];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    for (int i = 0; i < MOMENTS; i++) {
        io_recv(rig.loop, probe_start(&rig, &probe), server);
        expect_cancelled(&rig, &probe, (enum moment)i);
        /* the socket goes on */
        assert_int_equal(send_whole(&rig, client, "next", 4), 4);
        assert_int_equal(recv_whole(&rig, server, got, 4), 4);
    }
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* A cancel that meets a completion loses no byte: either this receive has them, or the next. */
static void test_recv_at_completion(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe probe;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    for (uint8_t i = 0; i < 50; i++) {
        io_recv(rig.loop, probe_start(&rig, &probe), server);
        pass(&rig, i % 2 == 0 ? IN_FLIGHT : BEFORE);
        assert_int_equal(send_whole(&rig, client, &i, 1), 1);
        io_cancel(rig.loop, &probe.op);
        int64_t result = probe_wait(&probe);
        if (result == -ECANCELED) {
            io_recv(rig.loop, probe_start(&rig, &probe), server);
            result = probe_wait(&probe);
        }
        assert_int_equal(result, 1);
        assert_int_equal(probe.op.buffer[0], i);
        io_buffer_give(rig.loop, &probe.op.buffer);
    }
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* The same where the bytes come from outside the loop: they and the cancel meet inside the system. */
static void test_recv_and_bytes_meet(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct io_handle end;
    struct probe probe;
    int ends[2];
    unsigned cancelled = 0;
    rig_open(&rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(io_adopt(rig.loop, ends[0], &end), 0);
    for (uint8_t i = 0; i < 100; i++) {
        io_recv(rig.loop, probe_start(&rig, &probe), end);
        pass(&rig, i % 4 < 3 ? IN_FLIGHT : BEFORE);
        if (i % 2 == 0)
            assert_int_equal(write(ends[1], &i, 1), 1);
        io_cancel(rig.loop, &probe.op);
        if (i % 2 == 1)
            assert_int_equal(write(ends[1], &i, 1), 1);
        if (probe_wait(&probe) == -ECANCELED) {
            cancelled++;
            assert_null(probe.op.buffer);
            io_recv(rig.loop, probe_start(&rig, &probe), end);
        }
        assert_int_equal(probe_wait(&probe), 1);
        assert_int_equal(probe.op.buffer[0], i);
        io_buffer_give(rig.loop, &probe.op.buffer);
    }
    assert_true(cancelled > 0);
    close(ends[1]);
    socket_close(&rig, end);
    rig_close(&rig);
}

static void test_accept(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int i = 0; i < MOMENTS; i++) {
        io_accept(rig.loop, probe_start(&rig, &probe), listener, NULL);
        expect_cancelled(&rig, &probe, (enum moment)i);
        assert_false(io_handle_valid(probe.op.handle));
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* A connection that arrives as its accept is cancelled is either accepted or waits for the next accept. */
static void test_accept_at_completion(void **state)
{
    (void)state;
    struct rig rig;
    struct probe accepting, connecting;
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int i = 0; i < 20; i++) {
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        pass(&rig, i % 2 == 0 ? IN_FLIGHT : BEFORE);
        io_connect(rig.loop, probe_start(&rig, &connecting), &address);
        if (i % 4 < 2)
            assert_int_equal(probe_wait(&connecting), 0);
        io_cancel(rig.loop, &accepting.op);
        if (probe_wait(&accepting) == -ECANCELED) {
            io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
            assert_true(probe_wait(&accepting) >= 0);
        }
        assert_int_equal(probe_wait(&connecting), 0);
        socket_close(&rig, accepting.op.handle);
        socket_close(&rig, connecting.op.handle);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* TEST-NET-1 (RFC 5737) answers nothing, or is unreachable at once. */
static void test_connect(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    struct io_address nowhere;
    rig_open(&rig);
    assert_int_equal(io_address_parse(&nowhere, "192.0.2.1", 9), 0);
    for (int i = 0; i < MOMENTS; i++) {
        io_connect(rig.loop, probe_start(&rig, &probe), &nowhere);
        pass(&rig, (enum moment)i);
        io_cancel(rig.loop, &probe.op);
        int64_t result = probe_wait(&probe);
        assert_true(result < 0);
        assert_false(io_handle_valid(probe.op.handle));
    }
    rig_close(&rig);
}

/* A connect to a live listener that is cancelled at once ends either way, and no socket leaks. */
static void test_connect_at_completion(void **state)
{
    (void)state;
    struct rig rig;
    struct probe connecting;
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int i = 0; i < 20; i++) {
        io_connect(rig.loop, probe_start(&rig, &connecting), &address);
        pass(&rig, i % 2 == 0 ? IN_FLIGHT : BEFORE);
        io_cancel(rig.loop, &connecting.op);
        int64_t result = probe_wait(&connecting);
        assert_true(result == 0 || result == -ECANCELED);
        if (result == 0)
            socket_close(&rig, connecting.op.handle);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

static void test_send(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe sending;
    static uint8_t data[1 << 20];
    struct iovec part = {data, sizeof data};
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    do { /* until one waits for room */
        io_send(rig.loop, probe_start(&rig, &sending), client, &part, 1, false);
        for (int i = 0; i < 5 && sending.done == 0; i++)
            rig_turn(&rig);
    } while (sending.done > 0);
    expect_cancelled(&rig, &sending, IN_FLIGHT);
    io_send(rig.loop, probe_start(&rig, &sending), client, &part, 1, false);
    expect_cancelled(&rig, &sending, BEFORE);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* A send that is cancelled before it starts says truly how much was taken. */
static void test_send_before_it_starts(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe sending;
    struct iovec part = {(char *)"abcd", 4};
    char got[5];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    io_send(rig.loop, probe_start(&rig, &sending), client, &part, 1, false);
    io_cancel(rig.loop, &sending.op);
    int64_t result = probe_wait(&sending);
    assert_true(result == 4 || result == -ECANCELED);
    assert_int_equal(send_whole(&rig, client, "E", 1), 1);
    size_t expected = result == 4 ? 5 : 1;
    assert_int_equal(recv_whole(&rig, server, got, expected), expected);
    assert_int_equal(got[expected - 1], 'E');
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

static _Atomic int runs, holding;
static _Atomic bool held;

static void work_once(struct io_op *op)
{
    runs++;
    op->result = 42;
}

static void work_held(struct io_op *op)
{
    holding++;
    while (held)
        usleep(1000);
    op->result = 1;
}

static void test_work(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    rig_open(&rig);
    runs = 0;
    io_work(rig.loop, probe_start(&rig, &probe), work_once);
    assert_int_equal(probe_wait(&probe), 42);
    assert_int_equal(runs, 1);
    io_work(rig.loop, probe_start(&rig, &probe), work_once);
    io_cancel(rig.loop, &probe.op);
    assert_int_equal(probe_wait(&probe), -ECANCELED);
    assert_int_equal(runs, 1);
    rig_close(&rig);
}

/* With every thread of the pool busy: what is queued is cancelled, what runs is not. */
static void test_work_queued_behind_others(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip(); /* work runs at an instant there */
    struct rig rig;
    struct probe running[2], queued;
    rig_open_with(&rig, (struct io_config){.work_threads = 2});
    runs = holding = 0;
    held = true;
    for (int i = 0; i < 2; i++)
        io_work(rig.loop, probe_start(&rig, &running[i]), work_held);
    while (holding < 2)
        rig_idle(&rig, NS_PER_MS);
    io_work(rig.loop, probe_start(&rig, &queued), work_once);
    rig_idle(&rig, 20 * NS_PER_MS);
    assert_int_equal(queued.done, 0);
    io_cancel(rig.loop, &running[0].op);
    io_cancel(rig.loop, &queued.op);
    assert_int_equal(probe_wait(&queued), -ECANCELED);
    assert_int_equal(running[0].done, 0);
    held = false;
    assert_int_equal(probe_wait(&running[0]), 1);
    assert_int_equal(probe_wait(&running[1]), 1);
    assert_int_equal(runs, 0);
    rig_close(&rig);
}

static void test_idle_op(void **state)
{
    (void)state;
    struct rig rig;
    struct io_op op;
    rig_open(&rig);
    io_op_init(&op, NULL);
    assert_false(io_op_busy(&op));
    io_cancel(rig.loop, &op);
    rig_turn(&rig);
    rig_close(&rig);
}

int run_cancel(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_recv),
        cmocka_unit_test(test_recv_at_completion), cmocka_unit_test(test_recv_and_bytes_meet),
        cmocka_unit_test(test_accept), cmocka_unit_test(test_accept_at_completion),
        cmocka_unit_test(test_connect), cmocka_unit_test(test_connect_at_completion),
        cmocka_unit_test(test_send), cmocka_unit_test(test_send_before_it_starts),
        cmocka_unit_test(test_work), cmocka_unit_test(test_work_queued_behind_others),
        cmocka_unit_test(test_idle_op)};
    return cmocka_run_group_tests_name("cancel", tests, NULL, NULL);
}
