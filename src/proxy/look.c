#include "proxy/look.h"

#include "base/clock.h"
#include "base/error.h"
#include "proxy/request.h"

static size_t keep(uint8_t *to, size_t room, struct bytes text)
{
    if (text.len == 0 || text.len > room)
        return 0;
    memcpy(to, text.ptr, text.len);
    return text.len;
}

static void count_chunks(struct proxy_look *look, const struct head *head)
{
    uint8_t buf[CHUNK_KEY_LEN];
    look->chunks = head->inline_body ? 0 : head_chunk_count(head);
    for (uint64_t i = 0; i < look->chunks && i < PROXY_LOOK_CHUNKS_MAX; i++)
        look->chunks_stored += cache_may_have(look->proxy->cache, identity_chunk_key(buf, head->body_id, i));
}

static void note(struct proxy_look *look, struct item *item, const struct head *head)
{
    int64_t now_s = (int64_t)(io_wall_ns(look->loop) / NS_PER_S);
    const struct caching *caching = request_caching_of(look->entry->settings, look->key);
    look->was_stored = true;
    look->status = head->status;
    look->length = head->body_len;
    look->age_s = head_age(head, now_s);
    look->fresh_for_s = head_fresh_for(head, caching, now_s);
    look->softly_purged = cache_is_stale(look->proxy->cache, item);
    look->fresh = look->fresh_for_s > 0 && !head->no_cache && !look->softly_purged;
    look->etag_len = keep(look->etag, sizeof look->etag, head->etag);
    look->tags_len = keep(look->tags, sizeof look->tags, head->tags);
    count_chunks(look, head);
}

static void looked_up(struct cache_get *get, int result, struct item *item)
{
    struct proxy_look *look = CONTAINER_OF(get, struct proxy_look, get);
    unsigned char block[1024];
    struct arena arena;
    struct head head;
    arena_init(&arena, block, sizeof block, 1u << 20);
    if (result == 0 && head_decode(&head, item, &arena) == 0)
        note(look, item, &head);
    arena_reset(&arena);
    item_unref(&item);
    look->done(look);
}

const struct bucket *proxy_bucket_named(const struct proxy *proxy, struct bytes name)
{
    for (unsigned i = 0; i < proxy->bucket_count; i++)
        if (bytes_equal(bytes_of_string(proxy->buckets[i].settings->name), name))
            return &proxy->buckets[i];
    return NULL;
}

int proxy_look(struct proxy *proxy, struct io_loop *loop, struct proxy_look *look)
{
    struct bytes identity;
    look->proxy = proxy;
    look->loop = loop;
    look->entry = proxy_bucket_named(proxy, look->bucket);
    look->was_stored = false;
    look->chunks = look->chunks_stored = look->etag_len = look->tags_len = 0;
    if (look->entry == NULL)
        return E_MISSING;
    if (look->entry->settings->http.on)
        return E_UNSUPPORTED;
    const struct origin *origin = look->entry->origin;
    if (!identity_write(look->identity, origin_identity_endpoint(origin), origin_identity_bucket(origin),
            look->key, (struct bytes){0}, &identity))
        return E_TOO_LARGE;
    look->identity_len = identity.len;
    struct item_key key = identity_head_key(identity);
    struct memory *memory = cache_memory(proxy->cache);
    look->tier = memory_has(memory, key) ? CACHE_MEMORY : CACHE_DISK;
    look->get.done = looked_up;
    cache_get_start(proxy->cache, loop, &look->get, key, 0, UINT32_MAX, false);
    return 0;
}
