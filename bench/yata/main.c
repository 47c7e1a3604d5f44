/* yata-bench: the disk cache engine measured by itself. Each command is a row of docs/performance.md; what
 * runs them side by side with fio is bench/engine.py. */
#include <stdio.h>
#include <string.h>

#include "bench/yata/command.h"

static const struct {
    const char *name;
    int (*run)(const struct options *options);
} commands[] = {
    {"fill", command_fill},
    {"get", command_get},
    {"object", command_object},
    {"pool", command_pool},
    {"index", command_index},
    {"open", command_open},
    {"put", command_put},
    {"durable", command_durable},
    {"mix", command_mix},
    {"memory", command_memory},
    {"trace", command_trace},
    {"disktrace", command_disktrace},
};

int main(int argc, char **argv)
{
    struct options options;
    int parsed = options_parse(&options, argc, argv);
    if (parsed != 0)
        return parsed > 0 ? 0 : 2;
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(options.command, commands[i].name) == 0)
            return commands[i].run(&options);
    fprintf(stderr, "yata-bench: %s: no such command (--help tells more)\n", options.command);
    return 2;
}
