#include "cache/reader.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"
#include "cache/worker.h"

/* ---- the pool ---- */

static struct disk_get *get_take(struct disk_worker *worker)
{
    struct list_node *node = list_pop_front(&worker->free_gets);
    struct disk_get *get = NULL;
    if (node != NULL) {
        worker->free_get_count--;
        get = CONTAINER_OF(node, struct disk_get, node);
    } else {
        get = malloc(sizeof *get);
        if (get == NULL)
            return NULL;
    }
    memset(get, 0, offsetof(struct disk_get, pieces));
    get->worker = worker;
    return get;
}

static void get_give(struct disk_get *get)
{
    struct disk_worker *worker = get->worker;
    worker_buffer_give(worker, &get->buffer, get->span);
    if (worker->free_get_count == READER_FREE_GETS_MAX) {
        free(get);
        return;
    }
    list_push_front(&worker->free_gets, &get->node);
    worker->free_get_count++;
}

void reader_free_gets(struct disk_worker *worker)
{
    for (struct list_node *node; (node = list_pop_front(&worker->free_gets)) != NULL;)
        free(CONTAINER_OF(node, struct disk_get, node));
}

/* ---- answers ---- */

/* The final callback, then the get is the pool's. */
static void answer(struct disk_get *get)
{
    struct disk_worker *worker = get->worker;
    struct item *item = get->item;
    get->item = NULL;
    if (get->abandoned || get->result < 0) {
        if (item != NULL)
            item_unref(&item);
        item = NULL;
    }
    if (!get->abandoned)
        get->done(get->context, get->result, item);
    get_give(get);
    worker_op_end(worker);
}

/* Answers from the loop, never inside the call. */
static struct disk_get *answer_later(struct disk_get *get, int result)
{
    struct disk_worker *worker = get->worker;
    get->result = result;
    worker_op_begin(worker);
    list_push_back(&worker->ready, &get->node);
    if (!worker->posted) {
        worker->posted = true;
        io_post(worker->loop, &worker->message);
    }
    return get;
}

void reader_deliver(struct io_message *message)
{
    struct disk_worker *worker = CONTAINER_OF(message, struct disk_worker, message);
    struct list_node batch;
    list_init(&batch);
    worker->posted = false;
    for (struct list_node *node; (node = list_pop_front(&worker->ready)) != NULL;)
        list_push_back(&batch, node);
    worker_op_begin(worker); /* a callback may leave */
    for (struct list_node *node; (node = list_pop_front(&batch)) != NULL;)
        answer(CONTAINER_OF(node, struct disk_get, node));
    worker_op_end(worker);
}

struct disk_get *reader_answer(struct disk_worker *worker, int result,
    void (*done)(void *context, int result, struct item *item), void *context)
{
    struct disk_get *get = get_take(worker);
    if (get == NULL)
        return NULL;
    get->done = done;
    get->context = context;
    return answer_later(get, result);
}

/* ---- verification ---- */

static struct item_key key_of(const struct disk_get *get)
{
    return (struct item_key){get->kind, bytes_of(get->key, get->key_len)};
}

static int header_check(const struct disk_get *get, struct segment_item *header)
{
    const uint8_t *at = get->buffer + get->place % SEGMENT_BLOCK;
    struct bytes from = bytes_of(at, get->span - (size_t)(at - get->buffer));
    if (segment_item_decode(header, from, get->device->seed, get->place) < 0)
        return E_CORRUPT;
    if (header->generation != get->generation)
        return E_CORRUPT;
    if (header->kind != get->kind || !bytes_equal(header->key, key_of(get).bytes))
        return E_MISSING;
    return header->value_len == get->value_len ? 0 : E_CORRUPT;
}

