/*
 * The loop: one turn is hand over, wait, collect, call back.
 *
 * Callbacks run in rounds: a round is what was ready when it began, so what a callback submits and the driver
 * completes at once waits for the next round. After ROUNDS_MAX rounds the kernel is asked again: a busy
 * socket whose sends always succeed at once can't keep others, timers or messages waiting.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/core.h"

#define ROUNDS_MAX 4

static void update_clock(struct io_loop *loop)
{
    if (loop->driver->now != NULL) {
        loop->driver->now(loop, &loop->now_ns, &loop->wall_ns);
    } else {
        loop->now_ns = clock_monotonic_ns();
        loop->wall_ns = clock_wall_ns();
    }
}

static void link_loop(struct io *io, struct io_loop *loop)
{
    pthread_mutex_lock(&io->lock);
    loop->next = io->loops;
    io->loops = loop;
    pthread_mutex_unlock(&io->lock);
}

static void unlink_loop(struct io *io, struct io_loop *loop)
{
    pthread_mutex_lock(&io->lock);
    struct io_loop **at = &io->loops;
    while (*at != loop)
        at = &(*at)->next;
    *at = loop->next;
    pthread_mutex_unlock(&io->lock);
}

static void free_parts(struct io_loop *loop)
{
    timers_deinit(loop);
    sockets_deinit(loop);
    buffers_deinit(loop);
    free(loop->listeners.held);
    free(loop->driver_data);
    free(loop);
}

static int init_parts(struct io_loop *loop)
{
    list_init(&loop->ready);
    for (unsigned i = 0; i < IO_POOLS_MAX; i++)
        list_init(&loop->batches[i].ops);
    loop->driver_data = calloc(1, loop->driver->loop_bytes + 1);
    if (loop->driver_data == NULL)
        return -ENOMEM;
    int error = timers_init(loop);
    if (error == 0)
        error = sockets_init(loop);
    if (error == 0)
        error = buffers_init(loop);
    if (error == 0)
        error = loop->driver->loop_init(loop);
    return error;
}

int io_loop_create(struct io *io, struct io_loop **created)
{
    struct io_loop *loop = calloc(1, sizeof *loop);
    *created = NULL;
    if (loop == NULL)
        return -ENOMEM;
    loop->io = io;
    loop->driver = io->driver;
    int error = init_parts(loop);
    if (error < 0) {
        free_parts(loop);
        return error;
    }
    for (unsigned i = 0; i < loop->buffers.count && loop->driver->buffer_free != NULL; i++)
        loop->driver->buffer_free(loop, i);
    update_clock(loop);
    loop->timers.looked_ns = loop->now_ns;
    link_loop(io, loop);
    *created = loop;
    return 0;
}

static uint64_t wait_bound(const struct io_loop *loop, uint64_t wait_ns)
{
    if (!list_empty(&loop->ready) || buffers_waiting(loop))
        return 0;
    uint64_t next = timers_next_ns(loop);
    if (wait_ns == 0 || next == UINT64_MAX)
        return wait_ns;
    uint64_t until = next > loop->now_ns ? next - loop->now_ns : 0;
    return until < wait_ns ? until : wait_ns;
}

/* Announces the sleep, looks once more, waits. */
static void wait(struct io_loop *loop, uint64_t wait_ns)
{
    uint64_t bound = wait_bound(loop, wait_ns);
    if (bound > 0) {
        update_clock(loop); /* the bound must count from now, not from the last turn */
        bound = wait_bound(loop, wait_ns);
    }
    if (bound > 0) {
        atomic_store(&loop->sleeping, 1);
        if (mailbox_waiting(loop) || atomic_load(&loop->listeners_changed) || atomic_load(&loop->stop))
            bound = 0;
    }
    loop->stats.system_waits++;
    loop->driver->wait(loop, bound);
    if (atomic_load_explicit(&loop->sleeping, memory_order_relaxed) != 0)
        atomic_store(&loop->sleeping, 0);
}

static unsigned run_round(struct io_loop *loop)
{
    struct list_node round, *node;
    unsigned count = 0;
    list_init(&round);
    if (list_empty(&loop->ready))
        return 0;
    round = loop->ready;
    round.next->prev = round.prev->next = &round;
    list_init(&loop->ready);
    while ((node = list_pop_front(&round)) != NULL) {
        op_dispatch(CONTAINER_OF(node, struct io_op, io.node));
        count++;
    }
    return count;
}

