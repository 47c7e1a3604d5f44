/* The tier over its devices: who owns a key, what is admitted, the store-wide sequence, joining and leaving.
 */
#include "cache/disk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/footprint.h"
#include "cache/reader.h"
#include "cache/tier.h"
#include "cache/worker.h"

#define DEFAULT_ITEM_BYTES 65536
#define DEFAULT_WRITE_BUFFER_BYTES (UINT64_C(256) << 20)

static_assert(DISK_DEVICES_MAX == SUPERBLOCK_PEERS_MAX, "every device can be a peer");

/* ---- create, destroy ---- */

/* Items in writing live in the memory tier: half of it must be left to the others. */
static uint64_t write_buffer(const struct disk_config *config)
{
    struct memory_stats memory;
    memory_stats(config->memory, &memory);
    uint64_t bytes =
        config->write_buffer_bytes != 0 ? config->write_buffer_bytes : DEFAULT_WRITE_BUFFER_BYTES;
    return bytes < memory.budget_bytes / 2 ? bytes : memory.budget_bytes / 2;
}

int disk_create(struct disk **disk_out, struct io *io, const struct disk_config *config)
{
    CHECK(config->memory != NULL && config->device_count <= DISK_DEVICES_MAX);
    struct disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL)
        return -ENOMEM;
    if (purges_create(&disk->purges) < 0) {
        free(disk);
        return -ENOMEM;
    }
    disk->io = io;
    disk->memory = config->memory;
    disk->expected_item_bytes =
        config->expected_item_bytes != 0 ? config->expected_item_bytes : DEFAULT_ITEM_BYTES;
    disk->waiting_limit_bytes = write_buffer(config);
    disk->event = config->event;
    disk->event_context = config->event_context;
    pthread_mutex_init(&disk->workers_lock, NULL);
    admission_init(
        &disk->admission, config->admission == DISK_ADMIT_SECOND_REQUEST, config->write_budget_bytes_s);
    for (unsigned i = 0; i < config->device_count; i++) {
        disk->devices[i] = device_create(disk, i, &config->devices[i]);
        if (disk->devices[i] == NULL) {
            disk_destroy(disk);
            return -ENOMEM;
        }
        disk->device_count++;
    }
    *disk_out = disk;
    return 0;
}

void disk_destroy(struct disk *disk)
{
    if (disk == NULL || disk->turn.gave_up)
        return;
    CHECK(!disk->turn.busy && !atomic_load(&disk->attached));
    for (unsigned i = 0; i < disk->device_count; i++)
        device_destroy(disk->devices[i]);
    purges_destroy(disk->purges);
    pthread_mutex_destroy(&disk->workers_lock);
    free(disk);
}

/* ---- loops ---- */

struct disk_worker *disk_worker(struct disk *disk, const struct io_loop *loop)
{
    for (unsigned i = 0; i < DISK_WORKERS_MAX; i++)
        if (atomic_load_explicit(&disk->loops[i], memory_order_acquire) == loop)
            return atomic_load_explicit(&disk->workers[i], memory_order_acquire);
    return NULL;
}

/* Has what the leave that goes with it needs, so that it can't fail. */
static int join_again(struct disk_worker *worker)
{
    struct early_leave *leave = calloc(1, sizeof *leave);
    if (leave == NULL)
        return -ENOMEM;
    list_push_back(&worker->early_leaves, &leave->node);
    worker->joins++;
    return 0;
}

int disk_join(struct disk *disk, struct io_loop *loop)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    if (worker != NULL)
        return join_again(worker);
    worker = worker_create(disk, loop);
    if (worker == NULL)
        return -ENOMEM;
    int result = E_EXHAUSTED;
    pthread_mutex_lock(&disk->workers_lock);
    for (unsigned i = 0; i < DISK_WORKERS_MAX && result < 0; i++)
        if (atomic_load(&disk->workers[i]) == NULL) {
            atomic_store_explicit(&disk->workers[i], worker, memory_order_release);
            atomic_store_explicit(&disk->loops[i], loop, memory_order_release);
            result = 0;
        }
    pthread_mutex_unlock(&disk->workers_lock);
    if (result < 0)
        worker_destroy(worker);
    return result;
}

static void left_early(struct io_message *message)
{
    struct early_leave leave = *CONTAINER_OF(message, struct early_leave, message);
    free(CONTAINER_OF(message, struct early_leave, message));
    leave.left(leave.context);
}

