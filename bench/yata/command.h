/* The commands of yata-bench; each prints one result or several and returns the program's exit status. */
#pragma once

#include "bench/yata/figures.h"
#include "bench/yata/options.h"

/* get.c */
int command_get(const struct options *options);
int command_object(const struct options *options);
int command_mix(const struct options *options);
/* pool.c */
int command_pool(const struct options *options);
/* put.c */
int command_put(const struct options *options);
int command_durable(const struct options *options);
/* open.c */
int command_fill(const struct options *options);
int command_index(const struct options *options);
int command_open(const struct options *options);
/* hit.c */
int command_memory(const struct options *options);
/* trace.c, disktrace.c */
int command_trace(const struct options *options);
int command_disktrace(const struct options *options);
