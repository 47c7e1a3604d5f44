/*
 * Timers: a heap in memory, no system call. Equal deadlines fire in order of submission.
 *
 * An entry holds a copy of the key, so that the heap is sorted without touching ops. A deadline that moves
 * later (the common move: an idle time-out after each request) only writes the op; the entry follows when it
 * reaches the top. Rejected: a wheel, whose coarse ticks would show in tests and whose far future needs
 * cascades.
 *
 * A timer does not fail: who waits for one has nothing else to wake it. What the heap has no memory to grow
 * for is kept in a list (`late`), which is searched as a whole, and moves to the heap with the next timer
 * that finds room.
 *
 * A turn that comes long after the deadline that it was to be woken for, or after the turn before it, follows
 * a standstill: a paused machine, a thread without a processor. What came in time lies in sockets, rings and
 * mailboxes then, some of it a few turns from who waits for it, and deadlines that counted at once would give
 * up on it. So timers wait for GRACE_NS more, once for a standstill.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "io/core.h"

#define ARITY 4
#define STANDSTILL_NS (200 * NS_PER_MS)
#define GRACE_NS (100 * NS_PER_MS)

struct timer_entry {
    uint64_t key_ns, sequence;
    struct io_op *op;
};

static bool before(const struct timer_entry *a, const struct timer_entry *b)
{
    return a->key_ns != b->key_ns ? a->key_ns < b->key_ns : a->sequence < b->sequence;
}

static void place(struct io_loop *loop, uint32_t at, struct timer_entry entry)
{
    loop->timers.entries[at] = entry;
    entry.op->io.timer_index = at;
}

static void sift_up(struct io_loop *loop, uint32_t at, struct timer_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / ARITY;
        if (!before(&entry, &loop->timers.entries[parent]))
            break;
        place(loop, at, loop->timers.entries[parent]);
        at = parent;
    }
    place(loop, at, entry);
}

static void sift_down(struct io_loop *loop, uint32_t at, struct timer_entry entry)
{
    const struct timer_entry *entries = loop->timers.entries;
    for (;;) {
        uint32_t first = at * ARITY + 1, best = first;
        if (first >= loop->timers.count)
            break;
        for (uint32_t i = first + 1; i < first + ARITY && i < loop->timers.count; i++) {
            if (before(&entries[i], &entries[best]))
                best = i;
        }
        if (!before(&entries[best], &entry))
            break;
        place(loop, at, entries[best]);
        at = best;
    }
    place(loop, at, entry);
}

static void remove_at(struct io_loop *loop, uint32_t at)
{
    CHECK(at < loop->timers.count);
    struct timer_entry last = loop->timers.entries[--loop->timers.count];
    if (at == loop->timers.count)
        return;
    if (at > 0 && before(&last, &loop->timers.entries[(at - 1) / ARITY]))
        sift_up(loop, at, last);
    else
        sift_down(loop, at, last);
}

int timers_init(struct io_loop *loop)
{
    list_init(&loop->timers.late);
    loop->timers.capacity = 256;
    loop->timers.entries = malloc(loop->timers.capacity * sizeof(struct timer_entry));
    return loop->timers.entries == NULL ? -ENOMEM : 0;
}

void timers_deinit(struct io_loop *loop)
{
    free(loop->timers.entries);
    loop->timers.entries = NULL;
}

static bool make_room(struct io_loop *loop)
{
    if (loop->timers.count < loop->timers.capacity)
        return true;
    size_t bytes = 2 * sizeof(struct timer_entry) * loop->timers.capacity;
    struct timer_entry *larger = realloc(loop->timers.entries, bytes);
    if (larger == NULL)
        return false;
    loop->timers.entries = larger;
    loop->timers.capacity *= 2;
    return true;
}

static void insert(struct io_loop *loop, struct io_op *op)
{
    if (make_room(loop))
        sift_up(loop, loop->timers.count++,
            (struct timer_entry){op->io.deadline_ns, loop->timers.sequence++, op});
    else
        list_push_back(&loop->timers.late, &op->io.node);
}

/* Behind those of the same deadline that are in the heap. */
static void insert_late_ones(struct io_loop *loop)
{
    while (!list_empty(&loop->timers.late) && make_room(loop))
        insert(loop, CONTAINER_OF(list_pop_front(&loop->timers.late), struct io_op, io.node));
}

