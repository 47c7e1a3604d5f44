/* Traces, and the memory tier's policy on them beside others'. */
#include "bench/yata/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/yata/command.h"
#include "bench/yata/policy.h"
#include "bench/yata/store.h"
#include "cache/s3fifo.h"

#define MIB (UINT64_C(1) << 20)

/* ---- reading ---- */

static void add(struct trace *trace, size_t *room, uint64_t object, uint64_t bytes)
{
    if (object >= UINT32_MAX || bytes == 0 || bytes > ITEM_VALUE_MAX)
        store_die("a request of object %lu with %lu bytes", object, bytes);
    if (trace->count == *room) {
        *room = *room * 2 + 65536;
        trace->requests = realloc(trace->requests, *room * sizeof *trace->requests);
        if (trace->requests == NULL)
            store_die("the trace does not fit into memory");
    }
    trace->requests[trace->count++] = (struct trace_request){(uint32_t)object, (uint32_t)bytes};
    trace->request_bytes += bytes;
    if (object >= trace->object_count)
        trace->object_count = object + 1;
}

static void sum_unique(struct trace *trace)
{
    bool *seen = calloc(trace->object_count, sizeof *seen);
    for (size_t i = 0; i < trace->count; i++) {
        if (!seen[trace->requests[i].object])
            trace->unique_bytes += trace->requests[i].bytes;
        seen[trace->requests[i].object] = true;
    }
    free(seen);
}

void trace_read(struct trace *trace, const char *path)
{
    char line[200];
    size_t room = 0;
    FILE *file = path != NULL && strcmp(path, "-") != 0 ? fopen(path, "r") : path != NULL ? stdin : NULL;
    *trace = (struct trace){0};
    if (file == NULL)
        store_die("no trace (--trace): %s", path != NULL ? path : "none given");
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long numbers[3];
        int count = sscanf(line, "%lu %lu %lu", &numbers[0], &numbers[1], &numbers[2]);
        if (count < 2)
            store_die("not a line of a trace: %.80s", line);
        add(trace, &room, numbers[count - 2], numbers[count - 1]);
    }
    if (trace->count == 0)
        store_die("the trace is empty");
    if (file != stdin)
        fclose(file);
    sum_unique(trace);
}

void trace_free(struct trace *trace)
{
    free(trace->requests);
}

unsigned trace_sizes(const struct trace *trace, double share, uint64_t sizes[TRACE_SIZES])
{
    if (share > 0) {
        sizes[0] = (uint64_t)((double)trace->unique_bytes * share + 0.5);
        return 1;
    }
    for (unsigned i = 0; i < TRACE_SIZES; i++)
        sizes[i] = (i + 1) * 128 * MIB;
    return TRACE_SIZES;
}

/* ---- ours as a policy: the nodes of cache/s3fifo.h, by the objects' numbers ---- */

struct ours {
    struct s3fifo fifo;
    struct s3fifo_node *nodes;
    void *ghosts;
};

static void ours_destroy(void *state)
{
    struct ours *ours = state;
    free(ours->nodes);
    free(ours->ghosts);
    free(ours);
}

static void *ours_create(uint64_t capacity_bytes, uint64_t object_count)
{
    uint32_t ghost_count = 1u << 17;
    struct ours *ours = calloc(1, sizeof *ours);
    if (ours == NULL)
        return NULL;
    ours->nodes = calloc(object_count, sizeof *ours->nodes);
    ours->ghosts = calloc(1, s3fifo_ghost_memory(ghost_count));
    if (ours->nodes == NULL || ours->ghosts == NULL) {
        ours_destroy(ours);
        return NULL;
    }
    s3fifo_init(&ours->fifo, capacity_bytes, ours->ghosts, ghost_count);
    return ours;
}

static bool ours_request(void *state, struct policy_object *object)
{
    struct ours *ours = state;
    struct s3fifo_node *node = &ours->nodes[object->number];
    if (node->queue != S3FIFO_NONE) {
        s3fifo_use(node);
        return true;
    }
    node->hash = (object->number + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    node->hash ^= node->hash >> 29;
    node->bytes = object->bytes;
    bool recalled = s3fifo_recall(&ours->fifo, node->hash);
    while (ours->fifo.small.bytes + ours->fifo.main.bytes + node->bytes > ours->fifo.capacity_bytes)
        if (s3fifo_evict(&ours->fifo, NULL) == NULL)
            return false;
    s3fifo_insert(&ours->fifo, node, recalled);
    return false;
}

const struct policy policy_ours = {"ours", ours_create, ours_request, ours_destroy};

/* ---- running ---- */

uint64_t trace_misses(const struct trace *trace, const struct policy *policy, uint64_t capacity_bytes)
{
    struct policy_object *objects = calloc(trace->object_count, sizeof *objects);
    void *state = policy->create(capacity_bytes, trace->object_count);
    uint64_t misses = 0;
    if (objects == NULL || state == NULL)
        store_die("out of memory");
    for (size_t i = 0; i < trace->count; i++) {
        struct policy_object *object = &objects[trace->requests[i].object];
        if (object->bytes == 0) {
            object->number = trace->requests[i].object;
            object->bytes = trace->requests[i].bytes;
        }
        misses += !policy->request(state, object);
    }
    policy->destroy(state);
    free(objects);
    return misses;
}

int command_trace(const struct options *options)
{
    static const struct policy *const policies[] = {
        &policy_ours, &policy_s3fifo, &policy_lru, &policy_sieve, &policy_w_tinylfu};
    struct trace trace;
    uint64_t sizes[TRACE_SIZES];
    trace_read(&trace, options->trace);
    unsigned count = trace_sizes(&trace, options->share, sizes);
    for (unsigned i = 0; i < count; i++) {
        struct result result = result_begin(options->json, "trace");
        result_number(&result, "mib", (double)sizes[i] / MIB);
        result_number(&result, "requests", (double)trace.count);
        for (unsigned j = 0; j < sizeof policies / sizeof *policies; j++)
            result_number(&result, policies[j]->name, (double)trace_misses(&trace, policies[j], sizes[i]));
        result_end(&result);
    }
    trace_free(&trace);
    return 0;
}
