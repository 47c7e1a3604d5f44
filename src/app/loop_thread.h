/*
 * A thread that owns a loop: begin, turns until it is finished, end. What a worker and the control thread
 * have in common.
 *
 * struct loop_thread | embedded in its owner | loop_thread_start to loop_thread_wait's success | its own,
 * unless said
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "app/metrics.h"
#include "io/io.h"

struct loop_thread {
    /* Set by the owner before the start. */
    const char *name;
    struct io *io;
    int (*begin)(
        struct loop_thread *thread); /* on the thread, before the first turn; below 0: the start fails */
    void (*end)(struct loop_thread *thread); /* on the thread, after the last turn */

    struct io_loop *loop;
    struct loop_gauges gauges; /* after each turn */
    int leaks;                 /* what io_loop_destroy said; after the wait */
    bool finished;             /* the loop's */
    /* Under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum { LOOP_THREAD_BEGINNING, LOOP_THREAD_RUNNING, LOOP_THREAD_CLOSING, LOOP_THREAD_ENDED } state;
    int result;
    pthread_t thread;
};

/* Returns once begin has: its result, or -errno. Any thread. */
MUST_CHECK int loop_thread_start(struct loop_thread *thread);
/* Posts to the loop; false where its thread has no further turn. Any thread. */
bool loop_thread_post(struct loop_thread *thread, struct io_message *message);
/* No further turn after this one. From a callback of the loop. */
void loop_thread_finish(struct loop_thread *thread);
/* Waits for the end until deadline_ns of clock_monotonic_ns(). False: it goes on. Any other thread; once
 * true, all is freed but the struct. */
MUST_CHECK bool loop_thread_wait(struct loop_thread *thread, uint64_t deadline_ns);
