#include "app/boot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/control.h"
#include "app/log_writer.h"
#include "app/status.h"
#include "app/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/blocking.h"

#define MIB (UINT64_C(1) << 20)
#define LOG_RING_BYTES ((size_t)4 << 20)
/* Of the memory tier where it is only a buffer of what is being delivered. */
#define BUFFER_TIER_BYTES (64 * MIB)
/* Open sockets of a loop beside its clients: towards origins, and clients that are told of the bound. */
#define OTHER_SOCKETS 1024

/* Beside the configured budgets: what the log states at start (docs/configuration.md, "Memory"). */
#define BOOT_MEMORY_BASE_MIB 64u
#define BOOT_MEMORY_WORKER_MIB 16u
#define BOOT_MEMORY_CONNECTION_KIB 32u

/* How long parts may take to end beyond what the configuration says. */
#define LISTEN_RETRY_NS (5 * NS_PER_S)
#define ATTACH_NS (10 * NS_PER_S)
#define HURRY_NS (10 * NS_PER_S)
#define DETACH_NS (10 * NS_PER_S)
#define CONTROL_NS (DETACH_NS + 10 * NS_PER_S)
#define LOG_STOP_NS (5 * NS_PER_S)

struct boot {
    const struct settings *settings;
    const char *version, *config_file;
    struct log *error_log, *access_log; /* may be the same */
    struct log_writer *error_writer, *access_writer;
    struct io *io;
    struct io_report report;
    struct io_handle listener, admin_listener;
    bool admin_loopback;
    struct memory *memory;
    struct disk *disk;
    struct disk_watch watch;
    struct cache *cache;
    struct proxy *proxy;
    struct app_worker **workers;
    unsigned worker_count;
    struct control *control;
    struct status status;
};

/* Reports why the start fails. */
__attribute__((format(printf, 2, 3))) static void boot_failed(struct boot *boot, const char *format, ...)
{
    char text[700];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_text(boot->error_log, LOG_ERROR, "boot", "%s", text);
    if (strcmp(boot->settings->logging.output, "stderr") != 0 || boot->error_writer == NULL)
        (void)fprintf(stderr, "yatagarasu: %s\n", text);
}

#define BOOT_INFO(boot, ...) log_text((boot)->error_log, LOG_INFO, "boot", __VA_ARGS__)

/* ---- logs ---- */

static int start_log(
    struct boot *boot, const char *output, bool json, struct log **log, struct log_writer **writer)
{
    if (strcmp(output, "off") == 0)
        return 0;
    *log = log_create(LOG_RING_BYTES, boot->settings->logging.level);
    int result = *log ? log_writer_start(writer, *log, output, json) : -ENOMEM;
    if (result < 0)
        boot_failed(boot, "can't write the log to %s: %s", output, error_text(result));
    return result;
}

static void add_log_status(
    struct boot *boot, const char *name, const struct log *log, const struct log_writer *writer)
{
    if (writer == NULL)
        return;
    unsigned n = boot->status.log_count++;
    boot->status.logs[n].name = name;
    boot->status.logs[n].log = log;
    boot->status.logs[n].writer = writer;
}

static int start_logs(struct boot *boot)
{
    const char *output = boot->settings->logging.output, *access = boot->settings->logging.access;
    int result = start_log(boot, output, false, &boot->error_log, &boot->error_writer);
    if (result < 0)
        return result;
    if (strcmp(output, access) == 0)
        boot->access_log = boot->error_log; /* one ring, so that lines don't mix */
    else
        result = start_log(boot, access, true, &boot->access_log, &boot->access_writer);
    add_log_status(boot, "error", boot->error_log, boot->error_writer);
    add_log_status(boot, "access", boot->access_log, boot->access_writer);
    return result;
}

/* ---- io ---- */

static void raise_file_limit(struct boot *boot)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t needed = (uint64_t)boot->settings->server.max_connections + OTHER_SOCKETS;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < needed)
        log_text(boot->error_log, LOG_WARN, "boot",
            "the limit of open files is %llu; server.max_connections may need %llu: more clients wait in the "
            "backlog",
            (unsigned long long)limit.rlim_max, (unsigned long long)needed);
}

static int start_io(struct boot *boot)
{
    struct io_config config = {.choice = boot->settings->io,
        .socket_capacity = app_worker_connections(boot->settings) + OTHER_SOCKETS};
    raise_file_limit(boot);
    int result = io_create(&boot->io, &config, &boot->report);
    if (result < 0) {
        boot_failed(boot, "io driver: %s (%s)", boot->report.reason[0] ? boot->report.reason : "none",
            error_text(result));
        return result;
    }
    BOOT_INFO(boot, "io driver %s: %s", io_driver_name(boot->io), boot->report.reason);
    return 0;
}

