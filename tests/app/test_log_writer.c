/* The thread between ring and sink: what is put is written, dropped lines are told, a reader that does not
 * read blocks nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/log_writer.h"
#include "base/clock.h"
#include "io/blocking.h"

static char path[64];
static struct log *left; /* to a thread, as the program leaves it */

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/test_log_writer.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_lines_reach_the_file(void **state)
{
    (void)state;
    struct log *log = log_create(64 << 10, LOG_INFO);
    struct log_writer *writer;
    assert_int_equal(log_writer_start(&writer, log, path, false), 0);
    for (int i = 0; i < 500; i++)
        log_put(log, BYTES("line\n"));
    assert_int_equal(log_writer_errors(writer), 0);
    assert_true(log_writer_stop(&writer, 30 * NS_PER_S)); /* a write to a file may wait for its journal */
    assert_null(writer);
    char *text;
    size_t len;
    assert_int_equal(io_read_file(path, 1 << 20, &text, &len), 0);
    assert_int_equal(len, 2500);
    free(text);
    log_destroy(log);
}

static void test_missing_folder_is_an_error(void **state)
{
    (void)state;
    struct log *log = log_create(64 << 10, LOG_INFO);
    struct log_writer *writer = NULL;
    assert_true(log_writer_start(&writer, log, "/nonexistent/log", false) < 0);
    assert_null(writer);
    assert_true(log_writer_stop(&writer, 0));
    log_destroy(log);
}

/* A pipe that is full: putting goes on, lines are dropped and counted, stopping is bounded; once it is read,
 * whole lines come. */
static void test_blocked_reader(void **state)
{
    (void)state;
    char fifo[80];
    (void)snprintf(fifo, sizeof fifo, "%s.fifo", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_true(fcntl(reader, F_SETPIPE_SZ, 4096) >= 4096); /* less than the ring holds */
    struct log *log = left = log_create(64 << 10, LOG_INFO);
    struct log_writer *writer;
    assert_int_equal(log_writer_start(&writer, log, fifo, true), 0);
    char line[1000];
    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\n';
    uint64_t before = clock_monotonic_ns();
    while (log_dropped(log) < 100 && clock_monotonic_ns() - before < 10 * NS_PER_S)
        log_put(log, bytes_of(line, sizeof line));
    assert_true(log_dropped(log) >= 100);
    before = clock_monotonic_ns();
    assert_false(log_writer_stop(&writer, 100 * NS_PER_MS));
    assert_true(clock_monotonic_ns() - before < 10 * NS_PER_S);
    /* The detached thread goes on once somebody reads. */
    static char got[1 << 20];
    size_t len = 0;
    for (int tries = 0; tries < 4000 && len < sizeof got; tries++) {
        ssize_t n = read(reader, got + len, sizeof got - len);
        if (n > 0)
            len += (size_t)n;
        else
            usleep(5000);
        got[len] = 0;
        if (strstr(got, "\"dropped_lines\":"))
            break;
    }
    assert_true(len > sizeof line);
    assert_memory_equal(got, line, sizeof line);
    assert_non_null(strstr(got, "\"dropped_lines\":"));
    usleep(100000);
    /* The reader stays open: lines that were dropped in two lots are told of twice, and who writes to a pipe
     * without a reader is killed by it. */
    unlink(fifo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_reach_the_file, set_up, tear_down),
        cmocka_unit_test(test_missing_folder_is_an_error),
        cmocka_unit_test_setup_teardown(test_blocked_reader, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
