/* Exhausted pools are values: receive buffers, the socket table. */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

/* With every buffer leased, receives wait in order and go on as buffers come back. */
static void test_receives_wait_for_buffers(void **state)
{
    (void)state;
    enum { PAIRS = 5, BUFFERS = 2 };
    struct rig rig;
    struct io_handle clients[PAIRS], servers[PAIRS];
    struct probe receiving[PAIRS];
    struct io_loop_stats stats;
    rig_open_with(&rig, (struct io_config){.buffer_count = BUFFERS, .buffer_bytes = 4096, .fake_seed = 2});
    for (int i = 0; i < PAIRS; i++) {
        pair_open(&rig, &clients[i], &servers[i]);
        assert_int_equal(send_whole(&rig, clients[i], &"0123456789"[i], 1), 1);
    }
    rig_idle(&rig, 10 * NS_PER_MS);
    for (int i = 0; i < PAIRS; i++)
        io_recv(rig.loop, probe_start(&rig, &receiving[i]), servers[i]);
    rig_idle(&rig, 10 * NS_PER_MS);
    int next = 0;
    for (int given = 0; given < PAIRS; given++) {
        int done = 0;
        for (int i = 0; i < PAIRS; i++)
            done += (int)receiving[i].done;
        assert_int_equal(done, given + BUFFERS < PAIRS ? given + BUFFERS : PAIRS);
        io_loop_stats(rig.loop, &stats);
        assert_int_equal(stats.buffers_leased, done - given);
        while (receiving[next].done == 0 || receiving[next].op.buffer == NULL) {
            next = (next + 1) % PAIRS;
        }
        assert_int_equal(receiving[next].result, 1);
        assert_int_equal(receiving[next].op.buffer[0], "0123456789"[next]);
        io_buffer_give(rig.loop, &receiving[next].op.buffer);
        rig_idle(&rig, 10 * NS_PER_MS);
    }
    for (int i = 0; i < PAIRS; i++) {
        assert_int_equal(receiving[i].done, 1);
        socket_close(&rig, clients[i]);
        socket_close(&rig, servers[i]);
    }
    rig_close(&rig);
}

/* First come, first served. */
static void test_waiting_is_in_order(void **state)
{
    (void)state;
    enum { WAITING = 4 };
    struct rig rig;
    struct io_handle clients[WAITING + 1], servers[WAITING + 1];
    struct probe receiving[WAITING + 1];
    rig_open_with(&rig, (struct io_config){.buffer_count = 1, .fake_seed = 7});
    for (int i = 0; i <= WAITING; i++) {
        pair_open(&rig, &clients[i], &servers[i]);
        assert_int_equal(send_whole(&rig, clients[i], "x", 1), 1);
        io_recv(rig.loop, probe_start(&rig, &receiving[i]), servers[i]);
        rig_idle(&rig, 5 * NS_PER_MS);
    }
    for (int i = 0; i <= WAITING; i++) {
        rig_idle(&rig, 5 * NS_PER_MS);
        for (int k = 0; k <= WAITING; k++)
            assert_int_equal(receiving[k].done, k <= i ? 1 : 0);
        io_buffer_give(rig.loop, &receiving[i].op.buffer);
    }
    for (int i = 0; i <= WAITING; i++) {
        socket_close(&rig, clients[i]);
        socket_close(&rig, servers[i]);
    }
    rig_close(&rig);
}

/* A receive that waits for a buffer can be cancelled and closed like any other. */
static void test_cancel_while_waiting_for_a_buffer(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle clients[3], servers[3];
    struct probe holding, cancelled, closed, closing;
    rig_open_with(&rig, (struct io_config){.buffer_count = 1, .fake_seed = 3});
    for (int i = 0; i < 3; i++) {
        pair_open(&rig, &clients[i], &servers[i]);
        assert_int_equal(send_whole(&rig, clients[i], "x", 1), 1);
    }
    io_recv(rig.loop, probe_start(&rig, &holding), servers[0]);
    assert_int_equal(probe_wait(&holding), 1);
    io_recv(rig.loop, probe_start(&rig, &cancelled), servers[1]);
    io_recv(rig.loop, probe_start(&rig, &closed), servers[2]);
    rig_idle(&rig, 10 * NS_PER_MS);
    assert_int_equal(cancelled.done + closed.done, 0);
    io_cancel(rig.loop, &cancelled.op);
    assert_int_equal(probe_wait(&cancelled), -ECANCELED);
    io_close(rig.loop, probe_start(&rig, &closing), servers[2]);
    assert_int_equal(probe_wait(&closing), 0);
    assert_int_equal(closed.result, -ECANCELED);
    io_buffer_give(rig.loop, &holding.op.buffer);
    /* the byte of the cancelled one is still there */
    char got;
    assert_int_equal(recv_whole(&rig, servers[1], &got, 1), 1);
    socket_close(&rig, servers[0]);
    socket_close(&rig, servers[1]);
    for (int i = 0; i < 3; i++)
        socket_close(&rig, clients[i]);
    rig_close(&rig);
}

/* Buffers go round many times; a slow holder does not stop the others. */
static void test_buffers_go_round(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe held;
    char byte = 'b';
    rig_open_with(&rig, (struct io_config){.buffer_count = 3, .buffer_bytes = 512, .fake_seed = 4});
    pair_open(&rig, &client, &server);
    assert_int_equal(send_whole(&rig, client, "a", 1), 1);
    io_recv(rig.loop, probe_start(&rig, &held), server);
    assert_int_equal(probe_wait(&held), 1);
    for (int i = 0; i < 300; i++) {
        char got = 0;
        assert_int_equal(send_whole(&rig, client, &byte, 1), 1);
        assert_int_equal(recv_whole(&rig, server, &got, 1), 1);
        assert_int_equal(got, 'b');
    }
    assert_int_equal(held.op.buffer[0], 'a');
    io_buffer_give(rig.loop, &held.op.buffer);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

static void test_socket_capacity(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe connecting, accepting;
    struct io_address address;
    rig_open_with(&rig, (struct io_config){.socket_capacity = 2, .fake_seed = 5});
    struct io_handle listener = listen_here(&rig, &address);
    for (int round = 0; round < 3; round++) {
        pair_open(&rig, &client, &server);
        io_connect(rig.loop, probe_start(&rig, &connecting), &address);
        assert_int_equal(connecting.done, 0);
        assert_int_equal(probe_wait(&connecting), E_EXHAUSTED);
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        assert_int_equal(probe_wait(&accepting), E_EXHAUSTED);
        socket_close(&rig, client);
        socket_close(&rig, server);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* Connections come and go far more often than there are slots and generations stay apart. */
static void test_slots_are_reused(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server, first = IO_HANDLE_NONE;
    rig_open_with(&rig, (struct io_config){.socket_capacity = 4, .fake_seed = 6});
    for (int round = 0; round < 200; round++) {
        pair_open(&rig, &client, &server);
        if (round == 0)
            first = client;
        else
            assert_false(client.index == first.index && client.generation == first.generation);
        socket_close(&rig, server);
        socket_close(&rig, client);
    }
    rig_close(&rig);
}

int run_pools(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_receives_wait_for_buffers),
        cmocka_unit_test(test_waiting_is_in_order), cmocka_unit_test(test_cancel_while_waiting_for_a_buffer),
        cmocka_unit_test(test_buffers_go_round), cmocka_unit_test(test_socket_capacity),
        cmocka_unit_test(test_slots_are_reused)};
    return cmocka_run_group_tests_name("pools", tests, NULL, NULL);
}
