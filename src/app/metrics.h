/*
 * What /metrics says. Names come from the earlier Yatagarasu where promtool accepts them (docs/metrics.md has
 * the table).
 *
 * Everything is read from relaxed atomics while workers go on: samples of one answer may be a few requests
 * apart. A metric of something that is not there (no disk tier) is left out.
 */
#pragma once

#include "base/bytes.h"
#include "cache/disk.h"
#include "cache/memory.h"
#include "http/server.h"
#include "origin/origin.h"
#include "proxy/stats.h"

struct event_stats;

struct metrics_bucket {
    const char *name;
    const struct bucket_stats *stats;
    const struct origin_stats *origin;
};

/* What a worker's loop said of itself after its last turn. */
struct loop_gauges {
    _Atomic uint64_t turns, completions, submissions, system_waits;
    _Atomic uint64_t ops_in_flight, sockets_open, buffers_leased, timers, disk_ops_in_flight;
};

struct metrics_worker {
    const struct http_server_stats *server;
    const struct loop_gauges *loop;
};

struct metrics_log {
    const char *name;
    uint64_t dropped, write_errors;
};

struct metrics_source {
    const char *version, *driver, *driver_reason;
    uint64_t uptime_ns, now_ns; /* now_ns: monotonic */
    uint64_t resident_bytes;    /* 0: unknown */
    const struct proxy_stats *proxy;
    const struct event_stats *events; /* or NULL */
    const struct metrics_bucket *buckets;
    unsigned bucket_count;
    const struct metrics_worker *workers;
    unsigned worker_count;
    const struct metrics_log *logs;
    unsigned log_count;
    const struct memory_stats *memory; /* or NULL */
    const struct disk_stats *disk;     /* or NULL */
    bool disk_attached;
};

void metrics_write(struct writer *w, const struct metrics_source *source);
