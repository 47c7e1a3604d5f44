/*
 * The command line. Pure.
 *
 * Which io driver: `--io`, else the environment variable YATAGARASU_IO, else the configuration's key `io`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "io/io.h"

enum options_action { OPTIONS_RUN, OPTIONS_TEST, OPTIONS_VERSION, OPTIONS_HELP };

struct options {
    enum options_action action;
    const char *config_file; /* "config.yaml" unless given */
    bool io_given;
    enum io_choice io;
};

#define OPTIONS_MESSAGE_MAX 300

/* False: message says why; the process ends with status 2. env_io may be NULL. */
MUST_CHECK bool options_parse(int argc, char *const argv[], const char *env_io, struct options *options,
    char message[OPTIONS_MESSAGE_MAX]);

extern const char options_usage[];
