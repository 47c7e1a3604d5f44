/*
 * A put. Bytes go into the item being filled: the head itself where the announced length fits it, else chunk
 * after chunk, each handed to memory and disk as soon as it is full. The head comes last, and with it the
 * value.
 *
 * With the length unknown, items are chunks until the end; then the last one, which has room left, is copied
 * into one of its size, or into the head if it is the only one.
 *
 * Room: where the memory tier has none, or too much waits to be written, the put stalls and is tried again
 * until its time is over. What the disk refuses for another reason leaves the value in memory only: its head
 * then is not written either, and what follows awaits a hit (item.h), as what was refused does.
 *
 * struct yata_put | born by                  | owned by                            | dies by
 *                 | yata_put_begin, yata_put | the handle and the call under way   | the last put_unref
 * Threads: the handle's, while no call is under way; else the loop's. `aborted` and `busy` are both's.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/segment.h"
#include "yata/layout.h"
#include "yata/put.h"

#define STALLED 1
/* After so many bytes in one go the loop's others have a turn. */
#define BURST_BYTES (16 * LAYOUT_CHUNK_BYTES)
/* What an item needs on disk beside its value. */
#define ITEM_MORE_BYTES 8192

struct yata_put {
    struct request request;
    _Atomic unsigned references;
    _Atomic bool aborted, busy;
    struct yata *yata;
    struct loop *loop;
    struct layout layout; /* value_len YATA_LEN_UNKNOWN until the end */
    uint64_t at, chunks_sent, burst;
    struct item *item;   /* being filled */
    struct item *unsent; /* in memory; the disk had no room */
    const uint8_t *bytes;
    size_t left;
    bool ending; /* the head is still to come */
    bool last;   /* the call under way ends the put */
    bool memory_only;
    int failure; /* of an earlier call */
    yata_done *done;
    void *context;
    size_t key_len;
    uint8_t key[];
};

static void put_unref(struct yata_put *put)
{
    if (atomic_fetch_sub_explicit(&put->references, 1, memory_order_acq_rel) > 1)
        return;
    item_unref(&put->item);
    item_unref(&put->unsent);
    store_unref(put->yata);
    free(put);
}

static struct item_key head_key(const struct yata_put *put)
{
    return layout_head_key(bytes_of(put->key, put->key_len));
}

static bool len_known(const struct yata_put *put)
{
    return put->layout.value_len != YATA_LEN_UNKNOWN;
}

/* ---- items: 0, STALLED or below 0 ---- */

static int take(struct yata_put *put, struct item_key key, uint32_t len, struct item **item)
{
    return cache_take(put->yata->cache, key, len, item) < 0 ? STALLED : 0;
}

/* The head, with what describes the value in it. */
static int take_head(struct yata_put *put, struct item **item)
{
    uint8_t front[LAYOUT_CHUNKED_LEN];
    struct bytes described = layout_encode(&put->layout, front);
    uint64_t len = described.len + (put->layout.chunk_bytes == 0 ? put->layout.value_len : 0);
    int result = take(put, head_key(put), (uint32_t)len, item);
    if (result == 0)
        item_append(*item, described);
    return result;
}

static int take_chunk(struct yata_put *put, uint32_t len, struct item **item)
{
    uint8_t key[LAYOUT_CHUNK_KEY];
    return take(put, layout_chunk_key(put->layout.body_id, put->chunks_sent, key), len, item);
}

/* For the byte at put->at. */
static int take_next(struct yata_put *put)
{
    if (put->layout.chunk_bytes == 0)
        return take_head(put, &put->item);
    uint32_t len = len_known(put) ? layout_chunk_len(&put->layout, put->chunks_sent) : LAYOUT_CHUNK_BYTES;
    return take_chunk(put, len, &put->item);
}

static int written(struct yata_put *put, int result)
{
    if (result == E_EXHAUSTED)
        return STALLED;
    put->memory_only = put->memory_only || (result < 0 && result != E_CHANGED);
    item_unref(&put->unsent);
    return 0;
}

