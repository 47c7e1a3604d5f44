/*
 * What the request path counts, for /metrics and the tests. One instance per process, one `bucket_stats` per
 * bucket entry. Each request is counted once, at its end, in finish.c.
 */
#pragma once

#include "base/stats.h"

enum cache_result { RESULT_HIT, RESULT_MISS, RESULT_PARTIAL, RESULT_REVALIDATED, RESULT_BYPASS, RESULT_NONE };
#define RESULT_COUNT 6
extern const char
    *const cache_result_name[RESULT_COUNT]; /* "HIT", "MISS", "PARTIAL", "REVALIDATED", "BYPASS", "NONE" */

enum { METHOD_SLOT_GET, METHOD_SLOT_HEAD, METHOD_SLOT_OPTIONS, METHOD_SLOT_OTHER, METHOD_SLOTS };
#define STATUS_SLOTS 600

struct bucket_stats {
    struct counter requests, results[RESULT_COUNT];
    struct counter hits_memory, hits_disk;  /* requests served whole from a tier */
    struct counter bytes_sent, bytes_saved; /* body bytes; saved: those that came from a tier */
    struct counter chunk_hits_memory, chunk_hits_disk, chunk_misses;
};

struct proxy_stats {
    struct counter requests_by_status[STATUS_SLOTS], requests_by_method[METHOD_SLOTS];
    struct counter requests_in_progress, requests_rejected; /* max_concurrent_requests */
    struct counter flights_started, flights_joined, flights_now, flight_bytes_now, refetched_bytes;
    struct counter revalidations, revalidated_not_modified;
    struct counter stale_while_revalidate, stale_if_error; /* answers that were stale, by reason */
    struct counter gave_up_on_disk; /* requests that went on without a disk that kept them waiting */
    struct counter cut_answers;     /* begun and not completed, by the origin's fault */
    struct counter gone_clients;
    struct counter path_traversal_blocked;
    struct counter purges[2]; /* hard, soft */
    struct counter prewarm_running;
    struct counter prewarm_jobs[3];    /* that ended: done, canceled, failed */
    struct counter prewarm_objects[4]; /* enum warm_outcome */
    struct counter prewarm_bytes;      /* that came from origins */
    struct histogram duration[RESULT_COUNT], first_byte;
};
