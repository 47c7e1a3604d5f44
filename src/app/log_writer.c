/*
 * After each write the thread naps for some milliseconds instead of waiting on the ring: under load workers
 * then pay for one wake-up per nap, not for one per line. With nothing to log it sleeps until there is
 * something.
 */
#include "app/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "io/blocking.h"

#define LOG_WRITER_BUFFER ((size_t)256 << 10)
#define LOG_WRITER_NAP_NS (20 * NS_PER_MS)

struct log_writer {
    struct log *log;
    struct io_sink *sink;
    bool json;
    char *buffer;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopping, ended, abandoned; /* under the mutex */
    _Atomic uint64_t errors;
};

static struct timespec log_writer_deadline(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/* Waits for the nap to pass or for the stop; true: stopping. */
static bool log_writer_nap(struct log_writer *writer, uint64_t nap_ns)
{
    struct timespec deadline = log_writer_deadline(clock_monotonic_ns() + nap_ns);
    int result = 0;
    pthread_mutex_lock(&writer->mutex);
    while (!writer->stopping && result == 0 && nap_ns > 0)
        result = pthread_cond_timedwait(&writer->changed, &writer->mutex, &deadline);
    bool stopping = writer->stopping;
    pthread_mutex_unlock(&writer->mutex);
    return stopping;
}

static void log_writer_write(struct log_writer *writer, const void *ptr, size_t len)
{
    if (len > 0 && io_sink_write(writer->sink, ptr, len) < 0)
        atomic_fetch_add_explicit(&writer->errors, 1, memory_order_relaxed);
}

static void log_writer_tell_dropped(struct log_writer *writer, uint64_t dropped)
{
    char line[200], now[LOG_TIME_TEXT];
    log_time(now, clock_wall_ns());
    int len = writer->json
                  ? snprintf(line, sizeof line, "{\"time\":\"%s\",\"dropped_lines\":%llu}\n", now,
                        (unsigned long long)dropped)
                  : snprintf(line, sizeof line, "%s warn log: %llu lines were dropped: the reader is slow\n",
                        now, (unsigned long long)dropped);
    log_writer_write(writer, line, (size_t)len);
}

static void log_writer_free(struct log_writer *writer)
{
    io_sink_close(&writer->sink);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->mutex);
    free(writer->buffer);
    free(writer);
}

static void *log_writer_run(void *argument)
{
    struct log_writer *writer = argument;
    bool stopping = false;
    for (;;) {
        uint64_t dropped;
        size_t len = log_take(writer->log, writer->buffer, LOG_WRITER_BUFFER, stopping ? 0 : -1, &dropped);
        log_writer_write(writer, writer->buffer, len);
        if (dropped > 0)
            log_writer_tell_dropped(writer, dropped);
        if (stopping && len == 0)
            break;
        /* A full buffer: there is more. */
        stopping = log_writer_nap(writer, len > LOG_WRITER_BUFFER / 2 ? 0 : LOG_WRITER_NAP_NS);
    }
    pthread_mutex_lock(&writer->mutex);
    writer->ended = true;
    bool abandoned = writer->abandoned;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    if (abandoned)
        log_writer_free(writer); /* nobody joins */
    return NULL;
}

int log_writer_start(struct log_writer **writer_out, struct log *log, const char *output, bool json)
{
    struct log_writer *writer = calloc(1, sizeof *writer);
    char *buffer = malloc(LOG_WRITER_BUFFER);
    int result = writer && buffer ? io_sink_open(&writer->sink, output) : -ENOMEM;
    if (result < 0) {
        free(buffer);
        free(writer);
        return result;
    }
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&writer->changed, &attributes) == 0);
    CHECK(pthread_mutex_init(&writer->mutex, NULL) == 0);
    pthread_condattr_destroy(&attributes);
    writer->log = log;
    writer->json = json;
    writer->buffer = buffer;
    result = -pthread_create(&writer->thread, NULL, log_writer_run, writer);
    if (result < 0) {
        log_writer_free(writer);
        return result;
    }
    (void)pthread_setname_np(writer->thread, json ? "log-access" : "log-error");
    *writer_out = writer;
    return 0;
}

bool log_writer_stop(struct log_writer **writer_in, uint64_t timeout_ns)
{
    struct log_writer *writer = *writer_in;
    *writer_in = NULL;
    if (writer == NULL)
        return true;
    struct timespec deadline = log_writer_deadline(clock_monotonic_ns() + timeout_ns);
    int result = 0;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_broadcast(&writer->changed);
    log_wake(writer->log);
    while (!writer->ended && result == 0)
        result = pthread_cond_timedwait(&writer->changed, &writer->mutex, &deadline);
    bool ended = writer->ended;
    if (!ended) {
        writer->abandoned = true;
        pthread_detach(writer->thread);
    }
    pthread_mutex_unlock(&writer->mutex);
    if (!ended)
        return false;
    pthread_join(writer->thread, NULL);
    log_writer_free(writer);
    return true;
}

uint64_t log_writer_errors(const struct log_writer *writer)
{
    return atomic_load_explicit(&writer->errors, memory_order_relaxed);
}
