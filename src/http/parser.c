/* Lines of a request head. What their fields mean together is judged in parser_request.c. */
#include "http/parser.h"

#include "http/parser_request.h"
#include "http/target.h"

#define METHOD_MAX 32
/* Of a request line beside its target: method, two spaces, version, CRLF. */
#define LINE_OVERHEAD (METHOD_MAX + 2 + 8 + 2)

static const struct {
    unsigned status;
    const char *name, *text;
} refusals[HTTP_REFUSALS] = {[HTTP_ACCEPTED] = {0, "accepted", ""},
#define X(name, status, label, text) [HTTP_REFUSED_##name] = {status, label, text},
    HTTP_REFUSAL_TABLE(X)
#undef X
};

unsigned http_refusal_status(enum http_refusal refusal)
{
    CHECK(refusal < HTTP_REFUSALS);
    return refusals[refusal].status;
}

const char *http_refusal_name(enum http_refusal refusal)
{
    CHECK(refusal < HTTP_REFUSALS);
    return refusals[refusal].name;
}

const char *http_refusal_text(enum http_refusal refusal)
{
    CHECK(refusal < HTTP_REFUSALS);
    return refusals[refusal].text;
}

void http_parser_init(struct http_parser *parser, const struct http_limits *limits)
{
    struct http_limits set = limits ? *limits : (struct http_limits){0};
    set.max_target_bytes = set.max_target_bytes ? set.max_target_bytes : 8192;
    set.max_header_bytes = set.max_header_bytes ? set.max_header_bytes : 65536;
    set.max_body_bytes = set.max_body_bytes ? set.max_body_bytes : 10 * 1024 * 1024;
    if (set.max_fields == 0 || set.max_fields > HTTP_FIELDS_MAX)
        set.max_fields = HTTP_FIELDS_MAX;
    CHECK(set.max_header_bytes <= UINT32_MAX);
    parser->limits = set;
    http_parser_reset(parser);
}

void http_parser_reset(struct http_parser *parser)
{
    parser->refusal = HTTP_ACCEPTED;
    parser->state = HTTP_PARSE_START;
    parser->judged = parser->scanned = 0;
    parser->count = 0;
    parser->method = parser->target = (struct http_span){0, 0};
}

static void refuse(struct http_parser *parser, enum http_refusal refusal)
{
    parser->refusal = refusal;
    parser->state = HTTP_PARSE_REFUSED;
}

/* Judges how long a line is before its syntax: `len` bytes with its LF, or, not `whole`, so far without one.
 */
static bool fits(struct http_parser *parser, size_t len, bool whole)
{
    size_t least = whole ? len : len + 1;
    size_t head = parser->limits.max_header_bytes;
    if (parser->state == HTTP_PARSE_START) {
        size_t line = parser->limits.max_target_bytes + LINE_OVERHEAD;
        if (least > (line < head ? line : head))
            refuse(parser, HTTP_REFUSED_TARGET_LONG);
    } else if (parser->judged + least > head) {
        refuse(parser, HTTP_REFUSED_HEAD_LARGE);
    }
    return parser->state != HTTP_PARSE_REFUSED;
}

/* What is certainly no request (a TLS hello, for one) need not come to a line's end. */
static bool begins_well(struct http_parser *parser, struct bytes head)
{
    if (parser->state != HTTP_PARSE_START || head.len == parser->judged)
        return true;
    struct bytes first = bytes_of(head.ptr + parser->judged, 1);
    if (http_is_token(first) || (*first.ptr == '\r' && parser->judged == 0))
        return true;
    refuse(parser, *first.ptr == '\n' ? HTTP_REFUSED_LINE_END : HTTP_REFUSED_LINE);
    return false;
}

/* The next line without its CRLF; false: refused, or its end has not come. */
static bool next_line(struct http_parser *parser, struct bytes head, struct bytes *line)
{
    if (!begins_well(parser, head))
        return false;
    const uint8_t *start = head.ptr + parser->judged, *from = head.ptr + parser->scanned;
    size_t left = head.len - parser->scanned;
    const uint8_t *lf = left > 0 ? memchr(from, '\n', left) : NULL;
    if (!fits(parser, (size_t)((lf ? lf + 1 : head.ptr + head.len) - start), lf != NULL))
        return false;
    parser->scanned = lf ? (size_t)(lf + 1 - head.ptr) : head.len;
    if (lf == NULL)
        return false;
    parser->judged = parser->scanned;
    *line = bytes_of(start, (size_t)(lf - start));
    if (line->len == 0 || line->ptr[line->len - 1] != '\r') {
        refuse(parser, HTTP_REFUSED_LINE_END);
        return false;
    }
    line->len--;
    return true;
}

