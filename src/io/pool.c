/*
 * Thread pools for what blocks: one for each device file, so that a stalled disk holds up nothing else, and a
 * common one (index 0) for io_work() and all other files.
 *
 * A turn's ops for one pool are gathered and handed over with one lock and no more wake-ups than there are
 * ops or waiting threads; results come back through the loop's stack with at most one wake-up (mailbox.c).
 * Threads are started when more is queued than threads wait, so an idle device has none. A called thread
 * counts as waiting until it is awake, hence "queued > waiting" is exact: no op sits behind a stalled one
 * while a thread may still be started, but for the moment in which another loop is about to post its call.
 *
 * Each thread waits on a semaphore of its own, and the one that began to wait last is called first: what it
 * needs is still in a core's caches. A shared condition wakes the one that has slept longest.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "io/core.h"

struct pool_thread {
    struct io_pool *pool;
    pthread_t id;
    uv_sem_t call;
    struct pool_thread *next; /* in pool->idle; then with who called it, until it is posted */
};

struct io_pool {
    pthread_mutex_t lock;
    struct list_node queue;
    struct pool_thread *idle; /* those that wait and are not called, the last one first */
    unsigned queued, waiting, threads_started, threads_max;
    bool quit, in_use;
    struct pool_thread threads[];
};

static void run(struct io_op *op)
{
    if (op->io.kind == IO_KIND_WORK)
        op->io.work(op);
    else
        op->result = disk_execute(op);
    mailbox_finish(op);
}

/* Lock held. Returns when called. */
static void wait_for_call(struct pool_thread *self)
{
    struct io_pool *pool = self->pool;
    self->next = pool->idle;
    pool->idle = self;
    pool->waiting++;
    pthread_mutex_unlock(&pool->lock);
    uv_sem_wait(&self->call);
    pthread_mutex_lock(&pool->lock);
    pool->waiting--;
}

/* Lock held. Takes up to `most` threads off the idle ones; post_calls() wakes them, without the lock. */
static struct pool_thread *take_idle(struct io_pool *pool, unsigned most)
{
    struct pool_thread *first = pool->idle, *last = NULL;
    for (struct pool_thread *thread = first; thread != NULL && most-- > 0; thread = thread->next)
        last = thread;
    if (last == NULL)
        return NULL;
    pool->idle = last->next;
    last->next = NULL;
    return first;
}

static void post_calls(struct pool_thread *called)
{
    while (called != NULL) {
        struct pool_thread *thread = called;
        called = thread->next; /* before it is the thread's own again */
        uv_sem_post(&thread->call);
    }
}

