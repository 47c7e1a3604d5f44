/*
 * Step 4: join or lead a flight for what is missing: the head (with the bytes that come with it), or the
 * bytes of a known body.
 *
 * What is asked for: a HEAD asks for a HEAD; one range asks for the chunks it touches; a suffix, several
 * ranges, or a precondition that will probably need no body ask for the head first; else the whole object. A
 * stale head is asked about with If-None-Match in the same request, so that a changed object costs one round
 * trip.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "proxy/pass.h"
#include "proxy/request.h"

static void note_origin(struct request *request)
{
    struct flight_facts facts;
    flight_facts(&request->waiter, &facts);
    if (facts.origin_ns)
        request->origin_ns = facts.origin_ns;
    if (facts.status)
        request->origin_status = facts.status;
    request->storing = facts.stored;
    request->not_modified |= facts.not_modified;
    request->head_clear_of = facts.clear_of;
}

static void drop_head(struct request *request)
{
    item_unref(&request->head_item);
    flight_unref(&request->head_flight);
    request->head_known = false;
    request->head_tier = CACHE_NONE;
}

/* RFC 9111 4: a fetch is shared as far as what it brings may be used again. Of S3 all get the same; of a
 * generic origin, which was asked with the leader's fields, what must be asked about each time is the
 * leader's. */
static bool is_shareable(const struct request *request, const struct head *head)
{
    int64_t now_s = (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S);
    return !request->caching->generic || !request->collapsed ||
           (!head->no_cache && head_fresh_for(head, request->caching, now_s) > 0);
}

/* Is the answer that came for this request's values of the fields that select? Then it is known by their
 * identity from now on. */
static bool is_for_us(struct request *request)
{
    struct flight_facts facts;
    flight_facts(&request->waiter, &facts);
    if (!facts.variant)
        return true;
    return request_select(request, facts.variant) && bytes_equal(request->identity, facts.store_identity);
}

static void head_arrived(struct request *request, const struct head *head)
{
    note_origin(request);
    bool shareable = is_shareable(request, head);
    if (!shareable || !is_for_us(request)) {
        flight_leave(&request->waiter);
        request->alone |= !shareable;
        request->not_modified = false;
        request_restart(request);
        return;
    }
    request->validated = true;
    if (request->not_modified && request->head_item == NULL) {
        flight_leave(&request->waiter);
        request_restart(request);
        return;
    }
    if (request->not_modified) { /* the body is the one we hold or find; only the fields are new */
        request->head_flight = flight_ref(request->waiter.flight);
        bool inline_body = request->head.inline_body;
        uint32_t encoded = request->head.encoded_bytes;
        bool same = memcmp(request->head.body_id, head->body_id, BODY_ID_LEN) == 0;
        flight_leave(&request->waiter);
        if (!same) {
            drop_head(request);
            request_restart(request);
            return;
        }
        request->head = *head;
        request->head.inline_body = inline_body;
        request->head.encoded_bytes = encoded;
        request_answer(request);
        return;
    }
    drop_head(request);
    request->head_flight = flight_ref(request->waiter.flight);
    request->head = *head;
    request->head_known = true;
    request->head_missed = true;
    struct flight_facts facts;
    flight_facts(&request->waiter, &facts);
    request->pass |= facts.pass;
    request_answer(request);
}

/* What came is another's. What is asked for to be stored (warm.h) may be when it is asked for without that
 * one's fields. */
static void go_own_way(struct request *request)
{
    flight_leave(&request->waiter);
    if (request->warm)
        request->alone = true;
    else
        request->pass = true;
    request_restart(request);
}

static void head_progress(struct request *request)
{
    const struct head *head = NULL;
    switch (flight_see_head(&request->waiter, &head)) {
    case FLIGHT_WAIT:
        return;
    case FLIGHT_READY:
        head_arrived(request, head);
        return;
    case FLIGHT_UNSHARED:
        go_own_way(request);
        return;
    case FLIGHT_ELSEWHERE:
    case FLIGHT_FAILED:
        request_flight_failed(request);
        return;
    }
}

