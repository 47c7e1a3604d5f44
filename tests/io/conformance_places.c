/* Where a file may lie and who may open it: beneath a directory, no links, locks, O_DIRECT and where it is
 * not had. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conformance.h"

#define READ_WRITE (IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE)

static int64_t open_beneath(struct rig *rig, struct io_handle directory, const char *path, unsigned flags)
{
    struct probe opening;
    io_open_beneath(rig->loop, probe_start(rig, &opening), directory, path, flags);
    int64_t result = probe_wait(&opening);
    if (result >= 0)
        file_close(rig, opening.op.handle);
    return result;
}

/* dir/{file, sub/deep, link -> file, out -> /etc, up -> .., pipe} */
static void make_tree(const char *top)
{
    char command[1200];
    snprintf(command, sizeof command,
        "mkdir -p '%s/sub' && cd '%s' && echo hello > file && echo deep > sub/deep && ln -sf file link && "
        "ln -sfn /etc out && ln -sfn .. up && { test -p pipe || mkfifo pipe; }",
        top, top);
    assert_int_equal(system(command), 0);
}

static void test_open_beneath(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool opens;
    } rows[] = {{"file", true}, {"sub/deep", true}, {"link", false}, {"out/passwd", false},
        {"up/tree/file", false}, {"..", false}, {"../tree/file", false}, {"sub/../file", false},
        {"./file", false}, {"sub/./deep", false}, {"/etc/passwd", false}, {"/file", false}, {"", false},
        {"sub//deep", false}, {"sub/", false}, {".", false}, {"absent", false}, {"file/x", false},
        {"sub/absent", false}};
    struct rig rig;
    char top[400];
    rig_open(&rig);
    snprintf(top, sizeof top, "%s", conformance_path("tree"));
    if (!rig.fake) {
        make_tree(top);
    } else {
        char path[500];
        snprintf(path, sizeof path, "%s/file", top);
        file_close(&rig, file_open(&rig, path, READ_WRITE));
        snprintf(path, sizeof path, "%s/sub/deep", top);
        file_close(&rig, file_open(&rig, path, READ_WRITE));
    }
    struct io_handle directory = file_open(&rig, top, IO_OPEN_READ | IO_OPEN_DIRECTORY);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t result = open_beneath(&rig, directory, rows[i].path, IO_OPEN_READ | IO_OPEN_REGULAR);
        if ((result >= 0) != rows[i].opens)
            fail_msg("'%s' gave %s", rows[i].path, result < 0 ? error_text((int)result) : "a file");
    }
    file_close(&rig, directory);
    rig_close(&rig);
}

static void test_only_regular_files(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    char path[500];
    rig_open(&rig);
    snprintf(path, sizeof path, "%s", conformance_path("tree"));
    make_tree(path);
    unsigned flags = IO_OPEN_READ | IO_OPEN_REGULAR;
    assert_int_equal(file_open_result(&rig, path, flags), E_REFUSED);
    snprintf(path, sizeof path, "%s/pipe", conformance_path("tree"));
    assert_int_equal(file_open_result(&rig, path, flags), E_REFUSED); /* and does not hang on the pipe */
    assert_int_equal(file_open_result(&rig, "/dev/zero", flags), E_REFUSED);
    snprintf(path, sizeof path, "%s/link", conformance_path("tree"));
    assert_int_equal(file_open_result(&rig, path, flags | IO_OPEN_NOFOLLOW), -ELOOP);
    assert_int_equal(file_open_result(&rig, path, flags), 0);
    snprintf(path, sizeof path, "%s/file", conformance_path("tree"));
    assert_int_equal(file_open_result(&rig, path, flags | IO_OPEN_NOFOLLOW), 0);
    assert_int_equal(file_open_result(&rig, path, IO_OPEN_READ | IO_OPEN_DIRECTORY), -ENOTDIR);
    rig_close(&rig);
}

