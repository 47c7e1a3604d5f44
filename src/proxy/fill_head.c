/*
 * A flight's head: what the origin answered, as the waiters see it and as it is stored.
 *
 * A representation of its own gets a new body id, unless it is the stored one by its strong validator; a 304
 * renews the stored head under the same one. Where the head stands in the store decides what others find:
 * before its body (chunks, of which the rest can be fetched later), together with it (inline) or after it
 * (without a strong validator or a length).
 */
#include "proxy/fill.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "http/etag.h"

#define PASS_TTL_S 60
#define PASS_ERROR_TTL_S 5

/* An item with the encoded head and, for an inline body, room behind it. */
static struct item *head_item(struct flight *flight, const struct head *head)
{
    uint32_t encoded = head_encoded_bytes(head);
    struct item *item = NULL;
    uint8_t *text = arena_take(&flight->arena, encoded);
    uint64_t len = encoded + (head->inline_body ? head->body_len : 0);
    if (!text || cache_take(flight->flights->cache, identity_head_key(flight->store_identity), (uint32_t)len,
                     &item) < 0)
        return NULL;
    struct writer w = writer_of(text, encoded);
    head_encode(head, &w);
    CHECK(!w.failed);
    item_append(item, writer_bytes(&w));
    item_clear_of_set(item, flight->clear_of);
    return item;
}

/* Tags that can't be kept would be missed by a purge: then nothing is. */
static void read_tags(struct flight *flight, struct head *head)
{
    const char *field = flight->spec.bucket->settings->tag_field;
    if (head_read_tags(head, field ? bytes_of_string(field) : (struct bytes){0}, &flight->arena))
        return;
    head->tags = (struct bytes){0};
    head->no_store = true;
}

static bool same_representation(const struct head *a, const struct head *b)
{
    return a->strong && b->strong && bytes_equal(a->etag, b->etag) && a->body_len == b->body_len &&
           a->chunk_bytes == b->chunk_bytes;
}

/* Of generic origins every final status is stored where something allows it (storable.h). An error of the
 * server's own is gone in a moment: only where a time is stated or configured for it. */
static bool is_kept(const struct flight *flight, const struct head *head)
{
    return head->status < 500 || head->lifetime_s > 0 ||
           caching_status_ttl(flight->spec.caching, head->status) > 0;
}

/* A HEAD of a generic origin may be answered with less care than GET (no length, or 0): it only freshens. */
static bool is_loose(const struct flight *flight, const struct head *head)
{
    const struct flight_spec *spec = &flight->spec;
    return spec->caching->generic && spec->head_only &&
           !(spec->stored && same_representation(head, &flight->stored));
}

/* May answers like this one be stored? */
static bool allowed(const struct flight *flight, const struct head *head)
{
    return flight->spec.caching->enabled && !head->no_store && is_kept(flight, head) &&
           (!head_has_length(head) || head->body_len <= flight->spec.bucket->settings->max_item_bytes);
}

/* May this answer be stored, and its fetch shared? */
static bool storable(const struct flight *flight, const struct head *head, const struct origin_head *answer)
{
    return !flight->spec.pass && allowed(flight, head) && !is_loose(flight, head) &&
           (head_rest_fetchable(head) || (answer->status != 206 && !flight->spec.head_only));
}

/* What is found under the object's name; outdated, it is not put. */
static void put_found(struct flight *flight, struct item *item)
{
    item_complete(item);
    flight_lock(flight); /* between this look and the put nobody outdates it */
    if (!flight->outdated)
        fill_put(flight, item, fill_tiers(flight), 0);
    flight_unlock(flight);
}

void fill_put_head(struct flight *flight, struct item *item)
{
    put_found(flight, item);
}

static struct head_asked asked(const struct flight *flight)
{
    return (struct head_asked){
        .authorized = flight->spec.authorized,
        .cookie = http_fields_find(&flight->spec.fields, BYTES("cookie")) != NULL,
        .request_s = flight->request_s,
        .response_s = (int64_t)(io_wall_ns(flight->loop) / NS_PER_S),
    };
}

