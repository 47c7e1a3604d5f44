/* io/folder.c: which files there are below a folder. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#include "base/error.h"
#include "io/folder.h"

static char root[] = "/tmp/yata-folder-XXXXXX";
static char all[1 << 16]; /* of a walk: sorted, a blank behind each */

static const char *path_of(const char *name)
{
    static char text[IO_FOLDER_PATH_MAX * 2];
    snprintf(text, sizeof text, "%s/%s", root, name);
    return text;
}

static void put(const char *name)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int walk(const char *from, const char *prefix)
{
    static char paths[100][IO_FOLDER_PATH_MAX + 1];
    struct io_folder *folder;
    unsigned budget = 100000;
    size_t count = 0;
    int result = io_folder_open(&folder, from, prefix);
    if (result < 0)
        return result;
    while (count < 100 && (result = io_folder_next(folder, paths[count], &budget)) > 0) {
        assert_int_equal(result, strlen(paths[count]));
        count++;
    }
    io_folder_close(&folder);
    assert_null(folder);
    qsort(paths, count, sizeof *paths, compare);
    all[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strncat(all, paths[i], sizeof all - strlen(all) - 1);
        strncat(all, " ", sizeof all - strlen(all) - 1);
    }
    return result;
}

static int make(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    static const char *const folders[] = {"a", "a/b", "a/b/c", "empty", "closed"};
    static const char *const files[] = {"f", "a/1", "a/2", "a/b/c/3", "ab", ".h", "..x", "closed/in"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(path_of(folders[i]), 0700), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i]);
    assert_int_equal(symlink("f", path_of("link")), 0);
    assert_int_equal(symlink("a", path_of("linked")), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    return 0;
}

static void prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *all;
    } cases[] = {
        {"", "..x .h a/1 a/2 a/b/c/3 ab closed/in f "},
        {"a", "a/1 a/2 a/b/c/3 ab "},
        {"a/", "a/1 a/2 a/b/c/3 "},
        {"a/b", "a/b/c/3 "},
        {"a/b/c/3", "a/b/c/3 "},
        {"a/b/c/3/", ""},
        {"ab", "ab "},
        {"ab/", ""},
        {"f", "f "},
        {".", "..x .h "},
        {"..", "..x "},
        {"../", ""},
        {"./", ""},
        {"/", ""},
        {"a//", ""},
        {"a/../", ""},
        {"none", ""},
        {"none/none/", ""},
        {"empty/", ""},
        {"link", ""},
        {"linked/", ""},
        {"pipe", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(walk(root, cases[i].prefix), 0);
        assert_string_equal(all, cases[i].all);
    }
}

static void roots(void **state)
{
    (void)state;
    char link[100];
    snprintf(link, sizeof link, "%s", path_of("linked"));
    assert_int_equal(walk(path_of("none"), ""), -ENOENT);
    assert_int_equal(walk(path_of("f"), ""), -ENOTDIR);
    assert_int_equal(walk(link, ""), 0); /* the root itself may be a link */
    assert_string_equal(all, "1 2 b/c/3 ");
}

/* What is not to be opened is passed over. */
static void closed(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip(); /* opens all */
    assert_int_equal(chmod(path_of("closed"), 0), 0);
    assert_int_equal(walk(root, "c"), 0);
    assert_string_equal(all, "");
    assert_int_equal(chmod(path_of("closed"), 0700), 0);
}

static void budget_is_kept(void **state)
{
    (void)state;
    struct io_folder *folder;
    char path[IO_FOLDER_PATH_MAX + 1];
    unsigned found = 0, steps = 0;
    assert_int_equal(io_folder_open(&folder, root, ""), 0);
    for (;;) {
        unsigned budget = 1;
        int result = io_folder_next(folder, path, &budget);
        assert_true(result >= 0 || result == E_EXHAUSTED);
        steps++;
        found += result > 0;
        if (result == 0)
            break;
    }
    assert_int_equal(found, 8);
    assert_true(steps > 20);
    io_folder_close(&folder);
}

static void deep(void **state)
{
    (void)state;
    char path[IO_FOLDER_PATH_MAX] = "deep";
    for (unsigned i = 0; i < IO_FOLDER_DEPTH_MAX; i++) {
        assert_int_equal(mkdir(path_of(path), 0700), 0);
        strncat(path, "/d", sizeof path - strlen(path) - 1);
    }
    path[strlen(path) - 2] = '\0'; /* IO_FOLDER_DEPTH_MAX below the root, which is one itself */
    assert_int_equal(walk(root, "deep"), -ENAMETOOLONG);
    assert_int_equal(walk(root, "deep/d/"), 0);
    assert_string_equal(all, "");
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static int clear(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),
        cmocka_unit_test(roots),
        cmocka_unit_test(closed),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(deep),
    };
    return cmocka_run_group_tests(tests, make, clear);
}
