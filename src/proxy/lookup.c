/*
 * Step 3: the head of the object, from memory, then from disk; is it fresh? What is not there or stale goes
 * on to fetch. In a window of stale-while-revalidate what is stale is used at once, and asked about behind
 * the client's back; in one of stale-if-error it is used when the origin fails.
 */
#include "base/clock.h"
#include "base/error.h"
#include "proxy/pass.h"
#include "proxy/request.h"

static int64_t now_s(const struct request *request)
{
    return (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S);
}

static bool asks_for_fresh(const struct request_control *control)
{
    return control->no_cache || control->max_age_s != DELTA_SECONDS_NONE ||
           control->min_fresh_s != DELTA_SECONDS_NONE;
}

static const char *message_of(unsigned status)
{
    return status == 404 || status == 410 ? "the object does not exist"
           : status == 403                ? "the origin denies access to this object"
                                          : "the origin gave no usable answer";
}

static void answer_by_mark(struct request *request, const struct mark *mark, uint32_t monotonic_s)
{
    request->negative = true;
    reply_failure(request, &(struct reply_reason){
                               .status = mark->status,
                               .retry_after_s = mark->until_s - monotonic_s,
                               .message = message_of(mark->status),
                               .age_s = (int64_t)monotonic_s - mark->made_s,
                               .ttl_s = (int64_t)mark->until_s - monotonic_s,
                           });
}

/* Nothing is stored. Was something learned about it a moment ago? True: that was the answer. What could not
 * be stored passes; who is here to have it stored (warm.h) asks whether it can be by now. */
static bool look_for_mark(struct request *request)
{
    uint32_t monotonic_s = (uint32_t)(io_now_ns(request->worker->loop) / NS_PER_S);
    struct mark mark = marks_find(request->worker->proxy->marks, request->identity, monotonic_s);
    if (mark.kind == MARK_PASS && !request->warm)
        request->pass = request->marked = true;
    if (mark.kind != MARK_NEGATIVE || asks_for_fresh(&request->control))
        return false;
    answer_by_mark(request, &mark, monotonic_s);
    return true;
}

/* What is stored is not for this request. */
static void pass_by(struct request *request)
{
    item_unref(&request->head_item);
    request->head_known = false;
    request->pass = true;
    request_fetch(request);
}

/* Not found or not to be used: from the origin, unless the client would rather have nothing. What the client
 * does not want stored passes. */
static void go_on(struct request *request)
{
    request->vary_missed = request->variant && !request->head_known;
    if (!request->head_known && request->restarts == 0 && look_for_mark(request))
        return;
    if (request->control.only_if_cached) {
        reply_error(request, 504, "nothing that would do is stored", (struct bytes){0});
        return;
    }
    if (request->control.no_store)
        pass_by(request);
    else
        request_fetch(request);
}

/* RFC 5861 3: one flight, without the request. */
static void revalidate_behind(struct request *request)
{
    struct flight_spec spec;
    if (!request_revalidation(request, &spec))
        return;
    counter_add(&request->worker->proxy->stats.stale_while_revalidate, 1);
    flight_enter_alone(request->worker, &spec);
}

enum use { USE_NOT, USE_FRESH, USE_BEHIND };

static enum use judge(const struct request *request)
{
    const struct head *head = &request->head;
    if (cache_is_stale(request->worker->proxy->cache, request->head_item))
        return USE_NOT; /* purged softly: asked about before anybody gets it */
    const struct caching *caching = request->caching;
    int64_t fresh_for_s = head_fresh_for(head, caching, now_s(request));
    struct request_control_facts facts = {
        .age_s = head_age(head, now_s(request)),
        .fresh_for_s = head->no_cache ? -DELTA_SECONDS_MAX : fresh_for_s,
        .immutable = head->immutable,
        .stale_allowed = !head->no_cache && !head->must_revalidate && !head->has_s_maxage,
    };
    if (request_control_accepts(&request->control, &facts))
        return USE_FRESH;
    if (!asks_for_fresh(&request->control) && fresh_for_s <= 0 &&
        fresh_for_s + head_stale_while_revalidate(head, caching) > 0)
        return USE_BEHIND;
    return USE_NOT;
}

bool request_use_stale(struct request *request)
{
    if (!request->head_known || !request->was_stale || request->served_stale || request->head_missed ||
        asks_for_fresh(&request->control))
        return false;
    int64_t window_s = head_stale_if_error(&request->head, request->caching);
    if (head_fresh_for(&request->head, request->caching, now_s(request)) + window_s <= 0 || window_s == 0)
        return false;
    counter_add(&request->worker->proxy->stats.stale_if_error, 1);
    request->served_stale = true;
    request_answer(request);
    return true;
}

