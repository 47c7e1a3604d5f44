/* Step 2: path to bucket, key and identity. The path is decoded once; what could mean two things is refused.
 * Of a bucket with a generic HTTP origin: locate_http.c. */
#include "base/error.h"
#include "http/target.h"
#include "proxy/request.h"
#include "proxy/s3_query.h"

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
bool request_read_wishes(struct request *request)
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
    if (request->key.len > REQUEST_KEY_MAX || request->version_id.len > REQUEST_KEY_MAX)
        return false;
    uint8_t scratch[ITEM_KEY_MAX];
    if (!identity_write(scratch, endpoint, name, request->key, request->version_id, &request->identity))
        return false;
    request->base_identity = request->identity = arena_copy(&request->arena, request->identity);
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
    if (request->warm && (unsigned)bucket != request->warm->bucket) {
        reply_error(request, 404, "another bucket is served under this path", (struct bytes){0});
        return;
    }
    if (request->bucket->settings->http.on) {
        request_route_http(request, &target, path);
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
    if (!request_read_wishes(request)) {
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
        return;
    }
    request->pass = !request->caching->enabled;
    request_lookup(request);
}