static struct http_span span_of(struct bytes head, struct bytes part)
{
    return (struct http_span){(uint32_t)(part.ptr - head.ptr), (uint32_t)part.len};
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static enum http_refusal judge_version(struct bytes version, unsigned *minor)
{
    const uint8_t *v = version.ptr;
    if (version.len != 8 || memcmp(v, "HTTP/", 5) != 0 || !is_digit(v[5]) || v[6] != '.' || !is_digit(v[7]))
        return HTTP_REFUSED_LINE;
    *minor = (unsigned)v[7] - '0';
    return v[5] == '1' && *minor <= 1 ? HTTP_ACCEPTED : HTTP_REFUSED_VERSION;
}

/* Exactly: method SP target SP version. */
static enum http_refusal judge_request_line(struct http_parser *parser, struct bytes head, struct bytes line)
{
    const uint8_t *end = line.ptr + line.len;
    const uint8_t *space = memchr(line.ptr, ' ', line.len);
    const uint8_t *last = memrchr(line.ptr, ' ', line.len);
    if (space == NULL || space == last)
        return HTTP_REFUSED_LINE;
    struct bytes method = bytes_of(line.ptr, (size_t)(space - line.ptr));
    struct bytes target = bytes_of(space + 1, (size_t)(last - space - 1));
    if (!http_is_token(method) || method.len > METHOD_MAX)
        return HTTP_REFUSED_LINE;
    if (target.len > parser->limits.max_target_bytes)
        return HTTP_REFUSED_TARGET_LONG;
    enum http_refusal refusal = judge_version(bytes_of(last + 1, (size_t)(end - last - 1)), &parser->minor);
    parser->method = span_of(head, method);
    parser->target = span_of(head, target);
    parser->state = HTTP_PARSE_FIELDS;
    return refusal;
}

static enum http_refusal judge_field(struct http_parser *parser, struct bytes head, struct bytes line)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return HTTP_REFUSED_FOLDING;
    if (parser->count == parser->limits.max_fields)
        return HTTP_REFUSED_FIELD_COUNT;
    const uint8_t *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL)
        return HTTP_REFUSED_FIELD;
    struct bytes name = bytes_of(line.ptr, (size_t)(colon - line.ptr));
    struct bytes value = bytes_trim(bytes_from(line, name.len + 1));
    if (!http_is_token(name) || !http_is_field_value(value))
        return HTTP_REFUSED_FIELD;
    parser->spans[parser->count].name = span_of(head, name);
    parser->spans[parser->count].value = span_of(head, value);
    parser->count++;
    return HTTP_ACCEPTED;
}

static enum http_refusal judge_line(struct http_parser *parser, struct bytes head, struct bytes line)
{
    bool start = parser->state == HTTP_PARSE_START;
    if (line.len == 0 && !start)
        parser->state = HTTP_PARSE_DONE;
    /* One empty line before the request line is let pass (RFC 9112 2.2). */
    if (line.len == 0)
        return HTTP_ACCEPTED;
    return start ? judge_request_line(parser, head, line) : judge_field(parser, head, line);
}

static struct bytes bytes_at(struct bytes head, struct http_span span)
{
    return bytes_of(head.ptr + span.at, span.len);
}

static enum http_refusal assemble(struct http_parser *parser, struct bytes head, struct http_request *request)
{
    for (unsigned i = 0; i < parser->count; i++) {
        parser->fields[i].name = bytes_at(head, parser->spans[i].name);
        parser->fields[i].value = bytes_at(head, parser->spans[i].value);
    }
    *request = (struct http_request){
        .method_text = bytes_at(head, parser->method),
        .target = bytes_at(head, parser->target),
        .minor = parser->minor,
        .fields = {parser->fields, parser->count},
        .head_bytes = parser->judged,
    };
    return http_request_judge(request);
}

enum http_parse http_parser_feed(struct http_parser *parser, struct bytes head, struct http_request *request)
{
    CHECK(parser->state <= HTTP_PARSE_DONE && head.len >= parser->judged);
    struct bytes line;
    if (parser->state == HTTP_PARSE_DONE && assemble(parser, head, request) != HTTP_ACCEPTED)
        UNREACHABLE(); /* it was accepted before */
    while (parser->state < HTTP_PARSE_DONE && next_line(parser, head, &line)) {
        enum http_refusal refusal = judge_line(parser, head, line);
        if (refusal == HTTP_ACCEPTED && parser->state == HTTP_PARSE_DONE)
            refusal = assemble(parser, head, request);
        if (refusal != HTTP_ACCEPTED)
            refuse(parser, refusal);
    }
    if (parser->state == HTTP_PARSE_REFUSED)
        return HTTP_PARSE_REFUSAL;
    return parser->state == HTTP_PARSE_DONE ? HTTP_PARSE_REQUEST : HTTP_PARSE_MORE;
}
