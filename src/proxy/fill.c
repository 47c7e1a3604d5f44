/*
 * The leader's side of a flight: asks the origin, turns the answer into a head (fill_head.c) and pieces
 * (fill_body.c), puts them into the cache, and wakes the waiters. Here: how the transfer begins and ends.
 *
 * Invariants: pieces are in order and without gaps; `at` is the end of the last piece's filled part; only
 * whole, checked items are put; a head is put before its body only where its validator is strong and its
 * length known, since only then can the rest be fetched later and belong to it.
 */
#include "proxy/fill.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/date.h"

void fill_put(struct flight *flight, struct item *item, unsigned where, uint64_t asked)
{
    if (where)
        cache_put(flight->flights->cache, flight->loop, item, where, asked);
}

unsigned fill_tiers(const struct flight *flight)
{
    const struct settings *settings = fill_settings(flight);
    return (settings->cache.memory ? CACHE_PUT_MEMORY : 0) | (settings->cache.disk ? CACHE_PUT_DISK : 0);
}

void fill_fail(struct flight *flight, int error, unsigned status)
{
    if (flight->failure.error == 0)
        flight->failure = (struct flight_failure){.error = error, .status = status, .total = UINT64_MAX};
}

void fill_close(struct flight *flight)
{
    flight->stopped = true;
    flight_unlist(flight);
    flight_wake_all(flight);
}

void fill_stop(struct flight *flight)
{
    flight_lock(flight);
    fill_close(flight);
    flight_unlock(flight);
    origin_fetch_cancel(&flight->fetch);
}

static void end(struct flight *flight)
{
    flight_lock(flight);
    flight->phase = FLIGHT_ENDED;
    flight_unlist(flight);
    fill_drop_in_distress(flight);
    flight_wake_all(flight);
    flight_unlock(flight);
    list_remove(&flight->of_worker);
    proxy_worker_flight_ended(flight->worker);
    flight_unref(&flight);
}

/* The origin did not say how long the body is, and has ended it: it is as long as what came. Lock held. */
static void settle_end(struct flight *flight)
{
    bool whole = !flight->fetch.error && !flight->failure.error && !flight->stopped;
    if (whole && flight->head_known && !head_has_length(&flight->head) && !flight->spec.head_only)
        flight->end = flight->at;
}

/* What the transfer's end says that nobody has said before. Lock held. */
static void note_failure(struct flight *flight)
{
    const struct origin_fetch *fetch = &flight->fetch;
    bool canceled = fetch->error == E_CANCELED && (flight->stopped || flight->failure.error);
    if (fetch->error && !canceled) {
        flight->failure = (struct flight_failure){
            .error = fetch->error,
            .status = fetch->status ? fetch->status : 502,
            .retry_after_s = fetch->retry_after_s,
            .total = fetch->total,
        };
        memcpy(flight->failure.code, fetch->code, sizeof flight->failure.code);
    } else if (!fetch->error && !flight->head_known) {
        fill_fail(flight, E_PROTOCOL, 502);
    } else if (!fetch->error && !flight->stopped && flight->at < flight->end) {
        fill_fail(flight, E_TRUNCATED, 502);
    }
}

static uint32_t now_s(const struct flight *flight)
{
    return (uint32_t)(io_now_ns(flight->loop) / NS_PER_S);
}

/* An answer that is remembered without an item: what failed for all who ask. */
static void mark_failure(struct flight *flight)
{
    const struct flight_spec *spec = &flight->spec;
    int64_t ttl_s = caching_status_ttl(spec->caching, flight->failure.status);
    if (ttl_s <= 0 || spec->pass || spec->go_on || !spec->caching->enabled ||
        flight->failure.error == E_CANCELED || flight->failure.error == E_CHANGED)
        return;
    fill_mark(flight, MARK_NEGATIVE, flight->failure.status, ttl_s);
}

void fill_mark(struct flight *flight, enum mark_kind kind, unsigned status, int64_t ttl_s)
{
    struct mark mark = {
        .kind = kind,
        .status = (uint16_t)status,
        .made_s = now_s(flight),
        .until_s = now_s(flight) + (uint32_t)(ttl_s < MARK_TTL_MAX_S ? ttl_s : MARK_TTL_MAX_S),
    };
    marks_put(flight->worker->proxy->marks, flight->identity, &mark, flight->marks_generation, mark.made_s);
}

static bool says_stored_is_gone(int error)
{
    return error == E_CHANGED || error == E_MISSING || error == -ERANGE;
}

static void fetch_done(struct origin_fetch *fetch)
{
    struct flight *flight = fill_flight_of(fetch);
    flight_lock(flight);
    settle_end(flight);
    note_failure(flight);
    int error = flight->failure.error;
    flight_unlock(flight);
    if (!error && flight->put_head_at_end && !flight->stopped && flight->at == flight->end)
        fill_put_head_late(flight);
    if (says_stored_is_gone(error) && flight->spec.stored)
        cache_forget(flight->flights->cache, identity_head_key(flight->store_identity));
    if (error)
        mark_failure(flight);
    end(flight);
}

/* For a head without a tag. Without memory for it nothing is asked, and all comes. */
static struct bytes modified_since(struct flight *flight)
{
    const struct head *stored = &flight->stored;
    if (!flight->spec.revalidate || stored->etag.len > 0 || !stored->has_last_modified)
        return (struct bytes){0};
    uint8_t *text = arena_take(&flight->arena, DATE_LEN);
    if (text)
        date_format(stored->last_modified_s, text);
    return bytes_of(text, text ? DATE_LEN : 0);
}

static struct origin_request request_of(struct flight *flight)
{
    const struct flight_spec *spec = &flight->spec;
    return (struct origin_request){
        .head_only = spec->head_only,
        .ranged = spec->ranged,
        .want_checksum = true,
        .first = spec->first,
        .last = spec->last,
        .key = spec->key,
        .version_id = spec->version_id,
        .if_match = spec->go_on ? flight->stored.etag : (struct bytes){0},
        .if_none_match = spec->revalidate ? flight->stored.etag : (struct bytes){0},
        .if_modified_since = modified_since(flight),
        .target = spec->target,
        .host = spec->host,
        .fields = flight->fields,
        .field_count = spec->fields.count,
        .request_id = spec->request_id,
    };
}

/* 1xx: for the leader, in whose name it was asked; on its loop, where it can't leave meanwhile. */
static void interim(struct origin_fetch *fetch, const struct origin_head *head)
{
    struct flight *flight = fill_flight_of(fetch);
    flight_lock(flight);
    struct flight_waiter *leader = flight->leader;
    flight_unlock(flight);
    if (leader != NULL && leader->interim != NULL)
        leader->interim(leader, head);
}

void fill_start(struct flight *flight)
{
    struct origin_fetch *fetch = &flight->fetch;
    flight->request_s = (int64_t)(io_wall_ns(flight->loop) / NS_PER_S);
    flight->marks_generation = marks_generation(flight->worker->proxy->marks);
    fetch->request = request_of(flight);
    fetch->head = fill_head;
    fetch->interim = interim;
    fetch->body = fill_body;
    fetch->done = fetch_done;
    if (flight->spec.revalidate)
        counter_add(&flight->flights->stats->revalidations, 1);
    list_push_back(&flight->worker->flights, &flight->of_worker);
    origin_fetch_start(flight->worker->origins, flight->spec.bucket->origin, fetch);
}