static void *pool_thread(void *argument)
{
    struct pool_thread *self = argument;
    struct io_pool *pool = self->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct list_node *node = list_pop_front(&pool->queue);
        if (node != NULL) {
            struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
            CHECK(pool->queued > 0);
            pool->queued--;
            op->io.flags |= IO_FLAG_RUNNING;
            pthread_mutex_unlock(&pool->lock);
            run(op);
            pthread_mutex_lock(&pool->lock);
        } else if (pool->quit) {
            break;
        } else {
            wait_for_call(self);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Lock held. With all signals blocked: they are the main thread's. */
static int start_thread(struct io_pool *pool)
{
    struct pool_thread *thread = &pool->threads[pool->threads_started];
    thread->pool = pool;
    int error = uv_sem_init(&thread->call, 0);
    if (error < 0)
        return error;
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    error = pthread_create(&thread->id, NULL, pool_thread, thread);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (error == 0)
        pool->threads_started++;
    else
        uv_sem_destroy(&thread->call);
    return -error;
}

int pool_create(struct io *io, unsigned index, unsigned threads_max)
{
    CHECK(threads_max > 0 && io->pools[index] == NULL);
    struct io_pool *pool = calloc(1, sizeof *pool + threads_max * sizeof pool->threads[0]);
    if (pool == NULL)
        return -ENOMEM;
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    list_init(&pool->queue);
    pool->threads_max = threads_max;
    int error = start_thread(pool); /* one at least, so that what is queued is run */
    if (error < 0) {
        CHECK(pthread_mutex_destroy(&pool->lock) == 0);
        free(pool);
        return error;
    }
    pool->in_use = true;
    io->pools[index] = pool;
    return 0;
}

void pool_destroy(struct io *io, unsigned index)
{
    struct io_pool *pool = io->pools[index];
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    struct pool_thread *called = take_idle(pool, UINT_MAX);
    pthread_mutex_unlock(&pool->lock);
    post_calls(called);
    for (unsigned i = 0; i < pool->threads_started; i++) {
        CHECK(pthread_join(pool->threads[i].id, NULL) == 0);
        uv_sem_destroy(&pool->threads[i].call);
    }
    CHECK(list_empty(&pool->queue));
    CHECK(pthread_mutex_destroy(&pool->lock) == 0);
    free(pool);
    io->pools[index] = NULL;
}

unsigned pool_take_for_device(struct io *io)
{
    for (unsigned i = 1; i < IO_POOLS_MAX; i++) {
        if (io->pools[i] == NULL)
            return pool_create(io, i, io->config.device_threads) == 0 ? i : 0;
        if (!io->pools[i]->in_use) {
            io->pools[i]->in_use = true;
            return i;
        }
    }
    return 0;
}

void pool_give(struct io *io, unsigned index)
{
    if (index > 0)
        io->pools[index]->in_use = false;
}

void pool_submit(struct io_loop *loop, struct io_op *op, unsigned index)
{
    CHECK(index < IO_POOLS_MAX);
    op->io.state = IO_BATCHED;
    op->io.timer_index = index;
    list_push_back(&loop->batches[index].ops, &op->io.node);
    loop->batches[index].count++;
    loop->batches_dirty |= UINT64_C(1) << index;
}

static void hand_over(struct io_pool *pool, struct list_node *ops, unsigned count)
{
    struct list_node *node;
    pthread_mutex_lock(&pool->lock);
    while ((node = list_pop_front(ops)) != NULL) {
        CONTAINER_OF(node, struct io_op, io.node)->io.state = IO_POOLED;
        list_push_back(&pool->queue, node);
    }
    pool->queued += count;
    struct pool_thread *called = take_idle(pool, count);
    for (unsigned ready = pool->waiting; ready < pool->queued && pool->threads_started < pool->threads_max;
         ready++) {
        if (start_thread(pool) < 0)
            break; /* those that run serve it */
    }
    pthread_mutex_unlock(&pool->lock);
    post_calls(called);
}

void pool_flush(struct io_loop *loop)
{
    while (loop->batches_dirty != 0) {
        unsigned index = (unsigned)__builtin_ctzll(loop->batches_dirty);
        unsigned count = loop->batches[index].count;
        loop->batches_dirty &= loop->batches_dirty - 1;
        loop->batches[index].count = 0;
        if (count > 0)
            hand_over(loop->io->pools[index], &loop->batches[index].ops, count);
    }
}

bool pool_retract(struct io_loop *loop, struct io_op *op)
{
    unsigned index = op->io.timer_index;
    if (op->io.kind != IO_KIND_WORK)
        return false;
    if (op->io.state == IO_BATCHED) {
        list_remove(&op->io.node);
        loop->batches[index].count--;
        return true;
    }
    struct io_pool *pool = loop->io->pools[index];
    pthread_mutex_lock(&pool->lock);
    bool queued = (op->io.flags & IO_FLAG_RUNNING) == 0;
    if (queued) {
        list_remove(&op->io.node);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

void pool_cancel_all(struct io_loop *loop)
{
    pool_flush(loop);
    struct io_pool *pool = loop->io->pools[0]; /* all work is there */
    pthread_mutex_lock(&pool->lock);
    struct list_node *node = pool->queue.next;
    while (node != &pool->queue) {
        struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
        node = node->next;
        if (op->io.loop != loop || op->io.kind != IO_KIND_WORK)
            continue;
        list_remove(&op->io.node);
        pool->queued--;
        io_complete(op, -ECANCELED);
    }
    pthread_mutex_unlock(&pool->lock);
}

void io_work(struct io_loop *loop, struct io_op *op, void (*work)(struct io_op *op))
{
    CHECK(work != NULL);
    if (!op_submit(loop, op, IO_KIND_WORK))
        return;
    op->io.work = work;
    if (loop->driver->blocking == NULL || !loop->driver->blocking(loop, op))
        pool_submit(loop, op, 0);
}
