#include "proxy/flight_private.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/random.h"
#include "proxy/worker.h"

int flights_create(
    struct flights **flights, struct cache *cache, struct proxy_stats *stats, uint64_t memory_limit_bytes)
{
    struct flights *made = aligned_alloc(64, (sizeof *made + 63) & ~(size_t)63);
    if (!made)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->cache = cache;
    made->stats = stats;
    made->memory_limit_bytes = memory_limit_bytes;
    random_os(&made->seed, sizeof made->seed);
    for (int i = 0; i < FLIGHT_STRIPES; i++) {
        CHECK(pthread_mutex_init(&made->stripes[i].lock, NULL) == 0);
        list_init(&made->stripes[i].flights);
    }
    *flights = made;
    return 0;
}

void flights_destroy(struct flights *flights)
{
    for (int i = 0; i < FLIGHT_STRIPES; i++) {
        CHECK(list_empty(&flights->stripes[i].flights));
        pthread_mutex_destroy(&flights->stripes[i].lock);
    }
    free(flights);
}

static struct flight_stripe *stripe_of(struct flights *flights, struct bytes identity)
{
    uint64_t hash = XXH3_64bits_withSeed(identity.ptr, identity.len, flights->seed);
    return &flights->stripes[hash % FLIGHT_STRIPES];
}

/* ---- references ---- */

struct flight *flight_ref(struct flight *flight)
{
    flight_lock(flight);
    flight->refs++;
    flight_unlock(flight);
    return flight;
}

void flight_unref_locked(struct flight *flight)
{
    CHECK(flight->refs > 1);
    flight->refs--;
}

void flight_drop_piece(struct flight *flight)
{
    CHECK(flight->piece_count > 0);
    struct flight_piece *piece = &flight->pieces[flight->piece_first];
    counter_sub(&flight->flights->stats->flight_bytes_now, piece->len);
    item_unref(&piece->item);
    flight->piece_first = (flight->piece_first + 1) % FLIGHT_PIECES;
    flight->piece_count--;
}

static void flight_free(struct flight *flight)
{
    CHECK(list_empty(&flight->waiters) && !list_linked(&flight->node) && !flight->poked);
    while (flight->piece_count)
        flight_drop_piece(flight);
    item_unref(&flight->inline_item);
    item_unref(&flight->spec.stored_item);
    arena_reset(&flight->arena);
    counter_sub(&flight->flights->stats->flights_now, 1);
    free(flight);
}

void flight_unref(struct flight **reference)
{
    struct flight *flight = *reference;
    *reference = NULL;
    if (!flight)
        return;
    flight_lock(flight);
    CHECK(flight->refs > 0);
    bool last = --flight->refs == 0;
    flight_unlock(flight);
    if (last)
        flight_free(flight);
}

void flight_unlist(struct flight *flight)
{
    if (!list_linked(&flight->node))
        return;
    list_remove(&flight->node);
    flight_unref_locked(flight);
}

/* ---- waking ---- */

static void waiter_deliver(struct io_message *message)
{
    struct flight_waiter *waiter = CONTAINER_OF(message, struct flight_waiter, message);
    /* Cleared before looking: who made progress later posts again, who made it earlier is seen. */
    atomic_store(&waiter->posted, false);
    waiter->wake(waiter);
}

void flight_wake_all(struct flight *flight)
{
    for (struct list_node *n = flight->waiters.next; n != &flight->waiters; n = n->next) {
        struct flight_waiter *waiter = CONTAINER_OF(n, struct flight_waiter, node);
        if (!waiter->waiting)
            continue;
        waiter->waiting = false;
        if (!atomic_exchange(&waiter->posted, true))
            io_post(waiter->loop, &waiter->message);
    }
}

static void poke_deliver(struct io_message *message)
{
    struct flight *flight = CONTAINER_OF(message, struct flight, poke);
    flight_lock(flight);
    flight->poked = false;
    flight_unlock(flight);
    fill_poked(flight);
    flight_unref(&flight);
}

void flight_poke(struct flight *flight)
{
    if (flight->poked || flight->phase == FLIGHT_ENDED)
        return;
    flight->poked = true;
    flight->refs++;
    flight->poke.deliver = poke_deliver;
    io_post(flight->loop, &flight->poke);
}

