/* The log ring: whole lines in order, cut lines, a full ring drops and counts, many producers, sleep and
 * wake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define CAPACITY ((size_t)64 << 10)

static char taken[256 << 10];

static size_t take(struct log *log, int wait_ms, uint64_t *dropped)
{
    return log_take(log, taken, sizeof taken, wait_ms, dropped);
}

static void test_lines_come_whole_and_in_order(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    assert_non_null(log);
    uint64_t dropped;
    for (int lap = 0; lap < 5000; lap++) { /* several laps, every wrap-around */
        char line[64];
        int len = snprintf(
            line, sizeof line, "%.*s%d\n", lap % 40, "........................................", lap);
        log_put(log, bytes_of(line, (size_t)len));
        log_put(log, BYTES("x\n"));
        size_t n = take(log, 0, &dropped);
        assert_int_equal(n, len + 2);
        assert_memory_equal(taken, line, (size_t)len);
        assert_memory_equal(taken + len, "x\n", 2);
        assert_int_equal(dropped, 0);
    }
    log_destroy(log);
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_DEBUG);
    uint64_t dropped;
    static char line[LOG_LINE_MAX + 100];
    memset(line, 'a', sizeof line);
    log_put(log, bytes_of(line, LOG_LINE_MAX));
    assert_int_equal(take(log, 0, &dropped), LOG_LINE_MAX);
    assert_int_equal(taken[LOG_LINE_MAX - 1], 'a');
    log_put(log, bytes_of(line, LOG_LINE_MAX + 1));
    assert_int_equal(take(log, 0, &dropped), LOG_LINE_MAX);
    assert_memory_equal(taken + LOG_LINE_MAX - 5, "a...\n", 5);
    log_text(log, LOG_INFO, "test", "%.*s", LOG_LINE_MAX, line);
    assert_int_equal(take(log, 0, &dropped), LOG_LINE_MAX);
    assert_memory_equal(taken + LOG_LINE_MAX - 5, "a...\n", 5);
    log_destroy(log);
}

static void test_full_ring_drops_and_counts(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    uint64_t dropped;
    unsigned fit = CAPACITY / 16; /* header and padded line */
    for (unsigned i = 0; i < fit + 7; i++)
        log_put(log, BYTES("1234567\n"));
    assert_int_equal(log_dropped(log), 7);
    assert_int_equal(take(log, 0, &dropped), fit * 8);
    assert_int_equal(dropped, 7);
    log_put(log, BYTES("again\n")); /* there is room again */
    assert_int_equal(take(log, 0, &dropped), 6);
    assert_int_equal(dropped, 0);
    assert_int_equal(log_dropped(log), 7);
    log_destroy(log);
}

static void test_small_buffer_takes_whole_lines_only(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    uint64_t dropped;
    static char line[5000];
    memset(line, 'b', sizeof line);
    log_put(log, bytes_of(line, sizeof line));
    log_put(log, bytes_of(line, sizeof line));
    assert_int_equal(log_take(log, taken, LOG_LINE_MAX, 0, &dropped), sizeof line);
    assert_int_equal(log_take(log, taken, LOG_LINE_MAX, 0, &dropped), sizeof line);
    assert_int_equal(log_take(log, taken, LOG_LINE_MAX, 0, &dropped), 0);
    log_destroy(log);
}

static void test_content_is_never_taken_for_a_header(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    uint64_t dropped;
    static char line[4096];
    for (size_t i = 0; i < sizeof line; i++)
        line[i] = i % 8 == 0 ? 8 : 0; /* what a header of a line of 8 bytes looks like */
    for (int i = 0; i < 200; i++) {
        log_put(log, bytes_of(line, sizeof line - (size_t)(i % 8) * 8));
        assert_int_equal(take(log, 0, &dropped), sizeof line - (size_t)(i % 8) * 8);
        assert_int_equal(take(log, 0, &dropped), 0);
    }
    log_destroy(log);
}

