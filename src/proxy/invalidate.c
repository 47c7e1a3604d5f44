/*
 * An unsafe method with an answer that is no error may have changed what is stored: its target, and what
 * Location and Content-Location name, where they are of the same origin (RFC 9111 4.4). Told before the
 * answer goes out, so that whoever has seen it finds nothing older.
 *
 * An origin behind a prefix may name itself or us. Both readings are forgotten: one too many costs a fetch.
 * References are resolved as RFC 3986 5.2 has it; `//host/path` is not looked into.
 */
#include "http/reference.h"
#include "http/target.h"
#include "proxy/request.h"

#define REFERENCE_MAX 1024

static void forget(struct request *request, struct bytes identity)
{
    struct proxy *proxy = request->worker->proxy;
    flights_outdate(proxy->flights, identity);
    marks_remove(proxy->marks, identity);
}

static void forget_key(struct request *request, struct bytes raw_path, struct bytes raw_query)
{
    uint8_t key[REFERENCE_MAX + 2], decoded[REFERENCE_MAX], scratch[ITEM_KEY_MAX];
    struct bytes path, identity;
    struct writer w = writer_of(key, sizeof key);
    if (target_decode_path(raw_path, decoded, &path) < 0)
        return;
    http_key_write(raw_path, raw_query, &request->bucket->settings->http.query, &w);
    if (!w.failed && request_http_identity(request, path, writer_bytes(&w), scratch, &identity))
        forget(request, identity);
}

/* As the client would read it: a path of ours. */
static void forget_ours(struct request *request, const struct target *target)
{
    uint8_t buf[REFERENCE_MAX];
    struct bytes path, key;
    const struct proxy *proxy = request->worker->proxy;
    if (target_decode_path(target->path, buf, &path) < 0)
        return;
    int bucket = route_find(proxy->routes, path, &key);
    if (bucket < 0 || &proxy->buckets[bucket] != request->bucket)
        return;
    size_t prefix = (size_t)(key.ptr - path.ptr);
    prefix -= prefix > 0 && key.ptr[-1] == '/';
    forget_key(request, http_key_rest(target->path, prefix), target->query);
}

/* As the origin means it: a path of its own, below the endpoint's. */
static void forget_origins(struct request *request, const struct target *target)
{
    struct bytes endpoint = origin_identity_endpoint(request->bucket->origin);
    size_t scheme = bytes_start_with(endpoint, BYTES("https://")) ? 8 : 7;
    const uint8_t *slash = memchr(endpoint.ptr + scheme, '/', endpoint.len - scheme);
    struct bytes base = bytes_from(endpoint, slash ? (size_t)(slash - endpoint.ptr) : endpoint.len);
    if (!bytes_start_with(target->path, base))
        return;
    struct bytes rest = bytes_from(target->path, base.len);
    if (rest.len > 0 && rest.ptr[0] == '/')
        forget_key(request, rest, target->query);
}

static bool is_origin(const struct request *request, struct bytes authority)
{
    struct bytes endpoint = origin_identity_endpoint(request->bucket->origin);
    endpoint = bytes_from(endpoint, bytes_start_with(endpoint, BYTES("https://")) ? 8 : 7);
    return endpoint.len >= authority.len &&
           bytes_equal_nocase(bytes_of(endpoint.ptr, authority.len), authority) &&
           (endpoint.len == authority.len || endpoint.ptr[authority.len] == '/' ||
               endpoint.ptr[authority.len] == ':');
}

/* To what the origin was asked: a path from the root of its own, or of ours. */
static void forget_path(struct request *request, struct bytes value)
{
    uint8_t text[2 * REFERENCE_MAX];
    struct writer w = writer_of(text, sizeof text);
    struct target base, target;
    if (target_split(request->target, &base) < 0)
        return;
    reference_resolve(base.path, value, &w);
    if (w.failed || w.at - text > REFERENCE_MAX || target_split(writer_bytes(&w), &target) < 0)
        return;
    if (value.ptr[0] != '/') {
        forget_key(request, target.path, target.query);
        return;
    }
    forget_ours(request, &target);
    forget_origins(request, &target);
}

static void forget_reference(struct request *request, struct bytes value)
{
    struct target target;
    const uint8_t *mark = value.len > 0 ? memchr(value.ptr, '#', value.len) : NULL;
    value.len = mark ? (size_t)(mark - value.ptr) : value.len;
    if (value.len == 0 || value.len > REFERENCE_MAX)
        return;
    if (!reference_leaves(value)) {
        forget_path(request, value);
        return;
    }
    if (target_split(value, &target) < 0 || target.form != TARGET_ABSOLUTE)
        return;
    if (bytes_equal_nocase(target.authority, request->http->host))
        forget_ours(request, &target);
    if (is_origin(request, target.authority))
        forget_origins(request, &target);
}

void request_invalidate(struct request *request, const struct origin_head *head)
{
    enum http_method method = request->http->method;
    bool safe = method == HTTP_GET || method == HTTP_HEAD || method == HTTP_OPTIONS || method == HTTP_TRACE;
    if (safe || head->status < 200 || head->status >= 400)
        return;
    if (request->base_identity.ptr)
        forget(request, request->base_identity);
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct origin_field *field = &head->fields[i];
        if (bytes_equal_nocase(field->name, BYTES("location")) ||
            bytes_equal_nocase(field->name, BYTES("content-location")))
            forget_reference(request, field->value);
    }
}
