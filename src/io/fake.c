/*
 * The fake driver: clock and events. Whatever takes time is an event in a heap, ordered by time and then by
 * age, so that one seed means one order. wait() runs the events of the next instant, or moves the clock to
 * its bound when there is none before; it never jumps over another loop's timer.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "io/core.h"
#include "io/fake_world.h"

#define START_NS NS_PER_S
#define START_WALL_NS (UINT64_C(1700000000) * NS_PER_S)

/* ---- events ---- */

static bool before(const struct fake_event *a, const struct fake_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void push(struct fake *fake, struct fake_event event)
{
    if (fake->event_count == fake->event_capacity) {
        fake->event_capacity = fake->event_capacity * 2 + 64;
        fake->events = realloc(fake->events, fake->event_capacity * sizeof *fake->events);
        CHECK(fake->events != NULL);
    }
    uint32_t at = fake->event_count++;
    for (; at > 0 && before(&event, &fake->events[(at - 1) / 2]); at = (at - 1) / 2)
        fake->events[at] = fake->events[(at - 1) / 2];
    fake->events[at] = event;
}

static struct fake_event pop(struct fake *fake)
{
    struct fake_event first = fake->events[0], last = fake->events[--fake->event_count];
    uint32_t at = 0, child;
    while ((child = at * 2 + 1) < fake->event_count) {
        if (child + 1 < fake->event_count && before(&fake->events[child + 1], &fake->events[child]))
            child++;
        if (!before(&fake->events[child], &last))
            break;
        fake->events[at] = fake->events[child];
        at = child;
    }
    fake->events[at] = last;
    return first;
}

/* The time of the next event, or UINT64_MAX. */
static uint64_t next_ns(struct fake *fake)
{
    while (fake->event_count > 0 && fake->events[0].run == NULL)
        pop(fake);
    return fake->event_count > 0 ? fake->events[0].at_ns : UINT64_MAX;
}

void fake_later(struct fake *fake, uint64_t min_ns, uint64_t max_ns,
    void (*run)(struct fake *fake, void *target), void *target)
{
    CHECK(min_ns <= max_ns);
    uint64_t delay = min_ns + random_below(&fake->random, max_ns - min_ns + 1);
    push(fake, (struct fake_event){fake->now_ns + (delay > 0 ? delay : 1), fake->sequence++, run, target});
}

void fake_forget(struct fake *fake, const void *target)
{
    for (uint32_t i = 0; i < fake->event_count; i++) {
        if (fake->events[i].target == target)
            fake->events[i].run = NULL;
    }
}

/* ---- the turn ---- */

/* What the clock may move to: not past a timer of another loop, which that loop must see on time. */
static uint64_t bound(const struct io_loop *loop, uint64_t timeout_ns)
{
    uint64_t now = fake_of(loop->io)->now_ns;
    uint64_t until = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    for (const struct io_loop *other = loop->io->loops; other != NULL; other = other->next) {
        uint64_t timer = timers_next_ns(other);
        if (other != loop && timer > now && timer < until)
            until = timer;
    }
    return until;
}

static void wait_turn(struct io_loop *loop, uint64_t timeout_ns)
{
    struct fake *fake = fake_of(loop->io);
    uint64_t until = bound(loop, timeout_ns), next = next_ns(fake);
    if (next > until || next == UINT64_MAX) {
        if (until != UINT64_MAX)
            fake->now_ns = until;
        return;
    }
    if (next > fake->now_ns)
        fake->now_ns = next;
    while (next_ns(fake) <= fake->now_ns) {
        struct fake_event event = pop(fake);
        event.run(fake, event.target);
    }
}

static void wake(struct io_loop *loop)
{
    (void)loop; /* one thread turns all: nobody sleeps */
}

static void now(struct io_loop *loop, uint64_t *monotonic_ns, uint64_t *wall_ns)
{
    const struct fake *fake = fake_of(loop->io);
    *monotonic_ns = fake->now_ns;
    *wall_ns = fake->now_ns + fake->wall_offset_ns;
}

void fake_clock_advance(struct io *io, uint64_t ns)
{
    fake_of(io)->now_ns += ns;
    for (struct io_loop *loop = io->loops; loop != NULL; loop = loop->next)
        loop->timers.looked_ns = fake_of(io)->now_ns; /* time passes; no loop stood still */
}

void fake_clock_set_wall(struct io *io, uint64_t wall_ns)
{
    fake_of(io)->wall_offset_ns = wall_ns - fake_of(io)->now_ns;
}

/* ---- work, and what is not to be had ---- */

static void run_work(struct fake *fake, void *target)
{
    struct io_op *op = target;
    (void)fake;
    op->io.work(op);
    io_complete(op, op->result);
}

static bool blocking(struct io_loop *loop, struct io_op *op)
{
    struct fake *fake = fake_of(loop->io);
    if (op->io.kind == IO_KIND_WORK)
        fake_later(fake, NS_PER_US, 200 * NS_PER_US, run_work, op);
    else
        fake_disk_start(fake, op);
    return true;
}

static void cancel(struct io_loop *loop, struct io_op *op)
{
    CHECK(op->io.state == IO_DRIVEN);
    if (op->io.kind == IO_KIND_WORK) {
        fake_forget(fake_of(loop->io), op);
        io_complete(op, -ECANCELED);
    } else {
        fake_socket_cancel(loop, op);
    }
}

static void poll_descriptor(struct io_loop *loop, struct io_op *op, struct io_foreign *foreign)
{
    (void)loop;
    (void)foreign;
    io_complete(op, -EOPNOTSUPP);
}

static int adopt(struct io_loop *loop, struct io_socket *socket)
{
    (void)loop;
    (void)socket;
    return -EOPNOTSUPP;
}

/* ---- life ---- */

static int init(struct io *io)
{
    struct fake *fake = fake_of(io);
    fake->io = io;
    fake->now_ns = START_NS;
    fake->wall_offset_ns = START_WALL_NS - START_NS;
    random_init(&fake->random, io->config.fake_seed);
    fake_network_init(fake);
    fake_disk_init(fake);
    return 0;
}

static void deinit(struct io *io)
{
    struct fake *fake = fake_of(io);
    fake_network_deinit(fake);
    fake_disk_deinit(fake);
    free(fake->events);
}

static int loop_init(struct io_loop *loop)
{
    (void)loop;
    return 0;
}

static void loop_deinit(struct io_loop *loop)
{
    (void)loop;
}

const struct io_driver io_driver_fake = {
    .name = "fake",
    .choice = IO_FAKE,
    .io_bytes = sizeof(struct fake),
    .socket_bytes = sizeof(struct fake_socket),
    .init = init,
    .deinit = deinit,
    .loop_init = loop_init,
    .loop_deinit = loop_deinit,
    .wait = wait_turn,
    .wake = wake,
    .now = now,
    .listen = fake_listen,
    .listener_close = fake_listener_close,
    .listener_address = fake_listener_address,
    .accept = fake_accept,
    .connect = fake_connect,
    .adopt = adopt,
    .recv = fake_recv,
    .send = fake_send,
    .poll = poll_descriptor,
    .cancel = cancel,
    .socket_close = fake_socket_close,
    .socket_address = fake_socket_address,
    .shutdown_send = fake_shutdown_send,
    .unsent_bytes = fake_unsent_bytes,
    .blocking = blocking,
};
