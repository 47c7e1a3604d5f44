/*
 * Step 6: the parts of the reply to the exchange, with back-pressure: one send at a time, gathered from what
 * is there.
 *
 * Where the bytes at `at` come from, in this order: the inline body; the flight this request is in; a chunk
 * read ahead from disk; the memory tier; the disk; a flight, joined or led. The reply's head leaves with the
 * first bytes, so until then any failure still has its own status; afterwards the connection is cut.
 *
 * A reply whose length the origin did not say ends when its flight has ended well. The request stays in that
 * flight, also while it reads from the tiers what it missed of it.
 *
 * Items are held only while they are sent. When too much of the memory tier is pinned, a send goes from a
 * small private copy.
 */
#include <stdlib.h>

#include "base/error.h"
#include "proxy/request.h"

#define SEND_BYTES_MAX (2u << 20)

static_assert(EXCHANGE_UNKNOWN_LENGTH == HEAD_LENGTH_UNKNOWN, "a head's length is a reply's");

enum next {
    NEXT_READY,
    NEXT_WAIT,
    NEXT_ELSEWHERE, /* not from here */
    NEXT_AGAIN,     /* the reply's end has become known: look again */
    NEXT_ENDED,     /* the request */
};

struct stretch {
    struct item *item;
    uint32_t from, len;
    uint64_t *source; /* which counter the bytes belong to */
};

static struct cache *cache_of(const struct request *request)
{
    return request->worker->proxy->cache;
}

static uint32_t chunk_len(const struct request *request, uint64_t chunk)
{
    uint64_t left = request->head.body_len - chunk * request->head.chunk_bytes;
    return left < request->head.chunk_bytes ? (uint32_t)left : request->head.chunk_bytes;
}

/* ---- chunks from disk ---- */

static struct slot *slot_of(struct request *request, uint64_t chunk)
{
    return &request->slots[chunk % REQUEST_SLOTS];
}

static void slot_clear(struct slot *slot)
{
    if (slot->state == SLOT_READING)
        cache_get_abandon(&slot->get);
    item_unref(&slot->item);
    slot->state = SLOT_EMPTY;
}

static bool slot_item_fits(const struct slot *slot, const struct item *item)
{
    return item_value_len(item) == chunk_len(slot->request, slot->chunk);
}

static void slot_read(struct cache_get *get, int result, struct item *item)
{
    struct slot *slot = CONTAINER_OF(get, struct slot, get);
    slot->state = SLOT_FAILED;
    if (result == 0 && slot_item_fits(slot, item)) {
        slot->state = SLOT_READY;
        slot->item = item;
    } else if (result == 0) {
        item_unref(&item);
    }
    request_deliver(slot->request);
}

static void slot_start(struct request *request, uint64_t chunk, uint64_t first, uint64_t end)
{
    const struct settings *settings = request->worker->proxy->settings;
    struct slot *slot = slot_of(request, chunk);
    uint8_t buf[CHUNK_KEY_LEN];
    uint64_t start = chunk * request->head.chunk_bytes, len = chunk_len(request, chunk);
    uint64_t from = first > start ? first - start : 0, to = end - start < len ? end - start : len;
    if (memory_pins_full(cache_memory(cache_of(request))) && to - from > REQUEST_PRIVATE_BYTES)
        to = from + REQUEST_PRIVATE_BYTES;
    bool whole = (to - from) * 2 > len;
    bool keep = settings->cache.memory && start + len <= settings->cache.memory_item_bytes;
    slot->state = SLOT_READING;
    slot->chunk = chunk;
    slot->request = request;
    slot->get.done = slot_read;
    cache_get_start(cache_of(request), request->worker->loop, &slot->get,
        identity_chunk_key(buf, request->head.body_id, chunk), whole ? 0 : (uint32_t)from,
        whole ? UINT32_MAX : (uint32_t)(to - from), whole && keep);
}

/* Lets go of a chunk read ahead once its bytes are in the vector. */
static void slot_consumed(struct request *request, uint64_t last_byte)
{
    uint64_t chunk = last_byte / request->head.chunk_bytes;
    struct slot *slot = slot_of(request, chunk);
    if (slot->state != SLOT_READY || slot->chunk != chunk)
        return;
    uint64_t start = chunk * request->head.chunk_bytes + item_value_from(slot->item);
    if (last_byte + 1 >= start + item_held_len(slot->item) ||
        last_byte + 1 >= request->parts[request->part_at].end)
        slot_clear(slot);
}

