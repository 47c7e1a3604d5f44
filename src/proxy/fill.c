/*
 * The leader's side of a flight: asks the origin, turns the answer into a head and pieces, puts them into the
 * cache, and wakes the waiters. Runs on the leader's loop only; what waiters see is changed under the
 * stripe's lock.
 *
 * Invariants: pieces are in order and without gaps; `at` is the end of the last piece's filled part; only
 * whole, checked items are put; a head is put before its body only where its validator is strong, since only
 * then can the rest be fetched later and belong to it.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "http/etag.h"
#include "proxy/flight_private.h"
#include "proxy/worker.h"

#define MEMORY_RETRY_NS (10 * NS_PER_MS)
#define PASS_PIECE_BYTES (64u << 10) /* what is not stored need not come in whole chunks */

/* Pieces end at multiples of this. */
static uint64_t piece_bytes(const struct flight *flight)
{
    uint64_t chunk = flight->head.chunk_bytes;
    return flight->storing || chunk < PASS_PIECE_BYTES ? chunk : PASS_PIECE_BYTES;
}

/* What the ring of pieces holds before and behind the one that is filled. */
static uint64_t ring_bytes(const struct flight *flight)
{
    return (FLIGHT_PIECES - 2) * piece_bytes(flight);
}

/* Fetches hold more memory than they should: they run only as fast as they are read. */
static bool under_pressure(const struct flight *flight)
{
    return counter_get(&flight->flights->stats->flight_bytes_now) > flight->flights->memory_limit_bytes;
}

/* ... and since many are read slowly, that was not enough: who reads slowly has to look up what comes. */
static bool under_distress(const struct flight *flight)
{
    return counter_get(&flight->flights->stats->flight_bytes_now) > 2 * flight->flights->memory_limit_bytes;
}

/* Pieces may be let go of when the bytes can be had again. */
static bool is_replaceable(const struct flight *flight)
{
    return flight->storing && flight->head.strong;
}

/* Lock held, at a boundary. */
static void drop_all_in_distress(struct flight *flight)
{
    bool can = is_replaceable(flight) && !flight->inline_body;
    while (can && under_distress(flight) && flight->piece_count)
        flight_drop_piece(flight);
}

static struct flight *of_fetch(struct origin_fetch *fetch)
{
    return CONTAINER_OF(fetch, struct flight, fetch);
}

static const struct settings *settings_of(const struct flight *flight)
{
    return flight->worker->proxy->settings;
}

static void put(struct flight *flight, struct item *item, unsigned where)
{
    if (where)
        cache_put(flight->flights->cache, flight->loop, item, where);
}

static unsigned tiers(const struct flight *flight)
{
    const struct settings *settings = settings_of(flight);
    return (settings->cache.memory ? CACHE_PUT_MEMORY : 0) | (settings->cache.disk ? CACHE_PUT_DISK : 0);
}

/* The memory tier keeps no more of one object than configured. */
static unsigned chunk_tiers(const struct flight *flight, uint64_t piece_end)
{
    unsigned where = tiers(flight);
    return piece_end > settings_of(flight)->cache.memory_item_bytes ? where & ~(unsigned)CACHE_PUT_MEMORY
                                                                    : where;
}

/* ---- ending ---- */

static void fail(struct flight *flight, int error, unsigned status)
{
    if (flight->failure.error == 0)
        flight->failure = (struct flight_failure){.error = error, .status = status, .total = UINT64_MAX};
}

/* Ends the transfer without an error: the rest comes from elsewhere, or nobody waits for it. Lock not held.
 */
static void stop(struct flight *flight)
{
    flight_lock(flight);
    flight->stopped = true;
    flight_unlist(flight);
    flight_wake_all(flight);
    flight_unlock(flight);
    origin_fetch_cancel(&flight->fetch);
}

