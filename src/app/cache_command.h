/*
 * The command line of `yatagarasu cache ...`: what an operator asks of a running server. Pure.
 *
 * A whole bucket, or everything, is purged only with --all: what was left out must not purge more than was
 * meant.
 */
#pragma once

#include <stdbool.h>

#include "base/check.h"

enum cache_action {
    CACHE_HELP,
    CACHE_STATS,
    CACHE_INFO,
    CACHE_PURGE,
    CACHE_PREWARM,
    CACHE_JOBS,
    CACHE_CANCEL,
};

struct cache_command {
    enum cache_action action;
    const char *config_file, *address, *token; /* or NULL */
    const char *bucket, *prefix, *tag, *job;   /* or NULL; job: an id, digits alone */
    const char *host, *query;                  /* or NULL; of a generic HTTP origin */
    const char *const *keys;                   /* in argv; of info and purge one */
    int key_count;
    bool soft, all, detach;
    unsigned concurrency, rate; /* 0: not given */
};

#define CACHE_COMMAND_MESSAGE_MAX 300

/* argv[0] is "cache"; arguments are moved behind the options. False: message says why; the process ends with
 * status 2. */
MUST_CHECK bool cache_command_parse(
    int argc, char *argv[], struct cache_command *command, char message[CACHE_COMMAND_MESSAGE_MAX]);

extern const char cache_command_usage[];
