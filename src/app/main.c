/* The program: command line, configuration, start, wait for a signal, stop; or a command for a running one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/boot.h"
#include "app/cache_run.h"
#include "app/options.h"
#include "app/settings_file.h"
#include "app/signals.h"
#include "base/error.h"
#include "io/blocking.h"

#ifndef YATAGARASU_VERSION
#error "the build defines YATAGARASU_VERSION"
#endif

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

static int test(const struct options *options, const struct settings *settings)
{
    for (const struct config_note *note = config_notes(settings); note; note = note->next)
        (void)printf("%s: %s\n", options->config_file, note->text);
    (void)printf("%s: the configuration is right\n", options->config_file);
    return STATUS_OK;
}

static int run(const struct options *options, const struct settings *settings)
{
    struct boot *boot;
    signals_block();
    (void)setenv("UV_USE_IO_URING", "0", 1); /* while there is one thread; io/portable.c says why */
    if (boot_start(&boot, settings, YATAGARASU_VERSION, options->config_file) < 0)
        return STATUS_FAILED;
    signals_wait(boot_log(boot));
    signals_arm();
    return boot_stop(boot) == 0 ? STATUS_OK : STATUS_FAILED;
}

int main(int argc, char *argv[])
{
    struct options options;
    char message[OPTIONS_MESSAGE_MAX];
    if (argc > 1 && strcmp(argv[1], "cache") == 0)
        return cache_run(argc - 1, argv + 1);
    if (!options_parse(argc, argv, getenv("YATAGARASU_IO"), &options, message)) {
        (void)fprintf(stderr, "yatagarasu: %s\n%s", message, options_usage);
        return STATUS_USAGE;
    }
    if (options.action == OPTIONS_HELP || options.action == OPTIONS_VERSION) {
        (void)fputs(
            options.action == OPTIONS_HELP ? options_usage : "yatagarasu " YATAGARASU_VERSION "\n", stdout);
        return STATUS_OK;
    }
    struct settings *settings = settings_load(options.config_file);
    if (settings == NULL)
        return STATUS_FAILED;
    if (options.io_given)
        settings->io = options.io;
    int status = options.action == OPTIONS_TEST ? test(&options, settings) : run(&options, settings);
    /* Threads that did not end may still look at the settings and at what is freed at exit. */
    if (status != STATUS_OK) {
        (void)fflush(NULL);
        _exit(status);
    }
    config_free(settings);
    return status;
}