bool flight_positions(const struct flight *flight, uint64_t *slowest, uint64_t *fastest)
{
    *slowest = UINT64_MAX;
    *fastest = 0;
    for (struct list_node *n = flight->waiters.next; n != &flight->waiters; n = n->next) {
        const struct flight_waiter *waiter = CONTAINER_OF(n, struct flight_waiter, node);
        *slowest = waiter->position < *slowest ? waiter->position : *slowest;
        *fastest = waiter->position > *fastest ? waiter->position : *fastest;
    }
    return !list_empty(&flight->waiters);
}

/* ---- claims: of a body, whatever the identity that it was asked for under ---- */

/* What is still to come begins here: pieces that were held may all have been let go of. */
static uint64_t coming_from(const struct flight *flight)
{
    return flight->at > flight->claim_first ? flight->at : flight->claim_first;
}

static uint64_t held_from(const struct flight *flight)
{
    return flight->piece_count ? flight->pieces[flight->piece_first].from : coming_from(flight);
}

static const uint8_t *body_id_of(const struct flight *flight)
{
    if (flight->body_known)
        return flight->head.body_id;
    return flight->spec.go_on ? flight->stored.body_id : NULL;
}

static bool claims(const struct flight *flight, const uint8_t *body_id, uint64_t position)
{
    const uint8_t *own = body_id_of(flight);
    return own && memcmp(own, body_id, BODY_ID_LEN) == 0 && !flight->stopped && !flight->spec.head_only &&
           position >= held_from(flight) && position < flight->claim_end;
}

bool flight_claimed_by_other(const struct flight *flight, uint64_t position)
{
    const struct list_node *head = &flight->stripe->flights;
    for (struct list_node *n = head->next; n != head; n = n->next) {
        const struct flight *other = CONTAINER_OF(n, struct flight, node);
        if (other != flight && claims(other, flight->head.body_id, position))
            return true;
    }
    return false;
}

uint64_t flight_claim_border(const struct flight *flight, uint64_t position)
{
    const struct list_node *head = &flight->stripe->flights;
    uint64_t border = UINT64_MAX;
    for (struct list_node *n = head->next; n != head; n = n->next) {
        const struct flight *other = CONTAINER_OF(n, struct flight, node);
        const uint8_t *id = body_id_of(other);
        if (other == flight || other->stopped || !id || memcmp(id, flight->head.body_id, BODY_ID_LEN) != 0)
            continue;
        uint64_t from = held_from(other);
        if (from > position && from < border)
            border = from;
    }
    return border;
}

/* ---- entering and leaving ---- */

/* Its beginning can't be had from it any more, and the rest from nobody else. */
static bool is_past_joining(const struct flight *flight)
{
    return flight->head_known && !head_has_length(&flight->head) && held_from(flight) > 0;
}

/* Since it began, by what may hide what it brings. */
static bool is_purged(const struct flight *flight)
{
    return cache_purged_since(flight->flights->cache, flight->identity, flight->clear_of) != PURGE_CLEAR;
}

/* Does this flight bring what spec asks for? A head that was published already is judged by its freshness in
 * the lookup, so a flight is joined for its head only before that. */
static bool brings(const struct flight *flight, const struct flight_spec *spec)
{
    if (flight->phase == FLIGHT_ENDED)
        return false;
    if (spec->go_on)
        return claims(flight, spec->stored->body_id, spec->first);
    if (!bytes_equal(flight->identity, spec->identity) || flight->spec.alone || spec->alone)
        return false;
    if (flight->spec.go_on || (flight->head_known && flight->solo) || is_past_joining(flight) ||
        is_purged(flight))
        return false;
    if (flight->spec.head_only && !spec->head_only) /* a generic origin's HEAD makes no entry to go on with */
        return flight->phase == FLIGHT_ASKING && !spec->caching->generic;
    return flight->phase == FLIGHT_ASKING || !flight->head_published;
}

static void waiter_add(struct flight *flight, struct flight_waiter *waiter, uint64_t position)
{
    CHECK(!waiter->flight && !waiter->posted);
    waiter->flight = flight;
    waiter->message.deliver = waiter_deliver;
    waiter->position = position;
    waiter->waiting = false;
    list_push_back(&flight->waiters, &waiter->node);
    flight->refs++;
}