/* Submits the reads of the chunks from `at` on in one go, as far as they lie on disk alone. */
static void read_ahead(struct request *request)
{
    const struct part *part = &request->parts[request->part_at];
    uint64_t chunk_bytes = request->head.chunk_bytes, chunk = request->at / chunk_bytes;
    if (request->no_disk)
        return;
    for (unsigned i = 0; i < REQUEST_SLOTS && chunk * chunk_bytes < part->end; i++, chunk++) {
        struct slot *slot = slot_of(request, chunk);
        if (slot->state != SLOT_EMPTY && slot->chunk == chunk)
            continue;
        uint8_t buf[CHUNK_KEY_LEN];
        struct item_key key = identity_chunk_key(buf, request->head.body_id, chunk);
        if (chunk == request->skip_disk_chunk)
            return;
        if (memory_has(cache_memory(cache_of(request)), key))
            continue;
        if (!cache_may_have(cache_of(request), key))
            return;
        if (i > 0 && memory_pins_full(cache_memory(cache_of(request))))
            return; /* these reads filled them */
        slot_clear(slot);
        slot_start(request, chunk, request->at, part->end);
    }
}

/* ---- the next bytes ---- */

/* All of a body without a length has come: now it has one. */
static bool learn_length(struct request *request)
{
    uint64_t len = flight_body_len(&request->waiter);
    if (len == HEAD_LENGTH_UNKNOWN)
        return false;
    CHECK(request->parts == &request->single && request->at <= len);
    request->head.body_len = request->single.end = request->reply_len = len;
    return true;
}

/* The flight does not bring these bytes. */
static enum next past_flight(struct request *request)
{
    if (head_has_length(&request->head))
        flight_leave(&request->waiter);
    else if (learn_length(request))
        return NEXT_AGAIN;
    return NEXT_ELSEWHERE;
}

static enum next from_flight(struct request *request, struct stretch *stretch)
{
    struct flight_bytes bytes;
    switch (flight_see_bytes(&request->waiter, request->at, &bytes)) {
    case FLIGHT_WAIT:
        return NEXT_WAIT;
    case FLIGHT_READY:
        *stretch = (struct stretch){bytes.item, bytes.from, bytes.len, &request->bytes_origin};
        return NEXT_READY;
    case FLIGHT_FAILED:
        request_flight_failed(request);
        return NEXT_ENDED;
    default:
        return past_flight(request);
    }
}

static enum next from_slot(struct request *request, uint64_t chunk, struct stretch *stretch)
{
    struct slot *slot = slot_of(request, chunk);
    if (slot->state == SLOT_READING)
        return NEXT_WAIT;
    uint32_t offset = (uint32_t)(request->at - chunk * request->head.chunk_bytes);
    if (slot->state == SLOT_READY && offset >= item_value_from(slot->item) &&
        offset < item_value_from(slot->item) + item_held_len(slot->item)) {
        uint32_t from = offset - item_value_from(slot->item);
        *stretch = (struct stretch){
            item_ref(slot->item), from, item_held_len(slot->item) - from, &request->bytes_disk};
        return NEXT_READY;
    }
    if (slot->state == SLOT_FAILED)
        request->skip_disk_chunk = chunk;
    slot_clear(slot);
    return NEXT_ELSEWHERE;
}

static bool from_memory(struct request *request, struct item_key key, uint64_t chunk, struct stretch *stretch)
{
    struct item *item = cache_find(cache_of(request), key);
    uint32_t offset = (uint32_t)(request->at - chunk * request->head.chunk_bytes);
    if (item && item_value_len(item) != chunk_len(request, chunk))
        item_unref(&item);
    if (!item)
        return false;
    request_hit(request, item);
    *stretch = (struct stretch){item, offset, item_value_len(item) - offset, &request->bytes_memory};
    return true;
}

static bool from_inline(struct request *request, struct stretch *stretch)
{
    if (!request->head.inline_body || !request->head_item)
        return false;
    uint32_t at = (uint32_t)request->at;
    *stretch = (struct stretch){
        .item = item_ref(request->head_item),
        .from = request->head.encoded_bytes + at,
        .len = (uint32_t)request->head.body_len - at,
        .source = request->head_tier == CACHE_MEMORY ? &request->bytes_memory : &request->bytes_disk,
    };
    return true;
}