/* The stored head with new fields and times; NULL where it can't be stored. */
static struct item *freshened_item(struct flight *flight, const struct head *fresh)
{
    struct item *old = flight->spec.stored_item;
    if (fresh->no_store || (fresh->inline_body && !old))
        return NULL;
    struct item *item = head_item(flight, fresh);
    if (item && fresh->inline_body)
        item_append_from(item, old, flight->stored.encoded_bytes, (uint32_t)fresh->body_len);
    return item;
}

/* Puts it, or takes the stored one out. */
static void store_freshened(struct flight *flight, const struct head *fresh)
{
    struct item *item = freshened_item(flight, fresh);
    if (item)
        fill_put_head(flight, item);
    else
        cache_forget(flight->flights->cache, identity_head_key(flight->store_identity));
    item_unref(&item);
}

/* RFC 9111 4.3.4: by its tag, where it has one. */
static bool names_another(const struct head *stored, const struct origin_head *answer)
{
    struct etag ours, theirs;
    return stored->etag.len > 0 && answer->etag.len > 0 && etag_parse(stored->etag, &ours) &&
           etag_parse(answer->etag, &theirs) && !etag_weak_equal(ours, theirs);
}

/* 304: the stored head with new fields and times, under the same body id. */
static int take_not_modified(struct flight *flight, const struct origin_head *answer)
{
    if (!flight->spec.revalidate)
        return E_PROTOCOL;
    if (names_another(&flight->stored, answer))
        return E_CHANGED;
    struct head fresh;
    int result =
        head_freshen(&fresh, &flight->stored, answer, flight->spec.caching, asked(flight), &flight->arena);
    if (result < 0)
        return result;
    read_tags(flight, &fresh);
    store_freshened(flight, &fresh);
    counter_add(&flight->flights->stats->revalidated_not_modified, 1);
    /* Waiters find the body in the item they hold. */
    fresh.encoded_bytes = flight->stored.encoded_bytes;
    flight_lock(flight);
    flight->head = fresh;
    flight->head_known = flight->head_published = flight->not_modified = true;
    flight->solo = flight->spec.caching->generic && fresh.no_store;
    flight->at = flight->end = 0;
    flight->claim_end = 0;
    flight->phase = FLIGHT_FILLING;
    flight_wake_all(flight);
    flight_unlock(flight);
    return 0;
}

/* S3 is asked with none of the client's fields: nothing selects. */
static bool selects(const struct flight *flight)
{
    return flight->spec.caching->generic && !flight->spec.go_on;
}

static bool put_vary(struct flight *flight)
{
    uint8_t text[VARIANT_ENCODED_MAX];
    struct writer w = writer_of(text, sizeof text);
    struct item *item = NULL;
    variant_encode(&flight->variant, &w);
    CHECK(!w.failed);
    struct bytes value = writer_bytes(&w);
    if (cache_take(flight->flights->cache, identity_vary_key(flight->spec.base_identity), (uint32_t)value.len,
            &item) < 0)
        return false;
    item_append(item, value);
    put_found(flight, item);
    item_unref(&item);
    cache_forget(flight->flights->cache, identity_head_key(flight->spec.base_identity));
    return true;
}

/* Under which identity is this answer kept? False: under none, it can't be stored. */
static bool choose_variant(struct flight *flight, const struct head *head)
{
    struct vary_names names;
    uint8_t buf[ITEM_KEY_MAX];
    struct bytes identity;
    struct variant variant = flight->variant;
    bool fits = false, grown = variant_names_of(head->fields, &names) != VARY_NEVER &&
                               variant_merge(&variant, &names, &fits);
    if (variant.names.len == 0)
        return fits;
    if (!fits ||
        !variant_identity(buf, flight->spec.base_identity, &variant, &flight->spec.fields, &identity))
        return false;
    struct bytes copy = arena_copy(&flight->arena, identity);
    if (!copy.ptr)
        return false;
    flight->variant = variant;
    flight->varies = true;
    flight->store_identity = copy;
    return !grown || put_vary(flight);
}

