/*
 * Flushes. A flush waits until every write that had a ticket when it came is through, then syncs on the
 * caller's loop. Where it waits for one write only, and came before that was begun, the write syncs too and
 * the flush rides on it: one hand-over to the device's threads instead of two. Entries that wait for a free
 * segment have no ticket yet: a flush behind them is held until they have left the queue.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"
#include "cache/worker.h"

void flush_ticket(struct device *device, struct write *write)
{
    write->number = device->next_ticket++;
    list_push_back(&device->tickets, &write->ticket);
}

static struct flush *flush_of(struct list_node *node)
{
    return CONTAINER_OF(node, struct flush, node);
}

bool flush_rides(struct device *device, const struct write *write)
{
    if (device->tickets.next != &write->ticket)
        return false; /* an earlier one is not through */
    uint64_t next = device->next_ticket;
    if (write->ticket.next != &device->tickets)
        next = CONTAINER_OF(write->ticket.next, struct write, ticket)->number;
    bool rides = false;
    for (struct list_node *node = device->flushes.next; node != &device->flushes; node = node->next) {
        if (flush_of(node)->barrier > next)
            break;
        if (flush_of(node)->result == 0)
            flush_of(node)->rides = rides = true;
    }
    return rides;
}

void flush_ride_failed(struct device *device, int error)
{
    for (struct list_node *node = device->flushes.next; node != &device->flushes; node = node->next)
        if (flush_of(node)->rides && flush_of(node)->result == 0)
            flush_of(node)->result = error;
}

/* Under lock: sends those on their way whose tickets are gone. */
static void check(struct device *device)
{
    uint64_t oldest = device->next_ticket;
    if (!list_empty(&device->tickets))
        oldest = CONTAINER_OF(device->tickets.next, struct write, ticket)->number;
    while (!list_empty(&device->flushes) && flush_of(device->flushes.next)->barrier <= oldest) {
        struct flush *flush = flush_of(list_pop_front(&device->flushes));
        io_post(flush->worker->loop, &flush->message);
    }
}

/* Under lock: the flushes of the list that came after the write had its ticket. */
static void fail(struct list_node *flushes, const struct write *write)
{
    int error = write->op.result < 0 ? (int)write->op.result : -EIO;
    for (struct list_node *node = flushes->next; node != flushes; node = node->next)
        if (flush_of(node)->barrier > write->number && flush_of(node)->result == 0)
            flush_of(node)->result = error;
}

void flush_ticket_done(struct device *device, struct write *write)
{
    list_remove(&write->ticket);
    if (write->failed) {
        fail(&device->flushes, write);
        fail(&device->held, write); /* all: what they wait for is in it, or was when it came from the queue */
    }
    check(device);
}

bool flush_waiting_moved(struct device *device)
{
    bool moved = false;
    while (!list_empty(&device->held) && flush_of(device->held.next)->waiting_before <= device->waiting_out) {
        struct flush *flush = flush_of(list_pop_front(&device->held));
        flush->barrier = device->next_ticket;
        list_push_back(&device->flushes, &flush->node);
        moved = true;
    }
    check(device);
    return moved;
}

void flush_waiting_lost(struct device *device)
{
    for (struct list_node *node = device->held.next; node != &device->held; node = node->next)
        flush_of(node)->result = -EIO;
    flush_waiting_moved(device);
}

static void finish(struct flush *flush)
{
    struct disk_worker *worker = flush->worker;
    flush->done(flush->context, flush->result); /* which may free it */
    worker_op_end(worker);
}

static void synced(struct io_op *op)
{
    struct flush *flush = CONTAINER_OF(op, struct flush, op);
    atomic_store(&flush->device->progress_ns, io_now_ns(flush->worker->loop));
    if (op->result < 0) {
        flush->result = (int)op->result;
        counter_add(&flush->device->stats.io_errors, 1);
    }
    finish(flush);
}

static void written(struct io_message *message)
{
    struct flush *flush = CONTAINER_OF(message, struct flush, message);
    if (flush->result < 0 || flush->rides) {
        finish(flush);
        return;
    }
    io_op_init(&flush->op, synced);
    io_file_sync(flush->worker->loop, &flush->op, flush->device->file);
}

void flush_start(struct flush *flush, struct device *device, struct disk_worker *worker,
    void (*done)(void *context, int result), void *context)
{
    *flush = (struct flush){.device = device, .worker = worker, .done = done, .context = context};
    flush->message.deliver = written;
    worker_op_begin(worker);
    struct list_node ready;
    list_init(&ready);
    pthread_mutex_lock(&device->lock);
    if (!device_in_service(device) && atomic_load(&device->state) != DEVICE_CLOSING) {
        flush->result = E_UNSUPPORTED;
        io_post(worker->loop, &flush->message);
    } else {
        append_close_batch(device, &ready);
        bool held = !list_empty(&device->waiting);
        flush->barrier = held ? UINT64_MAX : device->next_ticket; /* held: known when they leave the queue */
        flush->waiting_before = device->waiting_in;
        list_push_back(held ? &device->held : &device->flushes, &flush->node);
        check(device);
    }
    pthread_mutex_unlock(&device->lock);
    write_submit_all(worker, &ready);
}
