/*
 * The log ring: a bounded queue of whole lines between workers and the writer thread of `app`.
 *
 * log_put and log_text never wait on a reader and never allocate: when the ring is full the line is dropped
 * and counted. Lines are written with a trailing newline. Any thread may put; one thread takes. A line is at
 * most LOG_LINE_MAX bytes; a longer one is cut and marked with "...".
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define LOG_LINE_MAX 8192

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log;

/* "2026-01-31T12:00:00.123Z" with its NUL; returns the length without it. Takes no lock, unlike gmtime_r. */
#define LOG_TIME_TEXT 25
size_t log_time(char *text, uint64_t wall_ns);

/* Ring of capacity_bytes (a power of two, at least 64 KiB). NULL when memory is short. */
struct log *log_create(size_t capacity_bytes, enum log_level level);
void log_destroy(struct log *log);

/* A finished line (an access-log JSON object), put as it is. */
void log_put(struct log *log, struct bytes line);
/* "2026-01-31T12:00:00.123Z level component: text". Nothing below the level. log may be NULL (nothing
 * happens). */
void log_text(struct log *log, enum log_level level, const char *component, const char *format, ...)
    PRINTF_LIKE(4, 5);
bool log_enabled(const struct log *log, enum log_level level);

/* Moves whole lines into buf, at most capacity bytes (>= LOG_LINE_MAX); waits up to wait_ms (below 0: without
 * a bound) for the first. Returns the number of bytes. *dropped is how many lines were lost since the last
 * take. The reader's thread. */
size_t log_take(struct log *log, void *buf, size_t capacity, int wait_ms, uint64_t *dropped);
/* Makes the present or the next log_take return without a line. Any thread. */
void log_wake(struct log *log);
/* All lines ever dropped. */
uint64_t log_dropped(const struct log *log);