/* Decides what becomes of a new representation, before waiters see it. */
static void decide_storing(struct flight *flight, struct head *head, const struct origin_head *answer)
{
    bool whole = answer->status != 206 || (answer->first == 0 && answer->last + 1 == answer->total);
    flight->storing = storable(flight, head, answer) && (!selects(flight) || choose_variant(flight, head));
    if (flight->spec.stored && same_representation(head, &flight->stored))
        memcpy(head->body_id, flight->stored.body_id, BODY_ID_LEN);
    head->inline_body = flight->storing && whole && head->body_len <= HEAD_INLINE_MAX &&
                        !flight->spec.go_on && (!flight->spec.head_only || head->body_len == 0);
    head->encoded_bytes = head_encoded_bytes(head);
    flight->inline_body = head->inline_body && head->body_len > 0;
    flight->put_head_at_end = flight->storing && !head_rest_fetchable(head) && !head->inline_body;
}

/* Who finds the head in the store, on whatever worker, joins this flight for the body. */
static void know_body(struct flight *flight, const struct head *head)
{
    flight_lock(flight);
    flight->head = *head;
    flight->body_known = true;
    flight_unlock(flight);
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
    know_body(flight, head);
    fill_put_head(flight, item);
    item_unref(&item);
    return true;
}

static bool is_in_store(const struct flight *flight)
{
    return flight->storing && !flight->inline_body && !flight->put_head_at_end;
}

/* An error need not say anything of what is stored (RFC 9111 4.3.3), but that it is gone. */
static bool replaces(unsigned status)
{
    return status < 400 || status == 404 || status == 410;
}

/* Waiters may be told of a new version before it is stored, or though it may not be stored. From then on
 * nobody may find the old one: who looks it up joins this flight instead. */
static void hide_replaced(struct flight *flight, const struct head *head)
{
    bool same = flight->spec.stored && head->etag.len > 0 && bytes_equal(head->etag, flight->stored.etag);
    if (flight->spec.caching->enabled && !flight->spec.go_on && !is_in_store(flight) && !same &&
        replaces(head->status))
        cache_forget(flight->flights->cache, identity_head_key(flight->store_identity));
}

/* What may not be stored is not waited for by those who ask next; what passed because of that may be stored
 * by now. */
static void mark_pass(struct flight *flight, const struct head *head)
{
    if (!flight->spec.caching->enabled)
        return;
    if (flight->spec.authorized)
        return; /* says nothing of what others get */
    if (!allowed(flight, head))
        fill_mark(flight, MARK_PASS, 0, head->status < 500 ? PASS_TTL_S : PASS_ERROR_TTL_S);
    else
        marks_remove(flight->worker->proxy->marks, flight->identity);
}

/* Stores the head where it may stand before its body, else sees to it that nothing wrong is found. */
static void settle_store(struct flight *flight, struct head *head, const struct origin_head *answer)
{
    decide_storing(flight, head, answer);
    if (!publish_head(flight, head)) {
        flight->storing = flight->inline_body = flight->put_head_at_end = false;
        head->inline_body = false;
        random_os(head->body_id, BODY_ID_LEN);
    }
    hide_replaced(flight, head);
    mark_pass(flight, head);
}

/* From now on waiters see the head, and which bytes come. */
static void announce(struct flight *flight, const struct head *head, uint64_t first, uint64_t last_end)
{
    flight_lock(flight);
    flight->head = flight->spec.go_on ? flight->stored : *head;
    flight->head_known = flight->body_known = true;
    flight->head_published = is_in_store(flight);
    flight->pass = !flight->storing;
    if (flight->pass)
        flight_unlist(flight);
    flight->at = first;
    flight->claim_first = flight->spec.go_on ? flight->spec.first : first;
    flight->end = flight->spec.head_only ? first : last_end;
    bool once = !flight->head.strong && head_has_length(&flight->head);
    flight->solo = flight->pass || (once && flight->end - first > fill_ring_bytes(flight));
    flight->claim_end = fill_claim_end(flight);
    flight->phase = FLIGHT_FILLING;
    flight_wake_all(flight);
    flight_unlock(flight);
}

