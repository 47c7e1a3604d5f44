/*
 * The open end of a device's log: giving places under the lock, filling them outside it, sealing full
 * segments.
 *
 * Small items share a batch, a buffer that becomes one write; a large item is a write of its own and closes
 * the batch before it, so that the places of a segment have no gaps that a scan would stop at. Room for the
 * table grows with each item and is kept free at the segment's end.
 */
#include <stdlib.h>

#include "cache/tier.h"
#include "cache/worker.h"

/* ---- places, under lock ---- */

/* Under overload the last free segment is kept for what reclaiming carries forward, or the hottest items
 * would be washed out. */
static bool segment_free(const struct device *device, bool may_wait)
{
    return device->free_count > (may_wait && device->free_target > 1 ? 1 : 0);
}

static struct filling *filling_open(struct device *device, bool may_wait)
{
    if (!segment_free(device, may_wait))
        return NULL;
    struct filling *filling = calloc(1, sizeof *filling);
    if (filling == NULL)
        return NULL;
    filling->segment = device->free[--device->free_count];
    filling->generation = device->next_generation++;
    CHECK(filling->generation < device->generation_limit);
    struct device_segment *segment = &device->segments[filling->segment];
    CHECK(segment->state == SEGMENT_FREE && atomic_load(&segment->pins) == 0);
    segment->state = SEGMENT_OPEN;
    segment->data_end = 0;
    atomic_store(&segment->generation, filling->generation);
    device->live[(device->live_at + device->live_count++) % device->segment_count] = filling->segment;
    device->open = filling;
    if (device->free_count < device->free_target)
        device_wake(device);
    return filling;
}

/* Bytes or a row were given out; reclaiming may be due when little is left. */
static void look_late(struct device *device, struct filling *filling)
{
    if (filling->late || !device_segment_late(device))
        return;
    filling->late = true;
    device_wake(device);
}

/* Where the next item of that kind would start. */
static uint32_t next_offset(
    const struct device *device, const struct filling *filling, const struct writing *entry)
{
    const struct write *batch = filling->batch;
    if (batch == NULL)
        return filling->used;
    uint32_t batch_at = (uint32_t)(batch->offset - device_segment_place(device, filling->segment));
    if (!segment_is_large(entry->value_len) && batch->used + entry->item_len <= batch->buffer_len)
        return batch_at + batch->used;
    return batch_at + segment_blocks_up(batch->used);
}

static bool fits(const struct device *device, const struct filling *filling, const struct writing *entry)
{
    uint64_t end = segment_blocks_up((uint64_t)next_offset(device, filling, entry) + entry->item_len);
    return filling->row_count < device->rows_max &&
           end + segment_table_len(filling->row_count + 1) <= device->segment_bytes;
}

/* Would the entry, which fits, lie where there must be room for what is carried? */
static bool needs_carry_room(const struct device *device, const struct writing *entry)
{
    const struct filling *filling = device->open;
    if (device->carried)
        return false;
    uint64_t end = segment_blocks_up((uint64_t)next_offset(device, filling, entry) + entry->item_len) +
                   segment_table_len(filling->row_count + 1);
    return device->carrying || device->segment_bytes - end < device->carry_room ||
           filling->row_count + 1 + device->carry_rows > device->rows_max;
}

/* Must the entry, which may wait, wait for a segment? */
static bool lacks_segment(const struct device *device, const struct writing *entry)
{
    if (device->open != NULL && fits(device, device->open, entry))
        return device->free_count == 0 && needs_carry_room(device, entry);
    return !segment_free(device, true);
}

bool append_lacks_segment(const struct device *device)
{
    return !list_empty(&device->waiting) &&
           lacks_segment(device, CONTAINER_OF(device->waiting.next, struct writing, node));
}

static bool row_room(struct filling *filling)
{
    if (filling->row_count < filling->row_capacity)
        return true;
    uint32_t capacity = filling->row_capacity == 0 ? 512 : 2 * filling->row_capacity;
    uint8_t *rows = realloc(filling->rows, (size_t)capacity * SEGMENT_ROW_BYTES);
    if (rows == NULL)
        return false;
    filling->rows = rows;
    filling->row_capacity = capacity;
    return true;
}

static void row_add(struct device *device, struct filling *filling, const struct writing *entry)
{
    struct segment_row row = {.hash = entry->hash,
        .sequence = entry->sequence,
        .offset = (uint32_t)(entry->place - device_segment_place(device, filling->segment)),
        .value_len = entry->value_len,
        .key_len = (uint16_t)entry->key.len,
        .kind = (uint8_t)entry->kind};
    segment_row_encode(&row, filling->rows + (size_t)filling->row_count++ * SEGMENT_ROW_BYTES);
    if (entry->sequence > filling->highest_sequence)
        filling->highest_sequence = entry->sequence;
}

