/* io/blocking.c: what boot and the log writer use. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#include "base/error.h"
#include "io/blocking.h"

static char directory[] = "/tmp/yata-blocking-XXXXXX";

static const char *path(const char *name)
{
    static char text[100];
    snprintf(text, sizeof text, "%s/%s", directory, name);
    return text;
}

static void put(const char *name, const char *content, size_t len)
{
    FILE *file = fopen(path(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void test_read_file(void **state)
{
    char *text;
    size_t len;
    (void)state;
    put("a", "key: 1\n", 7);
    assert_int_equal(io_read_file(path("a"), 7, &text, &len), 0);
    assert_int_equal(len, 7);
    assert_string_equal(text, "key: 1\n");
    free(text);
    assert_int_equal(io_read_file(path("a"), 6, &text, NULL), E_TOO_LARGE);
    assert_null(text);
    put("empty", "", 0);
    assert_int_equal(io_read_file(path("empty"), 0, &text, &len), 0);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(io_read_file(path("none"), 10, &text, &len), -ENOENT);
    assert_int_equal(io_read_file(directory, 10, &text, &len), -EISDIR);
}

static void test_read_large_file(void **state)
{
    enum { BYTES = 100001 };
    char *written = malloc(BYTES), *text;
    size_t len;
    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        written[i] = (char)(i * 7 + i / 256);
    put("large", written, BYTES);
    assert_int_equal(io_read_file(path("large"), BYTES, &text, &len), 0);
    assert_int_equal(len, BYTES);
    assert_memory_equal(text, written, BYTES);
    assert_int_equal(text[len], 0);
    free(text);
    assert_int_equal(io_read_file(path("large"), BYTES - 1, &text, &len), E_TOO_LARGE);
    free(written);
}

static void test_make_directory(void **state)
{
    (void)state;
    assert_int_equal(io_make_directory(path("d")), 0);
    assert_int_equal(io_make_directory(path("d")), 0);
    put("f", "x", 1);
    assert_int_equal(io_make_directory(path("f")), -ENOTDIR);
    assert_int_equal(io_make_directory(path("no/parent")), -ENOENT);
}

static void expect_content(const char *name, const char *content)
{
    char *text;
    assert_int_equal(io_read_file(path(name), 1000, &text, NULL), 0);
    assert_string_equal(text, content);
    free(text);
}

static void test_sink_rotates(void **state)
{
    struct io_sink *sink;
    char rotated[100];
    (void)state;
    assert_int_equal(io_sink_open(&sink, path("log")), 0);
    assert_int_equal(io_sink_write(sink, "one\n", 4), 0);
    snprintf(rotated, sizeof rotated, "%s", path("log.1"));
    assert_int_equal(rename(path("log"), rotated), 0);
    assert_int_equal(io_sink_write(sink, "two\n", 4), 0);
    assert_int_equal(io_sink_reopen(sink), 0);
    assert_int_equal(io_sink_write(sink, "three\n", 6), 0);
    io_sink_close(&sink);
    assert_null(sink);
    expect_content("log.1", "one\ntwo\n");
    expect_content("log", "three\n");
    assert_int_equal(io_sink_open(&sink, path("log")), 0); /* appends */
    assert_int_equal(io_sink_write(sink, "four\n", 5), 0);
    io_sink_close(&sink);
    io_sink_close(&sink);
    expect_content("log", "three\nfour\n");
}

static void test_sink_errors(void **state)
{
    struct io_sink *sink;
    (void)state;
    assert_int_equal(io_sink_open(&sink, path("no/parent")), -ENOENT);
    assert_null(sink);
    assert_int_equal(io_sink_open(&sink, "/dev/full"), 0);
    assert_int_equal(io_sink_write(sink, "x", 1), -ENOSPC);
    io_sink_close(&sink);
    assert_int_equal(io_sink_open(&sink, "stderr"), 0);
    assert_int_equal(io_sink_reopen(sink), 0);
    assert_int_equal(io_sink_write(sink, "", 0), 0);
    io_sink_close(&sink);
    assert_true(write(STDERR_FILENO, "", 0) == 0); /* still open */
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_file),
        cmocka_unit_test(test_read_large_file),
        cmocka_unit_test(test_make_directory),
        cmocka_unit_test(test_sink_rotates),
        cmocka_unit_test(test_sink_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