static void end(struct flight *flight)
{
    flight_lock(flight);
    flight->phase = FLIGHT_ENDED;
    flight_unlist(flight);
    drop_all_in_distress(flight);
    flight_wake_all(flight);
    flight_unlock(flight);
    list_remove(&flight->of_worker);
    proxy_worker_flight_ended(flight->worker);
    flight_unref(&flight);
}

/* ---- the head ---- */

/* An item with the encoded head and, for an inline body, room behind it. */
static struct item *head_item(struct flight *flight, const struct head *head)
{
    uint32_t encoded = head_encoded_bytes(head);
    struct item *item = NULL;
    uint8_t *text = arena_take(&flight->arena, encoded);
    uint64_t len = encoded + (head->inline_body ? head->body_len : 0);
    if (!text ||
        cache_take(flight->flights->cache, identity_head_key(flight->identity), (uint32_t)len, &item) < 0)
        return NULL;
    struct writer w = writer_of(text, encoded);
    head_encode(head, &w);
    CHECK(!w.failed);
    item_append(item, writer_bytes(&w));
    return item;
}

static bool same_representation(const struct head *a, const struct head *b)
{
    return a->strong && b->strong && bytes_equal(a->etag, b->etag) && a->body_len == b->body_len &&
           a->chunk_bytes == b->chunk_bytes;
}

/* May this answer be stored, and its fetch shared? */
static bool storable(const struct flight *flight, const struct head *head, const struct origin_head *answer)
{
    const struct bucket *bucket = flight->spec.bucket;
    return bucket->cached && !flight->spec.pass && !head->no_store &&
           head->body_len <= bucket->settings->max_item_bytes &&
           (head->strong || (answer->status == 200 && !flight->spec.head_only));
}

static void put_head(struct flight *flight, struct item *item)
{
    item_complete(item);
    put(flight, item, tiers(flight));
}

static struct head_times times(const struct flight *flight)
{
    return (struct head_times){
        .request_s = flight->request_s,
        .response_s = (int64_t)(io_wall_ns(flight->loop) / NS_PER_S),
    };
}

/* 304: the stored head with new fields and times, under the same body id. */
static int take_not_modified(struct flight *flight, const struct origin_head *answer)
{
    if (!flight->spec.revalidate)
        return E_PROTOCOL;
    struct head fresh;
    int result = head_freshen(&fresh, &flight->stored, answer, times(flight), &flight->arena);
    if (result < 0)
        return result;
    struct item *item = NULL, *old = flight->spec.stored_item;
    if (!fresh.no_store && (!fresh.inline_body || old))
        item = head_item(flight, &fresh);
    if (item && fresh.inline_body) {
        uint8_t *body = arena_take(&flight->arena, HEAD_INLINE_MAX);
        if (body) {
            item_copy(old, flight->stored.encoded_bytes, (uint32_t)fresh.body_len, body);
            item_append(item, bytes_of(body, fresh.body_len));
        } else {
            item_unref(&item);
        }
    }
    if (item)
        put_head(flight, item);
    else
        cache_forget(flight->flights->cache, identity_head_key(flight->identity));
    item_unref(&item);
    counter_add(&flight->flights->stats->revalidated_not_modified, 1);
    fresh.encoded_bytes =
        flight->stored.encoded_bytes; /* where waiters find the body in the item they hold */
    flight_lock(flight);
    flight->head = fresh;
    flight->head_known = flight->head_published = flight->not_modified = true;
    flight->at = flight->end = 0;
    flight->claim_end = 0;
    flight->phase = FLIGHT_FILLING;
    flight_wake_all(flight);
    flight_unlock(flight);
    return 0;
}