static enum next next_bytes(struct request *request, struct stretch *stretch)
{
    if (from_inline(request, stretch))
        return NEXT_READY;
    for (;;) {
        if (request->waiter.flight) {
            enum next next = from_flight(request, stretch);
            if (next != NEXT_ELSEWHERE)
                return next;
        }
        uint64_t chunk = request->at / request->head.chunk_bytes;
        struct slot *slot = slot_of(request, chunk);
        if (slot->state != SLOT_EMPTY && slot->chunk == chunk) {
            enum next next = from_slot(request, chunk, stretch);
            if (next != NEXT_ELSEWHERE)
                return next;
        }
        uint8_t buf[CHUNK_KEY_LEN];
        struct item_key key = identity_chunk_key(buf, request->head.body_id, chunk);
        if (!request->pass && from_memory(request, key, chunk, stretch))
            return NEXT_READY;
        if (request->held_count) /* send what there is before asking elsewhere */
            return NEXT_WAIT;
        if (!request->pass && !request->head.inline_body) {
            read_ahead(request);
            if (slot->state == SLOT_READING && slot->chunk == chunk)
                return NEXT_WAIT;
        }
        enum fetch_bytes coming =
            head_has_length(&request->head) ? request_fetch_bytes(request) : request_fetch_whole(request);
        if (coming == BYTES_LATER || coming == BYTES_ENDED)
            return coming == BYTES_LATER ? NEXT_WAIT : NEXT_ENDED;
    }
}

/* ---- sending ---- */

static void release_held(struct request *request)
{
    while (request->held_count)
        item_unref(&request->held[--request->held_count]);
}

static void sent(struct exchange_send *send)
{
    struct request *request = CONTAINER_OF(send, struct request, send);
    request->sending = false;
    release_held(request);
    if (request->ending)
        request_release(request);
    else if (send->result < 0) {
        request->gone = true;
        request_end(request);
    } else if (request->part_at == request->part_count)
        request_end(request);
    else
        request_deliver(request);
}

/* Puts as much of the stretch as fits into the vector; returns how many bytes, and keeps or drops the item.
 */
static uint32_t add_stretch(struct request *request, struct stretch *stretch, unsigned *count, uint64_t room)
{
    uint32_t len = stretch->len < room ? stretch->len : (uint32_t)room;
    if (memory_pins_full(cache_memory(cache_of(request))) && !request->head.inline_body) {
        if (!request->private_copy)
            request->private_copy = malloc(REQUEST_PRIVATE_BYTES);
        if (request->private_copy) {
            len = len < REQUEST_PRIVATE_BYTES ? len : REQUEST_PRIVATE_BYTES;
            item_copy(stretch->item, stretch->from, len, request->private_copy);
            item_unref(&stretch->item);
            request->iov[(*count)++] = (struct iovec){request->private_copy, len};
            return len;
        }
    }
    int parts = 0;
    len = item_vector_some(
        stretch->item, stretch->from, len, &request->iov[*count], (int)(REQUEST_VECTOR - *count), &parts);
    CHECK(len > 0);
    *count += (unsigned)parts;
    request->held[request->held_count++] = stretch->item;
    return len;
}

static bool vector_has_room(const struct request *request, unsigned count)
{
    return count + 2 <= REQUEST_VECTOR && request->held_count < REQUEST_SEND_ITEMS;
}

static void begin(struct request *request)
{
    request->begun = true;
    request->first_byte_ns = io_clock_ns(request->worker->loop);
    io_cancel(request->worker->loop, &request->deadline);
    if (request->warm)
        return;
    exchange_start(request->exchange, &(struct exchange_head){
                                          .status = request->status,
                                          .field_lines = request->lines,
                                          .body_len = request->reply_len,
                                          .dated = request->dated,
                                      });
}

/* Once for each chunk that a part touches: where its first byte came from. */
static void count_chunk(struct request *request, const struct part *part, const uint64_t *source)
{
    struct bucket_stats *stats = &request->bucket->stats;
    if (request->warm || (request->at != part->first && request->at % request->head.chunk_bytes != 0))
        return;
    counter_add(source == &request->bytes_memory ? &stats->chunk_hits_memory
                : source == &request->bytes_disk ? &stats->chunk_hits_disk
                                                 : &stats->chunk_misses,
        1);
}