void disk_leave(struct disk *disk, struct io_loop *loop, void (*done)(void *context), void *context)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    CHECK(worker != NULL && worker->joins > 0);
    if (--worker->joins > 0) {
        struct early_leave *leave =
            CONTAINER_OF(list_pop_front(&worker->early_leaves), struct early_leave, node);
        *leave = (struct early_leave){.message.deliver = left_early, .left = done, .context = context};
        io_post(loop, &leave->message);
        return;
    }
    worker->leaving = true;
    worker->left = done;
    worker->left_context = context;
    worker_op_begin(worker);
    struct list_node ready;
    list_init(&ready);
    for (unsigned i = 0; i < disk->device_count; i++) {
        struct device *device = disk->devices[i];
        pthread_mutex_lock(&device->lock);
        append_close_batch(device, &ready);
        pthread_mutex_unlock(&device->lock);
    }
    write_submit_all(worker, &ready);
    if (io_op_busy(&worker->timer))
        io_cancel(loop, &worker->timer);
    worker_op_end(worker);
}

/* ---- owners ---- */

/* Rendezvous hashing: the highest score wins, so a device more or less moves only its own keys. */
struct device *disk_owner(struct disk *disk, struct item_key key)
{
    if (!atomic_load_explicit(&disk->attached, memory_order_acquire) || disk->owner_count == 0)
        return NULL;
    if (disk->owner_count == 1)
        return disk->owners[0].device;
    uint64_t hash = segment_hash(0, key.kind, key.bytes), best = 0;
    unsigned owner = 0;
    for (unsigned i = 0; i < disk->owner_count; i++) {
        uint64_t score = hash ^ disk->owners[i].mix;
        score = (score ^ score >> 33) * UINT64_C(0xff51afd7ed558ccd);
        score = (score ^ score >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
        score ^= score >> 33;
        if (score >= best) {
            best = score;
            owner = i;
        }
    }
    return disk->owners[owner].device;
}

uint64_t disk_next_sequence(struct disk *disk)
{
    return atomic_fetch_add(&disk->sequence, 1) + 1;
}

/* ---- putting ---- */

/* Also what is older, by its number, and has not been handed over yet. */
static void forget(struct device *device, uint64_t hash, uint64_t sequence)
{
    if (device->index == NULL)
        return;
    uint64_t *recent = &device->recent[hash % RECENT_SLOTS];
    pthread_mutex_lock(&device->lock);
    *recent = sequence > *recent ? sequence : *recent;
    device_forget(device, hash);
    pthread_mutex_unlock(&device->lock);
}

bool disk_has_room(const struct disk *disk, uint64_t bytes)
{
    uint64_t items = 0;
    for (unsigned i = 0; i < disk->device_count; i++)
        items += atomic_load_explicit(&disk->devices[i]->writing_count, memory_order_relaxed);
    return atomic_load(&disk->waiting_bytes) + bytes <= disk->waiting_limit_bytes &&
           items < disk->waiting_limit_bytes / FOOTPRINT_WAITING_SHARE;
}

/* 0, or why the item is not written. */
static int admit(struct disk *disk, struct device *device, const struct item *item, uint64_t asked, bool hit,
    uint64_t now_ns)
{
    struct disk_counters *counters = &disk->counters;
    uint64_t len = segment_item_len(item_key(item).bytes.len, item_value_len(item));
    if (!device_in_service(device) || len + segment_table_len(1) > device->segment_bytes) {
        counter_add(&counters->dropped_device, 1);
        return E_UNSUPPORTED;
    }
    if (!hit && !admission_seen(&disk->admission, asked)) {
        counter_add(&counters->dropped_admission, 1);
        return E_REFUSED;
    }
    if (!disk_has_room(disk, len)) {
        counter_add(&counters->dropped_full, 1);
        return E_EXHAUSTED;
    }
    if (!admission_spend(&disk->admission, len, now_ns)) {
        counter_add(&counters->dropped_budget, 1);
        return E_REFUSED;
    }
    return 0;
}

/* Under lock: whether something newer of this key has been put already. Where it was another key, which
 * shares the slot, memory still holds our item: what is newer leaves memory, or takes its place there, before
 * it is handed over here. */
static bool superseded(struct device *device, const struct writing *entry)
{
    uint64_t *recent = &device->recent[entry->hash % RECENT_SLOTS];
    if (entry->sequence < *recent)
        return !memory_holds(device->disk->memory, entry->item);
    *recent = entry->sequence;
    return false;
}

int disk_hand_over(struct device *device, struct disk_worker *worker, struct writing *entry)
{
    uint64_t now_ns = io_now_ns(worker->loop);
    struct append append;
    list_init(&append.ready);
    append.fill = NULL;
    append.opened_batch = false;
    pthread_mutex_lock(&device->lock);
    if (entry->hit && !memory_holds(device->disk->memory, entry->item)) {
        pthread_mutex_unlock(&device->lock); /* what is here is newer and stays */
        return E_MISSING;
    }
    if (entry->item == NULL)
        entry->sequence = disk_next_sequence(device->disk);
    bool in_service = device_in_service(device);
    bool taken = in_service && (entry->hit || !superseded(device, entry));
    device_hide(device, entry->hash);
    if (!taken || entry->item == NULL)
        device_note(device, entry->hash);
    if (taken) {
        writing_add(device, entry);
        append_entry(device, entry, &append, true, now_ns);
        if (append.fill == NULL && entry->item != NULL)
            device_note(device, entry->hash); /* it waits: what lies on disk is older */
    } else if (entry->item == NULL) {
        device->missed_remove = true;
    }
    pthread_mutex_unlock(&device->lock);
    if (taken)
        append_finish(device, worker, entry, &append);
    return taken ? 0 : in_service ? E_CHANGED : E_UNSUPPORTED;
}

/* An admitted item. */
static int write_item(
    struct device *device, struct disk_worker *worker, struct item *item, uint64_t hash, bool hit)
{
    struct disk_counters *counters = &device->disk->counters;
    struct item_key key = item_key(item);
    index_prefetch(device->index, hash);
    struct writing *entry = writing_create(item, key.kind, key.bytes);
    if (entry == NULL) {
        if (!hit)
            forget(device, hash, item_sequence(item));
        return E_EXHAUSTED;
    }
    uint32_t len = entry->item_len, value_len = entry->value_len;
    entry->hash = hash;
    entry->stored_ns = io_wall_ns(worker->loop);
    entry->hit = hit;
    int result = disk_hand_over(device, worker, entry);
    if (result < 0) {
        if (!hit)
            counter_add(result == E_CHANGED ? &counters->dropped_full : &counters->dropped_device, 1);
        writing_destroy(entry);
        return result;
    }
    counter_add(&counters->puts, 1);
    counter_add(&counters->put_bytes, len);
    counter_add(&device->stats.payload_bytes, value_len);
    return 0;
}

int disk_put(struct disk *disk, struct io_loop *loop, struct item *item, uint64_t asked)
{
    CHECK(item_is_complete(item) && item_held_len(item) == item_value_len(item) && item_sequence(item) > 0);
    struct item_key key = item_key(item);
    struct disk_worker *worker = disk_worker(disk, loop);
    struct device *device = disk_owner(disk, key);
    if (item_clear_of(item) == 0)
        item_clear_of_set(item, item_sequence(item));
    if (device == NULL) {
        counter_add(&disk->counters.dropped_device, 1);
        return E_UNSUPPORTED;
    }
    CHECK(worker != NULL);
    uint64_t hash = device_hash(device, key.kind, key.bytes);
    int result = admit(disk, device, item, asked != 0 ? asked : hash, false, io_now_ns(loop));
    if (result == 0)
        return write_item(device, worker, item, hash, false);
    forget(device, hash, item_sequence(item));
    if (result == E_REFUSED)
        item_await_hit(item); /* after forgetting, which would undo the write that follows the hit */
    return result;
}

int disk_put_hit(struct disk *disk, struct io_loop *loop, struct item *item)
{
    CHECK(item_is_complete(item) && item_sequence(item) > 0 && item_clear_of(item) > 0);
    struct item_key key = item_key(item);
    struct disk_worker *worker = disk_worker(disk, loop);
    struct device *device = disk_owner(disk, key);
    if (device == NULL)
        return E_UNSUPPORTED;
    CHECK(worker != NULL);
    uint64_t hash = device_hash(device, key.kind, key.bytes);
    int result = admit(disk, device, item, hash, true, io_now_ns(loop));
    return result == 0 ? write_item(device, worker, item, hash, true) : result;
}

struct purges *disk_purges(struct disk *disk)
{
    return disk->purges;
}

void disk_forget(struct disk *disk, struct item_key key, uint64_t sequence)
{
    struct device *device = disk_owner(disk, key);
    if (device != NULL)
        forget(device, device_hash(device, key.kind, key.bytes), sequence);
}

/* ---- getting ---- */

bool disk_may_have(struct disk *disk, struct item_key key)
{
    struct device *device = disk_owner(disk, key);
    if (device == NULL || !device_in_service(device))
        return false;
    struct index_entry entry;
    uint64_t hash = device_hash(device, key.kind, key.bytes), first = atomic_load(&device->first_generation);
    if (index_find(device->index, hash, &entry) &&
        (first == 0 ||
            atomic_load(&device->segments[device_segment_of(device, entry.place)].generation) >= first))
        return true;
    struct item *item;
    if (!writing_find(device, hash, key, &item) || item == NULL)
        return false;
    item_unref(&item);
    return true;
}

struct disk_get *disk_get(struct disk *disk, struct io_loop *loop, struct item_key key, uint32_t from,
    uint32_t len, void (*done)(void *context, int result, struct item *item), void *context)
{
    struct disk_worker *worker = disk_worker(disk, loop);
    CHECK(worker != NULL);
    struct device *device = disk_owner(disk, key);
    if (device == NULL || atomic_load(&device->state) == DEVICE_CLOSED)
        return reader_answer(worker, E_MISSING, done, context);
    return reader_start(device, worker, key, from, len, false, done, context);
}

void disk_get_abandon(struct disk_get *get)
{
    CHECK(!get->abandoned);
    get->abandoned = true;
}

/* ---- stats ---- */

static void device_add_sizes(struct device *device, struct disk_stats *stats)
{
    pthread_mutex_lock(&device->lock); /* it may be closing */
    if (device->index != NULL) {
        stats->capacity_bytes += (uint64_t)device->segment_count * device->segment_bytes;
        stats->segments += device->segment_count;
        stats->segment_bytes = device->segment_bytes;
        stats->items += index_count(device->index);
        stats->index_bytes += index_bytes(device->index);
        struct footprint memory = footprint_of(device);
        stats->memory_bytes += memory.fixed + write_kept_bytes(device);
        stats->memory_limit_bytes += stats->memory_limit_bytes == 0 ? memory.tier : 0;
        stats->memory_limit_bytes += memory.fixed + memory.writing + memory.reading;
        if (atomic_load(&device->first_generation) != 0)
            stats->memory_limit_bytes += memory.recovering;
        stats->reads_in_flight += atomic_load(&device->reads_in_flight);
        stats->recovering += atomic_load(&device->first_generation) != 0;
        stats->direct = device->info.direct;
    }
    pthread_mutex_unlock(&device->lock);
}

static void device_add(struct device *device, struct disk_stats *stats)
{
    enum device_state state = atomic_load(&device->state);
    stats->devices++;
    stats->devices_out += state != DEVICE_IN_SERVICE;
    const struct device_stats *own = &device->stats;
    stats->hits += counter_get(&own->hits);
    stats->false_hits += counter_get(&own->false_hits);
    stats->corrupt += counter_get(&own->corrupt);
    stats->reads += counter_get(&own->reads);
    stats->read_bytes += counter_get(&own->read_bytes);
    stats->writes += counter_get(&own->writes);
    stats->written_bytes += counter_get(&own->written_bytes);
    stats->payload_bytes += counter_get(&own->payload_bytes);
    stats->dropped_index += counter_get(&own->dropped_index);
    stats->carried += counter_get(&own->carried);
    stats->reclaimed_segments += counter_get(&own->reclaimed);
    stats->evicted += counter_get(&own->evicted);
    stats->io_errors += counter_get(&own->io_errors);
    stats->recovered_items += counter_get(&own->recovered);
    stats->misses += counter_get(&own->misses);
    if (state == DEVICE_IN_SERVICE || state == DEVICE_OUT)
        device_add_sizes(device, stats);
}

void disk_stats(const struct disk *disk, struct disk_stats *stats)
{
    *stats = (struct disk_stats){0};
    for (unsigned i = 0; i < disk->device_count; i++)
        device_add(disk->devices[i], stats);
    const struct disk_counters *counters = &disk->counters;
    stats->puts = counter_get(&counters->puts);
    stats->put_bytes = counter_get(&counters->put_bytes);
    stats->dropped_full = counter_get(&counters->dropped_full);
    stats->dropped_admission = counter_get(&counters->dropped_admission);
    stats->dropped_budget = counter_get(&counters->dropped_budget);
    stats->dropped_device = counter_get(&counters->dropped_device);
    stats->memory_bytes += atomic_load(&disk->sheet_bytes);
    stats->waiting_bytes = atomic_load(&disk->waiting_bytes);
    stats->waiting_limit_bytes = disk->waiting_limit_bytes;
}