static void woken(struct flight_waiter *waiter)
{
    struct request *request = CONTAINER_OF(waiter, struct request, waiter);
    if (request->ending)
        request_release(request);
    else if (!waiter->flight)
        return; /* let go of meanwhile, or reading elsewhere */
    else if (request->step == STEP_FETCH)
        head_progress(request);
    else if (request->step == STEP_DELIVER)
        request_deliver(request);
}

/* A waiter whose last message is still under way can't enter; the message comes within a turn. */
static void when_idle(struct flight_waiter *waiter)
{
    struct request *request = CONTAINER_OF(waiter, struct request, waiter);
    waiter->wake = woken;
    if (request->ending)
        request_release(request);
    else if (request->step == STEP_FETCH)
        request_fetch(request);
    else if (request->step == STEP_DELIVER)
        request_deliver(request);
}

/* RFC 9110 15.2: for whoever led it here. Of a generic HTTP origin only: what S3 would say so is not for
 * clients, whose answers are ours and mostly asked with other fields than they sent. */
static void interim_arrived(struct flight_waiter *waiter, const struct origin_head *head)
{
    struct request *request = CONTAINER_OF(waiter, struct request, waiter);
    if (request->begun || request->ending || request->warm)
        return;
    exchange_interim(
        request->exchange, head->status, pass_plain_lines(request, head->fields, head->field_count));
}

static bool waiter_ready(struct request *request)
{
    CHECK(!request->waiter.flight);
    request->waiter.loop = request->worker->loop;
    request->waiter.interim = request->bucket->settings->http.on ? interim_arrived : NULL;
    request->waiter.wake = flight_waiter_idle(&request->waiter) ? woken : when_idle;
    return flight_waiter_idle(&request->waiter);
}

static struct flight_spec basic_spec(const struct request *request)
{
    return (struct flight_spec){
        .bucket = request->bucket,
        .caching = request->caching,
        .identity = request->identity,
        .base_identity = request->base_identity,
        .variant = request->variant,
        .alone = request->alone,
        .authorized = request->authorized,
        .key = request->key,
        .version_id = request->version_id,
        .request_id = bytes_of(request->id, REQUEST_ID_LEN),
        .pass = request->pass,
        .last = ORIGIN_TO_END,
        .target = request->target,
        .host = request->bucket->settings->http.preserve_host ? request->http->host : (struct bytes){0},
        .fields = request->shared_fields,
    };
}

/* One range with a known beginning. */
static bool single_range(const struct request *request)
{
    return request->range_verdict == RANGE_OK && request->range_set->count == 1 &&
           request->range_set->specs[0].kind != RANGE_SUFFIX && !request->conditions.if_range.ptr;
}

/* Not every server knows HEAD: a generic one is asked for it only by who wants it. */
static bool needs_head_first(const struct request *request)
{
    const struct conditions *conditions = &request->conditions;
    if (request->caching->generic)
        return false;
    return conditions->if_none_match.ptr || conditions->if_modified_since.ptr ||
           (request->range_verdict != RANGE_NONE && !single_range(request));
}

static void ask_for_range(const struct request *request, struct flight_spec *spec)
{
    uint64_t chunk = request->worker->proxy->settings->cache.chunk_bytes;
    const struct range_spec *range = &request->range_set->specs[0];
    spec->ranged = true;
    spec->first = spec->pass ? range->first : range->first / chunk * chunk;
    if (range->kind == RANGE_BETWEEN && range->last < UINT64_MAX - chunk)
        spec->last = spec->pass ? range->last : (range->last / chunk + 1) * chunk - 1;
    if (spec->first == 0 && spec->last == ORIGIN_TO_END)
        spec->ranged = false;
}

/* RFC 9111 4.3.1: by the tag, or by the date of the last change. */
static bool has_validator(const struct head *head)
{
    return head->etag.len > 0 || head->has_last_modified;
}

