/*
 * The suite's program: `test_conformance uring|portable|fake [child [argument]]`. Exit 77 (skipped) where the
 * driver can't be had here. YATA_TEST names a pattern of the tests to run.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

static enum io_choice driver;
static char directory[64];

enum io_choice conformance_driver(void)
{
    return driver;
}

const char *conformance_driver_name(void)
{
    return driver == IO_URING ? "uring" : driver == IO_PORTABLE ? "portable" : "fake";
}

bool conformance_is_fake(void)
{
    return driver == IO_FAKE;
}

const char *conformance_path(const char *name)
{
    static char path[400];
    if (directory[0] == '\0' && driver != IO_FAKE) {
        snprintf(directory, sizeof directory, "/var/tmp/yata-io-XXXXXX");
        assert_non_null(mkdtemp(directory));
    }
    snprintf(path, sizeof path, "%s/%s", driver == IO_FAKE ? "/fake" : directory, name);
    return path;
}

static void remove_directory(void)
{
    char command[100];
    if (directory[0] == '\0')
        return;
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0)
        fprintf(stderr, "could not remove %s\n", directory);
}

static bool parse_driver(const char *name)
{
    static const char *const names[] = {[IO_URING] = "uring", [IO_PORTABLE] = "portable", [IO_FAKE] = "fake"};
    for (int i = IO_URING; name != NULL && i <= IO_FAKE; i++)
        if (strcmp(names[i], name) == 0) {
            driver = (enum io_choice)i;
            return true;
        }
    return false;
}

/* Whether the driver can be had here. */
static bool probe_driver(void)
{
    struct io *io;
    struct io_report report;
    int result = io_create(&io, &(struct io_config){.choice = driver}, &report);
    if (result == 0)
        return io_destroy(io) == 0;
    printf("skipped: %s: %s (%s)\n", conformance_driver_name(), report.reason, error_text(result));
    return false;
}

static int run_child(const char *name, const char *argument)
{
    if (strcmp(name, "lock") == 0)
        return child_lock(argument);
    if (strcmp(name, "stall") == 0)
        return child_stall();
    return 2;
}

int main(int argc, char **argv)
{
    if (!parse_driver(argc > 1 ? argv[1] : getenv("YATA_IO_DRIVER"))) {
        fprintf(stderr, "usage: test_conformance uring|portable|fake\n");
        return 2;
    }
    if (argc > 2 && argv[2][0] != '-')
        return run_child(argv[2], argc > 3 ? argv[3] : NULL);
    if (!probe_driver())
        return 77;
    static int (*const groups[])(void) = {run_timers, run_sockets, run_streams, run_files, run_places,
        run_cancel, run_pools, run_polls, run_threads, run_shutdown};
    int failed = 0;
    if (getenv("YATA_TEST") != NULL)
        cmocka_set_test_filter(getenv("YATA_TEST"));
    for (unsigned i = 0; i < sizeof groups / sizeof *groups; i++)
        failed += groups[i]();
    remove_directory();
    return failed == 0 ? 0 : 1;
}
