/* Step 2: path to bucket, key and identity. The path is decoded once; what could mean two things is refused.
 */
#include <stdlib.h>

#include "base/error.h"
#include "http/target.h"
#include "proxy/request.h"
#include "proxy/s3_query.h"

#define KEY_MAX 1024

static struct bytes joined(struct request *request, struct bytes name)
{
    const struct http_fields *fields = &request->http->fields;
    const struct http_field *field = http_fields_find(fields, name);
    if (!field)
        return (struct bytes){0};
    if (!http_fields_next(fields, field))
        return field->value.ptr ? field->value : BYTES("");
    size_t len = 0;
    for (const struct http_field *f = field; f; f = http_fields_next(fields, f))
        len += f->value.len + 2;
    uint8_t *at = arena_take(&request->arena, len);
    if (!at)
        return (struct bytes){0};
    struct writer w = writer_of(at, len);
    for (const struct http_field *f = field; f; f = http_fields_next(fields, f)) {
        if (f != field)
            write_bytes(&w, BYTES(", "));
        write_bytes(&w, f->value);
    }
    return writer_bytes(&w);
}

/* Range and the conditionals; HEAD has no ranges (RFC 9110 14.2: defined for GET). */
static bool read_wishes(struct request *request)
{
    request->conditions = (struct conditions){
        .if_match = joined(request, BYTES("if-match")),
        .if_none_match = joined(request, BYTES("if-none-match")),
        .if_modified_since = http_fields_value(&request->http->fields, BYTES("if-modified-since")),
        .if_unmodified_since = http_fields_value(&request->http->fields, BYTES("if-unmodified-since")),
        .if_range = http_fields_value(&request->http->fields, BYTES("if-range")),
    };
    struct bytes mode = http_fields_value(&request->http->fields, BYTES("x-amz-checksum-mode"));
    request->wants_checksum = bytes_equal_nocase(mode, BYTES("enabled"));
    static const struct http_fields none = {0};
    request_control_of(&request->control, request->caching->honor_client ? &request->http->fields : &none);
    request->range_verdict = RANGE_NONE;
    struct bytes range = http_fields_value(&request->http->fields, BYTES("range"));
    if (!range.ptr || request->http->method != HTTP_GET ||
        http_fields_count(&request->http->fields, BYTES("range")) > 1)
        return true;
    request->range_set = arena_take(&request->arena, sizeof *request->range_set);
    if (!request->range_set)
        return false;
    request->range_verdict = range_parse(range, request->range_set);
    return true;
}

static bool read_path(struct request *request, const struct target *target, struct bytes *decoded)
{
    uint8_t *buf = arena_take(&request->arena, target->path.len);
    return buf && target_decode_path(target->path, buf, decoded) == 0;
}

static bool read_query(struct request *request, struct bytes raw)
{
    struct s3_query query = {0};
    uint8_t *buf = arena_take(&request->arena, raw.len + 1);
    int result = buf ? s3_query_parse(raw, buf, &query) : E_EXHAUSTED;
    request->version_id = query.version_id;
    if (result == 0)
        return true;
    reply_error(request, 400,
        result == E_UNSUPPORTED ? "this query parameter asks for something that is not served here"
                                : "malformed query",
        (struct bytes){0});
    return false;
}

static bool make_identity(struct request *request)
{
    const struct origin *origin = request->bucket->origin;
    struct bytes endpoint = origin_identity_endpoint(origin), name = origin_identity_bucket(origin);
    if (request->key.len > KEY_MAX || request->version_id.len > KEY_MAX)
        return false;
    uint8_t scratch[ITEM_KEY_MAX];
    if (!identity_write(scratch, endpoint, name, request->key, request->version_id, &request->identity))
        return false;
    request->identity = arena_copy(&request->arena, request->identity);
    return request->identity.ptr != NULL;
}

/* The first rule whose pattern matches, else what the bucket has. */
const struct caching *request_caching_of(const struct bucket_settings *settings, struct bytes key)
{
    for (unsigned i = 0; i < settings->caching_rule_count; i++)
        if (caching_pattern_matches(settings->caching_rules[i].pattern, key))
            return &settings->caching_rules[i].caching;
    return &settings->caching;
}

/* ---- generic HTTP origins ---- */

#define DECODED_ON_STACK 8192

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
    return true;
}

static void route_http(struct request *request, const struct target *target, struct bytes path)
{
    if (!make_target(request, target, path))
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
    else if (via_loops(&request->http->fields))
        reply_error(request, 508, "this request goes in a circle", (struct bytes){0});
    else
        request_pass(request);
}

void request_route(struct request *request)
{
    struct proxy *proxy = request->worker->proxy;
    struct target target;
    struct bytes path;
    if (target_split(request->http->target, &target) < 0 || !read_path(request, &target, &path)) {
        counter_add(&proxy->stats.path_traversal_blocked, 1);
        reply_error(request, 400, "malformed path", (struct bytes){0});
        return;
    }
    int bucket = route_find(proxy->routes, path, &request->key);
    if (bucket < 0) {
        reply_error(request, 404, "no bucket is served under this path", (struct bytes){0});
        return;
    }
    request->bucket = &proxy->buckets[bucket];
    if (request->bucket->settings->http.on) {
        route_http(request, &target, path);
        return;
    }
    if (request->key.len == 0) {
        reply_error(request, 404, "no object is named by this path", (struct bytes){0});
        return;
    }
    if (!read_query(request, target.query))
        return;
    if (!make_identity(request)) {
        reply_error(request, 400, "the object's key is longer than 1,024 bytes", (struct bytes){0});
        return;
    }
    request->caching = request_caching_of(request->bucket->settings, request->key);
    if (!read_wishes(request)) {
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
        return;
    }
    request->pass = !request->caching->enabled;
    request_lookup(request);
}
