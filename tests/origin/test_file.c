/* The directory origin over real files: names, ranges, validators, what is no object, changes during a read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/file.h"
#include "rig.h"

static char folder[64];
static struct origin *origin;

static void path_of(char *path, size_t capacity, const char *name)
{
    assert_in_range(snprintf(path, capacity, "%s/%s", folder, name), 1, capacity - 1);
}

static void put(const char *name, size_t len, unsigned seed)
{
    char path[512];
    path_of(path, sizeof path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        fputc(rig_pattern(i, seed), file);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    static struct rig rig;
    char path[512], endpoint[128];
    const char *why;
    snprintf(folder, sizeof folder, "/tmp/yata-file-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(endpoint, sizeof endpoint, "file://%s/", folder);
    struct origin_config config = {.name = "files", .endpoint = endpoint};
    assert_int_equal(origin_create(&origin, &config, &why), 0);
    put("small.txt", 10, 1);
    put("empty", 0, 1);
    put("large.bin", 1000000, 1);
    put("a b+c%d&\xc3\xa4", 5, 1);
    path_of(path, sizeof path, "dir");
    assert_int_equal(mkdir(path, 0700), 0);
    put("dir/inner", 7, 1);
    path_of(path, sizeof path, "link");
    assert_int_equal(symlink("small.txt", path), 0);
    path_of(path, sizeof path, "out");
    assert_int_equal(symlink("/etc", path), 0);
    path_of(path, sizeof path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    rig_init(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    rig_deinit(*state);
    origin_destroy(origin);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void test_identity(void **state)
{
    (void)state;
    assert_string_equal(origin_kind(origin), "file");
    assert_true(bytes_equal(origin_identity_endpoint(origin), BYTES("file")));
    assert_true(bytes_equal(origin_identity_bucket(origin), bytes_of_string(folder)));
}

static void test_keys(void **state)
{
    static const struct {
        const char *key;
        int error;
        size_t len;
    } rows[] = {
        {"small.txt", 0, 10}, {"empty", 0, 0}, {"large.bin", 0, 1000000}, {"a b+c%d&\xc3\xa4", 0, 5},
        {"dir/inner", 0, 7}, {"nothing", E_MISSING, 0}, {"dir", E_MISSING, 0}, {"dir/", E_MISSING, 0},
        {"/small.txt", E_MISSING, 0}, {"dir//inner", E_MISSING, 0}, {"dir/./inner", E_MISSING, 0},
        {"dir/../small.txt", E_MISSING, 0}, {"../../etc/passwd", E_MISSING, 0}, {"..", E_MISSING, 0},
        {".", E_MISSING, 0}, {"small.txt/x", E_MISSING, 0}, {"link", E_MISSING, 0},
        {"out/passwd", E_MISSING, 0}, {"pipe", E_MISSING, 0}, /* and does not block */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct caught caught = {.take_max = i == 2 ? 100001 : 0};
        caught_run(&caught, *state, origin, rows[i].key);
        if (caught.fetch.error != rows[i].error || caught.len != rows[i].len)
            fail_msg("%s: %s, %zu bytes", rows[i].key, error_text(caught.fetch.error), caught.len);
        assert_int_equal(caught.fetch.status, rows[i].error == 0 ? 200 : 404);
        for (size_t at = 0; at < caught.len; at++)
            assert_int_equal(caught.bytes[at], rig_pattern(at, 1));
        caught_free(&caught);
    }
    struct caught long_name = {0};
    static char name[400];
    memset(name, 'n', sizeof name - 1);
    caught_run(&long_name, *state, origin, name);
    assert_int_equal(long_name.fetch.error, E_MISSING);
    struct caught version = {.fetch.request.version_id = BYTES("v")};
    caught_run(&version, *state, origin, "small.txt");
    assert_int_equal(version.fetch.error, E_MISSING);
}

static void test_head_and_conditions(void **state)
{
    struct caught head = {.fetch.request.head_only = true};
    caught_run(&head, *state, origin, "small.txt");
    assert_int_equal(head.fetch.error, 0);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content_length, 10);
    assert_int_equal(head.len, 0);
    assert_true(head.etag[0] == '"' && strlen(head.last_modified) == 29);
    assert_non_null(strstr(head.fields, "Content-Type: text/plain; charset=utf-8\n"));
    assert_non_null(strstr(head.fields, "Content-Length: 10\n"));
    assert_non_null(strstr(head.fields, head.etag));

    struct bytes etag = bytes_of_string(head.etag);
    struct caught same = {.fetch.request.if_none_match = etag};
    caught_run(&same, *state, origin, "small.txt");
    assert_int_equal(same.status, 304);
    assert_int_equal(same.len, 0);
    struct caught match = {.fetch.request = {.if_match = etag, .ranged = true, .first = 3, .last = 5}};
    caught_run(&match, *state, origin, "small.txt");
    assert_int_equal(match.status, 206);
    assert_int_equal(match.first, 3);
    assert_int_equal(match.last, 5);
    assert_int_equal(match.total, 10);
    assert_int_equal(match.len, 3);
    assert_int_equal(match.bytes[0], rig_pattern(3, 1));
    assert_non_null(strstr(match.fields, "Content-Range: bytes 3-5/10\n"));
    caught_free(&match);
    struct caught other = {.fetch.request.if_match = BYTES("\"x\"")};
    caught_run(&other, *state, origin, "small.txt");
    assert_int_equal(other.fetch.error, E_CHANGED);
    struct caught beyond = {.fetch.request = {.ranged = true, .first = 10, .last = 20}};
    caught_run(&beyond, *state, origin, "small.txt");
    assert_int_equal(beyond.fetch.error, -ERANGE);
    assert_int_equal(beyond.fetch.total, 10);
    assert_int_equal(beyond.fetch.status, 416);
    /* another version, another tag */
    put("small.txt", 10, 2);
    struct caught changed = {.fetch.request.if_match = etag};
    caught_run(&changed, *state, origin, "small.txt");
    assert_int_equal(changed.fetch.error, E_CHANGED);
}

