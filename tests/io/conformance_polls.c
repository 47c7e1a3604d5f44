/* Descriptors of another library: polls, cancel, and reuse of a number right after it. Real drivers only. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

static void make_pair(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void test_ready_and_waiting(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe reading, writing;
    int ends[2];
    rig_open(&rig);
    make_pair(ends);
    io_poll(rig.loop, probe_start(&rig, &writing), ends[0], IO_WRITABLE);
    io_poll(rig.loop, probe_start(&rig, &reading), ends[0], IO_READABLE);
    assert_int_equal(writing.done, 0);
    assert_int_equal(probe_wait(&writing), IO_WRITABLE);
    rig_idle(&rig, 5 * NS_PER_MS);
    assert_int_equal(reading.done, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(probe_wait(&reading), IO_READABLE);
    /* single-shot and level-triggered: the byte is still unread */
    io_poll(rig.loop, probe_start(&rig, &reading), ends[0], IO_READABLE | IO_WRITABLE);
    assert_true(probe_wait(&reading) & (IO_READABLE | IO_WRITABLE));
    close(ends[1]);
    io_poll(rig.loop, probe_start(&rig, &reading), ends[0], IO_READABLE);
    assert_true(probe_wait(&reading) & IO_READABLE);
    close(ends[0]);
    rig_close(&rig);
}

static void test_cancel(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe probe;
    int ends[2];
    rig_open(&rig);
    make_pair(ends);
    for (int flight = 0; flight < 2; flight++) {
        io_poll(rig.loop, probe_start(&rig, &probe), ends[0], IO_READABLE);
        if (flight > 0)
            rig_turn(&rig);
        io_cancel(rig.loop, &probe.op);
        assert_int_equal(probe.done, 0);
        assert_int_equal(probe_wait(&probe), -ECANCELED);
    }
    close(ends[0]);
    close(ends[1]);
    rig_close(&rig);
}

/* The other library cancels, closes and opens again within one turn and gets the same number: the old poll
 * must neither fire for the new descriptor nor keep the new one's from firing. */
static void test_number_is_reused_right_after_cancel(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe old, new;
    rig_open(&rig);
    for (int flight = 0; flight < 2; flight++) {
        int first[2], second[2];
        make_pair(first);
        io_poll(rig.loop, probe_start(&rig, &old), first[0], IO_READABLE);
        if (flight > 0)
            rig_turn(&rig);
        io_cancel(rig.loop, &old.op);
        close(first[0]);
        make_pair(second);
        assert_int_equal(second[0], first[0]);
        io_poll(rig.loop, probe_start(&rig, &new), second[0], IO_READABLE);
        rig_idle(&rig, 5 * NS_PER_MS);
        assert_int_equal(old.done, 1);
        assert_int_equal(old.result, -ECANCELED);
        assert_int_equal(new.done, 0);
        assert_int_equal(write(second[1], "x", 1), 1);
        assert_int_equal(probe_wait(&new), IO_READABLE);
        close(first[1]);
        close(second[0]);
        close(second[1]);
    }
    rig_close(&rig);
}

static void connect_foreign(int fd, const struct io_address *address)
{
    int result = connect(fd, (const struct sockaddr *)&address->storage, address->len);
    assert_true(result == 0 || errno == EINPROGRESS);
}

static void test_foreign_socket(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe polling, accepting;
    struct io_address address;
    char got = 0;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int round = 0; round < 3; round++) {
        int fd = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0);
        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        connect_foreign(fd, &address);
        io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_WRITABLE);
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        assert_int_equal(probe_wait(&polling), IO_WRITABLE);
        assert_true(probe_wait(&accepting) >= 0);
        io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_READABLE);
        assert_int_equal(send_whole(&rig, accepting.op.handle, "y", 1), 1);
        assert_int_equal(probe_wait(&polling), IO_READABLE);
        assert_int_equal(read(fd, &got, 1), 1);
        assert_int_equal(got, 'y');
        /* closing it ends the poll that is in flight; the peer sees the end */
        io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_READABLE);
        if (round > 0)
            rig_turn(&rig);
        io_foreign_close(rig.loop, fd);
        assert_int_equal(polling.done, 0);
        assert_int_equal(probe_wait(&polling), -ECANCELED);
        assert_int_equal(recv_whole(&rig, accepting.op.handle, &got, 1), 0);
        socket_close(&rig, accepting.op.handle);
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* The other library closes its socket without telling: whoever has the number then is served as ever. */
static void test_lost_socket(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe polling, accepting;
    struct io_address address;
    char got = 0;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (int round = 0; round < 4; round++) {
        int fd = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0);
        assert_true(fd >= 0);
        connect_foreign(fd, &address);
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        assert_true(probe_wait(&accepting) >= 0);
        socket_close(&rig, accepting.op.handle);
        io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_WRITABLE);
        assert_int_equal(probe_wait(&polling), IO_WRITABLE);
        assert_false(io_foreign_lost(rig.loop, fd));
        int other = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0); /* waits for the peer */
        connect_foreign(other, &address);
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        assert_true(probe_wait(&accepting) >= 0);
        io_poll(rig.loop, probe_start(&rig, &polling), other, IO_READABLE);
        if (round % 2 == 1)
            rig_turn(&rig);
        assert_int_equal(close(fd), 0);
        assert_int_equal(close(other), 0);
        int taken = round < 2 ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC); /* by another file */
        assert_true(io_foreign_lost(rig.loop, fd) && io_foreign_lost(rig.loop, other));
        struct probe next;
        int again = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0), first = taken < 0 ? fd : other;
        assert_true(again == first || again == other);
        connect_foreign(again, &address);
        io_poll(rig.loop, probe_start(&rig, &next), again, IO_WRITABLE);
        assert_int_equal(probe_wait(&polling), -ECANCELED);
        assert_int_equal(probe_wait(&next), IO_WRITABLE);
        socket_close(&rig, accepting.op.handle);
        io_accept(rig.loop, probe_start(&rig, &accepting), listener, NULL);
        assert_true(probe_wait(&accepting) >= 0);
        assert_int_equal(send_whole(&rig, accepting.op.handle, "z", 1), 1);
        io_poll(rig.loop, probe_start(&rig, &next), again, IO_READABLE);
        assert_int_equal(probe_wait(&next), IO_READABLE);
        assert_int_equal(read(again, &got, 1), 1);
        io_foreign_close(rig.loop, again);
        socket_close(&rig, accepting.op.handle);
        assert_true(taken < 0 || close(taken) == 0); /* it was nobody's here */
    }
    io_listener_close(rig.io, listener);
    rig_close(&rig);
}

/* Connection refused shows as ready, for the library to ask what happened. */
static void test_error_shows_as_ready(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct probe polling;
    struct io_address address;
    rig_open(&rig);
    int bound = refuse_here(&rig, &address);
    rig_turn(&rig);
    int fd = io_foreign_open(rig.loop, AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    connect_foreign(fd, &address);
    io_poll(rig.loop, probe_start(&rig, &polling), fd, IO_WRITABLE);
    assert_true(probe_wait(&polling) & IO_WRITABLE);
    int error = 0;
    socklen_t len = sizeof error;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    assert_int_equal(error, ECONNREFUSED);
    io_foreign_close(rig.loop, fd);
    close(bound);
    rig_close(&rig);
}

int run_polls(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_ready_and_waiting),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_number_is_reused_right_after_cancel),
        cmocka_unit_test(test_foreign_socket), cmocka_unit_test(test_lost_socket),
        cmocka_unit_test(test_error_shows_as_ready)};
    return cmocka_run_group_tests_name("polls", tests, NULL, NULL);
}
