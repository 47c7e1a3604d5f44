#include "cache/device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"
#include "cache/worker.h"

static void home_deliver(struct io_message *message)
{
    struct device *device = CONTAINER_OF(message, struct device, home_message);
    atomic_store(&device->home_posted, false);
    struct disk_worker *home = device->home;
    worker_op_begin(home);
    device_look(device);
    worker_op_end(home);
}

struct device *device_create(struct disk *disk, unsigned number, const struct disk_device_config *config)
{
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL)
        return NULL;
    device->disk = disk;
    device->number = number;
    device->path = strdup(config->path);
    if (device->path == NULL) {
        free(device);
        return NULL;
    }
    device->size_bytes = config->size_bytes;
    device->expected_item_bytes = disk->expected_item_bytes;
    pthread_mutex_init(&device->lock, NULL);
    pthread_mutex_init(&device->batches.lock, NULL);
    list_init(&device->tickets);
    list_init(&device->flushes);
    list_init(&device->held);
    list_init(&device->waiting);
    for (unsigned i = 0; i < WRITING_CHAINS; i++)
        list_init(&device->chains[i]);
    device->home_message.deliver = home_deliver;
    return device;
}

/* What open made. */
void device_reset(struct device *device)
{
    CHECK(list_empty(&device->tickets) && list_empty(&device->waiting) && device->open == NULL);
    write_free_kept(device);
    closing_forget(device);
    pthread_mutex_lock(&device->lock); /* statistics may be read meanwhile */
    index_destroy(device->index);
    free(device->segments);
    free(device->live);
    free(device->free);
    free(device->forgotten);
    device->index = NULL;
    device->segments = NULL;
    device->live = device->free = NULL;
    device->forgotten = NULL;
    device->forgotten_count = device->forgotten_capacity = 0;
    device->live_at = device->live_count = device->free_count = 0;
    device->free_target = 1;
    device->calm = 0;
    device->carrying = device->carried = false;
    device->spoiled = device->missed_remove = device->gave_up = false;
    device->write_errors = device->reads_lost = 0;
    device->dead_segment = UINT32_MAX;
    memset(device->recent, 0, sizeof device->recent);
    atomic_store(&device->first_generation, 0);
    atomic_store(&device->read_errors, 0);
    purges_left(device->disk->purges, device->number);
    pthread_mutex_unlock(&device->lock);
}

void device_destroy(struct device *device)
{
    if (device == NULL)
        return;
    device_reset(device);
    pthread_mutex_destroy(&device->lock);
    pthread_mutex_destroy(&device->batches.lock);
    free(device->path);
    free(device);
}

uint64_t device_segment_place(const struct device *device, uint32_t segment)
{
    return device->super.data_offset + (uint64_t)segment * device->segment_bytes;
}

uint32_t device_segment_of(const struct device *device, uint64_t place)
{
    uint64_t segment = (place - device->super.data_offset) / device->segment_bytes;
    CHECK(place >= device->super.data_offset && segment < device->segment_count);
    return (uint32_t)segment;
}

uint64_t device_hash(const struct device *device, enum item_kind kind, struct bytes key)
{
    return segment_hash(device->seed, kind, key);
}

static uint64_t age_of(void *context, uint64_t place)
{
    struct device *device = context;
    uint32_t segment = device_segment_of(device, place);
    uint64_t generation = atomic_load_explicit(&device->segments[segment].generation, memory_order_relaxed);
    return generation << 26 | (place - device_segment_place(device, segment));
}

struct index_age device_age(struct device *device)
{
    return (struct index_age){age_of, device};
}

bool device_segment_late(const struct device *device)
{
    const struct filling *filling = device->open;
    uint64_t margin = device->segment_bytes / 16;
    margin = margin > DEVICE_LATE_BYTES ? margin : DEVICE_LATE_BYTES;
    uint64_t end = filling->used + segment_table_len(filling->row_count);
    return end + device->carry_room + margin >= device->segment_bytes ||
           filling->row_count + device->carry_rows + device->rows_max / 16 >= device->rows_max;
}

bool device_in_service(const struct device *device)
{
    return atomic_load(&device->state) == DEVICE_IN_SERVICE;
}

