#include "app/loop_thread.h"

#include "base/clock.h"

/* For disk operations that are still under way when the loop has nothing else left. */
#define LOOP_THREAD_DRAIN_NS (5 * NS_PER_S)

static void store(_Atomic uint64_t *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

static void publish_gauges(struct loop_thread *thread)
{
    struct io_loop_stats stats;
    io_loop_stats(thread->loop, &stats);
    store(&thread->gauges.turns, stats.turns);
    store(&thread->gauges.completions, stats.completions);
    store(&thread->gauges.submissions, stats.submissions);
    store(&thread->gauges.system_waits, stats.system_waits);
    store(&thread->gauges.ops_in_flight, stats.ops_in_flight);
    store(&thread->gauges.sockets_open, stats.sockets_open);
    store(&thread->gauges.buffers_leased, stats.buffers_leased);
    store(&thread->gauges.timers, stats.timers);
    store(&thread->gauges.disk_ops_in_flight, stats.disk_ops_in_flight);
}

static void set_state(struct loop_thread *thread, int state, int result)
{
    pthread_mutex_lock(&thread->mutex);
    thread->state = state;
    thread->result = result;
    pthread_cond_broadcast(&thread->changed);
    pthread_mutex_unlock(&thread->mutex);
}

static void *loop_thread_run(void *argument)
{
    struct loop_thread *thread = argument;
    int result = io_loop_create(thread->io, &thread->loop);
    if (result == 0)
        result = thread->begin(thread);
    if (result < 0) {
        /* The process ends: what was begun is left to it. */
        set_state(thread, LOOP_THREAD_ENDED, result);
        return NULL;
    }
    set_state(thread, LOOP_THREAD_RUNNING, 0);
    while (!thread->finished) {
        io_loop_turn(thread->loop, UINT64_MAX);
        publish_gauges(thread);
    }
    thread->end(thread);
    set_state(thread, LOOP_THREAD_CLOSING, 0); /* nothing is posted from here on */
    thread->leaks = io_loop_destroy(thread->loop, LOOP_THREAD_DRAIN_NS);
    set_state(thread, LOOP_THREAD_ENDED, 0);
    return NULL;
}

int loop_thread_start(struct loop_thread *thread)
{
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&thread->changed, &attributes) == 0);
    CHECK(pthread_mutex_init(&thread->mutex, NULL) == 0);
    pthread_condattr_destroy(&attributes);
    thread->state = LOOP_THREAD_BEGINNING;
    int result = -pthread_create(&thread->thread, NULL, loop_thread_run, thread);
    if (result < 0)
        return result;
    (void)pthread_setname_np(thread->thread, thread->name);
    pthread_mutex_lock(&thread->mutex);
    while (thread->state == LOOP_THREAD_BEGINNING)
        pthread_cond_wait(&thread->changed, &thread->mutex);
    result = thread->result;
    pthread_mutex_unlock(&thread->mutex);
    if (result < 0)
        pthread_join(thread->thread, NULL);
    return result;
}

bool loop_thread_post(struct loop_thread *thread, struct io_message *message)
{
    pthread_mutex_lock(&thread->mutex);
    bool open = thread->state == LOOP_THREAD_RUNNING;
    if (open)
        io_post(thread->loop, message);
    pthread_mutex_unlock(&thread->mutex);
    return open;
}

void loop_thread_finish(struct loop_thread *thread)
{
    thread->finished = true;
}

bool loop_thread_wait(struct loop_thread *thread, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int result = 0;
    pthread_mutex_lock(&thread->mutex);
    while (thread->state != LOOP_THREAD_ENDED && result == 0)
        result = pthread_cond_timedwait(&thread->changed, &thread->mutex, &deadline);
    bool ended = thread->state == LOOP_THREAD_ENDED;
    pthread_mutex_unlock(&thread->mutex);
    if (!ended)
        return false;
    pthread_join(thread->thread, NULL);
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->mutex);
    return true;
}