/* With which fields a generic origin is asked. False: the arena is exhausted. */
static bool know_fields(struct request *request)
{
    return !request->caching->generic || pass_shared_fields(request);
}

static void refuse_fields(struct request *request)
{
    reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
}

static void ask_about_stored(const struct request *request, struct flight_spec *spec)
{
    spec->revalidate = has_validator(&request->head);
    spec->stored = &request->head;
    spec->stored_clear_of = request->head_clear_of;
}

bool request_revalidation(struct request *request, struct flight_spec *spec)
{
    if (!know_fields(request))
        return false;
    *spec = basic_spec(request);
    spec->alone = false; /* one for all who find it stale */
    ask_about_stored(request, spec);
    spec->stored_item = request->head_item;
    spec->head_only = request->http->method == HTTP_HEAD;
    return true;
}

void request_fetch(struct request *request)
{
    if (request->pass && request->caching->generic) {
        request_pass(request);
        return;
    }
    if (!know_fields(request)) {
        refuse_fields(request);
        return;
    }
    request->step = STEP_FETCH;
    request->asked = true;
    request_wait(request, WAIT_ORIGIN);
    if (!waiter_ready(request))
        return;
    struct flight_spec spec = basic_spec(request);
    bool stale = request->head_known && has_validator(&request->head);
    if (!request->head_known)
        drop_head(request);
    spec.stored_item = request->head_item;
    if (stale)
        ask_about_stored(request, &spec);
    if (request->http->method == HTTP_HEAD || request->head_first ||
        (!stale && !request->whole_only && needs_head_first(request)))
        spec.head_only = true;
    else if (!request->whole_only && single_range(request))
        ask_for_range(request, &spec);
    spec.look_again =
        (!request->head_known || spec.stored_item) && !request->head_unreadable && request->restarts == 0;
    enum flight_entry entry = flight_enter(request->worker, &spec, &request->waiter);
    if (entry == FLIGHT_STORED) {
        request_restart(request);
        return;
    }
    request->was_stale |= request->head_known;
    request->collapsed = entry == FLIGHT_JOINED;
    head_progress(request);
}

/* ---- bytes ---- */

/* Up to the first chunk that is stored, within what one claim covers; else to the end of the part. */
static uint64_t missing_until(const struct request *request, uint64_t end)
{
    const struct head *head = &request->head;
    struct cache *cache = request->worker->proxy->cache;
    uint64_t chunk = request->at / head->chunk_bytes, reach = request->at + FLIGHT_CLAIM_BYTES;
    for (uint64_t n = chunk + 1; n * head->chunk_bytes < end && n * head->chunk_bytes < reach; n++) {
        uint8_t buf[CHUNK_KEY_LEN];
        if (cache_may_have(cache, identity_chunk_key(buf, head->body_id, n)))
            return n * head->chunk_bytes;
    }
    uint64_t border = (end + head->chunk_bytes - 1) / head->chunk_bytes * head->chunk_bytes;
    return border < head->body_len ? border : head->body_len;
}

/* Only one whole fetch can help: a reply that has not begun starts again with it. What passed because its
 * head alone could not be stored may be stored now. */
enum fetch_bytes request_fetch_whole(struct request *request)
{
    if (request->begun) {
        request_cut(request);
        return BYTES_ENDED;
    }
    flight_leave(&request->waiter);
    request->whole_only = true;
    request->head_first = false;
    request->pass = !request->caching->enabled;
    cache_forget(request->worker->proxy->cache, identity_head_key(request->identity));
    drop_head(request);
    request_restart(request);
    return BYTES_ENDED;
}

