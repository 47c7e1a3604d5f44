/*
 * Writes: ops of at most 1 MiB from a batch buffer, a table, or a large item's extents, on the loop that made
 * them ready. The items' references are held until the write has completed.
 *
 * A loop has at most DEVICE_WRITES_BYTES in flight. That keeps any device busy, and a read (a get, the table
 * of a segment to be reclaimed) waits behind no more than that: with all of a write buffer of 64 MiB handed
 * over at once, reclaiming waited for its reads and puts for reclaiming, at a third of the rate.
 *
 * Buffers of batches lie in huge pages and are used again, the last first: with buffers of malloc() a fifth
 * of a put's time went into page faults, misses of the TLB and pinning pages one by one.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "cache/tier.h"
#include "cache/worker.h"

/* ---- buffers of batches ---- */

/* Under the batches' lock: one that was used before, the last first, or the next new one. */
static uint8_t *batch_next(struct batches *batches)
{
    if (batches->free_count > 0)
        return batches->free[--batches->free_count];
    if (batches->memory == NULL) {
        void *memory =
            mmap(NULL, DEVICE_BATCH_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return NULL;
        (void)madvise(memory, DEVICE_BATCH_MEMORY, MADV_HUGEPAGE); /* only helps */
        batches->memory = memory;
    }
    if (batches->used == DEVICE_BATCHES_MAX)
        return NULL;
    return batches->memory + (size_t)batches->used++ * DEVICE_BATCH_BYTES;
}

static uint8_t *batch_take(struct device *device)
{
    pthread_mutex_lock(&device->batches.lock);
    uint8_t *buffer = batch_next(&device->batches);
    pthread_mutex_unlock(&device->batches.lock);
    return buffer != NULL ? buffer : aligned_alloc(SEGMENT_BLOCK, DEVICE_BATCH_BYTES);
}

static void batch_give(struct device *device, uint8_t *buffer)
{
    struct batches *batches = &device->batches;
    pthread_mutex_lock(&batches->lock);
    bool kept =
        batches->memory != NULL && (uintptr_t)buffer - (uintptr_t)batches->memory < DEVICE_BATCH_MEMORY;
    if (kept)
        batches->free[batches->free_count++] = buffer;
    pthread_mutex_unlock(&batches->lock);
    if (!kept)
        free(buffer);
}

uint64_t write_kept_bytes(struct device *device)
{
    pthread_mutex_lock(&device->batches.lock);
    uint64_t bytes = (uint64_t)device->batches.used * DEVICE_BATCH_BYTES;
    pthread_mutex_unlock(&device->batches.lock);
    return bytes;
}

void write_free_kept(struct device *device)
{
    struct batches *batches = &device->batches;
    pthread_mutex_lock(&batches->lock); /* statistics may be read meanwhile */
    CHECK(batches->free_count == batches->used);
    if (batches->memory != NULL)
        (void)munmap(batches->memory, DEVICE_BATCH_MEMORY);
    batches->memory = NULL;
    batches->free_count = batches->used = 0;
    pthread_mutex_unlock(&batches->lock);
}

/* ---- writes ---- */

struct write *write_create(struct device *device, struct filling *filling, uint32_t buffer_len)
{
    struct write *write = calloc(1, sizeof *write);
    if (write == NULL)
        return NULL;
    write->device = device;
    write->filling = filling;
    list_init(&write->items);
    if (buffer_len == 0)
        return write;
    write->buffer_len = segment_blocks_up(buffer_len);
    write->is_batch = buffer_len == DEVICE_BATCH_BYTES;
    if (write->is_batch) {
        write->buffer = batch_take(device);
    } else { /* a large item's header is followed by room for its last, partial block */
        write->buffer = aligned_alloc(SEGMENT_BLOCK, (size_t)write->buffer_len + SEGMENT_BLOCK);
    }
    if (write->buffer == NULL) {
        free(write);
        return NULL;
    }
    write->tail = write->is_batch ? NULL : write->buffer + write->buffer_len;
    return write;
}

void write_destroy(struct write *write)
{
    CHECK(!list_linked(&write->ticket) && !list_linked(&write->node) && list_empty(&write->items));
    if (write->is_batch)
        batch_give(write->device, write->buffer);
    else
        free(write->buffer);
    free(write);
}

static const struct writing *only_item(const struct write *write)
{
    CHECK(!list_empty(&write->items));
    return CONTAINER_OF(write->items.next, struct writing, node);
}

/* Is it the write of one large item, whose payload lies in extents? */
static bool is_large(const struct write *write)
{
    return !write->is_table && segment_is_large(only_item(write)->value_len);
}

static unsigned large_vector(struct write *write)
{
    const struct writing *entry = only_item(write);
    uint32_t header_len = write->buffer_len, whole = entry->value_len / SEGMENT_BLOCK * SEGMENT_BLOCK;
    uint32_t at = write->written;
    int count = 0;
    if (at < header_len) {
        write->iov[count++] = (struct iovec){write->buffer + at, header_len - at};
        at = header_len;
    }
    uint32_t from = at - header_len, room = DEVICE_OP_BYTES - (at - write->written);
    uint32_t want = whole - from < room ? whole - from : room;
    if (want > 0) {
        int parts = 0;
        from +=
            item_vector_some(entry->item, from, want, write->iov + count, IO_VECTOR_MAX - 1 - count, &parts);
        CHECK(parts > 0);
        count += parts;
    }
    if (from == whole && entry->value_len > whole) {
        write->iov[count++] = (struct iovec){write->tail, SEGMENT_BLOCK};
        from += SEGMENT_BLOCK;
    }
    write->in_op = header_len + from - write->written;
    return (unsigned)count;
}

static bool may_sync(struct write *write)
{
    pthread_mutex_lock(&write->device->lock);
    bool rides = flush_rides(write->device, write);
    pthread_mutex_unlock(&write->device->lock);
    return rides;
}

static void submit(struct write *write)
{
    unsigned count = 1;
    if (is_large(write)) {
        count = large_vector(write);
    } else {
        uint32_t left = write->len - write->written;
        write->in_op = left < DEVICE_OP_BYTES ? left : DEVICE_OP_BYTES;
        write->iov[0] = (struct iovec){write->buffer + write->written, write->in_op};
    }
    uint32_t end = write->written + write->in_op;
    CHECK(write->in_op > 0 && write->in_op % SEGMENT_BLOCK == 0 && end <= write->len);
    write->syncs = end == write->len && !write->ride_failed && may_sync(write);
    (write->syncs ? io_file_write_sync : io_file_write)(write->worker->loop, &write->op, write->device->file,
        write->iov, count, write->offset + write->written);
}

/* Under lock: out of index and table. */
static void items_failed(struct write *write)
{
    struct device *device = write->device;
    struct filling *filling = write->filling;
    for (struct list_node *node = write->items.next; node != &write->items; node = node->next) {
        struct writing *entry = CONTAINER_OF(node, struct writing, node);
        if (entry->item != NULL && index_remove_at(device->index, entry->hash, entry->place))
            device_note(device, entry->hash);
        uint32_t offset = (uint32_t)(entry->place - device_segment_place(device, filling->segment));
        for (uint32_t i = 0; i < filling->row_count; i++) {
            struct segment_row row = segment_row_decode(filling->rows + (size_t)i * SEGMENT_ROW_BYTES);
            if (row.offset != offset)
                continue;
            row.kind = 0;
            segment_row_encode(&row, filling->rows + (size_t)i * SEGMENT_ROW_BYTES);
        }
    }
}

/* Under lock: the write's items are through: `gone`, or to be written `again`. */
static void items_settle(struct write *write, struct list_node *gone, struct list_node *again)
{
    struct device *device = write->device;
    for (struct list_node *node; (node = list_pop_front(&write->items)) != NULL;) {
        struct writing *entry = CONTAINER_OF(node, struct writing, node);
        bool needed = write->failed && writing_is_newest(device, entry);
        if (needed && !entry->again && device_takes(device)) {
            entry->again = true;
            list_push_back(again, node);
            continue;
        }
        if (needed) {
            device->missed_remove = true;
            device->write_errors = DEVICE_WRITE_ERRORS_MAX;
        }
        writing_remove(device, entry);
        list_push_back(gone, node);
    }
}

/* Under lock. */
static void settle(
    struct write *write, struct list_node *ready, struct list_node *gone, struct list_node *again)
{
    struct device *device = write->device;
    struct filling *filling = write->filling;
    device->write_errors = write->failed ? device->write_errors + 1 : 0;
    if (write->is_batch)
        device->batches_used--;
    if (write->failed)
        items_failed(write);
    filling->holed = filling->holed || (write->failed && !write->is_table);
    if (write->failed && write->is_table && filling->holed)
        append_hole_lost(device);
    items_settle(write, gone, again);
    if (write->is_table) {
        append_filling_end(device, filling);
    } else {
        filling->pending--;
        if (write->failed && device->open == filling)
            append_seal(device, ready);
        else if (filling->sealed && filling->pending == 0)
            append_table(device, filling, ready);
    }
    if (device->write_errors >= DEVICE_WRITE_ERRORS_MAX)
        device_out(device, ready, gone);
}

/* Its first write failed. It goes to the end of the log, unless something newer came. */
static void write_again(struct device *device, struct disk_worker *worker, struct writing *entry)
{
    struct append append;
    list_init(&append.ready);
    append.fill = NULL;
    append.opened_batch = false;
    pthread_mutex_lock(&device->lock);
    bool newest = writing_is_newest(device, entry), in_service = device_takes(device);
    if (newest && in_service)
        append_entry(device, entry, &append, true, io_now_ns(worker->loop));
    else
        writing_remove(device, entry);
    device->missed_remove = device->missed_remove || (newest && !in_service);
    pthread_mutex_unlock(&device->lock);
    if (newest && in_service)
        append_finish(device, worker, entry, &append);
    else
        writing_destroy(entry);
}

static void complete(struct write *write)
{
    struct device *device = write->device;
    struct disk_worker *worker = write->worker;
    struct list_node ready, gone, again;
    list_init(&ready);
    list_init(&gone);
    list_init(&again);
    counter_add(&device->stats.writes, 1);
    if (write->failed)
        counter_add(&device->stats.io_errors, 1);
    else
        counter_add(&device->stats.written_bytes, write->len);
    pthread_mutex_lock(&device->lock);
    settle(write, &ready, &gone, &again);
    bool has_again = !list_empty(&again);
    if (!has_again)
        flush_ticket_done(device, write);
    bool waiting = !list_empty(&device->waiting);
    pthread_mutex_unlock(&device->lock);
    for (struct list_node *node; (node = list_pop_front(&gone)) != NULL;)
        writing_destroy(CONTAINER_OF(node, struct writing, node));
    for (struct list_node *node; (node = list_pop_front(&again)) != NULL;)
        write_again(device, worker, CONTAINER_OF(node, struct writing, node));
    if (has_again) { /* until now no flush may take them for written */
        pthread_mutex_lock(&device->lock);
        flush_ticket_done(device, write);
        pthread_mutex_unlock(&device->lock);
    }
    int error = write->failed ? (int)write->op.result : 0;
    write_destroy(write);
    if (error != 0)
        device_event(device, DISK_EVENT_DEGRADED, error, "a write failed; its segment is sealed");
    write_submit_all(worker, &ready);
    if (waiting)
        append_waiting(device, worker);
    device_wake(device);
    worker_op_end(worker);
}

static void pump(struct disk_worker *worker)
{
    while (!list_empty(&worker->held)) {
        struct write *write = CONTAINER_OF(worker->held.next, struct write, node);
        if (worker->writes_bytes > 0 && worker->writes_bytes + write->len > DEVICE_WRITES_BYTES)
            return;
        list_remove(&write->node);
        worker->writes_bytes += write->len;
        submit(write);
    }
}

/* The write or its sync failed, and so have the flushes that ride. Written alone, it shows which: a sync that
 * fails is no reason to give up the segment. */
static void ride_failed(struct write *write)
{
    struct device *device = write->device;
    counter_add(&device->stats.io_errors, 1);
    pthread_mutex_lock(&device->lock);
    flush_ride_failed(device, write->op.result < 0 ? (int)write->op.result : -EIO);
    pthread_mutex_unlock(&device->lock);
    write->ride_failed = true;
    submit(write);
}

static void write_done(struct io_op *op)
{
    struct write *write = CONTAINER_OF(op, struct write, op);
    atomic_store(&write->device->progress_ns, io_now_ns(write->worker->loop));
    if (op->result == (int64_t)write->in_op) {
        write->written += write->in_op;
        if (write->written < write->len) {
            submit(write);
            return;
        }
    } else if (write->syncs) {
        ride_failed(write);
        return;
    } else {
        write->failed = true;
        if (op->result >= 0)
            op->result = -EIO;
    }
    write->worker->writes_bytes -= write->len;
    pump(write->worker);
    complete(write);
}

void write_submit_all(struct disk_worker *worker, struct list_node *ready)
{
    for (struct list_node *node; (node = list_pop_front(ready)) != NULL;) {
        struct write *write = CONTAINER_OF(node, struct write, node);
        write->worker = worker;
        io_op_init(&write->op, write_done);
        worker_op_begin(worker);
        list_push_back(&worker->held, &write->node);
    }
    pump(worker);
}