static bool is_late(const struct io_op *op)
{
    return list_linked(&op->io.node);
}

void io_timer(struct io_loop *loop, struct io_op *op, uint64_t deadline_ns)
{
    if (!op_submit(loop, op, IO_KIND_TIMER))
        return;
    op->io.state = IO_TIMED;
    op->io.deadline_ns = deadline_ns;
    insert_late_ones(loop);
    insert(loop, op);
}

void io_timer_move(struct io_loop *loop, struct io_op *op, uint64_t deadline_ns)
{
    if (op->io.state != IO_TIMED)
        return; /* it has fired or was cancelled: its callback is on the way */
    CHECK(op->io.loop == loop);
    op->io.deadline_ns = deadline_ns;
    if (is_late(op))
        return;
    struct timer_entry *entry = &loop->timers.entries[op->io.timer_index];
    CHECK(entry->op == op);
    if (deadline_ns < entry->key_ns)
        sift_up(loop, op->io.timer_index, (struct timer_entry){deadline_ns, loop->timers.sequence++, op});
}

static uint64_t earliest_ns(const struct io_loop *loop)
{
    uint64_t next_ns = loop->timers.count == 0 ? UINT64_MAX : loop->timers.entries[0].key_ns;
    for (const struct list_node *node = loop->timers.late.next; node != &loop->timers.late;
         node = node->next) {
        uint64_t late_ns = CONTAINER_OF(node, struct io_op, io.node)->io.deadline_ns;
        next_ns = late_ns < next_ns ? late_ns : next_ns;
    }
    return next_ns;
}

uint64_t timers_next_ns(const struct io_loop *loop)
{
    uint64_t next_ns = earliest_ns(loop), grace_ns = loop->timers.grace_until_ns;
    return next_ns < grace_ns ? grace_ns : next_ns;
}

/* Whether deadlines that have passed wait until what came during a standstill has been handed on. */
static bool grace(struct io_loop *loop)
{
    uint64_t due_ns = earliest_ns(loop), now_ns = loop->now_ns;
    uint64_t expected_ns = due_ns > loop->timers.looked_ns ? due_ns : loop->timers.looked_ns;
    loop->timers.looked_ns = now_ns;
    if (loop->timers.grace_until_ns == 0 && due_ns <= now_ns && now_ns - expected_ns > STANDSTILL_NS)
        loop->timers.grace_until_ns = now_ns + GRACE_NS;
    else if (loop->timers.grace_until_ns <= now_ns)
        loop->timers.grace_until_ns = 0;
    return loop->timers.grace_until_ns > 0;
}

static void expire_late_ones(struct io_loop *loop)
{
    for (struct list_node *node = loop->timers.late.next; node != &loop->timers.late;) {
        struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
        node = node->next;
        if (op->io.deadline_ns <= loop->now_ns)
            io_complete(op, 0);
    }
}

void timers_expire(struct io_loop *loop)
{
    if (grace(loop))
        return;
    while (loop->timers.count > 0 && loop->timers.entries[0].key_ns <= loop->now_ns) {
        struct timer_entry entry = loop->timers.entries[0];
        if (entry.op->io.deadline_ns > entry.key_ns) {
            entry.key_ns = entry.op->io.deadline_ns;
            entry.sequence = loop->timers.sequence++;
            sift_down(loop, 0, entry);
        } else {
            remove_at(loop, 0);
            io_complete(entry.op, 0);
        }
    }
    expire_late_ones(loop);
}

void timer_cancel(struct io_loop *loop, struct io_op *op)
{
    if (!is_late(op)) {
        CHECK(loop->timers.entries[op->io.timer_index].op == op);
        remove_at(loop, op->io.timer_index);
    }
    io_complete(op, -ECANCELED);
}

void timers_cancel_all(struct io_loop *loop)
{
    while (loop->timers.count > 0)
        timer_cancel(loop, loop->timers.entries[0].op);
    while (!list_empty(&loop->timers.late))
        timer_cancel(loop, CONTAINER_OF(loop->timers.late.next, struct io_op, io.node));
}

unsigned timers_count(const struct io_loop *loop)
{
    unsigned count = loop->timers.count;
    for (const struct list_node *node = loop->timers.late.next; node != &loop->timers.late; node = node->next)
        count++;
    return count;
}
