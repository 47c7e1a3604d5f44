#include "origin/response.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "origin/answer.h"

void response_reset(struct response *response)
{
    memset(response, 0, offsetof(struct response, fields));
}

static bool is_token(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_value(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        if ((value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

/* "HTTP/1.1 200 OK" */
static int parse_status(struct response *response, struct bytes line)
{
    uint64_t status;
    bool version = bytes_start_with(line, BYTES("HTTP/1.1 ")) || bytes_start_with(line, BYTES("HTTP/1.0 "));
    if (!version || line.len < 12 || !bytes_to_u64(bytes_of(line.ptr + 9, 3), &status))
        return E_PROTOCOL;
    if ((line.len > 12 && line.ptr[12] != ' ') || status < 100 || status > 599 || status == 101 ||
        !is_value(line))
        return E_PROTOCOL;
    response_reset(response);
    response->status = (unsigned)status;
    return 0;
}

/* "bytes 0-9/100", a star for the total, or a star for the range. */
static bool parse_content_range(struct response *response, struct bytes value)
{
    const struct bytes unit = BYTES("bytes ");
    if (!bytes_start_with(value, unit))
        return false;
    value = bytes_trim(bytes_from(value, unit.len));
    const uint8_t *slash = value.len == 0 ? NULL : memchr(value.ptr, '/', value.len);
    if (slash == NULL)
        return false;
    struct bytes range = bytes_of(value.ptr, (size_t)(slash - value.ptr));
    struct bytes total = bytes_from(value, range.len + 1);
    response->range_has_total = !bytes_equal(total, BYTES("*"));
    if (response->range_has_total &&
        (!bytes_to_u64(total, &response->total) || response->total > ORIGIN_LENGTH_MAX))
        return false;
    if (bytes_equal(range, BYTES("*"))) {
        response->unsatisfied = true;
        return response->range_has_total;
    }
    const uint8_t *dash = range.len == 0 ? NULL : memchr(range.ptr, '-', range.len);
    if (dash == NULL)
        return false;
    size_t at = (size_t)(dash - range.ptr);
    if (!bytes_to_u64(bytes_of(range.ptr, at), &response->first) ||
        !bytes_to_u64(bytes_from(range, at + 1), &response->last))
        return false;
    response->has_range = true;
    return response->first <= response->last && response->last != UINT64_MAX &&
           (!response->range_has_total || response->last < response->total);
}

static bool set_once(struct bytes *to, struct bytes value)
{
    bool first = to->ptr == NULL;
    *to = value;
    return first;
}

static void forget_range(struct response *response)
{
    response->has_range = response->unsatisfied = response->range_has_total = false;
    response->broken_range = true;
}

/* What only a cache looks at. */
static bool note_validators(struct response *response, struct bytes name, struct bytes value)
{
    bool right = true;
    if (bytes_equal_nocase(name, BYTES("content-range"))) {
        right = !response->has_range && !response->unsatisfied && !response->broken_range &&
                parse_content_range(response, value);
        if (!right)
            forget_range(response);
    } else if (bytes_equal_nocase(name, BYTES("etag"))) {
        right = set_once(&response->etag, value);
        if (!right)
            response->etag.len = 0;
    } else if (bytes_equal_nocase(name, BYTES("last-modified"))) {
        right = set_once(&response->last_modified, value);
        if (!right)
            response->last_modified.len = 0;
    }
    return right || response->any_server;
}

/* What framing and checks need; the rest is only kept. */
static bool note_field(struct response *response, struct bytes name, struct bytes value)
{
    if (bytes_equal_nocase(name, BYTES("content-length"))) {
        uint64_t before = response->length;
        bool again = response->has_length;
        response->has_length = true;
        return bytes_to_u64(value, &response->length) && response->length <= ORIGIN_LENGTH_MAX &&
               (!again || response->length == before);
    }
    if (bytes_equal_nocase(name, BYTES("transfer-encoding"))) {
        bool again = response->chunked;
        response->chunked = true;
        return !again && bytes_equal_nocase(value, BYTES("chunked"));
    }
    if (bytes_equal_nocase(name, BYTES("retry-after")))
        response->retry_after = value;
    else if (bytes_equal_nocase(name, BYTES("x-amz-bucket-region")))
        response->bucket_region = value;
    else if (bytes_equal_nocase(name, BYTES("x-amz-request-id")))
        response->request_id = value;
    return note_validators(response, name, value);
}

/* Splits a copy of the line. */
static int take_field(struct response *response, struct bytes line, struct origin_field *field)
{
    if (line.len > RESPONSE_HEAD_MAX - response->used)
        return E_PROTOCOL;
    uint8_t *copy = response->text + response->used;
    memcpy(copy, line.ptr, line.len);
    response->used += line.len;
    size_t colon = 0;
    while (colon < line.len && is_token(copy[colon]))
        colon++;
    if (colon == 0 || colon == line.len || copy[colon] != ':')
        return E_PROTOCOL; /* also a folded line: it begins with a space */
    struct bytes name = bytes_of(copy, colon);
    struct bytes value = bytes_trim(bytes_of(copy + colon + 1, line.len - colon - 1));
    *field = (struct origin_field){name, value};
    return is_value(value) ? 0 : E_PROTOCOL;
}

static int parse_field(struct response *response, struct bytes line)
{
    struct origin_field field;
    if (response->field_count == RESPONSE_FIELDS_MAX || take_field(response, line, &field) < 0 ||
        !note_field(response, field.name, field.value))
        return E_PROTOCOL;
    response->fields[response->field_count++] = field;
    return RESPONSE_MORE;
}

/* ---- hop-by-hop fields (RFC 9110 7.6.1) ---- */

static bool list_names(struct bytes list, struct bytes name)
{
    while (list.len > 0) {
        const uint8_t *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);
        if (bytes_equal_nocase(bytes_trim(bytes_of(list.ptr, len)), name))
            return true;
        list = bytes_from(list, comma == NULL ? len : len + 1);
    }
    return false;
}

static bool is_hop_by_hop(const struct response *response, struct bytes name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate",
        "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_nocase(name, bytes_of_string(names[i])))
            return true;
    }
    for (unsigned i = 0; i < response->field_count; i++) {
        const struct origin_field *field = &response->fields[i];
        if (bytes_equal_nocase(field->name, BYTES("connection")) && list_names(field->value, name))
            return true;
    }
    return false;
}

/* Marks first, since a Connection field may come after what it names. */
static void drop_hop_by_hop(struct response *response)
{
    bool drop[RESPONSE_FIELDS_MAX];
    for (unsigned i = 0; i < response->field_count; i++)
        drop[i] = is_hop_by_hop(response, response->fields[i].name);
    unsigned kept = 0;
    for (unsigned i = 0; i < response->field_count; i++) {
        if (!drop[i])
            response->fields[kept++] = response->fields[i];
    }
    response->told_count = kept;
}

/* Trailers may not frame, route or vouch (RFC 9110 6.5.1): what a head would mean is dropped from them. */
static bool trailer_may_stand(struct bytes name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "content-length", "content-encoding", "content-type", "content-range",
        "host", "authorization", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
        "www-authenticate", "set-cookie", "cookie", "cache-control", "expires", "date", "age", "vary",
        "warning", "pragma", "location", "retry-after", "via"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_nocase(name, bytes_of_string(names[i])))
            return false;
    }
    return true;
}

