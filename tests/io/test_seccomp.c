/*
 * Where io_uring is forbidden, as in most containers: uring asked for is a clear error, auto takes portable;
 * and portable never makes an io_uring call, shown by a filter that kills on one. Filters last, so each case
 * has its own process.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
/* after those that it needs */
#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "forbid.h"
#include "io/io.h"

/* Runs the case in a child; 0: as expected, 77: no seccomp here, 1000 + signal: killed. */
static int in_child(int (*run)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void expect(int result)
{
    if (result == 77)
        skip();
    assert_int_equal(result, 0);
}

static int refused(uint32_t action, const char *word)
{
    struct io *io;
    struct io_report report;
    if (!forbid_uring(action))
        return 77;
    if (io_create(&io, &(struct io_config){.choice = IO_URING}, &report) != E_UNSUPPORTED)
        return 1;
    if (report.chosen != IO_URING || strstr(report.reason, word) == NULL) {
        fprintf(stderr, "reason: %s\n", report.reason);
        return 2;
    }
    if (io_create(&io, &(struct io_config){.choice = IO_AUTO}, &report) != 0)
        return 3;
    if (report.chosen != IO_PORTABLE || strcmp(io_driver_name(io), "portable") != 0 ||
        strstr(report.reason, word) == NULL)
        return 4;
    return io_destroy(io) == 0 ? 0 : 5;
}

#ifdef HAVE_URING
#define WORD_EPERM "seccomp"
#define WORD_ENOSYS "no io_uring"
#else
#define WORD_EPERM "not built in"
#define WORD_ENOSYS "not built in"
#endif

static int run_eperm(void)
{
    return refused(SECCOMP_RET_ERRNO | EPERM, WORD_EPERM);
}

static int run_enosys(void)
{
    return refused(SECCOMP_RET_ERRNO | ENOSYS, WORD_ENOSYS);
}

static void test_forbidden(void **state)
{
    (void)state;
    expect(in_child(run_eperm));
}

static void test_hidden(void **state)
{
    (void)state;
    expect(in_child(run_enosys));
}

/* ---- a session of the portable driver ---- */

struct session {
    struct io_loop *loop;
    struct io_op op;
    bool done;
};

static void on_done(struct io_op *op)
{
    CONTAINER_OF(op, struct session, op)->done = true;
}

static struct io_op *again(struct session *session)
{
    session->done = false;
    io_op_init(&session->op, on_done);
    return &session->op;
}

static int64_t finish(struct session *session)
{
    uint64_t give_up = clock_monotonic_ns() + 60 * NS_PER_S;
    while (!session->done && clock_monotonic_ns() < give_up)
        io_loop_turn(session->loop, 20 * NS_PER_MS);
    return session->done ? session->op.result : -ETIMEDOUT;
}

static void double_it(struct io_op *op)
{
    op->result = 42;
}

static int use_streams(struct io *io, struct session *accepting, struct session *other)
{
    struct io_address address;
    struct io_handle listener;
    char byte = 'x';
    struct iovec part = {&byte, 1};
    if (io_address_parse(&address, "127.0.0.1", 0) != 0 || io_listen(io, &address, NULL, &listener) != 0 ||
        io_local_address(other->loop, listener, &address) != 0)
        return 10;
    io_accept(accepting->loop, again(accepting), listener, NULL);
    io_connect(other->loop, again(other), &address);
    if (finish(other) != 0 || finish(accepting) < 0)
        return 11;
    struct io_handle client = other->op.handle, server = accepting->op.handle;
    io_recv(accepting->loop, again(accepting), server);
    io_send(other->loop, again(other), client, &part, 1, false);
    if (finish(other) != 1 || finish(accepting) != 1)
        return 12;
    io_buffer_give(accepting->loop, &accepting->op.buffer);
    io_close(other->loop, again(other), client);
    io_close(accepting->loop, again(accepting), server);
    if (finish(other) != 0 || finish(accepting) != 0)
        return 13;
    io_listener_close(io, listener);
    return 0;
}

static int use_files(struct session *session)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    io_open(session->loop, again(session), "/proc/self/cmdline", IO_OPEN_READ);
    if (finish(session) < 0)
        return 20;
    struct io_handle file = session->op.handle;
    io_file_read(session->loop, again(session), file, &part, 1, 0);
    if (finish(session) != 1)
        return 21;
    io_file_close(session->loop, again(session), file);
    if (finish(session) != 0)
        return 22;
    io_work(session->loop, again(session), double_it);
    return finish(session) == 42 ? 0 : 23;
}

static int run_portable(void)
{
    struct io *io;
    struct io_report report;
    struct session sessions[2] = {{0}};
    if (!forbid_uring(SECCOMP_RET_KILL_PROCESS))
        return 77;
    if (io_create(&io, &(struct io_config){.choice = IO_PORTABLE}, &report) != 0 ||
        report.chosen != IO_PORTABLE)
        return 1;
    if (io_loop_create(io, &sessions[0].loop) != 0)
        return 2;
    sessions[1].loop = sessions[0].loop;
    int result = use_streams(io, &sessions[0], &sessions[1]);
    if (result == 0)
        result = use_files(&sessions[0]);
    if (result != 0)
        return result;
    if (io_loop_destroy(sessions[0].loop, 20 * NS_PER_S) != 0)
        return 3;
    return io_destroy(io) == 0 ? 0 : 4;
}

static void test_portable_makes_no_io_uring_call(void **state)
{
    (void)state;
    expect(in_child(run_portable));
}

/* The filter bites: without this the test above could not fail. */
static int run_bitten(void)
{
    if (!forbid_uring(SECCOMP_RET_KILL_PROCESS))
        return 77;
    syscall(SYS_io_uring_setup, 0, NULL);
    return 0;
}

static void test_the_filter_bites(void **state)
{
    (void)state;
    int result = in_child(run_bitten);
    if (result == 77)
        skip();
    assert_int_equal(result, 1000 + SIGSYS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_forbidden), cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_portable_makes_no_io_uring_call), cmocka_unit_test(test_the_filter_bites)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
