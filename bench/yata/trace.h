/* Traces of requests, as text: `object bytes` or `number object bytes` a line, objects numbered from 0 or 1.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct trace_request {
    uint32_t object, bytes;
};

struct trace {
    struct trace_request *requests;
    size_t count;
    uint64_t object_count, unique_bytes, request_bytes;
};

/* "-": standard input. Ends the program where there is nothing to read. */
void trace_read(struct trace *trace, const char *path);
void trace_free(struct trace *trace);

/* The sizes to run: one by share of the unique bytes, or 128, 256 ... 1,024 MiB. Returns how many. */
#define TRACE_SIZES 8
unsigned trace_sizes(const struct trace *trace, double share, uint64_t sizes[TRACE_SIZES]);

struct policy;
/* Misses of the policy at that size. */
uint64_t trace_misses(const struct trace *trace, const struct policy *policy, uint64_t capacity_bytes);