/* Decides what becomes of a new representation, before waiters see it. */
static void decide_storing(struct flight *flight, struct head *head, const struct origin_head *answer)
{
    bool whole = answer->status == 200 || (answer->first == 0 && answer->last + 1 == answer->total);
    flight->storing = storable(flight, head, answer);
    if (flight->spec.stored && same_representation(head, &flight->stored))
        memcpy(head->body_id, flight->stored.body_id, BODY_ID_LEN);
    head->inline_body = flight->storing && whole && head->body_len <= HEAD_INLINE_MAX &&
                        !flight->spec.go_on && (!flight->spec.head_only || head->body_len == 0);
    head->encoded_bytes = head_encoded_bytes(head);
    flight->inline_body = head->inline_body && head->body_len > 0;
    flight->put_head_at_end = flight->storing && !head->strong && !head->inline_body;
}

/* Puts the head where it may stand before its body. False: no memory for it; the answer then passes unstored.
 */
static bool publish_head(struct flight *flight, struct head *head)
{
    if (!flight->storing || flight->spec.go_on || flight->put_head_at_end)
        return true;
    struct item *item = head_item(flight, head);
    if (!item)
        return false;
    if (flight->inline_body) {
        flight->inline_item = item;
        return true;
    }
    put_head(flight, item);
    item_unref(&item);
    return true;
}

/* Up to where those who need bytes wait for this flight. What lies further on can be had sooner by a flight
 * of its own, where the validator allows one and the origin serves ranges. Lock held. */
static uint64_t claim_end(const struct flight *flight)
{
    if (flight->pass || flight->range_ignored || !flight->head.strong)
        return flight->end;
    uint64_t reach = flight->at + flight->head.chunk_bytes + FLIGHT_CLAIM_BYTES,
             border = flight_claim_border(flight, flight->at);
    reach = reach < border ? reach : border;
    return reach < flight->end ? reach : flight->end;
}

/* Waiters may be told of a new version before it is stored, or though it may not be stored. From then on
 * nobody may find the old one: who looks it up joins this flight instead. */
static void hide_replaced(struct flight *flight, const struct head *head)
{
    bool stored_by_now = flight->storing && !flight->inline_body && !flight->put_head_at_end;
    bool same = flight->spec.stored && bytes_equal(head->etag, flight->stored.etag);
    if (flight->spec.bucket->cached && !flight->spec.go_on && !stored_by_now && !same)
        cache_forget(flight->flights->cache, identity_head_key(flight->identity));
}

static int take_representation(struct flight *flight, const struct origin_head *answer)
{
    struct head head;
    int result = head_from_origin(
        &head, answer, times(flight), settings_of(flight)->cache.chunk_bytes, &flight->arena);
    if (result < 0)
        return result;
    if (flight->spec.go_on) {
        head.chunk_bytes = flight->stored.chunk_bytes;
        if (!same_representation(&head, &flight->stored))
            return E_CHANGED;
    }
    decide_storing(flight, &head, answer);
    if (!publish_head(flight, &head)) {
        flight->storing = flight->inline_body = flight->put_head_at_end = false;
        head.inline_body = false;
        random_os(head.body_id, BODY_ID_LEN);
    }
    hide_replaced(flight, &head);
    flight->range_ignored = flight->spec.ranged && answer->status == 200;
    uint64_t first = answer->status == 206 ? answer->first : 0;
    uint64_t last_end = answer->status == 206 ? answer->last + 1 : head.body_len;
    flight_lock(flight);
    flight->head = flight->spec.go_on ? flight->stored : head;
    flight->head_known = true;
    flight->head_published = flight->storing && !flight->inline_body && !flight->put_head_at_end;
    flight->pass = !flight->storing;
    if (flight->pass)
        flight_unlist(flight);
    flight->at = first;
    flight->claim_first = flight->spec.go_on ? flight->spec.first : first;
    flight->end = flight->spec.head_only ? first : last_end;
    flight->solo = flight->pass || (!flight->head.strong && flight->end - first > ring_bytes(flight));
    flight->claim_end = claim_end(flight);
    flight->phase = FLIGHT_FILLING;
    flight_wake_all(flight);
    flight_unlock(flight);
    return 0;
}