bool device_takes(const struct device *device)
{
    enum device_state state = atomic_load(&device->state);
    return state == DEVICE_IN_SERVICE || (state == DEVICE_CLOSING && !device->gave_up);
}

void device_event(struct device *device, enum disk_event_kind kind, int error, const char *format, ...)
{
    struct disk *disk = device->disk;
    if (disk->event == NULL)
        return;
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct disk_event event = {.kind = kind, .device = device->path, .text = text, .error = error};
    disk->event(disk->event_context, &event);
}

void device_hide(struct device *device, uint64_t hash)
{
    index_remove(device->index, hash, NULL);
    writing_hide(device, hash);
}

void device_forget(struct device *device, uint64_t hash)
{
    device_hide(device, hash);
    device_note(device, hash);
}

void device_note(struct device *device, uint64_t hash)
{
    if (atomic_load(&device->first_generation) == 0)
        return;
    if (device->forgotten_count == device->forgotten_capacity) {
        uint64_t capacity = device->forgotten_capacity == 0 ? 1024 : 2 * device->forgotten_capacity;
        uint64_t *grown = capacity > DEVICE_FORGOTTEN_MAX ? NULL : realloc(device->forgotten, 8 * capacity);
        if (grown == NULL) {
            device->spoiled = true;
            return;
        }
        device->forgotten = grown;
        device->forgotten_capacity = capacity;
    }
    device->forgotten[device->forgotten_count++] = hash;
}

void device_out(struct device *device, struct list_node *ready, struct list_node *gone)
{
    if (!device_takes(device))
        return;
    bool closing = !device_in_service(device);
    if (!closing)
        atomic_store(&device->state, DEVICE_OUT);
    append_seal(device, ready);
    for (struct list_node *node; (node = list_pop_front(&device->waiting)) != NULL;) {
        struct writing *entry = CONTAINER_OF(node, struct writing, node);
        device->missed_remove = true; /* or a replacement */
        writing_remove(device, entry);
        device->waiting_out++;
        list_push_back(gone, node);
    }
    flush_waiting_lost(device);
    device->gave_up = closing;
    if (closing)
        return;
    device_event(device, DISK_EVENT_DEGRADED, 0, "the device is out of use; it is tried again every %d s",
        (int)(DEVICE_RETRY_NS / NS_PER_S));
    device_wake(device);
}

void device_failed_read(struct device *device, struct disk_worker *worker, int error)
{
    counter_add(&device->stats.io_errors, 1);
    if (atomic_fetch_add(&device->read_errors, 1) + 1 < DEVICE_READ_ERRORS_MAX || !device_in_service(device))
        return;
    struct list_node ready, gone;
    list_init(&ready);
    list_init(&gone);
    device_event(device, DISK_EVENT_DEGRADED, error, "%d reads in a row failed", DEVICE_READ_ERRORS_MAX);
    pthread_mutex_lock(&device->lock);
    device_out(device, &ready, &gone);
    pthread_mutex_unlock(&device->lock);
    for (struct list_node *node; (node = list_pop_front(&gone)) != NULL;)
        writing_destroy(CONTAINER_OF(node, struct writing, node));
    write_submit_all(worker, &ready);
}

void device_wake(struct device *device)
{
    if (!atomic_exchange(&device->home_posted, true))
        io_post(device->home->loop, &device->home_message);
}

/* ---- the superblock ---- */

static void super_written(struct io_op *op)
{
    struct device_super_write *write = CONTAINER_OF(op, struct device_super_write, op);
    struct disk_worker *home = write->device->home;
    atomic_store(&write->device->progress_ns, io_now_ns(home->loop));
    write->done(write, op->result < 0 ? (int)op->result : 0);
    worker_op_end(home);
}

void device_super_write(struct device_super_write *write)
{
    struct device *device = write->device;
    device->super.counter++;
    superblock_encode(&device->super, write->buffer);
    write->iov = (struct iovec){write->buffer, SUPERBLOCK_BYTES};
    io_op_init(&write->op, super_written);
    worker_op_begin(device->home);
    io_file_write_sync(device->home->loop, &write->op, device->file, &write->iov, 1,
        device->super.counter % SUPERBLOCK_COPIES * SUPERBLOCK_BYTES);
}