static int parse_trailer(struct response *response, struct bytes line)
{
    struct origin_field field;
    unsigned at = response->told_count + response->trailer_count;
    if (!response->any_server || line.len == 0)
        return RESPONSE_MORE;
    if (at == RESPONSE_FIELDS_MAX || take_field(response, line, &field) < 0)
        return E_PROTOCOL;
    if (trailer_may_stand(field.name)) {
        response->fields[at] = field;
        response->trailer_count++;
    }
    return RESPONSE_MORE;
}

static int end_head(struct response *response)
{
    if (response->status < 200) {
        response->interim = true;
        drop_hop_by_hop(response);
        return RESPONSE_INTERIM;
    }
    if (response->chunked && response->has_length)
        return E_PROTOCOL;
    response->complete = true;
    drop_hop_by_hop(response);
    return RESPONSE_FINAL;
}

int response_line(struct response *response, struct bytes line)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\n')
        line.len--;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (response->complete)
        return parse_trailer(response, line);
    if (response->status == 0 || response->interim)
        return parse_status(response, line);
    return line.len > 0 ? parse_field(response, line) : end_head(response);
}

/* ---- against the request ---- */

bool response_tag_strong(struct bytes etag)
{
    return etag.len >= 2 && etag.ptr[0] == '"' && etag.ptr[etag.len - 1] == '"';
}

