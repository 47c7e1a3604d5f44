/* What the command line of yata-bench says. Pure, but for what parsing prints. */
#pragma once

#include <stdbool.h>

#include "io/io.h"

struct options {
    const char *command;
    enum io_choice io;
    const char *file; /* of the device */
    uint64_t size_bytes, memory_bytes, item_bytes, total_bytes;
    uint64_t items;
    unsigned depth, threads, seconds_tenths;
    const char *trace; /* "-": standard input */
    double share;
    bool plain, kill, json;
};

extern const char options_usage[];

/* 0; 1: help or version was printed, end well; -1: wrong, the reason was printed. */
int options_parse(struct options *options, int argc, char **argv);
