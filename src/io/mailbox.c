/*
 * What other threads hand to a loop: messages and ops that a pool has finished.
 *
 * Two stacks with one atomic head each; the loop takes the whole stack and turns it round, which gives the
 * order of arrival. A producer wakes the loop only when it sleeps: the loop announces its sleep, then looks
 * once more (mailbox_waiting) before it really waits; the producer pushes, then looks whether the loop
 * sleeps. Both pairs are sequentially consistent, so at least one side sees the other. One wake-up serves all
 * that arrives until the loop is awake.
 *
 * `posters` keeps the loop's memory until a producer has left: the message may have been the loop's last.
 */
#include <sched.h>

#include "io/core.h"

static void wake_sleeper(struct io_loop *loop)
{
    if (atomic_load(&loop->sleeping) != 0 && atomic_exchange(&loop->sleeping, 0) != 0)
        loop->driver->wake(loop);
}

void loop_wake(struct io_loop *loop)
{
    atomic_fetch_add(&loop->posters, 1);
    wake_sleeper(loop);
    atomic_fetch_sub(&loop->posters, 1);
}

void io_post(struct io_loop *loop, struct io_message *message)
{
    CHECK(message->deliver != NULL);
    atomic_fetch_add(&loop->posters, 1);
    struct io_message *head = atomic_load_explicit(&loop->mail, memory_order_relaxed);
    do {
        message->next = head;
    } while (!atomic_compare_exchange_weak(&loop->mail, &head, message));
    wake_sleeper(loop);
    atomic_fetch_sub(&loop->posters, 1);
}

void mailbox_finish(struct io_op *op)
{
    struct io_loop *loop = op->io.loop;
    atomic_fetch_add(&loop->posters, 1);
    struct io_op *head = atomic_load_explicit(&loop->finished, memory_order_relaxed);
    do {
        op->io.node.next = head == NULL ? NULL : &head->io.node;
    } while (!atomic_compare_exchange_weak(&loop->finished, &head, op));
    wake_sleeper(loop);
    atomic_fetch_sub(&loop->posters, 1);
}

bool mailbox_waiting(struct io_loop *loop)
{
    return atomic_load(&loop->mail) != NULL || atomic_load(&loop->finished) != NULL;
}

unsigned mailbox_deliver(struct io_loop *loop)
{
    if (atomic_load_explicit(&loop->mail, memory_order_relaxed) == NULL)
        return 0;
    struct io_message *newest = atomic_exchange(&loop->mail, NULL), *oldest = NULL;
    while (newest != NULL) {
        struct io_message *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    unsigned count = 0;
    while (oldest != NULL) {
        struct io_message *message = oldest;
        oldest = message->next; /* before: deliver may post it again or free it */
        message->next = NULL;
        message->deliver(message);
        count++;
    }
    return count;
}

void mailbox_collect(struct io_loop *loop)
{
    if (atomic_load_explicit(&loop->finished, memory_order_relaxed) == NULL)
        return;
    struct list_node *newest = &atomic_exchange(&loop->finished, NULL)->io.node, *oldest = NULL;
    while (newest != NULL) {
        struct list_node *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct io_op *op = CONTAINER_OF(oldest, struct io_op, io.node);
        oldest = oldest->next;
        op->io.node = (struct list_node){0};
        io_complete(op, op->result);
    }
}

void mailbox_quiesce(struct io_loop *loop)
{
    while (atomic_load(&loop->posters) != 0)
        sched_yield();
}