static struct write *write_begin(struct device *device, struct filling *filling, uint32_t buffer_len)
{
    struct write *write = write_create(device, filling, buffer_len);
    if (write == NULL)
        return NULL;
    write->offset = device_segment_place(device, filling->segment) + filling->used;
    flush_ticket(device, write);
    filling->pending++;
    return write;
}

static bool place_large(
    struct device *device, struct filling *filling, struct writing *entry, struct append *append)
{
    append_close_batch(device, &append->ready);
    struct write *write = write_begin(device, filling, segment_header_len(entry->key.len, entry->value_len));
    if (write == NULL)
        return false;
    write->len = entry->item_len;
    write->closed = true;
    filling->used += entry->item_len;
    entry->place = write->offset;
    append->at = write->buffer;
    append->fill = write;
    return true;
}

static bool place_small(struct device *device, struct filling *filling, struct writing *entry,
    struct append *append, bool may_wait, uint64_t now_ns)
{
    struct write *batch = filling->batch;
    if (batch != NULL && batch->used + entry->item_len > batch->buffer_len) {
        append_close_batch(device, &append->ready);
        batch = NULL;
    }
    if (batch == NULL) {
        if (device->batches_used >= DEVICE_BATCHES_MAX - (may_wait ? 1 : 0))
            return false;
        batch = write_begin(device, filling, DEVICE_BATCH_BYTES);
        if (batch == NULL)
            return false;
        device->batches_used++;
        batch->opened_ns = now_ns;
        filling->batch = batch;
        append->opened_batch = true;
    }
    entry->place = batch->offset + batch->used;
    append->at = batch->buffer + batch->used;
    append->fill = batch;
    batch->used += entry->item_len;
    return true;
}

static bool place(
    struct device *device, struct writing *entry, struct append *append, bool may_wait, uint64_t now_ns)
{
    if (may_wait && lacks_segment(device, entry))
        return false;
    while (device->open == NULL || !fits(device, device->open, entry)) {
        if (!segment_free(device, may_wait))
            return false;
        if (device->open != NULL)
            append_seal(device, &append->ready);
        if (filling_open(device, may_wait) == NULL)
            return false;
    }
    struct filling *filling = device->open;
    if (!row_room(filling))
        return false;
    bool placed = segment_is_large(entry->value_len)
                      ? place_large(device, filling, entry, append)
                      : place_small(device, filling, entry, append, may_wait, now_ns);
    if (!placed)
        return false;
    row_add(device, filling, entry);
    look_late(device, filling);
    append->fill->copies++;
    list_push_back(&append->fill->items, &entry->node);
    return true;
}

/* Is it hidden by a purge, now that it gets its place? What may not wait is carried forward. */
static void judge(struct device *device, struct writing *entry, bool may_wait)
{
    entry->clear_of = entry->sequence;
    if (entry->item == NULL || entry->kind == ITEM_CHUNK)
        return;
    enum purge_where where = may_wait ? PURGE_IN_MEMORY : PURGE_ON_DISK;
    bool clear = purges_judge(device->disk->purges, entry->item, where) == PURGE_CLEAR;
    entry->clear_of = clear ? item_clear_of(entry->item) : 0;
    entry->hidden = entry->hidden || !clear;
}

/* The index shows the place from now on; `writing` has the item until it is written. */
static void publish(struct device *device, struct writing *entry)
{
    if (entry->kind == ITEM_PURGE)
        purges_placed(device->disk->purges, device->number, entry->sequence,
            atomic_load(&device->segments[device_segment_of(device, entry->place)].generation));
    if (entry->item == NULL || entry->hidden)
        return;
    struct index_entry at = {.place = entry->place, .value_len = entry->value_len}, dropped;
    if (index_insert(device->index, entry->hash, &at, device_age(device), &dropped) != INDEX_DROPPED)
        return;
    counter_add(&device->stats.dropped_index, 1);
    uint64_t first = atomic_load(&device->first_generation);
    uint32_t segment = device_segment_of(device, dropped.place);
    if (first != 0 && atomic_load(&device->segments[segment].generation) >= first)
        device->spoiled = true;
}

static bool try_place(
    struct device *device, struct writing *entry, struct append *append, bool may_wait, uint64_t now_ns)
{
    if (!place(device, entry, append, may_wait, now_ns))
        return false;
    judge(device, entry, may_wait);
    publish(device, entry);
    return true;
}