static void on_head(struct origin_fetch *fetch, const struct origin_head *answer)
{
    struct flight *flight = of_fetch(fetch);
    flight->origin_status = answer->status;
    flight->origin_ns =
        fetch->first_byte_ns > fetch->started_ns ? fetch->first_byte_ns - fetch->started_ns : 0;
    int result =
        answer->status == 304 ? take_not_modified(flight, answer) : take_representation(flight, answer);
    if (result < 0) {
        flight_lock(flight);
        fail(flight, result, 502);
        flight_unlock(flight);
        origin_fetch_cancel(fetch);
    }
}

/* ---- the body ---- */

static struct flight_piece *filling_piece(struct flight *flight)
{
    if (flight->piece_count == 0)
        return NULL;
    unsigned last = (flight->piece_first + flight->piece_count - 1) % FLIGHT_PIECES;
    struct flight_piece *piece = &flight->pieces[last];
    return flight->at < piece->from + piece->len ? piece : NULL;
}

/* Without waiters: is it worth while to go on? */
static bool is_cheap(const struct flight *flight)
{
    return flight->storing && flight->end - flight->at <= FLIGHT_CHEAP_BYTES && !under_pressure(flight) &&
           !flight->worker->stopping;
}

enum boundary { BOUNDARY_GO, BOUNDARY_WAIT, BOUNDARY_STOP };

/* At the start of a piece: is it wanted, and now? Lock held. */
static enum boundary judge_boundary(struct flight *flight)
{
    uint64_t fastest;
    if (flight->storing && flight_claimed_by_other(flight, flight->at))
        return BOUNDARY_STOP;
    if (!flight_fastest(flight, &fastest))
        return is_cheap(flight) ? BOUNDARY_GO : BOUNDARY_STOP;
    uint64_t lead = FLIGHT_LEAD_BYTES < ring_bytes(flight) ? FLIGHT_LEAD_BYTES : ring_bytes(flight);
    if (under_pressure(flight))
        lead = 1;
    if (flight->at >= fastest + lead)
        return BOUNDARY_WAIT;
    return BOUNDARY_GO;
}

/* At a boundary, where all pieces are whole: makes room in the ring; also lets go of what the only waiter has
 * passed, and under pressure of what the fastest has. Lock held. */
static void trim_pieces(struct flight *flight)
{
    uint64_t fastest;
    bool tight = flight->solo || (is_replaceable(flight) && under_pressure(flight));
    if (!flight_fastest(flight, &fastest))
        fastest = flight->at;
    while (flight->piece_count == FLIGHT_PIECES ||
           (tight && flight->piece_count &&
               flight->pieces[flight->piece_first].from + flight->pieces[flight->piece_first].len <= fastest))
        flight_drop_piece(flight);
    drop_all_in_distress(flight);
}

/* A new body has chunks in store only where another flight was led for it. The first chunk of a flight that
 * goes on was looked for in vain: it is fetched whatever the index says. */
static bool chunk_is_stored(const struct flight *flight)
{
    uint8_t buf[CHUNK_KEY_LEN];
    if (!is_replaceable(flight) || (!flight->spec.stored && !flight->overtaken))
        return false;
    if (flight->spec.go_on &&
        flight->at / flight->head.chunk_bytes == flight->spec.first / flight->head.chunk_bytes)
        return false;
    return cache_may_have(flight->flights->cache,
        identity_chunk_key(buf, flight->head.body_id, flight->at / flight->head.chunk_bytes));
}

static struct item_key piece_key(const struct flight *flight, uint8_t buf[CHUNK_KEY_LEN])
{
    return identity_chunk_key(buf, flight->head.body_id, flight->at / flight->head.chunk_bytes);
}