/* The kernel ends the ring of a killed process in its own time, and with it the process's listeners: who
 * starts its successor at once would find the address in use. */
static int listen_in_time(struct boot *boot, const struct io_address *address, struct io_handle *listener)
{
    struct io_listen_options options = {0};
    int result = io_listen(boot->io, address, &options, listener);
    if (result == -EADDRINUSE)
        BOOT_INFO(boot, "the address is in use: trying for %u s", (unsigned)(LISTEN_RETRY_NS / NS_PER_S));
    uint64_t end_ns = clock_monotonic_ns() + LISTEN_RETRY_NS;
    while (result == -EADDRINUSE && clock_monotonic_ns() < end_ns) {
        nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
        result = io_listen(boot->io, address, &options, listener);
    }
    return result;
}

static int listen_on(
    struct boot *boot, const char *what, const char *host, uint16_t port, struct io_handle *listener)
{
    struct io_address address;
    int result = io_address_parse(&address, host, port);
    if (result == 0)
        result = listen_in_time(boot, &address, listener);
    if (result < 0)
        boot_failed(boot, "%s: can't listen on %s port %u: %s", what, host, port, error_text(result));
    return result;
}

static int start_listeners(struct boot *boot)
{
    const struct settings *settings = boot->settings;
    struct io_address admin;
    int result = listen_on(boot, "server", settings->server.host, settings->server.port, &boot->listener);
    if (result == 0)
        result = listen_on(boot, "admin", settings->admin.host, settings->admin.port, &boot->admin_listener);
    if (result < 0)
        return result;
    boot->admin_loopback = io_address_parse(&admin, settings->admin.host, settings->admin.port) == 0 &&
                           io_address_is_loopback(&admin);
    if (!boot->admin_loopback && settings->admin.token == NULL)
        log_text(boot->error_log, LOG_WARN, "boot",
            "admin.token is not configured and %s is no loopback address: /admin/ answers 403",
            settings->admin.host);
    return 0;
}

/* ---- cache ---- */

static int start_disk(struct boot *boot)
{
    const struct settings *settings = boot->settings;
    struct disk_config config = settings->cache.disk_config;
    disk_watch_init(&boot->watch, boot->error_log);
    config.memory = boot->memory;
    config.event = disk_watch_event;
    config.event_context = &boot->watch;
    if (settings->cache.disk_directory) {
        int result = io_make_directory(settings->cache.disk_directory);
        if (result < 0) /* the tier then says that it can't open its file */
            log_text(boot->error_log, LOG_ERROR, "boot", "can't make the folder %s: %s",
                settings->cache.disk_directory, error_text(result));
    }
    int result = disk_create(&boot->disk, boot->io, &config);
    if (result < 0)
        boot_failed(boot, "disk tier: %s", error_text(result));
    return result;
}

static int start_cache(struct boot *boot)
{
    const struct settings *settings = boot->settings;
    struct memory_config memory = {
        .budget_bytes = settings->cache.memory ? settings->cache.memory_bytes : BUFFER_TIER_BYTES};
    int result = memory_create(&boot->memory, &memory);
    if (result < 0) {
        boot_failed(boot, "memory tier of %llu MiB: %s", (unsigned long long)(memory.budget_bytes / MIB),
            error_text(result));
        return result;
    }
    if (settings->cache.disk && (result = start_disk(boot)) < 0)
        return result;
    result = cache_create(&boot->cache, boot->memory, boot->disk);
    if (result < 0)
        boot_failed(boot, "cache: %s", error_text(result));
    return result;
}

/* ---- threads ---- */

static int start_proxy(struct boot *boot)
{
    struct proxy_parts parts = {.settings = boot->settings,
        .io = boot->io,
        .cache = boot->cache,
        .error_log = boot->error_log,
        .access_log = boot->access_log};
    const char *why = "";
    int result = proxy_create(&boot->proxy, &parts, &why);
    if (result < 0)
        boot_failed(boot, "buckets: %s", why);
    return result;
}

static int start_workers(struct boot *boot)
{
    unsigned count = boot->settings->server.threads;
    boot->workers = calloc(count, sizeof *boot->workers);
    int result = boot->workers ? 0 : -ENOMEM;
    for (unsigned i = 0; i < count && result == 0; i++) {
        struct app_worker_parts parts = {.io = boot->io,
            .listener = boot->listener,
            .cache = boot->cache,
            .proxy = boot->proxy,
            .settings = boot->settings,
            .number = i};
        result = app_worker_start(&boot->workers[i], &parts);
        boot->worker_count += result == 0;
    }
    if (result < 0) {
        boot_failed(boot, "worker %u: %s", boot->worker_count, error_text(result));
        return result;
    }
    boot->status.workers = boot->workers;
    atomic_store(&boot->status.worker_count, boot->worker_count);
    atomic_store(&boot->status.phase, PHASE_SERVING);
    return 0;
}

