/*
 * What is answered when it is durable: removes, purges, flushes. All that such an errand needs to come to its
 * end is allocated before it has any effect: so it is either begun, and answered, or refused and not felt.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"

struct errand {
    struct io_message message;
    unsigned left; /* flushes not answered */
    int result;
    void (*done)(void *context, int result);
    void *context;
    struct flush flushes[]; /* of each device */
};

static void end(struct errand *errand)
{
    void (*done)(void *, int) = errand->done;
    void *context = errand->context;
    int result = errand->result;
    free(errand);
    done(context, result);
}

static void end_by_message(struct io_message *message)
{
    end(CONTAINER_OF(message, struct errand, message));
}

static struct errand *errand_create(
    const struct disk *disk, void (*done)(void *context, int result), void *context)
{
    struct errand *errand = calloc(1, sizeof *errand + disk->device_count * sizeof errand->flushes[0]);
    if (errand == NULL)
        return NULL;
    errand->message.deliver = end_by_message;
    errand->done = done;
    errand->context = context;
    return errand;
}

/* From the loop, never inside the call. */
static void answer(struct errand *errand, struct io_loop *loop, int result)
{
    errand->result = result;
    io_post(loop, &errand->message);
}

static void flushed(void *context, int result)
{
    struct errand *errand = context;
    if (result < 0)
        errand->result = result;
    if (--errand->left == 0)
        end(errand);
}

static void flush_one(struct errand *errand, struct device *device, struct disk_worker *worker)
{
    errand->left++;
    flush_start(&errand->flushes[device->number], device, worker, flushed, errand);
}

/* Answers `result`, if that is below 0, once all is flushed. */
static void flush_all(struct errand *errand, struct disk *disk, struct io_loop *loop, int result)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    errand->result = result;
    bool attached = atomic_load(&disk->attached);
    for (unsigned i = 0; attached && i < disk->device_count; i++) {
        if (atomic_load(&disk->devices[i]->state) == DEVICE_CLOSED)
            continue;
        CHECK(worker != NULL);
        flush_one(errand, disk->devices[i], worker);
    }
    if (errand->left == 0)
        answer(errand, loop, E_UNSUPPORTED);
}

int disk_flush(
    struct disk *disk, struct io_loop *loop, void (*done)(void *context, int result), void *context)
{
    struct errand *errand = errand_create(disk, done, context);
    if (errand == NULL)
        return -ENOMEM;
    flush_all(errand, disk, loop, 0);
    return 0;
}

/* ---- removing ---- */

/* The record that hides the key on its device. NULL: no memory. */
static struct writing *remove_record(
    struct device *device, const struct disk_worker *worker, struct item_key key)
{
    CHECK(worker != NULL && key.bytes.len >= 1 && key.bytes.len <= ITEM_KEY_MAX);
    uint8_t hidden[SEGMENT_KEY_MAX];
    hidden[0] = (uint8_t)key.kind;
    memcpy(hidden + 1, key.bytes.ptr, key.bytes.len);
    struct writing *entry = writing_create(NULL, ITEM_REMOVE, bytes_of(hidden, key.bytes.len + 1));
    if (entry == NULL)
        return NULL;
    entry->hash = device_hash(device, key.kind, key.bytes);
    entry->stored_ns = io_wall_ns(worker->loop);
    return entry;
}

static void give(struct device *device, struct disk_worker *worker, struct writing *entry)
{
    if (disk_hand_over(device, worker, entry) < 0)
        writing_destroy(entry);
}

int disk_remove(struct disk *disk, struct io_loop *loop, struct item_key key,
    void (*done)(void *context, int result), void *context)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    struct device *device = disk_owner(disk, key);
    struct errand *errand = errand_create(disk, done, context);
    if (errand == NULL)
        return -ENOMEM;
    if (device == NULL) {
        answer(errand, loop, E_UNSUPPORTED);
        return 0;
    }
    struct writing *entry = remove_record(device, worker, key);
    if (entry == NULL) {
        free(errand);
        return -ENOMEM;
    }
    give(device, worker, entry);
    flush_one(errand, device, worker);
    return 0;
}

/* ---- purging ---- */

/* Gives a purge record to the device's log, or remembers that it missed one. */
static int record(struct device *device, struct disk_worker *worker, enum item_kind kind, struct bytes key,
    uint64_t sequence)
{
    struct writing *entry = writing_create(NULL, kind, key);
    if (entry == NULL)
        return E_EXHAUSTED; /* in force until the restart */
    entry->hash = kind == ITEM_PURGE_OBJECT ? purges_object_hash(key) : device_hash(device, kind, key);
    entry->sequence = sequence;
    entry->stored_ns = io_wall_ns(worker->loop);
    struct append append;
    list_init(&append.ready);
    append.fill = NULL;
    append.opened_batch = false;
    pthread_mutex_lock(&device->lock);
    bool taken = device_in_service(device);
    if (taken) {
        writing_add(device, entry);
        append_entry(device, entry, &append, true, io_now_ns(worker->loop));
    } else {
        device->missed_remove = true;
    }
    pthread_mutex_unlock(&device->lock);
    if (taken)
        append_finish(device, worker, entry, &append);
    else
        writing_destroy(entry);
    return 0;
}

/* To every device; not durable where one is away: that one may come back while those that have it are away.
 */
static void record_everywhere(struct errand *errand, struct disk *disk, struct io_loop *loop,
    enum item_kind kind, struct bytes key, uint64_t sequence)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    CHECK(worker != NULL);
    int result = 0;
    for (unsigned i = 0; i < disk->owner_count && atomic_load(&disk->attached); i++) {
        struct device *device = disk->owners[i].device;
        int one = device != NULL ? record(device, worker, kind, key, sequence) : E_UNSUPPORTED;
        result = one < 0 ? one : result;
    }
    flush_all(errand, disk, loop, result);
}

uint64_t disk_purge(struct disk *disk, struct io_loop *loop, const struct purge *purge, bool *widened,
    void (*done)(void *context, int result), void *context)
{
    struct errand *errand = errand_create(disk, done, context);
    *widened = false;
    if (errand == NULL)
        return 0;
    uint8_t key[ITEM_KEY_MAX];
    size_t len = purge_encode(purge, key);
    uint64_t sequence;
    *widened = purges_add(disk->purges, purge, &disk->sequence, &sequence);
    record_everywhere(errand, disk, loop, ITEM_PURGE, bytes_of(key, len), sequence);
    return sequence;
}

uint64_t disk_purge_object(struct disk *disk, struct io_loop *loop, struct bytes object,
    void (*done)(void *context, int result), void *context)
{
    struct item_key head = {ITEM_HEAD, object};
    struct disk_worker *worker = disk_worker(disk, loop);
    struct device *owner = disk_owner(disk, head);
    struct errand *errand = errand_create(disk, done, context);
    struct writing *entry = errand != NULL && owner != NULL ? remove_record(owner, worker, head) : NULL;
    if (errand == NULL || (owner != NULL && entry == NULL)) {
        free(errand);
        return 0;
    }
    uint64_t sequence = purges_add_object(disk->purges, object, &disk->sequence);
    if (owner != NULL)
        give(owner, worker, entry);
    record_everywhere(errand, disk, loop, ITEM_PURGE_OBJECT, object, sequence);
    return sequence;
}