/* With what a generic origin is asked in the leader's name, and variants are chosen by. */
static void copy_fields(struct flight *flight, const struct http_fields *from)
{
    struct arena *arena = &flight->arena;
    struct http_field *fields = arena_take(arena, (from->count + 1) * sizeof *fields);
    struct origin_field *asked = arena_take(arena, (from->count + 1) * sizeof *asked);
    CHECK(fields && asked); /* SHARED_FIELDS_MAX fits the arena many times */
    for (unsigned i = 0; i < from->count; i++) {
        fields[i].name = asked[i].name = arena_copy(arena, from->fields[i].name);
        fields[i].value = asked[i].value = arena_copy(arena, from->fields[i].value);
        CHECK(fields[i].name.ptr && fields[i].value.ptr);
    }
    flight->spec.fields.fields = fields;
    flight->fields = asked;
}

static void copy_spec(struct flight *flight, const struct flight_spec *spec)
{
    struct arena *arena = &flight->arena;
    flight->spec = *spec;
    flight->spec.identity = flight->identity = flight->store_identity = arena_copy(arena, spec->identity);
    flight->spec.base_identity = arena_copy(arena, spec->base_identity);
    flight->spec.key = arena_copy(arena, spec->key);
    flight->spec.version_id = arena_copy(arena, spec->version_id);
    flight->spec.request_id = arena_copy(arena, spec->request_id);
    flight->spec.target = arena_copy(arena, spec->target);
    flight->spec.host = arena_copy(arena, spec->host);
    if (spec->caching->generic)
        copy_fields(flight, &spec->fields);
    flight->varies = spec->variant != NULL;
    if (spec->variant)
        flight->variant = *spec->variant;
}

static struct flight *flight_make(
    struct proxy_worker *worker, struct flight_stripe *stripe, const struct flight_spec *spec)
{
    struct flight *flight = calloc(1, sizeof *flight);
    CHECK(flight); /* the one allocation of a miss; without memory for it the process can't serve */
    arena_init(&flight->arena, flight->first_block, sizeof flight->first_block, 1u << 20);
    flight->flights = worker->proxy->flights;
    flight->stripe = stripe;
    flight->worker = worker;
    flight->loop = worker->loop;
    copy_spec(flight, spec);
    flight->pass = spec->pass;
    if (spec->stored) {
        CHECK(head_copy(&flight->stored, spec->stored, &flight->arena));
        flight->spec.stored = &flight->stored;
    }
    if (spec->stored_item)
        flight->spec.stored_item = item_ref(spec->stored_item);
    flight->claim_first = spec->ranged ? spec->first : 0;
    flight->claim_end = flight->claim_first + FLIGHT_CLAIM_BYTES;
    if (spec->ranged && spec->last < flight->claim_end)
        flight->claim_end = spec->last + 1;
    flight->at = flight->claim_first;
    flight->end = spec->ranged && spec->last != ORIGIN_TO_END ? spec->last + 1 : UINT64_MAX;
    flight->refs = 1; /* fill's, until it ended */
    list_init(&flight->waiters);
    return flight;
}

/* A flight that goes on with a body ends where another's claim begins; those behind it learn that chunks
 * ahead of them are being stored. Lock held. */
static uint64_t end_before_others(struct flight_stripe *stripe, const struct flight_spec *spec)
{
    uint64_t last = spec->last, chunk = spec->stored->chunk_bytes;
    for (struct list_node *n = stripe->flights.next; n != &stripe->flights; n = n->next) {
        struct flight *other = CONTAINER_OF(n, struct flight, node);
        const uint8_t *id = body_id_of(other);
        if (!id || memcmp(id, spec->stored->body_id, BODY_ID_LEN) != 0)
            continue;
        other->overtaken = true;
        uint64_t border = held_from(other) / chunk * chunk;
        if (border > spec->first && border <= last)
            last = border - 1;
    }
    return last;
}

static struct flight *find_joinable(const struct flight_stripe *stripe, const struct flight_spec *spec)
{
    for (struct list_node *n = stripe->flights.next; n != &stripe->flights; n = n->next) {
        struct flight *flight = CONTAINER_OF(n, struct flight, node);
        if (brings(flight, spec))
            return flight;
    }
    return NULL;
}

/* Is another head in memory now than the stale one that was found? Then a flight has stored its answer. */
static bool renewed_meanwhile(struct proxy_worker *worker, const struct flight_spec *spec)
{
    struct memory *memory = cache_memory(worker->proxy->cache);
    return spec->stored_item && !memory_holds(memory, spec->stored_item) &&
           memory_has(memory, identity_head_key(spec->identity));
}