static void test_mode_of_created_files(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct stat status;
    rig_open(&rig);
    mode_t old = umask(0);
    struct io_handle file = file_open(&rig, conformance_path("mode"), READ_WRITE);
    umask(old);
    assert_int_equal(stat(conformance_path("mode"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    file_close(&rig, file);
    rig_close(&rig);
}

static void write_and_read_direct(struct rig *rig, const char *path, bool *direct)
{
    enum { LEN = 64 << 10 };
    struct probe probe;
    struct io_file_info info;
    uint8_t *data = aligned_alloc(4096, LEN), *got = aligned_alloc(4096, LEN);
    pattern_fill(data, LEN, 8);
    struct io_handle file =
        file_open(rig, path, READ_WRITE | IO_OPEN_DIRECT | IO_OPEN_DEVICE | IO_OPEN_REGULAR);
    io_file_stat(rig->loop, probe_start(rig, &probe), file, &info);
    assert_int_equal(probe_wait(&probe), 0);
    *direct = info.direct;
    io_file_allocate(rig->loop, probe_start(rig, &probe), file, 4 * LEN);
    assert_int_equal(probe_wait(&probe), 0);
    assert_int_equal(file_write(rig, file, data, LEN, LEN), LEN);
    assert_int_equal(file_read(rig, file, got, LEN, LEN), LEN);
    assert_memory_equal(got, data, LEN);
    struct iovec parts[2] = {{data, 8192}, {data + LEN - 4096, 4096}};
    io_file_write(rig->loop, probe_start(rig, &probe), file, parts, 2, 0);
    assert_int_equal(probe_wait(&probe), 8192 + 4096);
    assert_int_equal(file_read(rig, file, got, 8192 + 4096, 0), 8192 + 4096);
    assert_memory_equal(got, data, 8192);
    assert_memory_equal(got + 8192, data + LEN - 4096, 4096);
    /* up to and over the end */
    assert_int_equal(file_read(rig, file, got, LEN, 4 * LEN - 4096), 4096);
    assert_int_equal(file_read(rig, file, got, LEN, 4 * LEN), 0);
    file_close(rig, file);
    free(data);
    free(got);
}

static void test_direct(void **state)
{
    (void)state;
    struct rig rig;
    bool direct;
    rig_open(&rig);
    write_and_read_direct(&rig, conformance_path("direct"), &direct);
    if (rig.fake)
        assert_true(direct);
    rig_close(&rig);
}

/* Where O_DIRECT is not to be had the file is buffered, says so, and works. */
static void test_direct_falls_back(void **state)
{
    (void)state;
    if (conformance_is_fake() || access("/dev/shm", W_OK) != 0)
        skip();
    struct rig rig;
    bool direct;
    char path[100];
    rig_open(&rig);
    snprintf(path, sizeof path, "/dev/shm/yata-io-%d", (int)getpid());
    write_and_read_direct(&rig, path, &direct);
    unlink(path);
    rig_close(&rig);
}

/* A device's reads leave the time of access alone: moving it may wait for a journal. */
static void test_device_keeps_atime(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct stat status;
    uint8_t got[100];
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_nsec = UTIME_NOW}};
    rig_open(&rig);
    struct io_handle file = file_open(&rig, conformance_path("atime"), READ_WRITE | IO_OPEN_DEVICE);
    assert_int_equal(file_write(&rig, file, "some bytes", 10, 0), 10);
    assert_int_equal(utimensat(AT_FDCWD, conformance_path("atime"), times, 0), 0);
    assert_int_equal(file_read(&rig, file, got, sizeof got, 0), 10);
    file_close(&rig, file);
    assert_int_equal(stat(conformance_path("atime"), &status), 0);
    assert_int_equal(status.st_atime, 1000);
    rig_close(&rig);
}

int child_lock(const char *path)
{
    struct rig rig;
    rig_open(&rig);
    int64_t result = file_open_result(&rig, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_LOCK);
    rig_close(&rig);
    return result == 0 ? 0 : result == -EBUSY ? 16 : 1;
}

static void test_lock(void **state)
{
    (void)state;
    struct rig rig;
    char path[400];
    rig_open(&rig);
    snprintf(path, sizeof path, "%s", conformance_path("locked"));
    struct io_handle file = file_open(&rig, path, READ_WRITE | IO_OPEN_LOCK);
    if (rig.fake)
        assert_int_equal(file_open_result(&rig, path, IO_OPEN_READ | IO_OPEN_LOCK), -EBUSY);
    else
        assert_int_equal(child_run("lock", path), 16);
    file_close(&rig, file);
    if (rig.fake)
        assert_int_equal(file_open_result(&rig, path, IO_OPEN_READ | IO_OPEN_LOCK), 0);
    else
        assert_int_equal(child_run("lock", path), 0);
    rig_close(&rig);
}

int run_places(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_open_beneath),
        cmocka_unit_test(test_only_regular_files), cmocka_unit_test(test_mode_of_created_files),
        cmocka_unit_test(test_direct), cmocka_unit_test(test_direct_falls_back),
        cmocka_unit_test(test_device_keeps_atime), cmocka_unit_test(test_lock)};
    return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