static void test_text(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_WARN);
    uint64_t dropped;
    log_text(NULL, LOG_ERROR, "test", "nothing happens");
    log_text(log, LOG_INFO, "test", "below the level");
    assert_int_equal(take(log, 0, &dropped), 0);
    log_text(log, LOG_WARN, "test", "%s %d", "a\nb\x7f", 5);
    size_t n = take(log, 0, &dropped);
    assert_int_equal(taken[n - 1], '\n');
    taken[n - 1] = 0;
    assert_string_equal(taken + 24, " warn test: a?b? 5");
    assert_true(log_enabled(log, LOG_ERROR) && log_enabled(log, LOG_WARN) && !log_enabled(log, LOG_INFO));
    assert_false(log_enabled(NULL, LOG_ERROR));
    log_destroy(log);
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } table[] = {
        {0, "1970-01-01T00:00:00.007Z"},
        {951782399, "2000-02-28T23:59:59.007Z"},
        {951782400, "2000-02-29T00:00:00.007Z"},
        {951868800, "2000-03-01T00:00:00.007Z"},
        {1798761599, "2026-12-31T23:59:59.007Z"},
        {4107542400, "2100-03-01T00:00:00.007Z"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[LOG_TIME_TEXT];
        assert_int_equal(log_time(text, table[i].seconds * NS_PER_S + 7 * NS_PER_MS), LOG_TIME_TEXT - 1);
        assert_string_equal(text, table[i].text);
    }
}

enum { PRODUCERS = 4, LINES = 20000 };

struct producer {
    struct log *log;
    unsigned number;
    pthread_t thread;
};

static void *produce(void *argument)
{
    struct producer *producer = argument;
    for (unsigned i = 0; i < LINES; i++) {
        char line[128];
        int len = snprintf(line, sizeof line, "%u %u %.*s\n", producer->number, i, (int)(i % 50),
            "--------------------------------------------------");
        log_put(producer->log, bytes_of(line, (size_t)len));
    }
    return NULL;
}

/* Every line is whole, in its producer's order, and taken or counted as dropped. */
static void test_many_producers(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    struct producer producers[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.log = log, .number = i};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    uint64_t lines = 0, dropped_all = 0, dropped;
    unsigned next[PRODUCERS] = {0};
    while (lines + dropped_all < (uint64_t)PRODUCERS * LINES) {
        size_t n = take(log, 1000, &dropped);
        dropped_all += dropped;
        for (char *at = taken, *end; at < taken + n; at = end + 1, lines++) {
            end = memchr(at, '\n', (size_t)(taken + n - at));
            assert_non_null(end);
            char *rest;
            unsigned long number = strtoul(at, &rest, 10), i = strtoul(rest, &rest, 10);
            assert_true(number < PRODUCERS && i >= next[number] && i < LINES);
            assert_int_equal(end - rest - 1, i % 50);
            next[number] = (unsigned)i + 1;
        }
    }
    assert_int_equal(lines + dropped_all, (uint64_t)PRODUCERS * LINES);
    assert_int_equal(dropped_all, log_dropped(log));
    for (unsigned i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    log_destroy(log);
}

static void *put_later(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    log_put(argument, BYTES("late\n"));
    return NULL;
}

static void *wake_later(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    log_wake(argument);
    return NULL;
}

static void test_sleep_and_wake(void **state)
{
    (void)state;
    struct log *log = log_create(CAPACITY, LOG_INFO);
    uint64_t dropped, before = clock_monotonic_ns();
    assert_int_equal(take(log, 20, &dropped), 0);
    assert_true(clock_monotonic_ns() - before >= 19 * NS_PER_MS);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_later, log), 0);
    assert_int_equal(take(log, -1, &dropped), 5);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, wake_later, log), 0);
    assert_int_equal(take(log, -1, &dropped), 0);
    pthread_join(thread, NULL);
    log_wake(log); /* before the take */
    assert_int_equal(take(log, -1, &dropped), 0);
    log_destroy(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_whole_and_in_order),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_full_ring_drops_and_counts),
        cmocka_unit_test(test_small_buffer_takes_whole_lines_only),
        cmocka_unit_test(test_content_is_never_taken_for_a_header),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_many_producers),
        cmocka_unit_test(test_sleep_and_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
