/*
 * Step 2 for a generic HTTP origin: what it is asked, and under which identity the answer is kept.
 *
 * The origin sees what the client sends. So whatever of it may decide what comes must be in the key, be
 * named by Vary, or keep the request from being looked up; else one client decides what another gets. In the
 * key are the target, the host where the origin is told of it, and fields that servers and frameworks are
 * known to follow past the target. A request with a body is not looked up.
 *
 * The identity is endpoint, NUL, NUL, the decoded path, NUL, and after that everything else: the query (or
 * the whole target, where its path is not spelled as it decodes), NUL, a digit for what the origin is told of
 * the host, the host, and those fields. So a purge of
 * one path covers every query, spelling, host and variant.
 */
#include <stdlib.h>

#include "base/error.h"
#include "http/target.h"
#include "proxy/request.h"

#define DECODED_ON_STACK 8192
#define HOST_MAX 256
#define STEERING_MAX 512
#define REST_MAX (REQUEST_KEY_MAX + 2 + HOST_MAX + STEERING_MAX)

static_assert(FORWARDED_OFF < 4, "a digit tells both settings");
/* What a fetch for all carries of its leader's fields. */
#define SHARED_FIELDS_MAX (64u << 10)

static int find_bucket(const struct proxy *proxy, const struct target *target, uint8_t *buf)
{
    struct bytes path, key;
    if (target_decode_path(target->path, buf, &path) < 0)
        return -1;
    return route_find(proxy->routes, path, &key);
}

bool request_is_for_http(const struct proxy *proxy, const struct http_request *http)
{
    uint8_t buf[DECODED_ON_STACK];
    struct target target;
    if (proxy->http_bucket_count == 0 || target_split(http->target, &target) < 0 ||
        target.form == TARGET_ASTERISK)
        return false;
    uint8_t *heap = target.path.len > sizeof buf ? malloc(target.path.len) : NULL;
    bool room = target.path.len <= sizeof buf || heap;
    int bucket = room ? find_bucket(proxy, &target, heap ? heap : buf) : -1;
    free(heap);
    return bucket >= 0 && proxy->buckets[bucket].settings->http.on;
}

/* The target behind the prefix, as the origin is asked it and as the key spells it. */
static bool make_target(struct request *request, const struct target *target, struct bytes path)
{
    static const struct query_rules untouched = {.sort = false};
    enum http_method method = request->http->method;
    const struct query_rules *rules = &request->bucket->settings->http.query;
    size_t prefix = (size_t)(request->key.ptr - path.ptr);
    prefix -= prefix > 0 && request->key.ptr[-1] == '/';
    struct bytes rest = http_key_rest(target->path, prefix);
    size_t room = rest.len + target->query.len + 2;
    uint8_t *asked = arena_take(&request->arena, room), *key = arena_take(&request->arena, room);
    if (!asked || !key)
        return false;
    struct writer a = writer_of(asked, room), k = writer_of(key, room);
    bool reads = method == HTTP_GET || method == HTTP_HEAD;
    http_key_write_target(rest, target->query, reads ? rules : &untouched, &a);
    http_key_write(rest, target->query, rules, &k);
    CHECK(!a.failed && !k.failed);
    request->target = writer_bytes(&a);
    request->key = writer_bytes(&k);
    request->path = prefix < path.len ? bytes_from(path, prefix) : BYTES("/");
    return true;
}

/* ---- the identity ---- */