/* The blocks of a large item, in its extents. */
static int large_check(const struct disk_get *get, const struct segment_item *header)
{
    uint8_t copy[SEGMENT_CHECKED_BYTES];
    for (uint32_t from = 0; from < get->held_len; from += SEGMENT_CHECKED_BYTES) {
        uint32_t left = get->held_len - from;
        uint32_t n = left < SEGMENT_CHECKED_BYTES ? left : SEGMENT_CHECKED_BYTES;
        struct iovec part;
        const void *block = copy;
        if (item_vector(get->item, from, n, &part, 1) == 1)
            block = part.iov_base;
        else
            item_copy(get->item, from, n, copy);
        uint32_t number = (get->held_from + from) / SEGMENT_CHECKED_BYTES;
        if (!segment_block_matches(header, number, get->device->seed, block, n))
            return E_CORRUPT;
    }
    return 0;
}

static int small_check(struct disk_get *get, const struct segment_item *header)
{
    const uint8_t *payload = get->buffer + get->place % SEGMENT_BLOCK + header->header_len;
    for (uint32_t from = 0; from < get->value_len; from += SEGMENT_CHECKED_BYTES) {
        uint32_t left = get->value_len - from;
        uint32_t n = left < SEGMENT_CHECKED_BYTES ? left : SEGMENT_CHECKED_BYTES;
        if (!segment_block_matches(
                header, from / SEGMENT_CHECKED_BYTES, get->device->seed, payload + from, n))
            return E_CORRUPT;
    }
    struct item_shape shape = {.value_len = get->value_len, .held_len = get->value_len};
    int result = memory_take(get->device->disk->memory, key_of(get), shape, &get->item);
    if (result < 0)
        return result;
    item_append(get->item, bytes_of(payload, get->value_len));
    return 0;
}

/* A part can't be asked for its tags: it is taken to have them all. */
static bool is_purged(const struct disk_get *get, struct item *item)
{
    struct purges *purges = get->device->disk->purges;
    uint64_t clear_of = item_clear_of(item);
    if (get->kind == ITEM_CHUNK)
        return false;
    if (item_held_len(item) == item_value_len(item))
        return purges_judge(purges, item, PURGE_ON_DISK) == PURGE_GONE;
    return clear_of == 0 || purges_since(purges, item_key(item).bytes, clear_of) == PURGE_GONE;
}

static int verify(struct disk_get *get)
{
    struct segment_item header;
    int result = header_check(get, &header);
    if (result == 0 && segment_is_large(get->value_len)) {
        item_filled_set(get->item, get->held_len);
        result = large_check(get, &header);
    } else if (result == 0) {
        result = small_check(get, &header);
    }
    if (result == 0) {
        item_complete(get->item);
        item_sequence_set(get->item, header.sequence);
        item_clear_of_set(get->item, header.clear_of);
        get->purged = is_purged(get, get->item);
        if (get->purged)
            result = E_MISSING;
    }
    return result;
}

static void count(struct disk_get *get, int result)
{
    struct device_stats *stats = &get->device->stats;
    if (result == 0) {
        atomic_store_explicit(&get->device->read_errors, 0, memory_order_relaxed);
        if (get->quiet)
            return;
        counter_add(&stats->hits, 1);
        index_touch(get->device->index, get->hash, get->place);
    } else if (result == E_MISSING || result == E_CORRUPT) {
        bool lives = result == E_MISSING && !get->purged; /* under another key with the same tag */
        counter_add(lives ? &stats->false_hits : get->purged ? &stats->misses : &stats->corrupt, 1);
        if (lives)
            return;
        pthread_mutex_lock(&get->device->lock);
        if (index_remove_at(get->device->index, get->hash, get->place))
            device_note(get->device, get->hash);
        pthread_mutex_unlock(&get->device->lock);
    }
}

/* ---- reading ---- */

static void unpin(struct device *device, uint32_t segment)
{
    uint32_t before = atomic_fetch_sub(&device->segments[segment].pins, 1);
    CHECK(before > 0);
    if (before == 1 && atomic_load(&device->reclaim_waits))
        device_wake(device);
}

static void finish(struct disk_get *get)
{
    struct device *device = get->device;
    if (get->result == 0) {
        get->result = get->abandoned ? E_CANCELED : verify(get);
        count(get, get->result);
    } else {
        device_failed_read(device, get->worker, get->result);
    }
    unpin(device, get->segment);
    atomic_fetch_sub(&device->read_bytes, get->charge);
    atomic_fetch_sub(&device->reads_in_flight, 1);
    answer(get);
}