void append_entry(
    struct device *device, struct writing *entry, struct append *append, bool may_wait, uint64_t now_ns)
{
    append->fill = NULL;
    append->opened_batch = false;
    bool queue = !list_empty(&device->waiting);
    if ((!queue || !may_wait) && try_place(device, entry, append, may_wait, now_ns))
        return;
    if (!may_wait)
        return;
    list_push_back(&device->waiting, &entry->node);
    device->waiting_in++;
    if (append_lacks_segment(device) &&
        atomic_load(&device->disk->waiting_bytes) > device->disk->waiting_limit_bytes / 8) {
        device->free_target = DEVICE_FREE_TARGET_MAX;
        device->calm = 0;
    }
    device_wake(device);
}

void append_close_batch(struct device *device, struct list_node *ready)
{
    struct filling *filling = device->open;
    if (filling == NULL || filling->batch == NULL)
        return;
    struct write *batch = filling->batch;
    uint32_t used = batch->used;
    batch->len = segment_blocks_up(used);
    batch->closed = true;
    filling->used += batch->len;
    look_late(device, filling);
    filling->batch = NULL;
    memset(batch->buffer + used, 0, batch->len - used);
    if (batch->copies == 0)
        list_push_back(ready, &batch->node);
}

void append_seal(struct device *device, struct list_node *ready)
{
    struct filling *filling = device->open;
    if (filling == NULL)
        return;
    append_close_batch(device, ready);
    device->open = NULL;
    filling->sealed = true;
    device->segments[filling->segment].state = SEGMENT_SEALING;
    device->segments[filling->segment].data_end = filling->used;
    filling->table = write_create(device, filling, 0);
    if (filling->table != NULL) {
        filling->table->is_table = true;
        flush_ticket(device, filling->table);
    }
    if (filling->pending == 0)
        append_table(device, filling, ready);
}

/* ---- the table ---- */

/* Leaves out the rows of items that could not be written. */
static uint32_t rows_living(struct filling *filling)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < filling->row_count; i++) {
        uint8_t *row = filling->rows + (size_t)i * SEGMENT_ROW_BYTES;
        if (segment_row_decode(row).kind == 0)
            continue;
        memmove(filling->rows + (size_t)kept++ * SEGMENT_ROW_BYTES, row, SEGMENT_ROW_BYTES);
    }
    return kept;
}

static void table_fill(
    const struct device *device, const struct filling *filling, struct write *table, uint32_t rows)
{
    uint64_t segment_place = device_segment_place(device, filling->segment);
    size_t rows_len = (size_t)rows * SEGMENT_ROW_BYTES;
    uint8_t *footer_at = table->buffer + table->len - SEGMENT_FOOTER_BYTES;
    uint8_t *rows_at = footer_at - rows_len;
    memset(table->buffer, 0, (size_t)(rows_at - table->buffer));
    if (rows_len > 0)
        memcpy(rows_at, filling->rows, rows_len);
    struct segment_footer footer = {.row_count = rows,
        .data_end = filling->used,
        .generation = filling->generation,
        .highest_sequence = filling->highest_sequence,
        .rows_checksum = segment_rows_checksum(device->seed, segment_place, bytes_of(rows_at, rows_len))};
    segment_footer_encode(&footer, device->seed, segment_place, footer_at);
    table->offset = segment_place + device->segment_bytes - table->len;
    table->copies = 0;
    table->closed = true;
}

void append_filling_end(struct device *device, struct filling *filling)
{
    device->segments[filling->segment].state = SEGMENT_SEALED;
    free(filling->rows);
    free(filling);
    device_wake(device);
}

void append_hole_lost(struct device *device)
{
    device->missed_remove = true;
    device->write_errors = DEVICE_WRITE_ERRORS_MAX;
}

void append_table(struct device *device, struct filling *filling, struct list_node *ready)
{
    CHECK(filling->sealed && filling->pending == 0 && filling->batch == NULL);
    struct write *table = filling->table;
    if (table != NULL) {
        uint32_t rows = rows_living(filling);
        table->len = segment_table_len(rows);
        CHECK(filling->used + table->len <= device->segment_bytes);
        table->buffer = aligned_alloc(SEGMENT_BLOCK, table->len);
        table->buffer_len = table->len;
        if (table->buffer != NULL) {
            table_fill(device, filling, table, rows);
            list_push_back(ready, &table->node);
            return;
        }
        table->failed = true;
        flush_ticket_done(device, table);
        write_destroy(table);
    }
    if (filling->holed)
        append_hole_lost(device);
    append_filling_end(device, filling); /* without a table: it is scanned */
}

/* ---- filling places, without the lock ---- */

static void checksums_of(const struct device *device, const struct item *item, uint64_t *sums)
{
    uint8_t copy[SEGMENT_CHECKED_BYTES];
    uint32_t len = item_value_len(item);
    for (uint32_t from = 0; from < len; from += SEGMENT_CHECKED_BYTES) {
        uint32_t n = len - from < SEGMENT_CHECKED_BYTES ? len - from : SEGMENT_CHECKED_BYTES;
        struct iovec part;
        const void *block = copy;
        if (item_vector(item, from, n, &part, 1) == 1)
            block = part.iov_base;
        else
            item_copy(item, from, n, copy);
        *sums++ = segment_checksum(device->seed, block, n);
    }
}

