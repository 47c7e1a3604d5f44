/*
 * Thread pools for what blocks: one for each device file, so that a stalled disk holds up nothing else, and a
 * common one (index 0) for io_work() and all other files.
 *
 * A turn's ops for one pool are gathered and handed over with one lock and no more wake-ups than there are
 * ops or waiting threads; results come back through the loop's stack with at most one wake-up (mailbox.c).
 * Threads are started when more is queued than threads wait, so an idle device has none. A signalled thread
 * counts as waiting until it has taken its op, hence "queued > waiting" is exact and no op sits behind a
 * stalled one while a thread may still be started.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "io/core.h"

struct io_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list_node queue;
    unsigned queued, waiting, threads, threads_max;
    bool quit, in_use;
    pthread_t ids[];
};

static void run(struct io_op *op)
{
    if (op->io.kind == IO_KIND_WORK)
        op->io.work(op);
    else
        op->result = disk_execute(op);
    mailbox_finish(op);
}

static void *pool_thread(void *argument)
{
    struct io_pool *pool = argument;
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
            pool->waiting++;
            pthread_cond_wait(&pool->wake, &pool->lock);
            pool->waiting--;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Lock held. With all signals blocked: they are the main thread's. */
static int start_thread(struct io_pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int error = pthread_create(&pool->ids[pool->threads], NULL, pool_thread, pool);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (error == 0)
        pool->threads++;
    return -error;
}

int pool_create(struct io *io, unsigned index, unsigned threads_max)
{
    CHECK(threads_max > 0 && io->pools[index] == NULL);
    struct io_pool *pool = calloc(1, sizeof *pool + threads_max * sizeof(pthread_t));
    if (pool == NULL)
        return -ENOMEM;
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    CHECK(pthread_cond_init(&pool->wake, NULL) == 0);
    list_init(&pool->queue);
    pool->threads_max = threads_max;
    int error = start_thread(pool); /* one at least, so that what is queued is run */
    if (error < 0) {
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
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        CHECK(pthread_join(pool->ids[i], NULL) == 0);
    CHECK(list_empty(&pool->queue));
    CHECK(pthread_mutex_destroy(&pool->lock) == 0);
    CHECK(pthread_cond_destroy(&pool->wake) == 0);
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
    unsigned signals = count < pool->waiting ? count : pool->waiting;
    for (unsigned ready = pool->waiting; ready < pool->queued && pool->threads < pool->threads_max; ready++) {
        if (start_thread(pool) < 0)
            break; /* those that run serve it */
    }
    pthread_mutex_unlock(&pool->lock);
    while (signals-- > 0)
        pthread_cond_signal(&pool->wake);
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