enum fetch_bytes request_fetch_bytes(struct request *request)
{
    const struct part *part = &request->parts[request->part_at];
    const struct head *head = &request->head;
    uint64_t chunk = request->at / head->chunk_bytes;
    if (!waiter_ready(request))
        return BYTES_LATER;
    if (!know_fields(request)) {
        if (request->begun)
            request_cut(request);
        else
            refuse_fields(request);
        return BYTES_ENDED;
    }
    struct flight_spec spec = basic_spec(request);
    spec.go_on = spec.ranged = true;
    spec.stored = head;
    spec.first = request->pass ? request->at : chunk * head->chunk_bytes;
    spec.last = (request->pass ? part->end : missing_until(request, part->end)) - 1;
    spec.join_only = !head->strong;
    spec.look_again =
        chunk != request->skip_disk_chunk && chunk != request->looked_again && !request->no_disk;
    switch (flight_enter(request->worker, &spec, &request->waiter)) {
    case FLIGHT_STORED:
        request->looked_again = chunk;
        return BYTES_STORED;
    case FLIGHT_NONE:
        return request_fetch_whole(request);
    case FLIGHT_JOINED:
        request->collapsed = true;
        return BYTES_COMING;
    case FLIGHT_LED:
        break;
    }
    if (spec.first < request->led_up_to)
        counter_add(&request->worker->proxy->stats.refetched_bytes, request->led_up_to - spec.first);
    return BYTES_COMING;
}

/* ---- failures ---- */

static const char *message_of(const struct flight_failure *failure)
{
    switch (failure->error) {
    case E_MISSING:
        return "the object does not exist";
    case E_REFUSED:
        return "the origin denies access to this object";
    case E_TIMEOUT:
        return "the origin did not answer in time";
    case E_EXHAUSTED:
        return "the origin is overloaded";
    case E_CHANGED:
        return "the object changes faster than it can be read";
    default:
        return "the origin gave no usable answer";
    }
}

static void tell_failure(struct request *request, const struct flight_failure *failure)
{
    bool unreachable = failure->error == E_UNREACHABLE || failure->error == E_TLS;
    bool must_ask = request->was_stale && request->head_known && request->head.must_revalidate;
    reply_failure(
        request, &(struct reply_reason){
                     .status = unreachable && must_ask ? 504 : failure->status, /* RFC 9111 5.2.2.2 */
                     .retry_after_s = failure->retry_after_s ? failure->retry_after_s : 1,
                     .message = message_of(failure),
                     .stored = !request->pass && request->caching->enabled &&
                               caching_status_ttl(request->caching, failure->status) > 0,
                 });
}

/* RFC 5861 4: an error is a status of 500, 502, 503 or 504; and no answer at all. */
static bool is_origins_fault(const struct flight_failure *failure)
{
    return failure->status >= 500 && failure->error != E_CHANGED && failure->error != E_CANCELED;
}

/* What a fetch for all can't make sense of may still be an answer for one. */
static bool should_pass(const struct request *request, const struct flight_failure *failure)
{
    return request->caching->generic && !request->pass &&
           (failure->error == E_PROTOCOL || failure->error == E_TOO_LARGE);
}

void request_flight_failed(struct request *request)
{
    struct flight_failure failure;
    note_origin(request);
    flight_failure(&request->waiter, &failure);
    flight_leave(&request->waiter);
    bool again = failure.error == E_CHANGED || failure.error == -ERANGE || failure.error == 0;
    if (request->begun) {
        request_cut(request);
        return;
    }
    request_deliver_stop(request);
    if (is_origins_fault(&failure) && request_use_stale(request))
        return;
    if (again && request->restarts < REQUEST_RESTARTS_MAX) {
        /* It is shorter than asked for: how long is it? */
        bool short_of = failure.error == -ERANGE;
        request->head_first |= short_of && !request->caching->generic;
        request->whole_only |= short_of && request->caching->generic;
        drop_head(request);
        request_restart(request);
        return;
    }
    if (should_pass(request, &failure)) {
        request->pass = true;
        drop_head(request);
        request_restart(request);
        return;
    }
    if (failure.error == E_CANCELED)
        failure.status = 503;
    if (again || failure.status < 400)
        failure.status = 502;
    tell_failure(request, &failure);
}