/* Memory for the piece at `at`. 0 or E_EXHAUSTED. */
static int take_piece(struct flight *flight, struct flight_piece *piece)
{
    uint64_t step = piece_bytes(flight), border = (flight->at / step + 1) * step;
    *piece = (struct flight_piece){.from = flight->at};
    if (flight->inline_body) {
        piece->item = item_ref(flight->inline_item);
        piece->base = flight->head.encoded_bytes;
        piece->len = (uint32_t)flight->head.body_len;
        return 0;
    }
    uint8_t buf[CHUNK_KEY_LEN];
    piece->len = (uint32_t)((border < flight->end ? border : flight->end) - flight->at);
    return cache_take(flight->flights->cache, piece_key(flight, buf), piece->len, &piece->item);
}

static void retry_done(struct io_op *op)
{
    struct flight *flight = CONTAINER_OF(op, struct flight, retry);
    flight->retrying = false;
    fill_poked(flight);
    flight_unref(&flight);
}

static void retry_later(struct flight *flight)
{
    if (flight->retrying)
        return;
    flight->retrying = true;
    flight_ref(flight);
    io_op_init(&flight->retry, retry_done);
    io_timer(flight->loop, &flight->retry, io_now_ns(flight->loop) + MEMORY_RETRY_NS);
}

/* Opens the next piece. False: paused or stopped. */
static bool open_piece(struct flight *flight)
{
    if (chunk_is_stored(flight)) {
        stop(flight);
        return false;
    }
    flight_lock(flight);
    enum boundary boundary = judge_boundary(flight);
    flight->paused = boundary == BOUNDARY_WAIT;
    if (boundary != BOUNDARY_STOP)
        trim_pieces(flight);
    if (boundary == BOUNDARY_GO)
        flight->claim_end = claim_end(flight);
    flight_unlock(flight);
    if (boundary == BOUNDARY_STOP)
        stop(flight);
    if (boundary != BOUNDARY_GO)
        return false;
    struct flight_piece piece;
    if (take_piece(flight, &piece) < 0) {
        flight_lock(flight);
        flight->paused = true;
        flight_unlock(flight);
        retry_later(flight);
        return false;
    }
    counter_add(&flight->flights->stats->flight_bytes_now, piece.len);
    flight_lock(flight);
    flight->pieces[(flight->piece_first + flight->piece_count++) % FLIGHT_PIECES] = piece;
    flight_unlock(flight);
    return true;
}

static void close_piece(struct flight *flight, struct flight_piece *piece)
{
    if (flight->inline_body) {
        put_head(flight, flight->inline_item);
        item_unref(&flight->inline_item);
        return;
    }
    item_complete(piece->item);
    if (flight->storing)
        put(flight, piece->item, chunk_tiers(flight, piece->from + piece->len));
}

/* An origin that ignores Range sends also what lies before the bytes asked for: it is dropped. Returns how
 * many bytes. */
static size_t skip_unasked(struct flight *flight, size_t len)
{
    if (!flight->range_ignored || flight->at >= flight->claim_first)
        return 0;
    uint64_t room = flight->claim_first - flight->at;
    size_t n = len < room ? len : (size_t)room;
    flight_lock(flight);
    flight->at += n;
    flight_unlock(flight);
    return n;
}

static size_t on_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct flight *flight = of_fetch(fetch);
    size_t taken = 0;
    while (taken < bytes.len && !flight->stopped && flight->failure.error == 0) {
        size_t skipped = skip_unasked(flight, bytes.len - taken);
        taken += skipped;
        if (skipped)
            continue;
        struct flight_piece *piece = filling_piece(flight);
        if (!piece) {
            if (flight->at >= flight->end || !open_piece(flight))
                break;
            piece = filling_piece(flight);
        }
        uint64_t room = piece->from + piece->len - flight->at, left = bytes.len - taken;
        size_t n = (size_t)(left < room ? left : room);
        item_append(piece->item, bytes_of(bytes.ptr + taken, n));
        taken += n;
        bool full = n == room;
        if (full)
            close_piece(flight, piece);
        flight_lock(flight);
        flight->at += n;
        flight_wake_all(flight);
        flight_unlock(flight);
    }
    bool ending = flight->stopped || flight->failure.error || flight->at >= flight->end;
    return ending ? bytes.len : taken;
}

