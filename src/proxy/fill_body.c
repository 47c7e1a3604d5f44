/*
 * A flight's body: the origin's bytes into pieces, at the pace of those who wait for them.
 *
 * A piece is one chunk of the cache, filled in place while waiters send what is there, and put when it is
 * whole. Between two pieces lies a *boundary*, where it is decided whether the flight goes on, waits or
 * stops: by who waits and where, by what others have claimed or stored, and by how much memory fetches hold.
 */
#include "proxy/fill.h"

#include <xxhash.h>

#include "base/clock.h"
#include "base/error.h"

#define MEMORY_RETRY_NS (10 * NS_PER_MS)
#define PASS_PIECE_BYTES (64u << 10) /* what is not stored need not come in whole chunks */

/* Pieces end at multiples of this. */
static uint64_t piece_bytes(const struct flight *flight)
{
    uint64_t chunk = flight->head.chunk_bytes;
    return flight->storing || chunk < PASS_PIECE_BYTES ? chunk : PASS_PIECE_BYTES;
}

uint64_t fill_ring_bytes(const struct flight *flight)
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
    return flight->storing && head_rest_fetchable(&flight->head);
}

void fill_drop_in_distress(struct flight *flight)
{
    bool can = is_replaceable(flight) && !flight->inline_body;
    while (can && under_distress(flight) && flight->piece_count)
        flight_drop_piece(flight);
}

/* What lies further on can be had sooner by a flight of its own, where the validator allows one and the
 * origin serves ranges. */
uint64_t fill_claim_end(const struct flight *flight)
{
    if (flight->pass || flight->range_ignored || !head_rest_fetchable(&flight->head))
        return flight->end;
    uint64_t reach = flight->at + flight->head.chunk_bytes + FLIGHT_CLAIM_BYTES,
             border = flight_claim_border(flight, flight->at);
    reach = reach < border ? reach : border;
    return reach < flight->end ? reach : flight->end;
}

/* The memory tier keeps no more of one object than configured. */
static unsigned chunk_tiers(const struct flight *flight, uint64_t piece_end)
{
    unsigned where = fill_tiers(flight);
    return piece_end > fill_settings(flight)->cache.memory_item_bytes ? where & ~(unsigned)CACHE_PUT_MEMORY
                                                                      : where;
}

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
    uint64_t slowest, fastest;
    if (flight->storing && flight_claimed_by_other(flight, flight->at))
        return BOUNDARY_STOP;
    if (!flight_positions(flight, &slowest, &fastest))
        return is_cheap(flight) ? BOUNDARY_GO : BOUNDARY_STOP;
    uint64_t lead = FLIGHT_LEAD_BYTES < fill_ring_bytes(flight) ? FLIGHT_LEAD_BYTES : fill_ring_bytes(flight);
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
    uint64_t slowest, fastest;
    bool elsewhere = is_replaceable(flight) || (flight->storing && !head_has_length(&flight->head));
    bool tight = flight->solo || (elsewhere && under_pressure(flight));
    if (!flight_positions(flight, &slowest, &fastest))
        fastest = flight->at;
    while (flight->piece_count == FLIGHT_PIECES ||
           (tight && flight->piece_count &&
               flight->pieces[flight->piece_first].from + flight->pieces[flight->piece_first].len <= fastest))
        flight_drop_piece(flight);
    fill_drop_in_distress(flight);
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