static bool stored_meanwhile(struct proxy_worker *worker, const struct flight_spec *spec)
{
    uint8_t buf[CHUNK_KEY_LEN];
    if (!spec->look_again || spec->pass)
        return false;
    if (spec->stored_item)
        return renewed_meanwhile(worker, spec);
    if (!spec->go_on)
        return cache_may_have(worker->proxy->cache, identity_head_key(spec->identity));
    uint64_t chunk = spec->first / spec->stored->chunk_bytes;
    return cache_may_have(worker->proxy->cache, identity_chunk_key(buf, spec->stored->body_id, chunk));
}

/* Lock held. */
static struct flight *lead(
    struct proxy_worker *worker, struct flight_stripe *stripe, const struct flight_spec *spec)
{
    struct flight_spec mine = *spec;
    struct cache *cache = worker->proxy->cache;
    uint64_t now = cache_now(cache);
    if (spec->go_on)
        mine.last = end_before_others(stripe, spec);
    else if (spec->stored && cache_purged_since(cache, spec->identity, spec->stored_clear_of) == PURGE_GONE) {
        mine.stored = NULL;
        mine.stored_item = NULL;
        mine.revalidate = false;
    }
    struct flight *flight = flight_make(worker, stripe, &mine);
    flight->clear_of = now;
    if (!spec->pass) {
        list_push_back(&stripe->flights, &flight->node);
        flight->refs++;
    }
    counter_add(&worker->proxy->flights->stats->flights_now, 1);
    return flight;
}

enum flight_entry flight_enter(
    struct proxy_worker *worker, const struct flight_spec *spec, struct flight_waiter *waiter)
{
    struct flights *flights = worker->proxy->flights;
    struct flight_stripe *stripe = stripe_of(flights, spec->base_identity);
    enum flight_entry entry = FLIGHT_JOINED;
    CHECK(pthread_mutex_lock(&stripe->lock) == 0);
    struct flight *flight = spec->pass ? NULL : find_joinable(stripe, spec);
    if (!flight && stored_meanwhile(worker, spec)) {
        entry = FLIGHT_STORED;
    } else if (!flight && spec->join_only) {
        entry = FLIGHT_NONE;
    } else if (!flight) {
        entry = FLIGHT_LED;
        flight = lead(worker, stripe, spec);
    }
    if (flight)
        waiter_add(flight, waiter, spec->ranged ? spec->first : 0);
    if (entry == FLIGHT_LED)
        flight->leader = waiter;
    CHECK(pthread_mutex_unlock(&stripe->lock) == 0);
    if (entry == FLIGHT_JOINED)
        counter_add(&flights->stats->flights_joined, 1);
    if (entry == FLIGHT_LED) {
        counter_add(&flights->stats->flights_started, 1);
        fill_start(flight);
    }
    return entry;
}

void flight_enter_alone(struct proxy_worker *worker, const struct flight_spec *spec)
{
    struct flights *flights = worker->proxy->flights;
    struct flight_stripe *stripe = stripe_of(flights, spec->base_identity);
    CHECK(!spec->pass && !spec->go_on);
    CHECK(pthread_mutex_lock(&stripe->lock) == 0);
    bool needless = find_joinable(stripe, spec) || renewed_meanwhile(worker, spec);
    struct flight *flight = needless ? NULL : lead(worker, stripe, spec);
    CHECK(pthread_mutex_unlock(&stripe->lock) == 0);
    if (flight) {
        counter_add(&flights->stats->flights_started, 1);
        fill_start(flight);
    }
}

void flight_leave(struct flight_waiter *waiter)
{
    struct flight *flight = waiter->flight;
    if (!flight)
        return;
    flight_lock(flight);
    list_remove(&waiter->node);
    if (flight->leader == waiter)
        flight->leader = NULL;
    waiter->flight = NULL;
    waiter->waiting = false;
    if (flight->paused || list_empty(&flight->waiters))
        flight_poke(flight);
    flight_unlock(flight);
    flight_unref(&flight);
}

/* ---- seeing ---- */

/* What can't be shared is the first waiter's; of a generic origin the leader's, in whose name it was asked.
 */
static bool is_whose(const struct flight *flight, const struct flight_waiter *waiter)
{
    return flight->spec.caching->generic ? flight->leader == waiter : flight->waiters.next == &waiter->node;
}