/* Memory and disk get the item that was being filled. */
static int hand_over(struct yata_put *put)
{
    struct yata *yata = put->yata;
    bool to_disk = yata->disk != NULL && !put->memory_only;
    if (to_disk && !disk_has_room(yata->disk, item_held_len(put->item) + ITEM_MORE_BYTES))
        return STALLED;
    item_complete(put->item);
    put->burst += item_held_len(put->item);
    put->unsent = put->item;
    put->item = NULL;
    request_progress(&put->request);
    int result = cache_put(
        yata->cache, put->loop->io_loop, put->unsent, CACHE_PUT_MEMORY | (to_disk ? CACHE_PUT_DISK : 0), 0);
    if (yata->disk != NULL && !to_disk)
        item_await_hit(put->unsent);
    return written(put, result);
}

/* Our reference keeps it from eviction: what memory does not hold was replaced or removed meanwhile. */
static int hand_over_again(struct yata_put *put)
{
    bool held = memory_holds(put->yata->memory, put->unsent);
    return written(put, held ? disk_put(put->yata->disk, put->loop->io_loop, put->unsent, 0) : E_CHANGED);
}

static int hand_over_chunk(struct yata_put *put)
{
    int result = hand_over(put);
    if (put->item == NULL)
        put->chunks_sent++;
    return result;
}

static void append(struct yata_put *put)
{
    uint32_t room = item_held_len(put->item) - item_filled(put->item);
    size_t len = put->left < room ? put->left : room;
    item_append(put->item, bytes_of(put->bytes, len));
    put->bytes += len;
    put->left -= len;
    put->at += len;
}

/* ---- the end ---- */

/* The length is known now; what was filled with room to spare goes into an item of its size. */
static int settle(struct yata_put *put)
{
    struct item *item;
    struct iovec parts[ITEM_VECTOR_MAX];
    put->layout.value_len = put->at;
    if (put->chunks_sent == 0)
        put->layout.chunk_bytes = 0;
    int result = 0;
    if (put->item != NULL) {
        result =
            put->chunks_sent == 0 ? take_head(put, &item) : take_chunk(put, item_filled(put->item), &item);
        if (result == 0) {
            int count = item_vector(put->item, 0, item_filled(put->item), parts, ITEM_VECTOR_MAX);
            CHECK(count >= 0);
            for (int i = 0; i < count; i++)
                item_append(item, bytes_of(parts[i].iov_base, parts[i].iov_len));
            item_unref(&put->item);
            put->item = item;
        }
    }
    if (result != 0) { /* not yet */
        put->layout.value_len = YATA_LEN_UNKNOWN;
        put->layout.chunk_bytes = LAYOUT_CHUNK_BYTES;
    }
    return result;
}

/* All bytes are in, none is left in a chunk. */
static int end(struct yata_put *put)
{
    if (!len_known(put))
        return settle(put);
    if (put->at < put->layout.value_len)
        return E_TRUNCATED;
    if (put->item == NULL) {
        int result = take_head(put, &put->item);
        if (result != 0)
            return result;
    }
    int result = hand_over(put);
    put->ending = put->item != NULL; /* it stalled before it took the head */
    return result;
}

/* ---- running ---- */

/* The item is a chunk and full. */
static bool chunk_is_full(const struct yata_put *put)
{
    return put->item != NULL && put->layout.chunk_bytes != 0 && item_key(put->item).kind == ITEM_CHUNK &&
           item_filled(put->item) == item_held_len(put->item);
}

/* One step; *more: there may be another. */
static int step(struct yata_put *put, bool *more)
{
    *more = true;
    if (atomic_load(&put->aborted))
        return E_CANCELED;
    if (put->unsent != NULL)
        return hand_over_again(put);
    if (chunk_is_full(put))
        return hand_over_chunk(put);
    if (put->left > 0) {
        if (put->item == NULL)
            return take_next(put);
        append(put);
        return 0;
    }
    if (put->ending)
        return end(put);
    *more = false;
    return 0;
}

static void answer(struct yata_put *put, int result)
{
    yata_done *done = put->done;
    void *context = put->context;
    put->failure = result < 0 ? result : 0;
    request_end(&put->request);
    atomic_store(&put->busy, false);
    done(context, result);
    put_unref(put);
}

