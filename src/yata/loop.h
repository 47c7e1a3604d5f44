/*
 * A loop of the library, and the requests on it.
 *
 * A loop is turned by a thread of its own, or by the thread that opened the cache. A request begins on its
 * loop, is under way until it ends there, and is told when its time is over, when the cache is being closed,
 * and when there may be room that it lacked. What a thread asks of its own loop waits in `starts` until the
 * turn's callbacks have run, so that no callback comes inside a call and no turn is lost; others post.
 *
 * struct request | born by       | owned by             | dies by
 *                | its operation | from submit its loop | its operation, after request_end
 * Threads: the loop's, but request_submit (any).
 */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "io/io.h"

struct yata;

struct loop {
    struct yata *yata;
    struct io_loop *io_loop;
    _Atomic uintptr_t turner; /* pthread_self() of who turns it; 0: none yet, or no more */
    bool turning, finished;
    struct list_node starts;    /* requests of the loop's own thread that have not begun */
    struct list_node under_way; /* requests, the earliest deadline first */
    struct list_node stalled;   /* requests that wait for room */
    struct io_op deadline, retry;
    struct io_message cancel, leave;
    /* Under the cache's lock. */
    enum { LOOP_NONE, LOOP_BEGINNING, LOOP_RUNNING, LOOP_ENDED } state;
    bool left; /* the cache has been left */
    int result;
    pthread_t thread;
};

struct request {
    struct loop *loop;
    /* The operation's, set before submit; on the loop. fail: ends it, now or as soon as can be; called once
     * at most (E_TIMEOUT, E_CANCELED), maybe instead of start. resume: after request_stall. */
    void (*start)(struct request *request);
    void (*resume)(struct request *request);
    void (*fail)(struct request *request, int error);
    /* The loop's. */
    struct io_message message;
    struct list_node node, stalled;
    uint64_t deadline_ns;
};

/* Makes the loop on this thread and joins the cache; afterwards this thread turns it. */
MUST_CHECK int loop_begin(struct loop *loop);
/* The same on a thread of its own; returns when it has begun. */
MUST_CHECK int loop_start(struct loop *loop);
/* Whether the calling thread is the one that turns it. */
bool loop_is_mine(struct loop *loop);
unsigned loop_turn(struct loop *loop, uint64_t wait_ns);
/* Whether loop_turn would not wait. */
bool loop_has_starts(const struct loop *loop);
/* Any thread: ends what is under way with E_CANCELED. */
void loop_cancel_all(struct loop *loop);
/* Any thread: leaves the cache; then loop->left, and a thread of its own ends. */
void loop_leave(struct loop *loop);
/* What a loop that is turned by the caller has left at its end. */
void loop_end(struct loop *loop);

/* Hands the request to the loop; below 0: the cache is being closed, nothing was done. */
MUST_CHECK int request_submit(struct request *request, struct loop *loop);
/* It got on: its time begins anew. */
void request_progress(struct request *request);
/* Waits for room: resume comes soon. */
void request_stall(struct request *request);
/* No more calls come; the last thing that is done with a request before it is freed. */
void request_end(struct request *request);
