#include "yata/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "yata/store.h"

#define RETRY_NS NS_PER_MS
/* For disk operations of a loop that has nothing else left. */
#define DRAIN_NS NS_PER_S

/* ---- requests ---- */

static void arm(struct loop *loop)
{
    if (list_empty(&loop->under_way) || io_op_busy(&loop->deadline))
        return;
    struct request *first = CONTAINER_OF(loop->under_way.next, struct request, node);
    io_timer(loop->io_loop, &loop->deadline, first->deadline_ns);
}

static void fail(struct request *request, int error)
{
    list_remove(&request->node);
    if (list_linked(&request->stalled))
        list_remove(&request->stalled);
    request->fail(request, error);
}

static void deadline_passed(struct io_op *op)
{
    struct loop *loop = CONTAINER_OF(op, struct loop, deadline);
    if (op->result < 0)
        return;
    while (!list_empty(&loop->under_way)) {
        struct request *first = CONTAINER_OF(loop->under_way.next, struct request, node);
        if (first->deadline_ns > io_now_ns(loop->io_loop))
            break;
        counter_add(&loop->yata->timeouts, 1);
        fail(first, E_TIMEOUT);
    }
    arm(loop);
}

static void arm_retry(struct loop *loop)
{
    if (!list_empty(&loop->stalled) && !io_op_busy(&loop->retry))
        io_timer(loop->io_loop, &loop->retry, io_now_ns(loop->io_loop) + RETRY_NS);
}

static void retry_stalled(struct io_op *op)
{
    struct loop *loop = CONTAINER_OF(op, struct loop, retry);
    struct list_node last = {0};
    if (op->result < 0)
        return;
    list_push_back(&loop->stalled, &last); /* who stalls again waits behind it */
    while (loop->stalled.next != &last) {
        struct request *request = CONTAINER_OF(list_pop_front(&loop->stalled), struct request, stalled);
        request->resume(request);
    }
    list_remove(&last);
    arm_retry(loop);
}

static void request_begin(struct request *request)
{
    struct loop *loop = request->loop;
    /* Not io_now_ns(): a program that turns the loop itself may have waited elsewhere since the last turn. */
    request->deadline_ns = io_clock_ns(loop->io_loop) + loop->yata->timeout_ns;
    list_push_back(&loop->under_way, &request->node);
    if (atomic_load(&loop->yata->closing)) {
        fail(request, E_CANCELED);
        return;
    }
    arm(loop);
    request->start(request);
}

static void request_deliver(struct io_message *message)
{
    request_begin(CONTAINER_OF(message, struct request, message));
}

int request_submit(struct request *request, struct loop *loop)
{
    struct yata *yata = loop->yata;
    if (atomic_load(&yata->closing))
        return E_CANCELED;
    atomic_fetch_add(&yata->under_way, 1);
    request->loop = loop;
    request->message.deliver = request_deliver;
    if (loop_is_mine(loop))
        list_push_back(&loop->starts, &request->node);
    else
        io_post(loop->io_loop, &request->message);
    return 0;
}

void request_progress(struct request *request)
{
    struct loop *loop = request->loop;
    if (!list_linked(&request->node))
        return; /* it has failed */
    request->deadline_ns = io_clock_ns(loop->io_loop) + loop->yata->timeout_ns;
    list_remove(&request->node);
    list_push_back(&loop->under_way, &request->node);
}

void request_stall(struct request *request)
{
    struct loop *loop = request->loop;
    if (list_linked(&request->stalled))
        return;
    list_push_back(&loop->stalled, &request->stalled);
    arm_retry(loop);
}

void request_end(struct request *request)
{
    if (list_linked(&request->node))
        list_remove(&request->node);
    if (list_linked(&request->stalled))
        list_remove(&request->stalled);
    store_request_ended(request->loop->yata);
}

/* ---- the loop ---- */

static unsigned run_starts(struct loop *loop)
{
    struct list_node last = {0};
    unsigned count = 0;
    list_push_back(&loop->starts, &last); /* what callbacks ask for meanwhile waits for the next turn */
    for (; loop->starts.next != &last; count++)
        request_begin(CONTAINER_OF(list_pop_front(&loop->starts), struct request, node));
    list_remove(&last);
    return count;
}

