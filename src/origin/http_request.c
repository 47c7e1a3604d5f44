#include "origin/http_request.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

#define METHOD_MAX 32

static bool is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.len > 0;
}

/* No controls; and in a target no space either, which would end it. */
static bool is_text(struct bytes text, uint8_t lowest)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.ptr[i] < lowest && text.ptr[i] != '\t') || text.ptr[i] == 0x7f)
            return false;
    }
    return lowest == ' ' || text.len == 0 || memchr(text.ptr, '\t', text.len) == NULL;
}

/* What only we say: see origin_request.fields. */
static bool is_ours(struct bytes name)
{
    static const char *const names[] = {
        "host", "content-length", "transfer-encoding", "connection", "expect", "te", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_nocase(name, bytes_of_string(names[i])))
            return true;
    }
    return false;
}

static bool is_named(const struct origin_request *request, struct bytes name)
{
    for (unsigned i = 0; i < request->field_count; i++) {
        if (bytes_equal_nocase(request->fields[i].name, name))
            return true;
    }
    return false;
}

static int set_target(
    const struct origin *origin, const struct origin_request *request, struct outgoing *built)
{
    struct bytes base = bytes_of_string(origin->base), target = request->target;
    if (target.len == 0 || target.ptr[0] != '/' || !is_text(target, '!'))
        return E_SYNTAX;
    size_t room = base.len + target.len + 1;
    built->target = malloc(room);
    if (built->target == NULL)
        return -ENOMEM;
    struct writer w = writer_of(built->target, room);
    write_bytes(&w, base);
    write_bytes(&w, target);
    write_u8(&w, '\0');
    CHECK(!w.failed);
    struct writer url = writer_of(built->url, sizeof built->url);
    endpoint_write(&origin->endpoint, &url);
    write_bytes(&url, BYTES("/"));
    write_u8(&url, '\0');
    return url.failed ? E_TOO_LARGE : 0;
}

static int add_host(const struct origin *origin, const struct origin_request *request, struct outgoing *built)
{
    char host[ENDPOINT_HOST_MAX + 16];
    struct writer w = writer_of(host, sizeof host);
    if (request->host.len > 0)
        return is_text(request->host, '!') ? outgoing_add(built, BYTES("Host"), request->host) : E_SYNTAX;
    endpoint_write_authority(&origin->endpoint, &w);
    return w.failed ? E_TOO_LARGE : outgoing_add(built, BYTES("Host"), writer_bytes(&w));
}

static int add_fields(const struct origin_request *request, struct outgoing *built)
{
    int error = 0;
    for (unsigned i = 0; i < request->field_count && error == 0; i++) {
        const struct origin_field *field = &request->fields[i];
        CHECK(!is_ours(field->name));
        if (!is_token(field->name) || !is_text(field->value, ' '))
            return E_SYNTAX;
        error = outgoing_add(built, field->name, field->value);
    }
    return error;
}

static int add_wish(int error, struct outgoing *built, bool wished, struct bytes name, struct bytes value)
{
    if (error != 0 || !wished)
        return error;
    return is_text(value, ' ') ? outgoing_add(built, name, value) : E_SYNTAX;
}

/* A line that only keeps libcurl from sending its own. */
static int silence(int error, struct outgoing *built, bool wished, const char *line)
{
    if (error != 0 || !wished)
        return error;
    struct curl_slist *longer = curl_slist_append(built->lines, line);
    if (longer == NULL)
        return -ENOMEM;
    built->lines = longer;
    return 0;
}

static int add_ours(const struct origin_request *request, struct outgoing *built)
{
    char range[64];
    bool expects = request->upload != NULL && request->upload->expect;
    bool says_empty = request->upload == NULL && request->says_empty && !request->head_only;
    int error = add_wish(0, built, request->ranged, BYTES("Range"),
        request->ranged ? outgoing_range(request, range, sizeof range) : (struct bytes){0});
    error = add_wish(error, built, request->if_match.len > 0, BYTES("If-Match"), request->if_match);
    error = add_wish(
        error, built, request->if_none_match.len > 0, BYTES("If-None-Match"), request->if_none_match);
    error = add_wish(error, built, request->if_modified_since.len > 0, BYTES("If-Modified-Since"),
        request->if_modified_since);
    error = add_wish(error, built, request->wants_trailers, BYTES("TE"), BYTES("trailers"));
    error = add_wish(error, built, request->wants_trailers, BYTES("Connection"), BYTES("TE"));
    error = add_wish(error, built, says_empty, BYTES("Content-Length"), BYTES("0"));
    error = add_wish(error, built, expects, BYTES("Expect"), BYTES("100-continue"));
    error = silence(error, built, request->upload != NULL && !expects, "Expect:");
    return silence(error, built, !is_named(request, BYTES("accept")), "Accept:");
}

int http_request_build(
    const struct origin *origin, const struct origin_request *request, struct outgoing *built)
{
    built->target = NULL;
    built->lines = NULL;
    CHECK(request->upload == NULL || !request->head_only);
    bool known = request->method.len == 0 || (request->method.len <= METHOD_MAX && is_token(request->method));
    int error = known ? set_target(origin, request, built) : E_SYNTAX;
    if (error == 0)
        error = add_host(origin, request, built);
    if (error == 0)
        error = add_fields(request, built);
    if (error == 0)
        error = add_ours(request, built);
    if (error != 0)
        outgoing_free(built);
    return error;
}
