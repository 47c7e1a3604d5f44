#include "app/status.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/cache_page.h"
#include "base/clock.h"
#include "io/blocking.h"

/* Second field of /proc/self/statm, in pages; 0: unknown. */
static uint64_t resident_bytes(void)
{
    char *text;
    uint64_t pages = 0;
    if (io_read_file("/proc/self/statm", 4096, &text, NULL) < 0)
        return 0;
    const char *second = strchr(text, ' ');
    if (second == NULL || !bytes_to_u64(bytes_of(second + 1, strcspn(second + 1, " \n")), &pages))
        pages = 0;
    free(text);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What one page needs, beside the status. */
struct collected {
    struct metrics_source source;
    struct metrics_bucket *buckets;
    const char **kinds;
    struct metrics_worker *workers;
    struct metrics_log logs[2];
    struct memory_stats memory;
    struct disk_stats disk;
    struct disk_watch_state watch;
};

static void collect_buckets(const struct status *status, struct collected *to)
{
    for (unsigned i = 0; i < proxy_bucket_count(status->proxy); i++) {
        const struct origin *origin = proxy_bucket_origin(status->proxy, i);
        to->buckets[i] = (struct metrics_bucket){.name = proxy_bucket_name(status->proxy, i),
            .stats = proxy_bucket_stats(status->proxy, i),
            .origin = origin_stats(origin)};
        to->kinds[i] = origin_kind(origin);
    }
    to->source.buckets = to->buckets;
    to->source.bucket_count = proxy_bucket_count(status->proxy);
}

static void collect_tiers(const struct status *status, struct collected *to)
{
    memory_stats(status->memory, &to->memory);
    to->source.memory = &to->memory;
    if (status->disk == NULL)
        return;
    disk_stats(status->disk, &to->disk);
    to->source.disk = &to->disk;
    to->watch = disk_watch_state(status->watch);
    to->source.disk_attached = to->watch.attached;
}

static void collect(const struct status *status, struct collected *to)
{
    to->source.version = status->version;
    to->source.driver = io_driver_name(status->io);
    to->source.driver_reason = status->report->reason;
    to->source.now_ns = clock_monotonic_ns();
    to->source.uptime_ns = to->source.now_ns - status->started_ns;
    to->source.resident_bytes = resident_bytes();
    to->source.proxy = proxy_stats(status->proxy);
    to->source.events = &status->events;
    collect_buckets(status, to);
    for (unsigned i = 0; i < to->source.worker_count; i++)
        to->workers[i] = app_worker_metrics(status->workers[i]);
    to->source.workers = to->workers;
    for (unsigned i = 0; i < status->log_count; i++)
        to->logs[i] = (struct metrics_log){.name = status->logs[i].name,
            .dropped = log_dropped(status->logs[i].log),
            .write_errors = log_writer_errors(status->logs[i].writer)};
    to->source.logs = to->logs;
    to->source.log_count = status->log_count;
    collect_tiers(status, to);
}

static unsigned write_page(const struct status *status, const struct collected *from, enum admin_page page,
    struct bytes bucket, struct writer *w)
{
    struct purges_stats purges;
    struct ready_source ready = {.phase = (enum phase)atomic_load(&status->phase),
        .metrics = &from->source,
        .origin_kinds = from->kinds,
        .disk = status->disk ? &from->watch : NULL};
    switch (page) {
    case ADMIN_PAGE_HEALTH:
        health_write(w, &from->source);
        return 200;
    case ADMIN_PAGE_READY:
        return ready_write(w, &ready);
    case ADMIN_PAGE_METRICS:
        metrics_write(w, &from->source);
        return 200;
    case ADMIN_PAGE_CACHE:
        cache_purge_stats(status->cache, &purges);
        return cache_stats_write(w, &from->source, &purges, bucket);
    default:
        UNREACHABLE();
    }
}

unsigned status_page(void *context, enum admin_page page, struct bytes bucket, struct writer *w)
{
    const struct status *status = context;
    struct collected *collected = calloc(1, sizeof *collected);
    unsigned bucket_count = proxy_bucket_count(status->proxy), result = 503;
    if (collected) {
        collected->buckets = calloc(bucket_count, sizeof *collected->buckets);
        collected->kinds = calloc(bucket_count, sizeof *collected->kinds);
        collected->source.worker_count = atomic_load(&status->worker_count);
        collected->workers = calloc(collected->source.worker_count + 1, sizeof *collected->workers);
    }
    if (collected && collected->buckets && collected->kinds && collected->workers) {
        collect(status, collected);
        result = write_page(status, collected, page, bucket, w);
    }
    if (collected) {
        free(collected->buckets);
        free(collected->kinds);
        free(collected->workers);
    }
    free(collected);
    return result;
}
