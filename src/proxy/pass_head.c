/*
 * Heads of messages that pass: what of the client's goes to the origin, and what of the origin's to the
 * client. Field lines keep their order, repetition and spelling; those of one connection end here, and
 * framing is made anew on both sides.
 */
#include "http/cache_status.h"
#include "http/hop_by_hop.h"
#include "http/response.h"
#include "proxy/pass.h"

#define OWN_LINES_MAX 512
#define OWN_FIELDS_MAX (FORWARDED_FIELDS_MAX + 1)

/* ---- to the origin ---- */

/* "192.0.2.1:80" and "[2001:db8::1]:80" without the port. */
static struct bytes address_of(char *text)
{
    char *end = strrchr(text, ':');
    size_t len = end == NULL ? strlen(text) : (size_t)(end - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
        return bytes_of(text + 1, len - 2);
    return bytes_of(text, len);
}

static size_t bytes_of_fields(const struct http_fields *fields)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < fields->count; i++)
        bytes += fields->fields[i].value.len + 2;
    return bytes;
}

static unsigned add_ours(struct request *request, struct origin_field *fields, unsigned count)
{
    const struct http_request *http = request->http;
    enum forwarded_style style = request->bucket->settings->http.forwarded;
    struct http_field lines[FORWARDED_FIELDS_MAX];
    char peer[IO_ADDRESS_TEXT] = "unknown"; /* RFC 7239 6.3; no client asks */
    if (request->exchange)
        io_address_format(exchange_peer(request->exchange), peer);
    size_t room = bytes_of_fields(&http->fields) + 2 * http->host.len + OWN_LINES_MAX;
    uint8_t *text = arena_take(&request->arena, room);
    if (!text)
        return 0;
    struct writer w = writer_of(text, room);
    struct forwarded_facts facts = {.client = address_of(peer), .host = http->host};
    unsigned made = forwarded_make(style, &http->fields, &facts, &w, lines);
    CHECK(!w.failed);
    for (unsigned i = 0; i < made; i++)
        fields[count++] = (struct origin_field){lines[i].name, lines[i].value};
    fields[count++] = (struct origin_field){BYTES("Via"), via_value(http->minor)};
    return count;
}

bool pass_fields(struct request *request, struct origin_request *to)
{
    const struct http_fields *from = &request->http->fields;
    enum forwarded_style style = request->bucket->settings->http.forwarded;
    struct origin_field *fields =
        arena_take(&request->arena, (from->count + OWN_FIELDS_MAX) * sizeof *fields);
    unsigned count = 0;
    for (unsigned i = 0; i < from->count && fields; i++) {
        const struct http_field *field = &from->fields[i];
        if (!hop_by_hop(from, field->name) && !forwarded_replaces(style, field->name))
            fields[count++] = (struct origin_field){field->name, field->value};
    }
    to->fields = fields;
    to->field_count = fields ? add_ours(request, fields, count) : 0;
    return to->field_count > 0;
}

static bool is_wish(struct bytes name)
{
    static const struct bytes names[] = {BYTES("if-match"), BYTES("if-none-match"),
        BYTES("if-modified-since"), BYTES("if-unmodified-since"), BYTES("if-range"), BYTES("range")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_nocase(name, names[i]))
            return true;
    return false;
}

bool pass_shared_fields(struct request *request)
{
    struct origin_request to;
    if (request->shared_fields.fields)
        return true;
    if (!pass_fields(request, &to))
        return false;
    struct http_field *fields = arena_take(&request->arena, to.field_count * sizeof *fields);
    unsigned count = 0;
    for (unsigned i = 0; i < to.field_count && fields; i++)
        if (!is_wish(to.fields[i].name))
            fields[count++] = (struct http_field){to.fields[i].name, to.fields[i].value};
    request->shared_fields = (struct http_fields){fields, count};
    return fields != NULL;
}

/* ---- to the client ---- */

static bool is_replaced(struct bytes name)
{
    static const struct bytes names[] = {BYTES("content-length"), BYTES("x-cache"), BYTES("x-request-id")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_nocase(name, names[i]))
            return true;
    return false;
}

static size_t lines_room(const struct origin_field *fields, unsigned count)
{
    size_t room = OWN_LINES_MAX;
    for (unsigned i = 0; i < count; i++)
        room += fields[i].name.len + fields[i].value.len + 4;
    return room;
}

static void write_ours(struct request *request, unsigned status, struct writer *w)
{
    enum http_method method = request->http->method;
    bool read = method == HTTP_GET || method == HTTP_HEAD;
    struct cache_status cache = {
        .fwd = read ? CACHE_STATUS_BYPASS : CACHE_STATUS_METHOD, .fwd_status = status};
    http_write_field(w, BYTES("Via"), via_value(1));
    http_write_field(w, BYTES("X-Cache"), cache_status_x_cache(&cache));
    write_bytes(w, BYTES("Cache-Status: "));
    cache_status_write(&cache, w);
    write_bytes(w, BYTES("\r\n"));
    http_write_field(w, BYTES("X-Request-ID"), bytes_of(request->id, REQUEST_ID_LEN));
}

struct bytes pass_lines(struct request *request, const struct origin_head *head, bool *dated)
{
    size_t room = lines_room(head->fields, head->field_count);
    uint8_t *text = arena_take(&request->arena, room);
    if (!text)
        return (struct bytes){0};
    struct writer w = writer_of(text, room);
    *dated = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct origin_field *field = &head->fields[i];
        *dated |= bytes_equal_nocase(field->name, BYTES("date"));
        if (!is_replaced(field->name))
            http_write_field(&w, field->name, field->value);
    }
    write_ours(request, head->status, &w);
    CHECK(!w.failed);
    return writer_bytes(&w);
}

struct bytes pass_plain_lines(struct request *request, const struct origin_field *fields, unsigned count)
{
    size_t room = lines_room(fields, count);
    uint8_t *text = arena_take(&request->arena, room);
    struct writer w = writer_of(text, text ? room : 0);
    for (unsigned i = 0; i < count && text; i++)
        if (!bytes_equal_nocase(fields[i].name, BYTES("content-length")))
            http_write_field(&w, fields[i].name, fields[i].value);
    return text ? writer_bytes(&w) : (struct bytes){0};
}
