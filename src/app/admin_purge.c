#include "app/admin_purge.h"

#include <errno.h>

#include <jansson.h>

#include "base/error.h"
#include "base/json.h"
#include "http/response.h"

/* ---- the request ---- */

static const char *parse_path(struct admin_purge *purge, struct bytes below)
{
    if (below.len == 0)
        return NULL;
    if (below.len > sizeof purge->path || below.ptr[0] != '/')
        return "the key is too long";
    memcpy(purge->path, below.ptr, below.len);
    struct bytes bucket = bytes_from(bytes_of(purge->path, below.len), 1);
    const uint8_t *slash = bucket.len ? memchr(bucket.ptr, '/', bucket.len) : NULL;
    if (slash) {
        purge->purge.key = bytes_from(bucket, (size_t)(slash - bucket.ptr) + 1);
        bucket.len = (size_t)(slash - bucket.ptr);
    }
    purge->purge.bucket = bucket;
    if (bucket.len == 0)
        return "the bucket's name is empty";
    return slash && purge->purge.key.len == 0 ? "the key is empty; a bucket is purged without the last /"
                                              : NULL;
}

static const char *take_text(const json_t *value, uint8_t *to, struct bytes *text)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return "\"prefix\", \"tag\", \"host\" and \"query\" are texts, and not empty";
    if (json_string_length(value) > ADMIN_PURGE_TEXT_MAX)
        return "\"prefix\", \"tag\", \"host\" or \"query\" is longer than 1,024 bytes";
    memcpy(to, json_string_value(value), json_string_length(value));
    *text = bytes_of(to, json_string_length(value));
    return NULL;
}

static const char *take_member(struct admin_purge *purge, const char *key, const json_t *value)
{
    if (strcmp(key, "prefix") == 0)
        return take_text(value, purge->prefix, &purge->purge.prefix);
    if (strcmp(key, "tag") == 0)
        return take_text(value, purge->tag, &purge->purge.tag);
    if (strcmp(key, "host") == 0)
        return take_text(value, purge->host, &purge->purge.host);
    if (strcmp(key, "query") == 0)
        return take_text(value, purge->query, &purge->purge.query);
    if (strcmp(key, "soft") != 0)
        return "the body's members are \"prefix\", \"tag\", \"soft\", \"host\" and \"query\"";
    purge->purge.soft = json_is_true(value);
    return json_is_boolean(value) ? NULL : "\"soft\" is true or false";
}

static const char *parse_body(struct admin_purge *purge, struct bytes body)
{
    if (bytes_trim(body).len == 0)
        return NULL;
    json_error_t error;
    json_t *json = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    const char *why = json_is_object(json) ? NULL : "the body is not a JSON object", *key;
    json_t *value;
    if (why == NULL)
        json_object_foreach(json, key, value)
        {
            if (why == NULL)
                why = take_member(purge, key, value);
        }
    json_decref(json);
    return why;
}

static const char *check(const struct proxy_purge *purge)
{
    if (purge->key.len && (purge->prefix.len || purge->tag.len))
        return "\"prefix\" and \"tag\" narrow a bucket or everything, not one object";
    if (purge->key.len == 0 && (purge->host.len || purge->query.len))
        return "\"host\" and \"query\" are of one object";
    return NULL;
}

const char *admin_purge_parse(struct admin_purge *purge, struct bytes below, struct bytes body)
{
    struct proxy_purge *what = &purge->purge;
    what->bucket = what->key = what->prefix = what->tag = what->host = what->query = (struct bytes){0};
    what->soft = false;
    what->durable_until_ns = 0;
    const char *why = parse_path(purge, below);
    if (why == NULL)
        why = parse_body(purge, body);
    return why ? why : check(what);
}

/* ---- the answer ---- */

static void put_text(struct json *json, const char *key, struct bytes text)
{
    if (text.len)
        json_put_string(json, key, text);
}

static void write_stored(struct json *json, const struct proxy_purge *purge)
{
    if (!purge->was_stored) {
        json_put_null(json, "stored");
        return;
    }
    json_open_object(json, "stored");
    put_text(json, "etag", bytes_of(purge->etag, purge->etag_len));
    json_put_number(json, "length", purge->stored_len);
    json_close_object(json);
}

static unsigned write_error(struct writer *w, unsigned status, const char *message)
{
    http_write_error_body(w, status, bytes_of_string(message));
    return status;
}

unsigned admin_purge_write(struct writer *w, const struct admin_purge *asked, int result)
{
    const struct proxy_purge *purge = &asked->purge;
    if (result == E_MISSING)
        return write_error(w, 404, "no bucket is configured under this name");
    if (result == E_TOO_LARGE)
        return write_error(w, 400, "key, prefix or tag is too long");
    if (result == E_SYNTAX && purge->key.len)
        return write_error(
            w, 400, "path, host or query is malformed; the last two are of generic HTTP origins only");
    if (result == E_SYNTAX)
        return write_error(w, 400, "a tag has no spaces, commas or control characters");
    if (result == -ENOMEM)
        return write_error(w, 503, "out of memory: nothing, or not all of it, was purged");
    unsigned status = result < 0 ? 503 : 200;
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    if (result < 0) {
        json_put_string(&json, "error", http_reason(status));
        json_put_string(&json, "message", BYTES("in force until restart, not durable"));
        json_put_number(&json, "status", status);
    }
    json_put_string(&json, "purged",
        purge->key.len      ? BYTES("object")
        : purge->bucket.len ? BYTES("bucket")
                            : BYTES("everything"));
    put_text(&json, "bucket", purge->bucket);
    put_text(&json, "key", purge->key);
    put_text(&json, "prefix", purge->prefix);
    put_text(&json, "tag", purge->tag);
    json_put_bool(&json, "soft", purge->soft);
    if (purge->key.len && purge->is_told)
        write_stored(&json, purge);
    put_text(&json, "vary", vary_text(&purge->vary));
    json_put_number(&json, "sequence", purge->sequence);
    json_put_bool(&json, "durable", result == 0);
    json_close_object(&json);
    write_u8(w, '\n');
    return status;
}