void request_hit(struct request *request, struct item *item)
{
    if (!request->head_missed && request->restarts == 0)
        cache_hit(request->worker->proxy->cache, request->worker->loop, item);
}

/* Of a generic origin, what was never to be used without asking is asked about by each client for itself. */
static bool is_asked_each_time(const struct request *request)
{
    const struct head *head = &request->head;
    return request->caching->generic &&
           (head->no_cache || head_fresh_for(head, request->caching, head->response_s) <= 0);
}

/* A head was found: answers from it, or asks the origin whether it still holds. */
static void head_found(struct request *request, struct item *item, enum cache_tier tier)
{
    struct cache *cache = request->worker->proxy->cache;
    int result = head_decode(&request->head, item, &request->arena);
    if (result < 0) {
        item_unref(&item);
        if (result == E_CORRUPT)
            cache_forget(cache, identity_head_key(request->identity));
        go_on(request);
        return;
    }
    request->head_item = item;
    request->head_known = true;
    request->head_tier = tier;
    request->head_clear_of = item_clear_of(item);
    if (tier == CACHE_DISK && request->head_clear_of > request->head_read_at)
        request->head_clear_of = request->head_read_at; /* a purge may have come while it was read */
    if (request->authorized && !request->head.for_authorized) {
        pass_by(request);
        return;
    }
    enum use use = request->validated ? USE_FRESH : judge(request);
    if (use == USE_NOT) {
        request->alone |= is_asked_each_time(request);
        go_on(request);
        return;
    }
    if (tier == CACHE_MEMORY && !request->validated)
        request_hit(request, item);
    if (use == USE_BEHIND)
        revalidate_behind(request);
    request_answer(request);
}

/* ---- variants ---- */

bool request_select(struct request *request, const struct variant *variant)
{
    uint8_t buf[ITEM_KEY_MAX];
    struct bytes identity;
    struct variant *kept = arena_take(&request->arena, sizeof *kept);
    if (!kept || !pass_shared_fields(request) ||
        !variant_identity(buf, request->base_identity, variant, &request->shared_fields, &identity))
        return false;
    identity = arena_copy(&request->arena, identity);
    if (!identity.ptr)
        return false;
    *kept = *variant;
    request->variant = kept;
    request->identity = identity;
    return true;
}

/* Damaged, it is as if there were none. */
static void use_vary_item(struct request *request, struct item *item)
{
    struct variant variant;
    if (variant_decode(&variant, item) == 0)
        request->pass |= !request_select(request, &variant);
    else
        cache_forget(request->worker->proxy->cache, identity_vary_key(request->base_identity));
    item_unref(&item);
}

static void vary_read(struct cache_get *get, int result, struct item *item)
{
    struct request *request = CONTAINER_OF(get, struct request, head_get);
    request->head_reading = false;
    if (result == 0)
        use_vary_item(request, item);
    request_lookup(request);
}

/* Which fields select? True: that is being read, and the look-up goes on after it. */
static bool find_variant(struct request *request)
{
    struct cache *cache = request->worker->proxy->cache;
    struct item_key key = identity_vary_key(request->base_identity);
    request->variant_known = true;
    struct item *item = cache_find(cache, key);
    if (item) {
        request_hit(request, item);
        use_vary_item(request, item);
    }
    if (item || request->no_disk || !cache_may_have(cache, key))
        return false;
    request_wait(request, WAIT_DISK);
    request->head_reading = true;
    request->head_get.done = vary_read;
    cache_get_start(cache, request->worker->loop, &request->head_get, key, 0, UINT32_MAX,
        request->worker->proxy->settings->cache.memory);
    return true;
}

static void head_read(struct cache_get *get, int result, struct item *item)
{
    struct request *request = CONTAINER_OF(get, struct request, head_get);
    request->head_reading = false;
    if (result == 0)
        head_found(request, item, CACHE_DISK);
    else {
        request->head_unreadable = true;
        go_on(request);
    }
}

void request_lookup(struct request *request)
{
    struct cache *cache = request->worker->proxy->cache;
    request->step = STEP_LOOKUP;
    if (request->caching->generic && !request->pass && !request->variant_known && find_variant(request))
        return;
    if (request->pass) {
        request_fetch(request);
        return;
    }
    struct item_key key = identity_head_key(request->identity);
    struct item *item = cache_find(cache, key);
    if (item) {
        head_found(request, item, CACHE_MEMORY);
        return;
    }
    if (request->no_disk || !cache_may_have(cache, key)) {
        go_on(request);
        return;
    }
    request_wait(request, WAIT_DISK);
    request->head_reading = true;
    request->head_read_at = cache_now(cache);
    request->head_get.done = head_read;
    bool keep = request->worker->proxy->settings->cache.memory;
    cache_get_start(cache, request->worker->loop, &request->head_get, key, 0, UINT32_MAX, keep);
}