/* A file that is written to, or cut, while its reader pauses: no byte of the new version goes out. */
static void test_changed_while_read(void **state)
{
    for (int way = 0; way < 2; way++) {
        struct rig *rig = *state;
        char path[512];
        put("large.bin", 1000000, 1);
        struct caught caught = {.take_max = 300000, .pause_ns = 50 * NS_PER_MS};
        caught_start(&caught, rig, origin, "large.bin");
        while (caught.len < 262144)
            io_loop_turn(rig->loop, NS_PER_MS);
        usleep(20000);
        path_of(path, sizeof path, "large.bin");
        if (way == 0) {
            int fd = open(path, O_WRONLY | O_CLOEXEC);
            assert_int_equal(pwrite(fd, "new bytes", 9, 900000), 9);
            close(fd);
        } else {
            assert_int_equal(truncate(path, 400000), 0);
        }
        caught_wait(&caught);
        assert_int_equal(caught.fetch.error, E_CHANGED);
        assert_in_range(caught.len, 262144, 800000);
        for (size_t at = 0; at < caught.len; at++)
            assert_int_equal(caught.bytes[at], rig_pattern(at, 1));
        caught_free(&caught);
    }
}

/* A file that is replaced by rename is read to its end: it is one version. */
static void test_replaced_while_read(void **state)
{
    struct rig *rig = *state;
    char path[512], other[512];
    struct caught caught = {0};
    caught_start(&caught, rig, origin, "large.bin");
    while (caught.len < 262144)
        io_loop_turn(rig->loop, 0);
    put("other", 1000, 2);
    path_of(path, sizeof path, "large.bin");
    path_of(other, sizeof other, "other");
    assert_int_equal(rename(other, path), 0);
    caught_wait(&caught);
    assert_int_equal(caught.fetch.error, 0);
    for (size_t at = 0; at < caught.len; at++)
        assert_int_equal(caught.bytes[at], rig_pattern(at, 1));
    caught_free(&caught);
}

static void test_cancel(void **state)
{
    struct caught rows[4] = {
        {.heads = 0}, {.cancel_at_head = true}, {.cancel_after = 1}, {.cancel_after = 1, .take_max = 1}};
    for (size_t i = 0; i < 4; i++) {
        caught_start(&rows[i], *state, origin, "large.bin");
        if (i == 0)
            origin_fetch_cancel(&rows[i].fetch);
        caught_wait(&rows[i]);
        assert_int_equal(rows[i].fetch.error, E_CANCELED);
        caught_free(&rows[i]);
    }
    assert_int_equal(counter_get(&origin_stats(origin)->in_flight), 0);
}

static void test_no_folder(void **state)
{
    struct origin *nowhere;
    const char *why;
    struct caught caught = {0};
    struct origin_config config = {.name = "nowhere", .endpoint = "file:///does/not/exist"};
    assert_int_equal(origin_create(&nowhere, &config, &why), 0);
    caught_run(&caught, *state, nowhere, "x");
    assert_int_equal(caught.fetch.error, E_UNREACHABLE);
    assert_int_equal(caught.fetch.status, 502);
    assert_non_null(strstr(rig_log(*state), "/does/not/exist"));
    origin_destroy(nowhere);
}

static void test_names_and_types(void **state)
{
    static const struct {
        const char *key, *type;
    } types[] = {
        {"a.txt", "text/plain; charset=utf-8"},
        {"A.JPG", "image/jpeg"},
        {"x/y.tar.gz", "application/gzip"},
        {"noext", "application/octet-stream"},
        {"dir.d/noext", "application/octet-stream"},
        {".", "application/octet-stream"},
        {"a.", "application/octet-stream"},
        {"a.unknown", "application/octet-stream"},
        {"", "application/octet-stream"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        assert_true(
            bytes_equal(file_content_type(bytes_of_string(types[i].key)), bytes_of_string(types[i].type)));
    assert_true(file_key_valid(BYTES("a/b/...")));
    assert_false(file_key_valid(BYTES("a\0b")));
    assert_false(file_key_valid(BYTES("")));
    char text[FILE_ETAG_MAX];
    struct writer w = writer_of(text, sizeof text);
    file_write_etag(UINT64_MAX, UINT64_MAX, UINT64_MAX, &w);
    assert_false(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_and_conditions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_while_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_while_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_folder, setup, teardown),
        cmocka_unit_test(test_names_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