static int judge_range(const struct response *response, const struct origin_request *request)
{
    if (!request->ranged || !response->has_range || response->first != request->first)
        return E_PROTOCOL;
    uint64_t last = request->last;
    if (response->range_has_total && last >= response->total)
        last = response->total - 1;
    bool as_asked = response->range_has_total ? response->last == last : response->last <= last;
    uint64_t length = response->last - response->first + 1;
    bool length_fits = !response->has_length || response->length == length;
    return as_asked && length_fits ? 0 : E_PROTOCOL;
}

static void fill_head(const struct response *response, struct origin_head *head)
{
    *head = (struct origin_head){
        .status = response->status,
        .content_length = response->has_length ? response->length : UINT64_MAX,
        .total = UINT64_MAX,
        .etag = response->etag,
        .last_modified = response->last_modified,
        .fields = response->fields,
        .field_count = response->told_count,
    };
    if (response->status == 206) {
        head->first = response->first;
        head->last = response->last;
        head->total = response->range_has_total ? response->total : UINT64_MAX;
        if (response->has_range)
            head->content_length = response->last - response->first + 1;
    } else if (response->status == 200) {
        head->total = head->content_length;
    }
}

/* A 304 answers nothing else. */
static bool asks_for_change(const struct origin_request *request)
{
    return request->if_none_match.len > 0 || request->if_modified_since.len > 0;
}

int response_judge(
    const struct response *response, const struct origin_request *request, struct origin_head *head)
{
    CHECK(response->complete);
    fill_head(response, head);
    if (response->status == 304)
        return asks_for_change(request) ? 0 : E_PROTOCOL;
    if (response->status != 200 && response->status != 206)
        return E_PROTOCOL;
    if (request->if_match.len > 0 && !answer_tags_match(request->if_match, response->etag, true))
        return E_CHANGED;
    return response->status == 206 ? judge_range(response, request) : 0;
}

int response_judge_any(
    const struct response *response, const struct origin_request *request, struct origin_head *head)
{
    CHECK(response->complete);
    fill_head(response, head);
    if (request->verbatim) {
        head->content_length = response->has_length ? response->length : UINT64_MAX;
        return 0;
    }
    bool matched = request->if_match.len > 0;
    if (response->status == 412 && matched)
        return E_CHANGED;
    if (response->status == 416 && request->ranged)
        return -ERANGE;
    if (matched && (response->status == 200 || response->status == 206) &&
        !answer_tags_match(request->if_match, response->etag, true))
        return E_CHANGED;
    if (response->status == 206)
        return judge_range(response, request);
    return response->status == 304 && !asks_for_change(request) ? E_PROTOCOL : 0;
}

void response_interim(const struct response *response, struct origin_head *head)
{
    CHECK(response->interim);
    fill_head(response, head);
}

const struct origin_field *response_trailers(const struct response *response)
{
    return response->fields + response->told_count;
}
