/*
 * Purge records in a device's log, read again by recovery: a row tells where a record lies, its header what
 * it hides. One window is read at a time; records that lie near each other share it. What can't be read
 * might have hidden anything: all that lies before it is dropped; so is what lies before the older ones,
 * where there are more than PURGE_PLACES_MAX, many more than the table of purges keeps apart. A record whose
 * segment has been reclaimed meanwhile hides nothing any more.
 */
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"

#define HEADER_MAX (SEGMENT_HEADER_FIXED + SEGMENT_KEY_MAX)

static_assert(PURGE_LOG_WINDOW_BYTES >= HEADER_MAX + SEGMENT_BLOCK, "a window holds any record");

static void give_up_half(struct purge_log *log)
{
    uint32_t half = log->count / 2;
    log->given_up = log->places[half - 1];
    log->count -= half;
    memmove(log->places, log->places + half, log->count * sizeof *log->places);
}

void purge_log_note(struct purge_log *log, uint64_t place, uint64_t generation, uint16_t key_len)
{
    if (log->count == PURGE_PLACES_MAX)
        give_up_half(log);
    if (log->count == log->capacity) {
        uint32_t capacity = log->capacity == 0 ? 64 : 2 * log->capacity;
        struct purge_place *grown = realloc(log->places, capacity * sizeof *grown);
        if (grown == NULL) {
            log->device->spoiled = true;
            return;
        }
        log->places = grown;
        log->capacity = capacity;
    }
    log->places[log->count++] =
        (struct purge_place){.place = place, .generation = generation, .key_len = key_len};
}

static uint32_t header_bytes(const struct purge_place *at)
{
    return SEGMENT_HEADER_FIXED + at->key_len;
}

static bool is_gone(const struct device *device, const struct purge_place *at)
{
    return atomic_load(&device->segments[device_segment_of(device, at->place)].generation) != at->generation;
}

/* Under lock: all that the record at that place might hide. */
static void drop_before(struct device *device, const struct purge_place *at)
{
    for (uint32_t i = 0; i < device->segment_count; i++) {
        uint64_t from = device_segment_place(device, i),
                 generation = atomic_load(&device->segments[i].generation);
        if (generation < at->generation)
            index_sweep(device->index, from, from + device->segment_bytes);
        else if (generation == at->generation)
            index_sweep(device->index, from, at->place);
    }
}

static void drop_unread(struct device *device, const struct purge_place *at)
{
    counter_add(&device->stats.corrupt, 1);
    drop_before(device, at);
}

/* From the window, which holds its header. */
static void take(struct purge_log *log, const struct purge_place *at)
{
    struct device *device = log->device;
    struct segment_item item;
    struct purge purge;
    struct bytes from = bytes_of(log->window + (at->place - log->window_at), header_bytes(at));
    pthread_mutex_lock(&device->lock);
    bool good = segment_item_decode(&item, from, device->seed, at->place) == 0 && item.kind == ITEM_PURGE &&
                item.generation == at->generation && purge_decode(&purge, item.key) == 0;
    if (good)
        purges_found(device->disk->purges, device->number, item.sequence, at->generation, &purge);
    else if (!is_gone(device, at))
        drop_unread(device, at);
    pthread_mutex_unlock(&device->lock);
}

static void window_load(struct purge_log *log);

static void next(struct purge_log *log)
{
    struct device *device = log->device;
    for (; log->next < log->count && device_in_service(device); log->next++) {
        const struct purge_place *at = &log->places[log->next];
        if (is_gone(device, at))
            continue;
        if (at->place < log->window_at || at->place + header_bytes(at) > log->window_at + log->window_len) {
            window_load(log);
            return;
        }
        take(log, at);
    }
    log->done(log);
}

static void window_read(struct steady_read *read, int result)
{
    struct purge_log *log = CONTAINER_OF(read, struct purge_log, read);
    struct device *device = log->device;
    const struct purge_place *at = &log->places[log->next];
    if (result < 0) {
        log->window_len = 0;
        pthread_mutex_lock(&device->lock);
        if (!is_gone(device, at))
            drop_unread(device, at);
        pthread_mutex_unlock(&device->lock);
        log->next++;
    }
    next(log);
}

static void window_load(struct purge_log *log)
{
    struct device *device = log->device;
    const struct purge_place *at = &log->places[log->next];
    uint64_t segment = device_segment_place(device, device_segment_of(device, at->place)),
             left = segment + device->segment_bytes - at->place / SEGMENT_BLOCK * SEGMENT_BLOCK;
    log->window_at = at->place / SEGMENT_BLOCK * SEGMENT_BLOCK;
    log->window_len = left < PURGE_LOG_WINDOW_BYTES ? (uint32_t)left : PURGE_LOG_WINDOW_BYTES;
    steady_read_start(&log->read, device, log->window, log->window_len, log->window_at, window_read);
}

void purge_log_read(struct purge_log *log, void (*done)(struct purge_log *log))
{
    log->done = done;
    if (log->given_up.place != 0) {
        pthread_mutex_lock(&log->device->lock);
        if (!is_gone(log->device, &log->given_up))
            drop_before(log->device, &log->given_up);
        pthread_mutex_unlock(&log->device->lock);
    }
    if (log->count > 0) {
        log->window = aligned_alloc(SEGMENT_BLOCK, PURGE_LOG_WINDOW_BYTES);
        if (log->window == NULL) {
            log->device->spoiled = true;
            log->next = log->count;
        }
    }
    next(log);
}

void purge_log_free(struct purge_log *log)
{
    free(log->places);
    free(log->window);
    log->places = NULL;
    log->window = NULL;
}