static void fill_status(struct boot *boot)
{
    struct status *status = &boot->status;
    status->version = boot->version;
    status->io = boot->io;
    status->report = &boot->report;
    status->memory = boot->memory;
    status->cache = boot->cache;
    status->disk = boot->disk;
    status->watch = &boot->watch;
    status->proxy = boot->proxy;
    status->started_ns = clock_monotonic_ns();
}

static int start_control(struct boot *boot)
{
    fill_status(boot);
    struct control_parts parts = {.io = boot->io,
        .admin = {.io = boot->io,
            .listener = boot->admin_listener,
            .rules = {.token = boot->settings->admin.token, .loopback = boot->admin_loopback},
            .page = status_page,
            .context = &boot->status,
            .proxy = boot->proxy,
            .event_stats = &boot->status.events,
            .log = boot->error_log,
            .sns = {.topics = boot->settings->admin.sns_topics,
                .topic_count = boot->settings->admin.sns_topic_count},
            .sns_intermediates = boot->settings->admin.sns_intermediates},
        .cache = boot->cache,
        .disk = boot->disk,
        .watch = &boot->watch};
    int result = control_start(&boot->control, &parts);
    if (result < 0)
        boot_failed(boot, "control thread: %s", error_text(result));
    return result;
}

/* Clients wait in the listener's backlog meanwhile. What was fetched before the tier is there would be in
 * memory only, and an older version on disk could come back after it. A device that takes long is not waited
 * for. */
static int wait_for_disk(struct boot *boot)
{
    if (boot->disk)
        disk_watch_wait(&boot->watch, clock_monotonic_ns() + ATTACH_NS);
    return 0;
}

/* ---- what the log says at start ---- */

static void log_buckets(struct boot *boot)
{
    for (unsigned i = 0; i < boot->settings->bucket_count; i++) {
        const struct bucket_settings *bucket = &boot->settings->buckets[i];
        struct bytes endpoint = origin_identity_endpoint(proxy_bucket_origin(boot->proxy, i));
        struct bytes name = origin_identity_bucket(proxy_bucket_origin(boot->proxy, i));
        BOOT_INFO(boot, "bucket %s: %s from %.*s %.*s%s%s", bucket->name, bucket->path_prefix,
            (int)endpoint.len, (const char *)endpoint.ptr, (int)name.len, (const char *)name.ptr,
            bucket->origin.access_key && bucket->origin.access_key[0] ? ", signed" : ", unsigned",
            bucket->caching.enabled ? "" : ", not cached");
    }
}

/* What waits to be written lies in the memory tier; what the disk tier holds is beside it. */
static void log_memory(struct boot *boot)
{
    struct memory_stats memory;
    struct disk_stats disk = {0};
    memory_stats(boot->memory, &memory);
    if (boot->disk)
        disk_stats(boot->disk, &disk);
    BOOT_INFO(boot,
        "memory: %llu MiB %s (of them at most %llu MiB wait to be written) + %llu MiB disk tier, and at most "
        "%u MiB + %u MiB a worker + %u KiB a connection beside",
        (unsigned long long)(memory.budget_bytes / MIB),
        boot->settings->cache.memory ? "memory tier" : "buffers",
        (unsigned long long)(disk.waiting_limit_bytes / MIB),
        (unsigned long long)((disk.memory_limit_bytes + MIB - 1) / MIB), BOOT_MEMORY_BASE_MIB,
        BOOT_MEMORY_WORKER_MIB, BOOT_MEMORY_CONNECTION_KIB);
}

static void log_start(struct boot *boot)
{
    const struct settings *settings = boot->settings;
    BOOT_INFO(boot, "yatagarasu %s, process %ld, configuration %s", boot->version, (long)getpid(),
        boot->config_file);
    for (const struct config_note *note = config_notes(settings); note; note = note->next)
        log_text(boot->error_log, LOG_WARN, "config", "%s", note->text);
    log_buckets(boot);
    if (settings->cache.enabled)
        BOOT_INFO(boot, "cache: %s%s%s, chunks of %u KiB", settings->cache.memory ? "memory" : "",
            settings->cache.memory && settings->cache.disk ? " and " : "", settings->cache.disk ? "disk" : "",
            settings->cache.chunk_bytes >> 10);
    log_memory(boot);
    BOOT_INFO(boot, "serving on %s port %u by %u workers, at most %u connections; admin on %s port %u",
        settings->server.host, settings->server.port, settings->server.threads,
        settings->server.max_connections, settings->admin.host, settings->admin.port);
}