/* A server error that a stored answer may stand in for (RFC 5861 4). */
static bool fails_for_stale(const struct flight *flight, const struct origin_head *answer)
{
    const struct caching *caching = flight->spec.caching;
    bool error =
        answer->status == 500 || answer->status == 502 || answer->status == 503 || answer->status == 504;
    if (!error || !flight->spec.stored)
        return false;
    int64_t window_s = head_stale_if_error(&flight->stored, caching);
    return window_s > 0 && head_fresh_for(&flight->stored, caching, asked(flight).response_s) + window_s > 0;
}

static int take_representation(struct flight *flight, const struct origin_head *answer)
{
    struct head head;
    int result = head_from_origin(&head, answer, flight->spec.caching, asked(flight),
        fill_settings(flight)->cache.chunk_bytes, &flight->arena);
    if (result < 0)
        return result;
    if (flight->spec.go_on) {
        head.chunk_bytes = flight->stored.chunk_bytes;
        if (!head_has_length(&head))
            head.body_len = flight->stored.body_len;
        if (!same_representation(&head, &flight->stored))
            return E_CHANGED;
    }
    if (head.status != 200 && (flight->spec.go_on || fails_for_stale(flight, answer)))
        return flight->spec.go_on ? E_CHANGED : E_PROTOCOL;
    struct vary_names names;
    head.no_store |= selects(flight) && variant_names_of(head.fields, &names) == VARY_NEVER;
    read_tags(flight, &head);
    settle_store(flight, &head, answer);
    bool partial = answer->status == 206;
    flight->range_ignored = flight->spec.ranged && !partial;
    announce(flight, &head, partial ? answer->first : 0, partial ? answer->last + 1 : head.body_len);
    return 0;
}

void fill_head(struct origin_fetch *fetch, const struct origin_head *answer)
{
    struct flight *flight = fill_flight_of(fetch);
    flight->origin_status = answer->status;
    flight->origin_ns =
        fetch->first_byte_ns > fetch->started_ns ? fetch->first_byte_ns - fetch->started_ns : 0;
    int result =
        answer->status == 304 ? take_not_modified(flight, answer) : take_representation(flight, answer);
    if (result < 0) {
        flight_lock(flight);
        fill_fail(flight, result, 502);
        flight_unlock(flight);
        origin_fetch_cancel(fetch);
    }
}

/* Has a fetch that was answered after this one stored its head already? */
static bool overtaken(struct flight *flight)
{
    struct head newer;
    struct item *item = cache_find(flight->flights->cache, identity_head_key(flight->store_identity));
    bool later =
        item && head_decode(&newer, item, &flight->arena) == 0 && newer.response_s > flight->head.response_s;
    item_unref(&item);
    return later;
}

/* The body of a head that had no length lies whole in the first piece, and is small. */
static bool fits_inline(const struct flight *flight)
{
    const struct flight_piece *piece = &flight->pieces[flight->piece_first];
    return flight->end <= HEAD_INLINE_MAX &&
           (flight->end == 0 || (flight->piece_count == 1 && piece->from == 0));
}

/* All has come of a body whose length was not known: now it is. False: it can't be stored. */
static bool settle_length(struct flight *flight, struct head *head)
{
    head->body_len = flight->end;
    head->inline_body = fits_inline(flight);
    return head->body_len <= flight->spec.bucket->settings->max_item_bytes &&
           (head->inline_body || fill_put_rest(flight));
}

void fill_put_head_late(struct flight *flight)
{
    struct head head = flight->head;
    if (overtaken(flight) || (!head_has_length(&head) && !settle_length(flight, &head)))
        return;
    struct item *item = head_item(flight, &head);
    if (item && head.inline_body && head.body_len)
        item_append_from(item, flight->pieces[flight->piece_first].item, 0, (uint32_t)head.body_len);
    if (item)
        fill_put_head(flight, item);
    item_unref(&item);
}