static void encode(
    const struct device *device, const struct writing *entry, const struct write *write, uint8_t *at)
{
    uint64_t sums[ITEM_VALUE_MAX / SEGMENT_CHECKED_BYTES];
    uint32_t header_len = segment_header_len(entry->key.len, entry->value_len);
    if (entry->item != NULL && entry->value_len > 0)
        checksums_of(device, entry->item, sums);
    struct segment_item header = {.kind = entry->kind,
        .key = entry->key,
        .generation = write->filling->generation,
        .sequence = entry->sequence,
        .stored_ns = entry->stored_ns,
        .clear_of = entry->clear_of,
        .value_len = entry->value_len,
        .header_len = header_len};
    segment_item_encode(&header, sums, device->seed, entry->place, at);
    if (segment_is_large(entry->value_len)) {
        uint32_t rest = entry->value_len % SEGMENT_BLOCK;
        if (rest != 0) {
            memset(write->tail + rest, 0, SEGMENT_BLOCK - rest);
            item_copy(entry->item, entry->value_len - rest, rest, write->tail);
        }
        return;
    }
    if (entry->value_len > 0)
        item_copy(entry->item, 0, entry->value_len, at + header_len);
    memset(at + header_len + entry->value_len, 0, entry->item_len - header_len - entry->value_len);
}

void append_finish(
    struct device *device, struct disk_worker *worker, struct writing *entry, struct append *append)
{
    struct write *write = append->fill;
    if (write != NULL) {
        encode(device, entry, write, append->at);
        pthread_mutex_lock(&device->lock);
        CHECK(write->copies > 0);
        if (--write->copies == 0 && write->closed)
            list_push_back(&append->ready, &write->node);
        pthread_mutex_unlock(&device->lock);
    }
    if (append->opened_batch)
        append_arm(worker, io_now_ns(worker->loop));
    write_submit_all(worker, &append->ready);
}

static struct writing *waiting_next(struct device *device, struct append *append, uint64_t now_ns)
{
    struct list_node *node = list_pop_front(&device->waiting);
    if (node == NULL)
        return NULL;
    struct writing *entry = CONTAINER_OF(node, struct writing, node);
    append->fill = NULL;
    append->opened_batch = false;
    if (try_place(device, entry, append, true, now_ns)) {
        device->waiting_out++;
        if (flush_waiting_moved(device))
            append_close_batch(device, &append->ready);
        return entry;
    }
    list_push_front(&device->waiting, &entry->node);
    return NULL;
}

void append_waiting(struct device *device, struct disk_worker *worker)
{
    for (;;) {
        struct append append;
        list_init(&append.ready);
        append.fill = NULL;
        append.opened_batch = false;
        pthread_mutex_lock(&device->lock);
        struct writing *entry = waiting_next(device, &append, io_now_ns(worker->loop));
        pthread_mutex_unlock(&device->lock);
        append_finish(device, worker, entry, &append);
        if (entry == NULL)
            return;
    }
}

/* ---- old batches ---- */

void append_arm(struct disk_worker *worker, uint64_t now_ns)
{
    if (io_op_busy(&worker->timer) || worker->leaving)
        return;
    worker_op_begin(worker);
    io_timer(worker->loop, &worker->timer, now_ns + DEVICE_BATCH_AGE_NS);
}

/* Closes the device's batch if it is old; true if there is a younger one. */
static bool close_if_old(struct device *device, struct list_node *ready, uint64_t now_ns)
{
    pthread_mutex_lock(&device->lock);
    struct write *batch = device->open != NULL ? device->open->batch : NULL;
    bool younger = batch != NULL && batch->opened_ns + DEVICE_BATCH_AGE_NS > now_ns;
    if (batch != NULL && !younger)
        append_close_batch(device, ready);
    pthread_mutex_unlock(&device->lock);
    return younger;
}

void append_timer(struct io_op *op)
{
    struct disk_worker *worker = CONTAINER_OF(op, struct disk_worker, timer);
    struct disk *disk = worker->disk;
    uint64_t now_ns = op->result == 0 ? io_now_ns(worker->loop) : UINT64_MAX - DEVICE_BATCH_AGE_NS;
    bool again = false;
    struct list_node ready;
    list_init(&ready);
    for (unsigned i = 0; i < disk->device_count; i++)
        again |= close_if_old(disk->devices[i], &ready, now_ns);
    write_submit_all(worker, &ready);
    if (again)
        append_arm(worker, now_ns);
    worker_op_end(worker);
}
