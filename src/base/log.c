/*
 * The ring: records of an 8-byte header (length, 0 while not published) and the line, padded to 8, in
 * positions that only grow; the place of a position is position % capacity, and a line may wrap around the
 * end.
 *
 *   head        ... reader took all before it; the bytes behind it are zeroed
 *   tail        ... producers reserve by moving it with one compare-and-swap
 *
 * A producer reserves, copies, publishes its header. The reader stops at the first header that is 0, so a
 * producer that was put to sleep between reserving and publishing delays the reader, never another producer.
 * What the reader took it zeroes before it moves head: lines hold bytes of strangers, and stale ones must not
 * be taken for a header on the next lap.
 *
 * The reader's sleep: it raises `asleep`, looks once more, waits on a condition; a producer that publishes
 * and then sees `asleep` lowers it and signals. Both sides store, then load, in sequentially consistent
 * order, so one of them sees the other. (Not fences: TSan doesn't know them.)
 *
 * Rejected: a mutex around the whole ring (a worker would wait for a reader that was preempted while
 * copying); a ring per worker (lines of the boot and of pool threads need one too, and the order of lines
 * would be lost).
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define LOG_HEADER 8
#define LOG_CAPACITY_MIN ((size_t)64 << 10)
static_assert(LOG_CAPACITY_MIN >= 4 * (LOG_LINE_MAX + LOG_HEADER), "a few lines must fit");

struct log {
    size_t capacity;
    enum log_level level;
    uint8_t *ring;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint64_t head;
    _Atomic uint64_t dropped;
    uint64_t reported; /* of dropped; the reader's */
    _Atomic bool asleep, woken;
    pthread_mutex_t mutex;
    pthread_cond_t published;
};

struct log *log_create(size_t capacity_bytes, enum log_level level)
{
    CHECK(capacity_bytes >= LOG_CAPACITY_MIN && (capacity_bytes & (capacity_bytes - 1)) == 0);
    struct log *log = aligned_alloc(64, (sizeof *log + 63) / 64 * 64);
    if (log == NULL)
        return NULL;
    memset(log, 0, sizeof *log);
    log->capacity = capacity_bytes;
    log->level = level;
    log->ring = calloc(1, capacity_bytes);
    if (log->ring == NULL) {
        free(log);
        return NULL;
    }
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&log->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&log->published, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    return log;
}

void log_destroy(struct log *log)
{
    if (log == NULL)
        return;
    pthread_cond_destroy(&log->published);
    pthread_mutex_destroy(&log->mutex);
    free(log->ring);
    free(log);
}

static _Atomic uint64_t *log_header(struct log *log, uint64_t position)
{
    CHECK(position % LOG_HEADER == 0);
    return (_Atomic uint64_t *)(void *)(log->ring + (position & (log->capacity - 1)));
}

/* What a record of a line of `len` bytes takes. */
static size_t log_record_bytes(size_t len)
{
    return LOG_HEADER + (len + LOG_HEADER - 1) / LOG_HEADER * LOG_HEADER;
}

static void log_copy_in(struct log *log, uint64_t position, struct bytes a)
{
    size_t at = position & (log->capacity - 1);
    size_t first = a.len < log->capacity - at ? a.len : log->capacity - at;
    memcpy(log->ring + at, a.ptr, first);
    memcpy(log->ring, a.ptr + first, a.len - first);
}

static void log_copy_out(struct log *log, uint64_t position, uint8_t *to, size_t len)
{
    size_t at = position & (log->capacity - 1);
    size_t first = len < log->capacity - at ? len : log->capacity - at;
    memcpy(to, log->ring + at, first);
    memcpy(to + first, log->ring, len - first);
}

static void log_zero(struct log *log, uint64_t position, size_t len)
{
    size_t at = position & (log->capacity - 1);
    size_t first = len < log->capacity - at ? len : log->capacity - at;
    memset(log->ring + at, 0, first);
    memset(log->ring, 0, len - first);
}

/* False when the ring is full. */
static bool log_reserve(struct log *log, size_t len, uint64_t *position)
{
    uint64_t tail = atomic_load_explicit(&log->tail, memory_order_relaxed);
    do {
        uint64_t head = atomic_load_explicit(&log->head, memory_order_acquire);
        /* head may be newer than tail here: then the swap below fails and loads tail again. */
        if (tail >= head && tail - head + len > log->capacity)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &log->tail, &tail, tail + len, memory_order_relaxed, memory_order_relaxed));
    *position = tail;
    return true;
}

static void log_signal(struct log *log)
{
    if (!atomic_load(&log->asleep) || !atomic_exchange(&log->asleep, false))
        return;
    pthread_mutex_lock(&log->mutex);
    pthread_cond_signal(&log->published);
    pthread_mutex_unlock(&log->mutex);
}

void log_put(struct log *log, struct bytes line)
{
    static const char cut[] = "...\n";
    if (log == NULL || line.len == 0)
        return;
    bool too_long = line.len > LOG_LINE_MAX;
    struct bytes kept = too_long ? bytes_of(line.ptr, LOG_LINE_MAX - (sizeof cut - 1)) : line;
    size_t len = too_long ? LOG_LINE_MAX : line.len;
    uint64_t position;
    if (!log_reserve(log, log_record_bytes(len), &position)) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return;
    }
    log_copy_in(log, position + LOG_HEADER, kept);
    if (too_long)
        log_copy_in(log, position + LOG_HEADER + kept.len, bytes_of(cut, sizeof cut - 1));
    atomic_store(log_header(log, position), len);
    log_signal(log);
}