enum flight_sight flight_see_head(struct flight_waiter *waiter, const struct head **head)
{
    struct flight *flight = waiter->flight;
    enum flight_sight sight = FLIGHT_WAIT;
    flight_lock(flight);
    if (flight->head_known) {
        sight = flight->solo && !is_whose(flight, waiter) ? FLIGHT_UNSHARED : FLIGHT_READY;
        *head = &flight->head;
    } else if (flight->phase == FLIGHT_ENDED) {
        sight = FLIGHT_FAILED;
    }
    waiter->waiting = sight == FLIGHT_WAIT;
    flight_unlock(flight);
    return sight;
}

static enum flight_sight see_in_pieces(struct flight *flight, uint64_t position, struct flight_bytes *bytes)
{
    for (unsigned i = 0; i < flight->piece_count; i++) {
        const struct flight_piece *piece = &flight->pieces[(flight->piece_first + i) % FLIGHT_PIECES];
        if (position < piece->from || position >= piece->from + piece->len)
            continue;
        uint32_t filled = item_filled(piece->item), start = piece->base + (uint32_t)(position - piece->from);
        if (filled <= start)
            return flight->phase == FLIGHT_ENDED ? FLIGHT_ELSEWHERE : FLIGHT_WAIT;
        uint32_t end = piece->base + piece->len;
        *bytes = (struct flight_bytes){
            .item = item_ref(piece->item),
            .from = start,
            .len = (filled < end ? filled : end) - start,
        };
        return FLIGHT_READY;
    }
    bool to_come =
        flight->phase == FLIGHT_ASKING ||
        (flight->phase == FLIGHT_FILLING && position >= coming_from(flight) && position < flight->claim_end);
    return to_come && !flight->stopped ? FLIGHT_WAIT : FLIGHT_ELSEWHERE;
}

enum flight_sight flight_see_bytes(
    struct flight_waiter *waiter, uint64_t position, struct flight_bytes *bytes)
{
    struct flight *flight = waiter->flight;
    flight_lock(flight);
    enum flight_sight sight = see_in_pieces(flight, position, bytes);
    if (sight == FLIGHT_ELSEWHERE && flight->phase == FLIGHT_ENDED && flight->failure.error)
        sight = FLIGHT_FAILED;
    waiter->position = position;
    waiter->waiting = sight == FLIGHT_WAIT;
    if (flight->paused)
        flight_poke(flight);
    flight_unlock(flight);
    return sight;
}

uint64_t flight_body_len(const struct flight_waiter *waiter)
{
    struct flight *flight = waiter->flight;
    flight_lock(flight);
    CHECK(flight->head_known);
    bool whole = flight->phase == FLIGHT_ENDED && !flight->stopped && !flight->failure.error;
    bool learned = !head_has_length(&flight->head) && whole && !flight->spec.head_only;
    uint64_t len = learned ? flight->end : flight->head.body_len;
    flight_unlock(flight);
    return len;
}

void flight_failure(const struct flight_waiter *waiter, struct flight_failure *failure)
{
    struct flight *flight = waiter->flight;
    flight_lock(flight);
    *failure = flight->failure;
    flight_unlock(flight);
}

void flight_facts(const struct flight_waiter *waiter, struct flight_facts *facts)
{
    struct flight *flight = waiter->flight;
    flight_lock(flight);
    *facts = (struct flight_facts){
        .not_modified = flight->not_modified,
        .pass = flight->pass,
        .stored = !flight->pass,
        .status = flight->origin_status,
        .variant = flight->varies ? &flight->variant : NULL,
        .store_identity = flight->store_identity,
        .origin_ns = flight->origin_ns,
        .clear_of = flight->clear_of,
    };
    flight_unlock(flight);
}

void flights_outdate(struct flights *flights, struct bytes base_identity)
{
    struct flight_stripe *stripe = stripe_of(flights, base_identity);
    CHECK(pthread_mutex_lock(&stripe->lock) == 0);
    for (struct list_node *n = stripe->flights.next, *next; n != &stripe->flights; n = next) {
        struct flight *flight = CONTAINER_OF(n, struct flight, node);
        next = n->next;
        if (!bytes_equal(flight->spec.base_identity, base_identity))
            continue;
        flight->outdated = true;
        flight_unlist(flight);
    }
    cache_forget(flights->cache, identity_head_key(base_identity));
    cache_forget(flights->cache, identity_vary_key(base_identity));
    CHECK(pthread_mutex_unlock(&stripe->lock) == 0);
}