/* Has a fetch that was answered after this one stored its head already? */
static bool overtaken(struct flight *flight)
{
    struct head newer;
    struct item *item = cache_find(flight->flights->cache, identity_head_key(flight->identity));
    bool later =
        item && head_decode(&newer, item, &flight->arena) == 0 && newer.response_s > flight->head.response_s;
    item_unref(&item);
    return later;
}

static void put_head_late(struct flight *flight)
{
    if (overtaken(flight))
        return;
    struct item *item = head_item(flight, &flight->head);
    if (item)
        put_head(flight, item);
    item_unref(&item);
}

static void on_done(struct origin_fetch *fetch)
{
    struct flight *flight = of_fetch(fetch);
    bool canceled = fetch->error == E_CANCELED && (flight->stopped || flight->failure.error);
    flight_lock(flight);
    if (fetch->error && !canceled) {
        flight->failure = (struct flight_failure){
            .error = fetch->error,
            .status = fetch->status ? fetch->status : 502,
            .retry_after_s = fetch->retry_after_s,
            .total = fetch->total,
        };
        memcpy(flight->failure.code, fetch->code, sizeof flight->failure.code);
    } else if (!fetch->error && !flight->head_known) {
        fail(flight, E_PROTOCOL, 502);
    } else if (!fetch->error && !flight->stopped && flight->at < flight->end) {
        fail(flight, E_TRUNCATED, 502);
    }
    int error = flight->failure.error;
    flight_unlock(flight);
    if (!error && flight->put_head_at_end && !flight->stopped && flight->at == flight->end)
        put_head_late(flight);
    if ((error == E_CHANGED || error == E_MISSING || error == -ERANGE) && flight->spec.stored)
        cache_forget(flight->flights->cache, identity_head_key(flight->identity));
    end(flight);
}

void fill_start(struct flight *flight)
{
    struct origin_fetch *fetch = &flight->fetch;
    const struct flight_spec *spec = &flight->spec;
    flight->request_s = (int64_t)(io_wall_ns(flight->loop) / NS_PER_S);
    fetch->request = (struct origin_request){
        .head_only = spec->head_only,
        .ranged = spec->ranged,
        .want_checksum = true,
        .first = spec->first,
        .last = spec->last,
        .key = spec->key,
        .version_id = spec->version_id,
        .if_match = spec->go_on ? flight->stored.etag : (struct bytes){0},
        .if_none_match = spec->revalidate ? flight->stored.etag : (struct bytes){0},
        .request_id = spec->request_id,
    };
    fetch->head = on_head;
    fetch->body = on_body;
    fetch->done = on_done;
    if (spec->revalidate)
        counter_add(&flight->flights->stats->revalidations, 1);
    list_push_back(&flight->worker->flights, &flight->of_worker);
    origin_fetch_start(flight->worker->origins, spec->bucket->origin, fetch);
}

void fill_poked(struct flight *flight)
{
    bool stopping = flight->worker->stopping;
    if (flight->phase == FLIGHT_ENDED || flight->stopped || flight->failure.error)
        return;
    if (flight->phase == FLIGHT_ASKING && !stopping)
        return; /* it will be of use to the next who asks */
    flight_lock(flight);
    bool was_paused = flight->paused;
    bool alone = list_empty(&flight->waiters);
    bool more = flight->at < flight->end;
    enum boundary boundary = was_paused ? judge_boundary(flight) : BOUNDARY_GO;
    if (boundary != BOUNDARY_WAIT)
        flight->paused = false;
    flight_unlock(flight);
    if (alone && (stopping || (more && !is_cheap(flight))))
        stop(flight);
    else if (was_paused && boundary != BOUNDARY_WAIT)
        origin_fetch_resume(&flight->fetch);
}
