/* Sockets as handles: listen, accept, connect, adopt, close, addresses, stale handles. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

static void test_accept_and_connect(void **state)
{
    (void)state;
    struct rig rig;
    struct probe accepting, connecting;
    struct io_address address, peer = {.len = 0}, local, far;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    io_accept(rig.loop, probe_start(&rig, &accepting), listener, &peer);
    io_connect(rig.loop, probe_start(&rig, &connecting), &address);
    assert_int_equal(probe_wait(&connecting), 0);
    assert_true(probe_wait(&accepting) >= 0);
    assert_int_equal(io_local_address(rig.loop, connecting.op.handle, &local), 0);
    assert_int_equal(io_local_address(rig.loop, accepting.op.handle, &far), 0);
    assert_int_equal(io_address_port(&peer), io_address_port(&local));
    assert_int_equal(io_address_port(&far), io_address_port(&address));
    assert_true(io_address_is_loopback(&peer));
    char text[IO_ADDRESS_TEXT];
    io_address_format(&peer, text);
    assert_int_equal(strncmp(text, "127.0.0.1:", 10), 0);
    socket_close(&rig, connecting.op.handle);
    socket_close(&rig, accepting.op.handle);
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

static void test_connect_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct probe connecting;
    struct io_address address;
    rig_open(&rig);
    int bound = refuse_here(&rig, &address);
    rig_turn(&rig);
    io_connect(rig.loop, probe_start(&rig, &connecting), &address);
    assert_int_equal(probe_wait(&connecting), -ECONNREFUSED);
    assert_false(io_handle_valid(connecting.op.handle));
    if (bound >= 0)
        close(bound);
    rig_close(&rig);
}

static void test_address_in_use(void **state)
{
    (void)state;
    struct rig rig;
    struct io_address address;
    rig_open(&rig);
    struct io_handle second, listener = listen_here(&rig, &address);
    assert_int_equal(io_listen(rig.io, &address, &(struct io_listen_options){0}, &second), -EADDRINUSE);
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct rig rig;
    struct probe accepting, connecting;
    struct io_address any, address, peer;
    struct io_handle listener;
    rig_open(&rig);
    assert_int_equal(io_address_parse(&any, "::1", 0), 0);
    int result = io_listen(rig.io, &any, &(struct io_listen_options){.ipv6_only = true}, &listener);
    if (result < 0) {
        rig_close(&rig);
        skip(); /* no IPv6 here */
    }
    assert_int_equal(io_local_address(rig.loop, listener, &address), 0);
    io_accept(rig.loop, probe_start(&rig, &accepting), listener, &peer);
    io_connect(rig.loop, probe_start(&rig, &connecting), &address);
    assert_int_equal(probe_wait(&connecting), 0);
    assert_true(probe_wait(&accepting) >= 0);
    assert_true(io_address_is_loopback(&peer));
    assert_int_equal(peer.storage.ss_family, AF_INET6);
    socket_close(&rig, connecting.op.handle);
    socket_close(&rig, accepting.op.handle);
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* Pausing is not submitting: connections wait in the backlog and none is lost. */
static void test_accept_pause(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct rig rig;
    struct probe connecting[COUNT], accepting[COUNT];
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (unsigned i = 0; i < COUNT; i++)
        io_connect(rig.loop, probe_start(&rig, &connecting[i]), &address);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(probe_wait(&connecting[i]), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        io_accept(rig.loop, probe_start(&rig, &accepting[i]), listener, NULL);
        assert_true(probe_wait(&accepting[i]) >= 0);
        rig_turn(&rig);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        socket_close(&rig, connecting[i].op.handle);
        socket_close(&rig, accepting[i].op.handle);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* Several accepts may wait on one listener; each takes one connection. */
static void test_many_accepts_in_flight(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct rig rig;
    struct probe connecting[COUNT], accepting[COUNT];
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (unsigned i = 0; i < COUNT; i++)
        io_accept(rig.loop, probe_start(&rig, &accepting[i]), listener, NULL);
    rig_turn(&rig);
    for (unsigned i = 0; i < COUNT; i++)
        io_connect(rig.loop, probe_start(&rig, &connecting[i]), &address);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(probe_wait(&connecting[i]), 0);
        assert_true(probe_wait(&accepting[i]) >= 0);
        socket_close(&rig, connecting[i].op.handle);
        socket_close(&rig, accepting[i].op.handle);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

static void test_listener_close_ends_accepts(void **state)
{
    (void)state;
    struct rig rig;
    struct probe before, waiting, after;
    struct io_address address;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    io_accept(rig.loop, probe_start(&rig, &waiting), listener, NULL);
    rig_turn(&rig);
    io_accept(rig.loop, probe_start(&rig, &before), listener, NULL);
    io_listener_close(rig.io, listener);
    io_accept(rig.loop, probe_start(&rig, &after), listener, NULL);
    assert_int_equal(probe_wait(&waiting), -ECANCELED);
    assert_int_equal(probe_wait(&before), -ECANCELED);
    assert_int_equal(probe_wait(&after), -EBADF);
    rig_close(&rig);
}

static void expect_stale(struct rig *rig, struct io_handle stale)
{
    struct probe probe;
    struct io_address address;
    struct iovec part = {(char *)"x", 1};
    io_recv(rig->loop, probe_start(rig, &probe), stale);
    assert_int_equal(probe.done, 0);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_send(rig->loop, probe_start(rig, &probe), stale, &part, 1, false);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_close(rig->loop, probe_start(rig, &probe), stale);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_linger(rig->loop, probe_start(rig, &probe), stale, NS_PER_S, 1000);
    assert_int_equal(probe_wait(&probe), -EBADF);
    io_accept(rig->loop, probe_start(rig, &probe), stale, NULL);
    assert_int_equal(probe_wait(&probe), -EBADF);
    assert_int_equal(io_shutdown_send(rig->loop, stale), -EBADF);
    assert_int_equal(io_local_address(rig->loop, stale, &address), -EBADF);
    assert_int_equal(io_unsent_bytes(rig->loop, stale), -EBADF);
}

static void test_stale_handles(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    socket_close(&rig, client);
    expect_stale(&rig, client);
    expect_stale(&rig, IO_HANDLE_NONE);
    expect_stale(&rig, (struct io_handle){.index = 1u << 20, .generation = 1});
    expect_stale(&rig, (struct io_handle){.index = (1u << 31) | 4000, .generation = 1});
    socket_close(&rig, server);
    /* a new socket in the same place has another generation */
    struct io_handle client2, server2;
    pair_open(&rig, &client2, &server2);
    expect_stale(&rig, client);
    expect_stale(&rig, server);
    socket_close(&rig, client2);
    socket_close(&rig, server2);
    rig_close(&rig);
}

/* The handle is stale from the call on, not from the callback on. */
static void test_close_makes_stale_at_once(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe closing, receiving;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    io_close(rig.loop, probe_start(&rig, &closing), client);
    io_recv(rig.loop, probe_start(&rig, &receiving), client);
    assert_int_equal(probe_wait(&receiving), -EBADF);
    assert_int_equal(probe_wait(&closing), 0);
    socket_close(&rig, server);
    rig_close(&rig);
}

static void test_adopt(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    int ends[2];
    char got[5];
    struct io_handle a, b;
    rig_open(&rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(io_adopt(rig.loop, ends[0], &a), 0);
    assert_int_equal(io_adopt(rig.loop, ends[1], &b), 0);
    assert_int_equal(send_whole(&rig, a, "hello", 5), 5);
    assert_int_equal(recv_whole(&rig, b, got, 5), 5);
    assert_memory_equal(got, "hello", 5);
    socket_close(&rig, a);
    assert_int_equal(recv_whole(&rig, b, got, 5), 0);
    socket_close(&rig, b);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    assert_int_equal(fcntl(ends[1], F_GETFD), -1);
    rig_close(&rig);
}

static void test_adopt_listener(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct io_address address;
    struct io_handle listener;
    struct probe accepting, connecting;
    rig_open(&rig);
    assert_int_equal(io_address_parse(&address, "127.0.0.1", 0), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address.storage, address.len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(io_adopt_listener(rig.io, fd, &listener), 0);
    assert_int_equal(io_local_address(rig.loop, listener, &address), 0);
    io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
    io_connect(rig.loop, probe_start(&rig, &connecting), &address);
    assert_int_equal(probe_wait(&connecting), 0);
    assert_true(probe_wait(&accepting) >= 0);
    socket_close(&rig, connecting.op.handle);
    socket_close(&rig, accepting.op.handle);
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

static void test_adopt_refuses_nonsense(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct io_handle handle;
    int pipes[2];
    rig_open(&rig);
    assert_int_equal(pipe(pipes), 0);
    assert_true(io_adopt(rig.loop, pipes[0], &handle) < 0);
    assert_true(io_adopt_listener(rig.io, pipes[0], &handle) < 0);
    assert_true(io_adopt(rig.loop, 1 << 20, &handle) < 0);
    /* a refused descriptor stays the caller's */
    assert_int_equal(close(pipes[0]), 0);
    assert_int_equal(close(pipes[1]), 0);
    rig_close(&rig);
}

int run_sockets(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_accept_and_connect),
        cmocka_unit_test(test_connect_refused), cmocka_unit_test(test_address_in_use),
        cmocka_unit_test(test_ipv6), cmocka_unit_test(test_accept_pause),
        cmocka_unit_test(test_many_accepts_in_flight), cmocka_unit_test(test_listener_close_ends_accepts),
        cmocka_unit_test(test_stale_handles), cmocka_unit_test(test_close_makes_stale_at_once),
        cmocka_unit_test(test_adopt), cmocka_unit_test(test_adopt_listener),
        cmocka_unit_test(test_adopt_refuses_nonsense)};
    return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
