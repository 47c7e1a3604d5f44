/* The traces of ../shared/vectors, for tests; YATA_VECTORS names another place. */
#pragma once

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/s3fifo.h"

struct request {
    uint64_t object;
    uint32_t bytes;
};

struct trace {
    struct request *requests;
    size_t count;
    uint64_t object_count, unique_bytes;
};

/* Prints a line and returns false where it is absent. `numbered` lines begin with a sequence number. */
static inline bool trace_read(struct trace *trace, const char *name, bool numbered)
{
    const char *vectors = getenv("YATA_VECTORS");
    char command[1024];
    snprintf(command, sizeof(command), "xz -dc '%s/traces/%s' 2>/dev/null",
        vectors ? vectors : SOURCE_ROOT "/../shared/vectors", name);
    *trace = (struct trace){0};
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    uint64_t sequence, object;
    uint32_t bytes;
    size_t room = 0;
    while (
        (!numbered || fscanf(pipe, "%lu", &sequence) == 1) && fscanf(pipe, "%lu %u", &object, &bytes) == 2) {
        if (trace->count == room) {
            room = room ? room * 2 : 65536;
            trace->requests = realloc(trace->requests, room * sizeof(*trace->requests));
            assert_non_null(trace->requests);
        }
        trace->requests[trace->count++] = (struct request){object, bytes};
        if (object >= trace->object_count)
            trace->object_count = object + 1;
    }
    pclose(pipe);
    bool *seen = calloc(trace->object_count + 1, sizeof(*seen));
    assert_non_null(seen);
    for (size_t i = 0; i < trace->count; i++) {
        if (!seen[trace->requests[i].object])
            trace->unique_bytes += trace->requests[i].bytes;
        seen[trace->requests[i].object] = true;
    }
    free(seen);
    if (trace->count == 0)
        printf("skipped: no vectors/traces/%s\n", name);
    return trace->count > 0;
}

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Misses of the policy alone; sizes are rounded up to a multiple of `unit` and `extra` is added. */
static inline uint64_t trace_run_rounded(
    const struct trace *trace, uint64_t capacity_bytes, unsigned promote_uses, uint32_t unit, uint32_t extra)
{
    struct s3fifo_node *nodes = calloc(trace->object_count, sizeof(*nodes));
    uint32_t ghost_count = 1u << 17;
    void *ghosts = calloc(1, s3fifo_ghost_memory(ghost_count));
    assert_non_null(nodes);
    assert_non_null(ghosts);
    struct s3fifo fifo;
    s3fifo_init(&fifo, capacity_bytes, ghosts, ghost_count);
    fifo.promote_uses = promote_uses;
    uint64_t misses = 0;
    for (size_t i = 0; i < trace->count; i++) {
        struct s3fifo_node *node = &nodes[trace->requests[i].object];
        if (node->queue != S3FIFO_NONE) {
            s3fifo_use(node);
            continue;
        }
        misses++;
        node->hash = mix(trace->requests[i].object + 1);
        node->bytes = (trace->requests[i].bytes + unit - 1) / unit * unit + extra;
        bool recalled = s3fifo_recall(&fifo, node->hash);
        while (fifo.small.bytes + fifo.main.bytes + node->bytes > capacity_bytes)
            assert_non_null(s3fifo_evict(&fifo, NULL));
        s3fifo_insert(&fifo, node, recalled);
    }
    free(nodes);
    free(ghosts);
    return misses;
}