/* A chunk that is fetched anew has a new body id and so another key; admission to disk must know it again. */
static uint64_t chunk_asked(const struct flight *flight, uint64_t position)
{
    uint64_t number = position / flight->head.chunk_bytes;
    return XXH3_64bits_withSeed(flight->identity.ptr, flight->identity.len, flight->flights->seed + number);
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

/* The tier may be pinned by a disk that stalls: pieces that all waiters have read must not be what keeps this
 * flight from going on. */
static int take_piece_again(struct flight *flight, struct flight_piece *piece)
{
    uint64_t slowest, fastest;
    flight_lock(flight);
    if (is_replaceable(flight) && flight_positions(flight, &slowest, &fastest))
        while (flight->piece_count &&
               flight->pieces[flight->piece_first].from + flight->pieces[flight->piece_first].len <= slowest)
            flight_drop_piece(flight);
    flight_unlock(flight);
    return take_piece(flight, piece);
}

/* No memory for a piece: it is tried again. */
static void wait_for_memory(struct flight *flight)
{
    flight_lock(flight);
    flight->paused = true;
    flight_unlock(flight);
    retry_later(flight);
}

/* Without a length it turns out only here that a body is larger than what may be stored. */
static void judge_size(struct flight *flight)
{
    if (!head_has_length(&flight->head) && flight->at >= flight->spec.bucket->settings->max_item_bytes)
        flight->storing = flight->put_head_at_end = false;
}

/* Judges the boundary and does what follows from it; true to go on. */
static bool pass_boundary(struct flight *flight)
{
    judge_size(flight);
    if (chunk_is_stored(flight)) {
        fill_stop(flight);
        return false;
    }
    flight_lock(flight);
    enum boundary boundary = judge_boundary(flight);
    flight->paused = boundary == BOUNDARY_WAIT;
    if (boundary == BOUNDARY_STOP)
        fill_close(flight);
    else
        trim_pieces(flight);
    if (boundary == BOUNDARY_GO)
        flight->claim_end = fill_claim_end(flight);
    flight_unlock(flight);
    if (boundary == BOUNDARY_STOP)
        origin_fetch_cancel(&flight->fetch);
    return boundary == BOUNDARY_GO;
}

/* Opens the next piece. False: paused or stopped. */
static bool open_piece(struct flight *flight)
{
    struct flight_piece piece;
    if (!pass_boundary(flight))
        return false;
    if (take_piece(flight, &piece) < 0 && take_piece_again(flight, &piece) < 0) {
        wait_for_memory(flight);
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
        fill_put_head(flight, flight->inline_item);
        item_unref(&flight->inline_item);
        return;
    }
    item_complete(piece->item);
    if (flight->storing)
        fill_put(flight, piece->item, chunk_tiers(flight, piece->from + piece->len),
            chunk_asked(flight, piece->from));
}

bool fill_put_rest(struct flight *flight)
{
    uint32_t len = (uint32_t)(flight->at % flight->head.chunk_bytes);
    if (len == 0)
        return true;
    unsigned last = (flight->piece_first + flight->piece_count - 1) % FLIGHT_PIECES;
    const struct flight_piece *piece = &flight->pieces[last];
    CHECK(flight->piece_count && piece->from + len == flight->at && !flight->inline_body);
    uint8_t buf[CHUNK_KEY_LEN];
    struct item *item = NULL;
    if (cache_take(flight->flights->cache, piece_key(flight, buf), len, &item) < 0)
        return false;
    item_append_from(item, piece->item, 0, len);
    item_complete(item);
    fill_put(flight, item, chunk_tiers(flight, flight->at), chunk_asked(flight, piece->from));
    item_unref(&item);
    return true;
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

/* Copies what fits into the piece that is open; returns how many bytes. */
static size_t append(struct flight *flight, struct flight_piece *piece, struct bytes bytes)
{
    uint64_t room = piece->from + piece->len - flight->at;
    size_t n = bytes.len < room ? bytes.len : (size_t)room;
    item_append(piece->item, bytes_of(bytes.ptr, n));
    if (n == room)
        close_piece(flight, piece);
    flight_lock(flight);
    flight->at += n;
    flight_wake_all(flight);
    flight_unlock(flight);
    return n;
}

/* Takes the next bytes; returns how many, 0 to pause or to end. */
static size_t take(struct flight *flight, struct bytes bytes)
{
    size_t skipped = skip_unasked(flight, bytes.len);
    if (skipped)
        return skipped;
    struct flight_piece *piece = filling_piece(flight);
    if (!piece && flight->at < flight->end && open_piece(flight))
        piece = filling_piece(flight);
    return piece ? append(flight, piece, bytes) : 0;
}

static bool is_ending(const struct flight *flight)
{
    return flight->stopped || flight->failure.error || flight->at >= flight->end;
}

size_t fill_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct flight *flight = fill_flight_of(fetch);
    size_t taken = 0, n = 1;
    while (n && taken < bytes.len && !flight->stopped && !flight->failure.error) {
        n = take(flight, bytes_from(bytes, taken));
        taken += n;
    }
    return is_ending(flight) ? bytes.len : taken;
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
    bool stop = alone && (stopping || (more && !is_cheap(flight)));
    if (stop)
        fill_close(flight);
    flight_unlock(flight);
    if (stop)
        origin_fetch_cancel(&flight->fetch);
    else if (was_paused && boundary != BOUNDARY_WAIT)
        origin_fetch_resume(&flight->fetch);
}