static int start_parts(struct boot *boot)
{
    static int (*const steps[])(struct boot * boot) = {start_logs, start_io, start_listeners, start_cache,
        start_proxy, start_control, wait_for_disk, start_workers};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int result = steps[i](boot);
        if (result < 0)
            return result;
    }
    return 0;
}

int boot_start(
    struct boot **boot_out, const struct settings *settings, const char *version, const char *config_file)
{
    struct boot *boot = calloc(1, sizeof *boot);
    if (boot == NULL)
        return -ENOMEM;
    boot->settings = settings;
    boot->version = version;
    boot->config_file = config_file;
    int result = start_parts(boot);
    if (result < 0) {
        /* The process ends; what was started is left to it, but for the last words. */
        (void)log_writer_stop(&boot->error_writer, LOG_STOP_NS);
        return result;
    }
    log_start(boot);
    *boot_out = boot;
    return 0;
}

struct log *boot_log(struct boot *boot)
{
    return boot->error_log;
}

/* ---- the end ---- */

/* How many did not end. */
static unsigned wait_for_workers(struct boot *boot, bool *ended, uint64_t deadline_ns)
{
    unsigned left = 0;
    for (unsigned i = 0; i < boot->worker_count; i++) {
        if (!ended[i])
            ended[i] = app_worker_wait(boot->workers[i], deadline_ns);
        left += !ended[i];
    }
    return left;
}

static bool stop_workers(struct boot *boot)
{
    bool *ended = calloc(boot->worker_count, sizeof *ended);
    if (ended == NULL)
        return false;
    for (unsigned i = 0; i < boot->worker_count; i++)
        app_worker_drain(boot->workers[i]);
    io_listener_close(boot->io, boot->listener);
    uint64_t now_ns = clock_monotonic_ns();
    unsigned left = wait_for_workers(boot, ended, now_ns + boot->settings->server.shutdown_timeout_ns);
    if (left > 0) {
        log_text(boot->error_log, LOG_WARN, "boot",
            "server.shutdown_timeout is over: ending the connections of %u workers", left);
        for (unsigned i = 0; i < boot->worker_count; i++)
            if (!ended[i])
                app_worker_hurry(boot->workers[i]);
        left = wait_for_workers(boot, ended, clock_monotonic_ns() + HURRY_NS);
    }
    if (left > 0)
        log_text(boot->error_log, LOG_ERROR, "boot", "%u workers did not end", left);
    free(ended);
    return left == 0;
}

static bool stop_control(struct boot *boot)
{
    control_stop(boot->control, DETACH_NS);
    bool ended = control_wait(boot->control, clock_monotonic_ns() + CONTROL_NS);
    if (!ended)
        log_text(boot->error_log, LOG_ERROR, "boot", "the control thread did not end");
    return ended;
}

/* Frees all but the logs. */
static int free_parts(struct boot *boot)
{
    int leaks = control_leaks(boot->control);
    control_destroy(boot->control);
    for (unsigned i = 0; i < boot->worker_count; i++) {
        leaks += app_worker_leaks(boot->workers[i]);
        app_worker_destroy(boot->workers[i]);
    }
    free(boot->workers);
    proxy_destroy(boot->proxy);
    cache_destroy(boot->cache);
    if (boot->disk) {
        disk_destroy(boot->disk);
        disk_watch_deinit(&boot->watch);
    }
    memory_destroy(boot->memory);
    io_listener_close(boot->io, boot->admin_listener);
    return leaks + io_destroy(boot->io);
}

/* The logs' readers may not read: then their rings stay. */
static void stop_logs(struct boot *boot)
{
    bool shared = boot->access_log == boot->error_log;
    bool access = log_writer_stop(&boot->access_writer, LOG_STOP_NS);
    bool error = log_writer_stop(&boot->error_writer, LOG_STOP_NS);
    if (access && !shared)
        log_destroy(boot->access_log);
    if (error)
        log_destroy(boot->error_log);
}

int boot_stop(struct boot *boot)
{
    atomic_store(&boot->status.phase, PHASE_STOPPING);
    control_drain(boot->control);
    if (!stop_workers(boot) || !stop_control(boot)) {
        (void)log_writer_stop(&boot->access_writer, LOG_STOP_NS);
        (void)log_writer_stop(&boot->error_writer, LOG_STOP_NS);
        return 1;
    }
    struct log *log = boot->error_log;
    int leaks = free_parts(boot);
    if (leaks > 0)
        log_text(log, LOG_ERROR, "boot", "%d handles or operations were left", leaks);
    log_text(log, LOG_INFO, "boot", "ended");
    stop_logs(boot);
    free(boot);
    return 0;
}