/* Nobody's request needs no byte that is stored: an empty stretch stands for the chunk. */
static bool skips_stored(struct request *request, uint64_t end, unsigned *count)
{
    uint64_t chunk = request->at / request->head.chunk_bytes;
    uint8_t buf[CHUNK_KEY_LEN];
    if (!request->warm || request->at >= end || request->waiter.flight || request->head.inline_body ||
        !head_has_length(&request->head) ||
        !cache_may_have(cache_of(request), identity_chunk_key(buf, request->head.body_id, chunk)))
        return false;
    uint64_t border = (chunk + 1) * request->head.chunk_bytes;
    request->at = border < end ? border : end;
    request->iov[(*count)++] = (struct iovec){0};
    return true;
}

/* Gathers what is there into the vector. Returns false when the request ended meanwhile. */
static bool gather(struct request *request, unsigned *count)
{
    uint64_t bytes = 0;
    while (request->part_at < request->part_count && vector_has_room(request, *count) &&
           bytes < SEND_BYTES_MAX) {
        const struct part *part = &request->parts[request->part_at];
        if (!request->text_done && part->text.len)
            request->iov[(*count)++] = (struct iovec){(void *)(uintptr_t)part->text.ptr, part->text.len};
        request->text_done = true;
        if (skips_stored(request, part->end, count)) {
            bytes += request->head.chunk_bytes;
        } else if (request->at < part->end) {
            struct stretch stretch;
            enum next next = next_bytes(request, &stretch);
            if (next == NEXT_ENDED)
                return false;
            if (next == NEXT_AGAIN)
                continue;
            if (next == NEXT_WAIT) {
                if (!request->begun && bytes == 0) { /* text alone doesn't begin a reply */
                    request->text_done = false;
                    *count = 0;
                }
                break;
            }
            uint64_t room = part->end - request->at;
            count_chunk(request, part, stretch.source);
            uint32_t len = add_stretch(request, &stretch, count, room);
            *stretch.source += len;
            if (stretch.source == &request->bytes_origin && request->at + len > request->led_up_to)
                request->led_up_to = request->at + len;
            request->at += len;
            slot_consumed(request, request->at - 1);
            bytes += stretch.item ? len : SEND_BYTES_MAX; /* one private copy fills a send */
        }
        if (request->at >= part->end && ++request->part_at < request->part_count) {
            request->text_done = false;
            request->at = request->parts[request->part_at].first;
        }
    }
    return true;
}

static bool waits_for_disk(struct request *request)
{
    const struct slot *slot = slot_of(request, request->at / request->head.chunk_bytes);
    bool from_flight = request->waiter.flight && head_has_length(&request->head);
    return !from_flight && slot->state == SLOT_READING;
}

void request_leave_disk(struct request *request)
{
    request->no_disk = true;
    if (request->head_reading) {
        cache_get_abandon(&request->head_get);
        request->head_reading = false;
        request->head_unreadable = true;
        request_fetch(request);
        return;
    }
    for (unsigned i = 0; i < REQUEST_SLOTS; i++)
        if (request->slots[i].state == SLOT_READING)
            slot_clear(&request->slots[i]);
    request_deliver(request);
}

/* What only passes through may be a stream of events: its head does not wait for a first byte. */
static bool head_goes_alone(const struct request *request)
{
    return request->pass && request->caching->generic && !request->begun && request->head_missed;
}

void request_deliver(struct request *request)
{
    if (request->sending || request->ending || request->step != STEP_DELIVER)
        return;
    unsigned count = 0;
    if (!gather(request, &count))
        return;
    bool last = request->part_at == request->part_count;
    if (count == 0 && !last && !head_goes_alone(request)) {
        request_wait(request, waits_for_disk(request) ? WAIT_DISK : WAIT_ORIGIN);
        return;
    }
    request->wait = WAIT_NOTHING;
    if (!request->begun)
        begin(request);
    request->send = (struct exchange_send){.iov = request->iov, .count = count, .last = last, .done = sent};
    request->sending = true;
    if (last && request->waiter.flight)
        flight_leave(&request->waiter);
    if (request->warm)
        warm_send(request);
    else
        exchange_send(request->exchange, &request->send);
    if (!last && !request->pass && !request->head.inline_body && !request->waiter.flight)
        read_ahead(request);
}

void request_deliver_stop(struct request *request)
{
    flight_leave(&request->waiter);
    if (request->head_reading)
        cache_get_abandon(&request->head_get);
    request->head_reading = false;
    for (unsigned i = 0; i < REQUEST_SLOTS; i++)
        slot_clear(&request->slots[i]);
    if (!request->sending)
        release_held(request);
}
