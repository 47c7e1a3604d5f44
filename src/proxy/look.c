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
    look->was_stored = true;
    look->status = head->status;
    look->length = head->body_len;
    look->age_s = head_age(head, now_s);
    look->fresh_for_s = head_fresh_for(head, look->find.caching, now_s);
    look->softly_purged = cache_is_stale(look->proxy->cache, item);
    look->fresh =
        look->find.caching->enabled && look->fresh_for_s > 0 && !head->no_cache && !look->softly_purged;
    look->etag_len = keep(look->etag, sizeof look->etag, head->etag);
    look->tags_len = keep(look->tags, sizeof look->tags, head->tags);
    count_chunks(look, head);
}

static void found(struct find *find, struct item *item)
{
    struct proxy_look *look = CONTAINER_OF(find, struct proxy_look, find);
    unsigned char block[1024];
    struct arena arena;
    struct head head;
    arena_init(&arena, block, sizeof block, 1u << 20);
    if (item && head_decode(&head, item, &arena) == 0)
        note(look, item, &head);
    arena_reset(&arena);
    item_unref(&item);
    look->unknown = find->unknown;
    look->tier = find->tier;
    look->vary = find->vary;
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
    struct find *find = &look->find;
    look->proxy = proxy;
    look->loop = loop;
    look->was_stored = false;
    look->chunks = look->chunks_stored = look->etag_len = look->tags_len = 0;
    find->bucket = proxy_bucket_named(proxy, look->bucket);
    if (find->bucket == NULL)
        return E_MISSING;
    find->key = look->key;
    find->host = look->host;
    find->query = look->query;
    find->done = found;
    return find_start(find, proxy, loop);
}