static uintptr_t this_thread(void)
{
    return (uintptr_t)pthread_self();
}

bool loop_is_mine(struct loop *loop)
{
    return atomic_load_explicit(&loop->turner, memory_order_relaxed) == this_thread();
}

bool loop_has_starts(const struct loop *loop)
{
    return !list_empty(&loop->starts);
}

unsigned loop_turn(struct loop *loop, uint64_t wait_ns)
{
    CHECK(loop_is_mine(loop) && !loop->turning);
    loop->turning = true;
    unsigned count = run_starts(loop); /* they may have called back: whoever turns the loop wants to know */
    count += io_loop_turn(loop->io_loop, count > 0 ? 0 : wait_ns);
    count += run_starts(loop);
    loop->turning = false;
    return count;
}

static void deliver_cancel(struct io_message *message)
{
    struct loop *loop = CONTAINER_OF(message, struct loop, cancel);
    while (!list_empty(&loop->under_way))
        fail(CONTAINER_OF(loop->under_way.next, struct request, node), E_CANCELED);
}

void loop_cancel_all(struct loop *loop)
{
    loop->cancel.deliver = deliver_cancel;
    io_post(loop->io_loop, &loop->cancel);
}

static void cache_left(void *context)
{
    struct loop *loop = context;
    loop->finished = true;
    store_set(loop->yata, &loop->left);
}

static void deliver_leave(struct io_message *message)
{
    struct loop *loop = CONTAINER_OF(message, struct loop, leave);
    cache_leave(loop->yata->cache, loop->io_loop, cache_left, loop);
}

void loop_leave(struct loop *loop)
{
    loop->leave.deliver = deliver_leave;
    io_post(loop->io_loop, &loop->leave);
}

int loop_begin(struct loop *loop)
{
    list_init(&loop->starts);
    list_init(&loop->under_way);
    list_init(&loop->stalled);
    io_op_init(&loop->deadline, deadline_passed);
    io_op_init(&loop->retry, retry_stalled);
    int result = io_loop_create(loop->yata->io, &loop->io_loop);
    if (result < 0)
        return result;
    result = cache_join(loop->yata->cache, loop->io_loop);
    if (result < 0) {
        (void)io_loop_destroy(loop->io_loop, 0);
        return result;
    }
    atomic_store(&loop->turner, this_thread());
    return 0;
}

void loop_end(struct loop *loop)
{
    CHECK(list_empty(&loop->starts) && list_empty(&loop->under_way) && list_empty(&loop->stalled));
    atomic_store(&loop->turner, 0);
    (void)io_loop_destroy(loop->io_loop, DRAIN_NS);
}

static void set_state(struct loop *loop, int state, int result)
{
    struct yata *yata = loop->yata;
    pthread_mutex_lock(&yata->lock);
    loop->state = state;
    loop->result = result;
    pthread_cond_broadcast(&yata->changed);
    pthread_mutex_unlock(&yata->lock);
}

static void *loop_main(void *argument)
{
    struct loop *loop = argument;
    int result = loop_begin(loop);
    if (result < 0) {
        set_state(loop, LOOP_ENDED, result);
        return NULL;
    }
    set_state(loop, LOOP_RUNNING, 0);
    while (!loop->finished)
        loop_turn(loop, UINT64_MAX);
    loop_end(loop);
    set_state(loop, LOOP_ENDED, 0);
    return NULL;
}

/* Signals are the program's: its handlers shall not run here. */
static int create_thread(struct loop *loop)
{
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int error = pthread_create(&loop->thread, NULL, loop_main, loop);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -error;
}

int loop_start(struct loop *loop)
{
    struct yata *yata = loop->yata;
    loop->state = LOOP_BEGINNING;
    int result = create_thread(loop);
    if (result < 0) {
        loop->state = LOOP_NONE;
        return result;
    }
    char name[16];
    (void)snprintf(name, sizeof name, "yata-%u", (unsigned)(loop - yata->loops) % 100);
    (void)pthread_setname_np(loop->thread, name);
    pthread_mutex_lock(&yata->lock);
    while (loop->state == LOOP_BEGINNING)
        pthread_cond_wait(&yata->changed, &yata->lock);
    result = loop->result;
    pthread_mutex_unlock(&yata->lock);
    return result;
}
