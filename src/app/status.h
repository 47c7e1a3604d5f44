/*
 * Collects from all parts what the admin pages say. Read while everything runs: only from atomics, and from
 * functions that any thread may call.
 */
#pragma once

#include "app/admin_rules.h"
#include "app/disk_watch.h"
#include "app/event_stats.h"
#include "app/log_writer.h"
#include "app/ready.h"
#include "app/worker.h"
#include "cache/cache.h"

struct status {
    const char *version;
    struct io *io;
    const struct io_report *report;
    struct memory *memory;
    struct cache *cache;
    struct disk *disk;        /* or NULL */
    struct disk_watch *watch; /* with disk */
    struct proxy *proxy;
    struct event_stats events;
    struct app_worker *const *workers;
    _Atomic unsigned worker_count; /* set last: those before it are there */
    struct {
        const char *name;
        const struct log *log;
        const struct log_writer *writer;
    } logs[2];
    unsigned log_count;
    uint64_t started_ns; /* clock_monotonic_ns() */
    _Atomic int phase;   /* enum phase */
};

/* For admin_parts.page; the context is the status. */
unsigned status_page(void *context, enum admin_page page, struct bytes bucket, struct writer *w);