static void submit(struct reader_piece *piece);

static void piece_done(struct io_op *op)
{
    struct reader_piece *piece = CONTAINER_OF(op, struct reader_piece, op);
    struct disk_get *get = piece->get;
    struct device *device = get->device;
    atomic_store_explicit(&device->progress_ns, io_now_ns(get->worker->loop), memory_order_relaxed);
    counter_add(&device->stats.reads, 1);
    if (op->result != (int64_t)piece->in_op) {
        get->result = op->result < 0 ? (int)op->result : -EIO;
    } else {
        counter_add(&device->stats.read_bytes, piece->in_op);
        if (piece->payload_at < piece->payload_end && get->result == 0) {
            submit(piece);
            return;
        }
    }
    if (--get->pieces_left == 0)
        finish(get);
}

/* The next op of a piece: what is left of the header, then payload in whole blocks into the item's extents.
 */
static void submit(struct reader_piece *piece)
{
    struct disk_get *get = piece->get;
    int parts = 0;
    uint32_t bytes = 0;
    if (piece->header_left > 0) {
        piece->iov[parts++] = (struct iovec){get->buffer, piece->header_left};
        bytes = piece->header_left;
        piece->header_left = 0;
    }
    uint32_t left = piece->payload_end - piece->payload_at, room = DEVICE_OP_BYTES - SEGMENT_BLOCK;
    if (left > 0) {
        int more = 0;
        uint32_t got = item_vector_some(get->item, piece->payload_at, left < room ? left : room,
            piece->iov + parts, IO_VECTOR_MAX - parts, &more);
        CHECK(more > 0);
        piece->payload_at += got;
        parts += more;
        uint32_t padding = segment_blocks_up(got) - got; /* the room at the end of the last extent */
        piece->iov[parts - 1].iov_len += padding;
        bytes += got + padding;
    }
    piece->in_op = bytes;
    io_op_init(&piece->op, piece_done);
    uint64_t offset = piece->offset;
    piece->offset += bytes;
    io_file_read(get->worker->loop, &piece->op, get->device->file, piece->iov, (unsigned)parts, offset);
}

static void piece_init(
    struct disk_get *get, unsigned number, uint64_t offset, uint32_t header, uint32_t from, uint32_t to)
{
    struct reader_piece *piece = &get->pieces[number];
    piece->get = get;
    piece->offset = offset;
    piece->header_left = header;
    piece->payload_at = from;
    piece->payload_end = to;
    get->pieces_left++;
}

/* Decides what is read: buffer, item and pieces. */
static int plan(struct disk_get *get, uint32_t from, uint32_t len)
{
    get->header_len = segment_header_len(get->key_len, get->value_len);
    if (!segment_is_large(get->value_len)) {
        uint64_t first = get->place / SEGMENT_BLOCK * SEGMENT_BLOCK;
        get->span = segment_blocks_up(get->place + get->header_len + get->value_len - first);
        get->buffer = worker_buffer_take(get->worker, get->span);
        if (get->buffer == NULL)
            return E_EXHAUSTED;
        piece_init(get, 0, first, get->span, 0, 0);
        return 0;
    }
    uint32_t end = len > get->value_len - from ? get->value_len : from + len;
    get->held_from = from / SEGMENT_CHECKED_BYTES * SEGMENT_CHECKED_BYTES;
    end = (end + SEGMENT_CHECKED_BYTES - 1) / SEGMENT_CHECKED_BYTES * SEGMENT_CHECKED_BYTES;
    end = end < get->value_len ? end : get->value_len;
    get->held_len = end - get->held_from;
    struct item_shape shape = {get->value_len, get->held_from, get->held_len};
    int result = memory_take(get->device->disk->memory, key_of(get), shape, &get->item);
    if (result < 0)
        return result;
    get->span = get->header_len;
    get->buffer = worker_buffer_take(get->worker, get->span);
    if (get->buffer == NULL)
        return E_EXHAUSTED;
    if (get->held_from == 0) {
        piece_init(get, 0, get->place, get->header_len, 0, get->held_len);
    } else {
        piece_init(get, 0, get->place, get->header_len, 0, 0);
        piece_init(get, 1, get->place + get->header_len + get->held_from, 0, 0, get->held_len);
    }
    return 0;
}