unsigned io_loop_turn(struct io_loop *loop, uint64_t wait_ns)
{
    unsigned count = 0;
    pool_flush(loop);
    wait(loop, wait_ns);
    update_clock(loop);
    loop->stats.turns++;
    mailbox_collect(loop);
    timers_expire(loop);
    buffers_restart(loop);
    if (atomic_load_explicit(&loop->listeners_changed, memory_order_relaxed) &&
        atomic_exchange(&loop->listeners_changed, false))
        listeners_sweep(loop, false);
    count += mailbox_deliver(loop);
    for (unsigned round = 0; round < ROUNDS_MAX && !list_empty(&loop->ready); round++)
        count += run_round(loop);
    pool_flush(loop);
    return count;
}

int io_loop_prepare(struct io_loop *loop, uint64_t *wait_ns)
{
    if (loop->driver->descriptor == NULL)
        return E_UNSUPPORTED;
    pool_flush(loop);
    int fd = loop->driver->descriptor(loop);
    if (fd < 0)
        return fd;
    update_clock(loop);
    *wait_ns = wait_bound(loop, UINT64_MAX);
    if (*wait_ns > 0) {
        atomic_store(&loop->sleeping, 1);
        if (mailbox_waiting(loop) || atomic_load(&loop->listeners_changed))
            *wait_ns = 0;
    }
    return fd;
}

void io_loop_run(struct io_loop *loop)
{
    while (!atomic_load(&loop->stop))
        io_loop_turn(loop, UINT64_MAX);
    atomic_store(&loop->stop, false);
}

void io_loop_stop(struct io_loop *loop)
{
    atomic_fetch_add(&loop->posters, 1);
    atomic_store(&loop->stop, true);
    loop_wake(loop);
    atomic_fetch_sub(&loop->posters, 1);
}

uint64_t io_now_ns(const struct io_loop *loop)
{
    return loop->now_ns;
}

uint64_t io_wall_ns(const struct io_loop *loop)
{
    return loop->wall_ns;
}

uint64_t io_clock_ns(struct io_loop *loop)
{
    uint64_t monotonic_ns, wall_ns;
    if (loop->driver->now == NULL)
        return clock_monotonic_ns();
    loop->driver->now(loop, &monotonic_ns, &wall_ns);
    return monotonic_ns;
}

void io_loop_stats(const struct io_loop *loop, struct io_loop_stats *stats)
{
    *stats = loop->stats;
    stats->ops_in_flight = loop->in_flight;
    stats->sockets_open = loop->sockets.open;
    stats->buffers_leased = loop->buffers.leased_count;
    stats->timers = timers_count(loop);
    stats->disk_ops_in_flight = loop->disk_in_flight;
}

/* ---- the end ---- */

static void cancel_all(struct io_loop *loop)
{
    timers_cancel_all(loop);
    sockets_cancel_all(loop);
    foreign_cancel_all(loop);
    pool_cancel_all(loop);
}

/* Turns until nothing is in flight, or only what a thread or disk holds is and the time is over. */
static void drain(struct io_loop *loop, uint64_t drain_ns)
{
    /* Cancels take no time, but a stuck driver must not hang the process. */
    const uint64_t patience_ns = NS_PER_S, step_ns = NS_PER_MS;
    const unsigned turns_min = 100; /* where the thread stood still, the clock alone says nothing */
    update_clock(loop);
    uint64_t start = loop->now_ns;
    for (unsigned turns = 0;; turns++) {
        bool quiet = list_empty(&loop->ready) && !mailbox_waiting(loop);
        uint64_t passed = loop->now_ns - start;
        if (loop->in_flight == 0 && quiet)
            return;
        if (loop->in_flight == loop->disk_in_flight + loop->work_in_flight && quiet && passed >= drain_ns)
            return;
        if (passed >= drain_ns && passed - drain_ns >= patience_ns && turns >= turns_min)
            return;
        io_loop_turn(loop, step_ns);
    }
}

int io_loop_destroy(struct io_loop *loop, uint64_t drain_ns)
{
    struct io *io = loop->io;
    loop->ending = true;
    cancel_all(loop);
    drain(loop, drain_ns);
    unsigned left = loop->in_flight + loop->buffers.leased_count;
    if (loop->in_flight > 0) {
        io->abandoned = true; /* threads or the kernel still write into ops: nothing may be freed */
        unlink_loop(io, loop);
        return (int)(left + loop->sockets.open + loop->foreign.owned);
    }
    left += sockets_force_close(loop);
    left += foreign_deinit(loop);
    listeners_sweep(loop, true);
    unlink_loop(io, loop); /* from here on nobody else finds it */
    mailbox_quiesce(loop);
    while (mailbox_waiting(loop) || !list_empty(&loop->ready))
        io_loop_turn(loop, 0);
    loop->driver->loop_deinit(loop);
    free_parts(loop);
    return (int)left;
}