/* Moves published records out; returns the number of bytes. */
static size_t log_move(struct log *log, uint8_t *buf, size_t capacity)
{
    size_t total = 0;
    uint64_t head = atomic_load_explicit(&log->head, memory_order_relaxed);
    for (;;) {
        uint64_t len = atomic_load_explicit(log_header(log, head), memory_order_acquire);
        if (len == 0 || total + len > capacity)
            return total;
        CHECK(len <= LOG_LINE_MAX);
        log_copy_out(log, head + LOG_HEADER, buf + total, len);
        log_zero(log, head, log_record_bytes(len));
        total += len;
        head += log_record_bytes(len);
        atomic_store_explicit(&log->head, head, memory_order_release);
    }
}

static bool log_has_lines(struct log *log)
{
    uint64_t head = atomic_load_explicit(&log->head, memory_order_relaxed);
    return atomic_load(log_header(log, head)) != 0;
}

static struct timespec log_deadline(int wait_ms)
{
    uint64_t ns = clock_monotonic_ns() + (uint64_t)wait_ms * NS_PER_MS;
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void log_wait(struct log *log, int wait_ms)
{
    struct timespec deadline = log_deadline(wait_ms < 0 ? 0 : wait_ms);
    int result = 0;
    pthread_mutex_lock(&log->mutex);
    atomic_store(&log->asleep, true);
    while (
        result != ETIMEDOUT && atomic_load(&log->asleep) && !atomic_load(&log->woken) && !log_has_lines(log))
        result = wait_ms < 0 ? pthread_cond_wait(&log->published, &log->mutex)
                             : pthread_cond_timedwait(&log->published, &log->mutex, &deadline);
    atomic_store(&log->asleep, false);
    pthread_mutex_unlock(&log->mutex);
}

size_t log_take(struct log *log, void *buf, size_t capacity, int wait_ms, uint64_t *dropped)
{
    CHECK(capacity >= LOG_LINE_MAX);
    size_t taken = log_move(log, buf, capacity);
    if (taken == 0 && wait_ms != 0) {
        log_wait(log, wait_ms);
        taken = log_move(log, buf, capacity);
    }
    atomic_store(&log->woken, false);
    uint64_t lost = log_dropped(log);
    *dropped = lost - log->reported;
    log->reported = lost;
    return taken;
}

void log_wake(struct log *log)
{
    atomic_store(&log->woken, true);
    log_signal(log);
}

uint64_t log_dropped(const struct log *log)
{
    return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return log != NULL && level <= log->level;
}

/* Days since 1970-01-01 to a date of the proleptic Gregorian calendar (gmtime_r takes a lock). */
static void log_date(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    uint64_t shifted = days + 719468; /* since 0000-03-01 */
    uint64_t era = shifted / 146097, in_era = shifted % 146097;
    uint64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * y + y / 4 - y / 100), m = (5 * in_year + 2) / 153;
    *day = (unsigned)(in_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (unsigned)(y + era * 400 + (*month <= 2));
}

/* A field of fixed width: once for each access-log line, where snprintf would be 2 % of a small hit. */
static char *log_digits(char *at, unsigned value, unsigned width, char after)
{
    for (unsigned i = width; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    at[width] = after;
    return at + width + 1;
}

size_t log_time(char *text, uint64_t wall_ns)
{
    unsigned year, month, day, second = (unsigned)(wall_ns / NS_PER_S % 86400);
    log_date(wall_ns / NS_PER_S / 86400, &year, &month, &day);
    char *at = log_digits(text, year, 4, '-');
    at = log_digits(at, month, 2, '-');
    at = log_digits(at, day, 2, 'T');
    at = log_digits(at, second / 3600, 2, ':');
    at = log_digits(at, second / 60 % 60, 2, ':');
    at = log_digits(at, second % 60, 2, '.');
    at = log_digits(at, (unsigned)(wall_ns / NS_PER_MS % 1000), 3, 'Z');
    CHECK(at - text == LOG_TIME_TEXT - 1);
    *at = 0;
    return LOG_TIME_TEXT - 1;
}

void log_text(struct log *log, enum log_level level, const char *component, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (!log_enabled(log, level))
        return;
    char line[LOG_LINE_MAX + 16], now[LOG_TIME_TEXT];
    log_time(now, clock_wall_ns());
    size_t capacity = sizeof line - 1; /* room for the newline */
    int start = snprintf(line, capacity, "%s %s %s: ", now, names[level], component);
    CHECK(start > 0 && (size_t)start < capacity);
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line + start, capacity - (size_t)start, format, arguments);
    va_end(arguments);
    if (len < 0)
        return;
    size_t total = (size_t)start + (size_t)len < capacity ? (size_t)(start + len) : capacity - 1;
    for (size_t i = (size_t)start; i < total; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?'; /* one line, whatever a stranger sent */
    line[total] = '\n';
    log_put(log, bytes_of(line, total + 1));
}