/* Pins the segment of the entry; false if the entry has gone meanwhile. */
static bool pin(struct disk_get *get, const struct index_entry *entry)
{
    struct device *device = get->device;
    get->place = entry->place;
    get->value_len = entry->value_len;
    get->segment = device_segment_of(device, entry->place);
    atomic_fetch_add(&device->segments[get->segment].pins, 1);
    struct index_entry again;
    if (index_find(device->index, get->hash, &again) && again.place == entry->place) {
        get->generation = atomic_load(&device->segments[get->segment].generation);
        return true;
    }
    unpin(device, get->segment);
    return false;
}

/* Is the entry one that may be answered now? */
static bool answerable(const struct device *device, const struct index_entry *entry)
{
    uint64_t first = atomic_load(&device->first_generation);
    if (first == 0)
        return true;
    return atomic_load(&device->segments[device_segment_of(device, entry->place)].generation) >= first;
}

static bool stalled(const struct device *device, uint64_t now_ns)
{
    return atomic_load_explicit(&device->reads_in_flight, memory_order_relaxed) > 0 &&
           atomic_load_explicit(&device->progress_ns, memory_order_relaxed) + DEVICE_STALL_NS < now_ns;
}

/* From the item in writing, from the device, or not at all. */
static struct disk_get *look_up(struct disk_get *get, uint32_t from, uint32_t len)
{
    struct device *device = get->device;
    struct index_entry entry;
    bool indexed = index_find(device->index, get->hash, &entry) && answerable(device, &entry);
    if (writing_find(device, get->hash, key_of(get), &get->item)) {
        if (get->item != NULL && is_purged(get, get->item))
            item_unref(&get->item);
        if (get->item != NULL && !get->quiet)
            counter_add(&device->stats.hits, 1);
        return answer_later(get, get->item != NULL ? 0 : E_MISSING);
    }
    if (!indexed || !device_in_service(device) || !pin(get, &entry)) {
        counter_add(&device->stats.misses, 1);
        return answer_later(get, E_MISSING);
    }
    int result = 0;
    if (from > 0 && from >= get->value_len)
        result = E_MISSING; /* there is nothing to read */
    else if (stalled(device, io_now_ns(get->worker->loop)) ||
             atomic_load(&device->reads_in_flight) >= DEVICE_READS_MAX ||
             atomic_load_explicit(&device->read_bytes, memory_order_relaxed) >= DEVICE_READ_BYTES_MAX)
        result = E_EXHAUSTED;
    else
        result = plan(get, from, len);
    if (result < 0) {
        get->pieces_left = 0;
        unpin(device, get->segment);
        return answer_later(get, result);
    }
    get->charge = (uint32_t)sizeof *get + worker_buffer_bytes(get->span);
    atomic_fetch_add(&device->read_bytes, get->charge);
    if (atomic_fetch_add(&device->reads_in_flight, 1) == 0)
        atomic_store(&device->progress_ns, io_now_ns(get->worker->loop));
    worker_op_begin(get->worker);
    for (unsigned i = 0, count = get->pieces_left; i < count; i++)
        submit(&get->pieces[i]);
    return get;
}

struct disk_get *reader_start(struct device *device, struct disk_worker *worker, struct item_key key,
    uint32_t from, uint32_t len, bool quiet, void (*done)(void *context, int result, struct item *item),
    void *context)
{
    CHECK(key.bytes.len >= 1 && key.bytes.len <= ITEM_KEY_MAX);
    struct disk_get *get = get_take(worker);
    if (get == NULL)
        return NULL;
    get->device = device;
    get->done = done;
    get->context = context;
    get->quiet = quiet;
    get->kind = key.kind;
    get->key_len = (uint16_t)key.bytes.len;
    memcpy(get->key, key.bytes.ptr, key.bytes.len);
    get->hash = device_hash(device, key.kind, key.bytes);
    return look_up(get, from, len);
}
