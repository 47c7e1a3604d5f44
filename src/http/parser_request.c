#include "http/parser_request.h"

#include "http/target.h"

static enum http_method method_of(struct bytes text)
{
    static const struct {
        const char *name;
        enum http_method method;
    } table[] = {
        {"GET", HTTP_GET},
        {"HEAD", HTTP_HEAD},
        {"OPTIONS", HTTP_OPTIONS},
        {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},
        {"DELETE", HTTP_DELETE},
        {"PATCH", HTTP_PATCH},
        {"CONNECT", HTTP_CONNECT},
        {"TRACE", HTTP_TRACE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (bytes_equal(text, bytes_of_string(table[i].name)))
            return table[i].method;
    return HTTP_METHOD_OTHER;
}

/* RFC 9112 3.2: the four forms, and which method takes which. */
static enum http_refusal judge_target(struct http_request *request)
{
    struct target target;
    if (request->method == HTTP_CONNECT) {
        request->host = request->target;
        bool port = memchr(request->target.ptr, ':', request->target.len) != NULL;
        return port && target_is_authority(request->target) ? HTTP_ACCEPTED : HTTP_REFUSED_TARGET;
    }
    if (target_split(request->target, &target) < 0)
        return HTTP_REFUSED_TARGET;
    if (target.form == TARGET_ASTERISK && request->method != HTTP_OPTIONS)
        return HTTP_REFUSED_TARGET;
    if (target.form == TARGET_ABSOLUTE && !target_is_authority(target.authority))
        return HTTP_REFUSED_TARGET;
    request->host = target.authority;
    return HTTP_ACCEPTED;
}

struct seen {
    unsigned hosts, lengths, codings;
    bool close, keep_alive, expects;
};

static enum http_refusal judge_host(struct http_request *request, struct seen *seen, struct bytes value)
{
    if (seen->hosts++ > 0 || !target_is_authority(value))
        return HTTP_REFUSED_HOST;
    if (request->host.len == 0)
        request->host = value;
    return HTTP_ACCEPTED;
}

/* Repeated is refused, even of one value: it says that somebody before us merged messages. */
static enum http_refusal judge_length(struct http_request *request, struct seen *seen, struct bytes value)
{
    uint64_t length;
    if (seen->lengths++ > 0 || !bytes_to_u64(value, &length) || length > INT64_MAX)
        return HTTP_REFUSED_LENGTH;
    request->content_length = length;
    request->framing = length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    return HTTP_ACCEPTED;
}

/* HTTP/1.0 does not know the field: whoever sends it there is guessing (RFC 9112 6.1). */
static enum http_refusal judge_coding(struct http_request *request, struct seen *seen, struct bytes value)
{
    if (seen->codings++ > 0 || request->minor == 0 || value.len == 0)
        return HTTP_REFUSED_CODING_MALFORMED;
    if (!bytes_equal_nocase(value, BYTES("chunked")))
        return http_is_token(value) ? HTTP_REFUSED_CODING : HTTP_REFUSED_CODING_MALFORMED;
    request->framing = HTTP_BODY_CHUNKED;
    return HTTP_ACCEPTED;
}

static enum http_refusal judge_expect(
    const struct http_request *request, struct seen *seen, struct bytes value)
{
    /* Ignored in HTTP/1.0 (RFC 9110 10.1.1). */
    if (request->minor == 0)
        return HTTP_ACCEPTED;
    seen->expects = true;
    return bytes_equal_nocase(value, BYTES("100-continue")) ? HTTP_ACCEPTED : HTTP_REFUSED_EXPECT;
}

static enum http_refusal judge_connection(struct seen *seen, struct bytes value)
{
    seen->close |= http_list_has(http_list_of_value(value), BYTES("close"));
    seen->keep_alive |= http_list_has(http_list_of_value(value), BYTES("keep-alive"));
    return HTTP_ACCEPTED;
}

/* The length of a name tells almost all fields apart from those that mean something here. */
static enum http_refusal judge_field(
    struct http_request *request, struct seen *seen, const struct http_field *field)
{
    switch (field->name.len) {
    case 4:
        if (bytes_equal_nocase(field->name, BYTES("host")))
            return judge_host(request, seen, field->value);
        break;
    case 6:
        if (bytes_equal_nocase(field->name, BYTES("expect")))
            return judge_expect(request, seen, field->value);
        break;
    case 10:
        if (bytes_equal_nocase(field->name, BYTES("connection")))
            return judge_connection(seen, field->value);
        break;
    case 14:
        if (bytes_equal_nocase(field->name, BYTES("content-length")))
            return judge_length(request, seen, field->value);
        break;
    case 17:
        if (bytes_equal_nocase(field->name, BYTES("transfer-encoding")))
            return judge_coding(request, seen, field->value);
        break;
    default:
        break;
    }
    return HTTP_ACCEPTED;
}

enum http_refusal http_request_judge(struct http_request *request)
{
    struct seen seen = {0};
    request->method = method_of(request->method_text);
    enum http_refusal refusal = judge_target(request);
    for (unsigned i = 0; i < request->fields.count && refusal == HTTP_ACCEPTED; i++)
        refusal = judge_field(request, &seen, &request->fields.fields[i]);
    if (refusal != HTTP_ACCEPTED)
        return refusal;
    if (seen.lengths > 0 && seen.codings > 0)
        return HTTP_REFUSED_LENGTH_AND_CODING;
    if (request->minor >= 1 && seen.hosts == 0)
        return HTTP_REFUSED_HOST;
    request->keep_alive = !seen.close && (request->minor >= 1 || seen.keep_alive);
    request->expect_continue = seen.expects && request->framing != HTTP_BODY_NONE;
    return HTTP_ACCEPTED;
}
