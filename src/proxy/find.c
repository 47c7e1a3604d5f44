#include "proxy/find.h"

#include <errno.h>

#include "base/error.h"
#include "http/target.h"
#include "proxy/bare.h"
#include "proxy/request.h"

static void give(struct find *find)
{
    bare_free(find->request);
    find->request = NULL;
    find->done(find, find->item);
}

/* Its own end is the answer's, so that nothing of it is in flight then. */
static void patience_over(struct io_op *op)
{
    struct find *find = CONTAINER_OF(op, struct find, patience);
    if (find->looking) {
        cache_get_abandon(&find->get);
        find->unknown = true;
        counter_add(&find->proxy->stats.gave_up_on_disk, 1);
    }
    give(find);
}

static void end(struct find *find, struct item *item)
{
    find->looking = false;
    find->item = item;
    if (io_op_busy(&find->patience))
        io_cancel(find->loop, &find->patience);
    else
        give(find);
}

static void head_came(struct cache_get *get, int result, struct item *item)
{
    struct find *find = CONTAINER_OF(get, struct find, get);
    find->unknown = result == E_EXHAUSTED;
    end(find, item);
}

static void look(struct find *find, struct item_key key,
    void (*came)(struct cache_get *get, int result, struct item *item))
{
    struct cache *cache = find->proxy->cache;
    find->tier = memory_has(cache_memory(cache), key) ? CACHE_MEMORY : CACHE_DISK;
    if (!io_op_busy(&find->patience)) {
        io_op_init(&find->patience, patience_over);
        io_timer(find->loop, &find->patience, io_now_ns(find->loop) + REQUEST_DISK_PATIENCE_NS);
    }
    find->looking = true;
    find->get.done = came;
    cache_get_start(cache, find->loop, &find->get, key, 0, UINT32_MAX, false);
}

/* ---- S3 ---- */

static int find_s3(struct find *find)
{
    const struct origin *origin = find->bucket->origin;
    struct bytes identity;
    if (find->host.len > 0 || find->query.len > 0)
        return E_SYNTAX;
    if (!identity_write(find->identity, origin_identity_endpoint(origin), origin_identity_bucket(origin),
            find->key, (struct bytes){0}, &identity))
        return E_TOO_LARGE;
    find->caching = request_caching_of(find->bucket->settings, find->key);
    look(find, identity_head_key(identity), head_came);
    return 0;
}

/* ---- generic origins ---- */

/* Which fields select is known by now. */
static void vary_came(struct cache_get *get, int result, struct item *item)
{
    struct find *find = CONTAINER_OF(get, struct find, get);
    struct variant variant;
    bool findable = true;
    find->looking = false;
    find->unknown = result == E_EXHAUSTED;
    if (result == 0 && variant_decode(&variant, item) == 0) {
        find->vary = variant.names;
        findable = request_select(find->request, &variant);
    }
    item_unref(&item);
    if (findable && !find->unknown)
        look(find, identity_head_key(find->request->identity), head_came);
    else
        end(find, NULL);
}

/* E_MISSING: no request for it comes to this bucket, or what comes is too long to be stored. */
static int locate(struct find *find, struct request *request)
{
    const struct proxy *proxy = find->proxy;
    struct target target;
    struct bytes path;
    if (target_split(request->http->target, &target) < 0)
        return E_SYNTAX;
    uint8_t *buf = arena_take(&request->arena, target.path.len);
    if (buf == NULL)
        return -ENOMEM;
    if (target_decode_path(target.path, buf, &path) < 0)
        return E_SYNTAX;
    int bucket = route_find(proxy->routes, path, &request->key);
    if (bucket < 0 || &proxy->buckets[bucket] != find->bucket)
        return E_MISSING;
    request->bucket = &proxy->buckets[bucket];
    if (!request_locate_http(request, &target, path))
        return -ENOMEM;
    find->caching = request->caching;
    return request->identity.ptr ? 0 : E_MISSING;
}

static int find_http(struct find *find)
{
    const struct bucket_settings *settings = find->bucket->settings;
    bool fits;
    if (find->host.len > 0 && !target_is_authority(find->host))
        return E_SYNTAX;
    struct bytes query = find->query.len > 0 ? find->query : (struct bytes){0};
    find->request = bare_request(settings, find->key, query, find->host, &fits);
    if (find->request == NULL)
        return -ENOMEM;
    int result = fits ? locate(find, find->request) : E_TOO_LARGE;
    if ((result == 0 || result == E_MISSING) && find->host.len == 0 && settings_key_has_host(settings))
        result = E_REFUSED; /* all else is well */
    if (result == 0) {
        look(find, identity_vary_key(find->request->base_identity), vary_came);
    } else if (result == E_MISSING) {
        end(find, NULL);
        result = 0;
    } else {
        bare_free(find->request);
    }
    return result;
}

int find_start(struct find *find, struct proxy *proxy, struct io_loop *loop)
{
    find->proxy = proxy;
    find->loop = loop;
    find->request = NULL;
    find->item = NULL;
    find->unknown = find->looking = false;
    io_op_init(&find->patience, patience_over);
    vary_init(&find->vary);
    return find->bucket->settings->http.on ? find_http(find) : find_s3(find);
}