int device_super_write_init(struct device_super_write *write, struct device *device,
    void (*done)(struct device_super_write *write, int result))
{
    *write = (struct device_super_write){.device = device, .done = done};
    write->buffer = aligned_alloc(SEGMENT_BLOCK, SUPERBLOCK_BYTES);
    return write->buffer != NULL ? 0 : E_EXHAUSTED;
}

/* ---- out and back ---- */

/* All that it holds is forgotten: a remove was missed. */
static void start_empty(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    for (uint32_t i = 0; i < device->segment_count; i++) {
        uint64_t from = device_segment_place(device, i);
        if (device->segments[i].state == SEGMENT_SEALED)
            index_sweep(device->index, from, from + device->segment_bytes);
    }
    device->missed_remove = false;
    device->super.dead_below = device->next_generation;
    purges_left(device->disk->purges, device->number);
    pthread_mutex_unlock(&device->lock);
}

/* False: since the superblock was written it has missed a remove, and must start empty after all. */
static bool back(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    if (device->missed_remove) {
        pthread_mutex_unlock(&device->lock);
        return false;
    }
    device->write_errors = 0;
    atomic_store(&device->read_errors, 0);
    device->generation_limit = device->super.generation_bound;
    if (device->dead_segment != UINT32_MAX) {
        device->segments[device->dead_segment].state = SEGMENT_FREE;
        device->free[device->free_count++] = device->dead_segment;
        device->dead_segment = UINT32_MAX;
    }
    atomic_store(&device->state, DEVICE_IN_SERVICE);
    pthread_mutex_unlock(&device->lock);
    device_event(device, DISK_EVENT_RESTORED, 0, "the device is back in use");
    device_wake(device);
    return true;
}

static void retry_arm(struct device *device);

static void retried(struct device_super_write *write, int result)
{
    struct device *device = write->device;
    free(write->buffer);
    write->buffer = NULL;
    if (atomic_load(&device->state) != DEVICE_OUT)
        return;
    if (result < 0 || !back(device))
        retry_arm(device);
}

static void retry_due(struct io_op *op)
{
    struct device *device = CONTAINER_OF(op, struct device, retry);
    struct disk_worker *home = device->home;
    bool quiet = list_empty(&device->tickets) && !reclaim_busy(device) && device->recovery == NULL;
    if (op->result == 0 && atomic_load(&device->state) == DEVICE_OUT) {
        if (quiet && device_super_write_init(&device->retry_write, device, retried) == 0) {
            if (device->missed_remove)
                start_empty(device);
            device->super.generation_bound = device->next_generation + device->segment_count + 1;
            device_super_write(&device->retry_write);
        } else {
            retry_arm(device);
        }
    }
    worker_op_end(home);
}

static void retry_arm(struct device *device)
{
    io_op_init(&device->retry, retry_due);
    worker_op_begin(device->home);
    io_timer(device->home->loop, &device->retry, io_now_ns(device->home->loop) + DEVICE_RETRY_NS);
}

/* ---- what waits ---- */

static void room_due(struct io_op *op)
{
    struct device *device = CONTAINER_OF(op, struct device, room);
    struct disk_worker *home = device->home;
    if (op->result == 0) {
        append_waiting(device, home);
        device_look(device);
    }
    worker_op_end(home);
}

static void room_look(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    bool waits = !list_empty(&device->waiting) && device_takes(device);
    pthread_mutex_unlock(&device->lock);
    if (!waits || io_op_busy(&device->room))
        return;
    io_op_init(&device->room, room_due);
    worker_op_begin(device->home);
    io_timer(device->home->loop, &device->room, io_now_ns(device->home->loop) + DEVICE_ROOM_NS);
}

void device_look(struct device *device)
{
    enum device_state state = atomic_load(&device->state);
    room_look(device);
    if (state == DEVICE_OUT && !io_op_busy(&device->retry) && device->retry_write.buffer == NULL)
        retry_arm(device);
    reclaim_wake(device);
    if (state == DEVICE_IN_SERVICE || state == DEVICE_CLOSING)
        reclaim_start(device);
}