static void run(struct request *request)
{
    struct yata_put *put = CONTAINER_OF(request, struct yata_put, request);
    bool more = true;
    int result = 0;
    put->burst = 0;
    while (more && result == 0 && put->burst < BURST_BYTES)
        result = step(put, &more);
    if (result == STALLED || (result == 0 && more)) {
        request_stall(request);
        return;
    }
    bool memory_only = put->last && put->memory_only && put->yata->disk != NULL;
    answer(put, result < 0 ? result : memory_only ? YATA_MEMORY_ONLY : 0);
}

static void fail(struct request *request, int error)
{
    struct yata_put *put = CONTAINER_OF(request, struct yata_put, request);
    answer(put, error == E_TIMEOUT ? E_EXHAUSTED : error); /* all that it waits for is room */
}

/* ---- the API ---- */

int yata_put_begin(
    struct yata *yata, const void *key, size_t key_len, uint64_t len, struct yata_put **created)
{
    int result = created == NULL ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    struct yata_put *put = calloc(1, sizeof *put + key_len);
    if (put == NULL)
        return -ENOMEM;
    put->references = 1;
    put->yata = store_ref(yata);
    put->loop = store_loop_of(yata, bytes_of(key, key_len));
    put->layout.value_len = len;
    put->key_len = key_len;
    memcpy(put->key, key, key_len);
    if (len > LAYOUT_INLINE_MAX) { /* unknown ones too */
        put->layout.chunk_bytes = LAYOUT_CHUNK_BYTES;
        random_os(put->layout.body_id, sizeof put->layout.body_id);
    }
    counter_add(&yata->puts, 1);
    *created = put;
    return 0;
}

/* Once for each put: what is not admitted stays in memory. */
static void admit(struct yata_put *put)
{
    struct admission *admission = put->yata->admission;
    uint64_t hash = segment_hash(0, ITEM_HEAD, bytes_of(put->key, put->key_len));
    if (admission != NULL && put->at == 0 && !put->memory_only && !admission_seen(admission, hash)) {
        put->memory_only = true;
        counter_add(&put->yata->not_admitted, 1);
    }
}

static int submit(struct yata_put *put, yata_done *done, void *context)
{
    if (done == NULL)
        return -EINVAL;
    if (put->failure < 0)
        return put->failure;
    if (atomic_exchange(&put->busy, true))
        return -EBUSY;
    put->done = done;
    put->context = context;
    put->request = (struct request){.start = run, .resume = run, .fail = fail};
    atomic_fetch_add_explicit(&put->references, 1, memory_order_relaxed);
    int result = request_submit(&put->request, put->loop);
    if (result < 0) {
        atomic_store(&put->busy, false);
        put_unref(put);
    }
    return result;
}

int yata_put_write(struct yata_put *put, const void *bytes, size_t len, yata_done *done, void *context)
{
    if (put == NULL || (bytes == NULL && len > 0))
        return -EINVAL;
    if (atomic_load(&put->busy))
        return -EBUSY;
    if (put->failure == 0 && len_known(put) && len > put->layout.value_len - put->at)
        return E_TOO_LARGE;
    if (put->at == 0)
        admit(put);
    put->bytes = bytes;
    put->left = len;
    return submit(put, done, context);
}

int yata_put_end(struct yata_put *put, yata_done *done, void *context)
{
    if (put == NULL)
        return -EINVAL;
    if (atomic_load(&put->busy))
        return -EBUSY;
    put->ending = put->last = true;
    put->left = 0;
    int result = submit(put, done, context);
    if (result < 0)
        put->ending = put->last = false;
    else
        put_unref(put);
    return result;
}

int yata_put(struct yata *yata, const void *key, size_t key_len, const void *value, size_t len,
    yata_done *done, void *context)
{
    struct yata_put *put;
    if (done == NULL || (value == NULL && len > 0))
        return -EINVAL;
    int result = yata_put_begin(yata, key, key_len, len, &put);
    if (result < 0)
        return result;
    admit(put);
    put->bytes = value;
    put->left = len;
    put->ending = put->last = true;
    result = submit(put, done, context);
    put_unref(put);
    return result;
}

struct yata *put_store(const struct yata_put *put)
{
    return put->yata;
}

void yata_put_abort(struct yata_put **held)
{
    if (held == NULL || *held == NULL)
        return;
    atomic_store(&(*held)->aborted, true); /* a write under way sees it at its next step */
    put_unref(*held);
    *held = NULL;
}
