/* Step 3: the head of the object, from memory, then from disk; is it fresh? What is not there or stale goes
 * on to fetch. */
#include "base/clock.h"
#include "base/error.h"
#include "proxy/request.h"

static int64_t now_s(const struct request *request)
{
    return (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S);
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
        request_fetch(request);
        return;
    }
    request->head_item = item;
    request->head_known = true;
    request->head_tier = tier;
    const struct head *head = &request->head;
    bool fresh = !head->no_cache && head_fresh_for(head, request->bucket->ttl_s, now_s(request)) > 0;
    if (fresh || request->validated)
        request_answer(request);
    else
        request_fetch(request);
}

static void head_read(struct cache_get *get, int result, struct item *item)
{
    struct request *request = CONTAINER_OF(get, struct request, head_get);
    request->head_reading = false;
    if (result == 0)
        head_found(request, item, CACHE_DISK);
    else {
        request->head_unreadable = true;
        request_fetch(request);
    }
}

void request_lookup(struct request *request)
{
    struct cache *cache = request->worker->proxy->cache;
    request->step = STEP_LOOKUP;
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
        request_fetch(request);
        return;
    }
    request_wait(request, WAIT_DISK);
    request->head_reading = true;
    request->head_get.done = head_read;
    bool keep = request->worker->proxy->settings->cache.memory;
    cache_get_start(cache, request->worker->loop, &request->head_get, key, 0, UINT32_MAX, keep);
}