static void write_lower(struct writer *w, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        write_u8(w, c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
}

/* What the client calls the host may decide what comes wherever the origin is told of it, and in which way:
 * entries that tell it otherwise share nothing. */
static void write_host(const struct request *request, struct writer *w)
{
    const struct bucket_settings *settings = request->bucket->settings;
    write_u8(w, 0);
    write_u8(w, (uint8_t)(settings->http.forwarded + (settings->http.preserve_host ? '4' : '0')));
    if (settings_key_has_host(settings))
        write_lower(w, request->http->host);
}

/* Of the client's Forwarded, where the origin sees it: what it claims of host and scheme. */
static void write_forwarded(const struct request *request, struct writer *w)
{
    if (request->bucket->settings->http.forwarded != FORWARDED_X) {
        write_u8(w, 0);
        forwarded_write_claims(&request->http->fields, w);
    }
}

static void write_steering(const struct request *request, struct writer *w)
{
    const struct http_fields *fields = &request->http->fields;
    enum forwarded_style style = request->bucket->settings->http.forwarded;
    write_forwarded(request, w);
    for (unsigned i = 0; i < fields->count; i++) {
        const struct http_field *field = &fields->fields[i];
        if (!http_key_has_field(field->name) || forwarded_replaces(style, field->name))
            continue;
        write_u8(w, 0);
        write_lower(w, field->name);
        write_u8(w, ':');
        write_bytes(w, field->value);
    }
}

bool request_http_identity(const struct request *request, struct bytes path, struct bytes key,
    uint8_t scratch[ITEM_KEY_MAX], struct bytes *identity)
{
    uint8_t rest[REST_MAX];
    struct writer w = writer_of(rest, sizeof rest);
    const struct origin *origin = request->bucket->origin;
    bool plain = bytes_start_with(key, path) && (key.len == path.len || key.ptr[path.len] == '?');
    if (path.len > REQUEST_KEY_MAX || key.len > REQUEST_KEY_MAX || request->http->host.len > HOST_MAX)
        return false;
    write_bytes(&w, plain ? bytes_from(key, path.len) : key);
    write_host(request, &w);
    write_steering(request, &w);
    return !w.failed && identity_write(scratch, origin_identity_endpoint(origin),
                            origin_identity_bucket(origin), path, writer_bytes(&w), identity);
}

static void make_identity(struct request *request)
{
    uint8_t scratch[ITEM_KEY_MAX];
    struct bytes identity;
    if (request_http_identity(request, request->path, request->key, scratch, &identity))
        request->base_identity = request->identity = arena_copy(&request->arena, identity);
}

/* ---- the route ---- */

static size_t bytes_of_fields(const struct http_fields *fields)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < fields->count; i++)
        bytes += fields->fields[i].name.len + fields->fields[i].value.len;
    return bytes;
}

/* Whether it may be looked up and its answer stored, as far as the request says. */
static bool is_cacheable(const struct request *request)
{
    const struct http_request *http = request->http;
    bool reads = http->method == HTTP_GET || http->method == HTTP_HEAD;
    bool bare = http->framing == HTTP_BODY_NONE || http->method == HTTP_HEAD;
    /* What lies behind a body is not stored; who asks for it gets the answer as it is. */
    bool whole = !http_list_has(http_list_of(&http->fields, BYTES("te")), BYTES("trailers"));
    return reads && bare && whole && request->caching->enabled &&
           bytes_of_fields(&http->fields) <= SHARED_FIELDS_MAX;
}

bool request_locate_http(struct request *request, const struct target *target, struct bytes path)
{
    if (!make_target(request, target, path))
        return false;
    request->caching = request_caching_of(request->bucket->settings, request->key);
    make_identity(request);
    return true;
}

void request_route_http(struct request *request, const struct target *target, struct bytes path)
{
    if (!request_locate_http(request, target, path)) {
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
        return;
    }
    if (via_loops(&request->http->fields)) {
        reply_error(request, 508, "this request goes in a circle", (struct bytes){0});
        return;
    }
    if (!request->identity.ptr || !is_cacheable(request)) {
        request_pass(request);
        return;
    }
    /* What is told to one who is known by it need not be for all, so nobody waits for it. */
    request->authorized = request->alone = http_fields_find(&request->http->fields, BYTES("authorization"));
    if (!request_read_wishes(request))
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
    else
        request_lookup(request);
}
