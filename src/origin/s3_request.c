#include "origin/s3_request.h"

#include <curl/curl.h>
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/s3_list.h"
#include "origin/sigv4.h"

/* The fields that are signed; values borrow from the builder's buffers. */
struct fields {
    struct sigv4_field list[SIGV4_FIELDS_MAX];
    size_t count;
};

static void add(struct fields *fields, struct bytes name, struct bytes value)
{
    CHECK(fields->count < SIGV4_FIELDS_MAX);
    fields->list[fields->count++] = (struct sigv4_field){name, value};
}

static int sign(const struct origin *origin, const struct sigv4_request *request,
    const uint8_t timestamp[SIGV4_TIMESTAMP_LEN], struct outgoing *built)
{
    char authorization[2048], scratch[32 * 1024];
    struct sigv4_scope scope = {.region = bytes_of_string(origin->region), .service = BYTES("s3")};
    memcpy(scope.timestamp, timestamp, SIGV4_TIMESTAMP_LEN);
    struct sigv4_credentials credentials = {
        bytes_of_string(origin->access_key), bytes_of_string(origin->secret_key)};
    struct writer w = writer_of(authorization, sizeof authorization);
    int error = sigv4_authorize(request, &scope, &credentials, writer_of(scratch, sizeof scratch), &w);
    return error != 0 ? error : outgoing_add(built, BYTES("Authorization"), writer_bytes(&w));
}

/* Fields whose values hold no line end: entity tags come from response.c, which lets none through, or from
 * the cache, which had them from there. */
static int add_lines(const struct fields *fields, struct outgoing *built)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (memchr(fields->list[i].value.ptr, '\n', fields->list[i].value.len) != NULL)
            return E_PROTOCOL;
        int error = outgoing_add(built, fields->list[i].name, fields->list[i].value);
        if (error != 0)
            return error;
    }
    /* libcurl's own would go out besides */
    int error = outgoing_add(built, BYTES("User-Agent"), BYTES("Yatagarasu/2"));
    struct curl_slist *longer = error == 0 ? curl_slist_append(built->lines, "Accept:") : NULL;
    return error != 0 ? error : longer == NULL ? -ENOMEM : 0;
}

static void write_query(const struct origin_request *request, struct writer *w)
{
    if (request->version_id.len > 0) {
        write_bytes(w, BYTES("versionId="));
        sigv4_encode(w, request->version_id);
    }
    if (!request->listing)
        return;
    if (request->token.len > 0) {
        write_bytes(w, BYTES("continuation-token="));
        sigv4_encode(w, request->token);
        write_u8(w, '&');
    }
    write_format(w, "encoding-type=url&list-type=2&max-keys=%u&prefix=", S3_LIST_KEYS);
    sigv4_encode(w, request->prefix);
}

int s3_request_build(
    const struct origin *origin, const struct origin_request *request, int64_t wall_s, struct outgoing *built)
{
    char host[2 * ENDPOINT_HOST_MAX], path[ENDPOINT_URL_MAX], query[OUTGOING_QUERY_MAX], range[64];
    uint8_t timestamp[SIGV4_TIMESTAMP_LEN];
    bool is_signed = origin->access_key != NULL;
    struct bytes bucket = bytes_of_string(origin->bucket);
    struct fields fields = {.count = 0};

    built->lines = NULL;
    built->target = NULL;
    struct writer host_w = writer_of(host, sizeof host), path_w = writer_of(path, sizeof path),
                  query_w = writer_of(query, sizeof query), url_w = writer_of(built->url, sizeof built->url);
    endpoint_write_host(&origin->endpoint, bucket, origin->path_style, &host_w);
    endpoint_write_path(bucket, request->key, origin->path_style, &path_w);
    write_query(request, &query_w);
    struct bytes path_text = writer_bytes(&path_w), query_text = writer_bytes(&query_w);
    endpoint_write_url(&origin->endpoint, bucket, origin->path_style, path_text, query_text, &url_w);
    write_u8(&url_w, '\0');
    if (host_w.failed || path_w.failed || query_w.failed || url_w.failed)
        return E_TOO_LARGE;

    sigv4_timestamp(wall_s, timestamp);
    add(&fields, BYTES("Host"), writer_bytes(&host_w));
    if (request->ranged)
        add(&fields, BYTES("Range"), outgoing_range(request, range, sizeof range));
    if (request->if_match.len > 0)
        add(&fields, BYTES("If-Match"), request->if_match);
    if (request->if_none_match.len > 0)
        add(&fields, BYTES("If-None-Match"), request->if_none_match);
    if (request->if_modified_since.len > 0)
        add(&fields, BYTES("If-Modified-Since"), request->if_modified_since);
    if (request->want_checksum)
        add(&fields, BYTES("x-amz-checksum-mode"), BYTES("ENABLED"));
    if (is_signed) {
        add(&fields, BYTES("x-amz-content-sha256"), BYTES(SIGV4_EMPTY_HASH));
        add(&fields, BYTES("x-amz-date"), bytes_of(timestamp, sizeof timestamp));
        if (origin->session_token != NULL)
            add(&fields, BYTES("x-amz-security-token"), bytes_of_string(origin->session_token));
    }
    int error = add_lines(&fields, built);
    if (error == 0 && is_signed) {
        struct sigv4_request to_sign = {
            .method = request->head_only ? BYTES("HEAD") : BYTES("GET"),
            .path = path_text,
            .query = query_text,
            .fields = fields.list,
            .field_count = fields.count,
            .payload_hash = BYTES(SIGV4_EMPTY_HASH),
        };
        error = sign(origin, &to_sign, timestamp, built);
    }
    if (error != 0)
        outgoing_free(built);
    return error;
}
