/*
 * Framing of request bodies. Data is taken in bulk; the lines of chunked framing go byte by byte through one
 * small automaton, which makes every split of the input equal.
 */
#include "http/parser.h"

/* Of chunk extensions and trailers together: nobody needs more, and each byte of them is work without a body.
 */
#define OVERHEAD_MAX HTTP_TRAILER_BYTES_MAX
#define SIZE_DIGITS_MAX 16

enum state {
    SIZE,
    EXTENSION_START,
    EXTENSION_NAME,
    EXTENSION_EQUALS,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPE,
    EXTENSION_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    BAD_CHUNK,
    BAD_TRAILER,
};

void http_body_init(struct http_body *body, const struct http_request *request, uint64_t max_body_bytes)
{
    *body = (struct http_body){.framing = request->framing, .max_body_bytes = max_body_bytes};
    body->done = request->framing == HTTP_BODY_NONE;
    if (request->framing == HTTP_BODY_LENGTH) {
        body->state = DATA;
        body->left_bytes = request->content_length;
        if (request->content_length > max_body_bytes)
            body->refusal = HTTP_REFUSED_BODY_LARGE;
    }
}

static bool is_token_char(uint8_t c)
{
    return http_is_token(bytes_of(&c, 1));
}

static bool is_value_char(uint8_t c)
{
    return http_is_field_value(bytes_of(&c, 1));
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum state step_size(struct http_body *body, uint8_t c)
{
    int digit = hex_value(c);
    if (digit >= 0 && body->digits < SIZE_DIGITS_MAX) {
        body->digits++;
        body->left_bytes = body->left_bytes << 4 | (unsigned)digit;
        return SIZE;
    }
    if (body->digits == 0 || digit >= 0)
        return BAD_CHUNK;
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION_START : BAD_CHUNK;
}

/* What may follow a complete extension. */
static enum state step_extension_end(uint8_t c)
{
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION_START : BAD_CHUNK;
}

/* RFC 9112 7.1.1 without white space: *( ";" token [ "=" ( token / quoted-string ) ] ) */
static enum state step_extension(enum state state, uint8_t c)
{
    switch (state) {
    case EXTENSION_START:
        return is_token_char(c) ? EXTENSION_NAME : BAD_CHUNK;
    case EXTENSION_NAME:
        return is_token_char(c) ? EXTENSION_NAME : c == '=' ? EXTENSION_EQUALS : step_extension_end(c);
    case EXTENSION_EQUALS:
        return c == '"' ? EXTENSION_QUOTED : is_token_char(c) ? EXTENSION_VALUE : BAD_CHUNK;
    case EXTENSION_VALUE:
        return is_token_char(c) ? EXTENSION_VALUE : step_extension_end(c);
    case EXTENSION_QUOTED:
        return c == '"'           ? EXTENSION_END
               : c == '\\'        ? EXTENSION_ESCAPE
               : is_value_char(c) ? EXTENSION_QUOTED
                                  : BAD_CHUNK;
    case EXTENSION_ESCAPE:
        return is_value_char(c) ? EXTENSION_QUOTED : BAD_CHUNK;
    default:
        return step_extension_end(c);
    }
}

static enum state step_trailer(enum state state, uint8_t c)
{
    switch (state) {
    case TRAILER_START:
        return c == '\r' ? LAST_LF : is_token_char(c) ? TRAILER_NAME : BAD_TRAILER;
    case TRAILER_NAME:
        return c == ':' ? TRAILER_VALUE : is_token_char(c) ? TRAILER_NAME : BAD_TRAILER;
    case TRAILER_VALUE:
        return c == '\r' ? TRAILER_LF : is_value_char(c) ? TRAILER_VALUE : BAD_TRAILER;
    default:
        return c == '\n' ? TRAILER_START : BAD_TRAILER;
    }
}

/* A chunk's line has ended and left_bytes is its size. */
static enum state begin_chunk(struct http_body *body)
{
    if (body->left_bytes == 0)
        return TRAILER_START;
    if (body->left_bytes > body->max_body_bytes - body->body_bytes)
        body->refusal = HTTP_REFUSED_BODY_LARGE;
    return DATA;
}

static void keep_trailer(struct http_body *body, uint8_t c)
{
    CHECK(body->trailer_bytes < HTTP_TRAILER_BYTES_MAX); /* it is a part of the overhead */
    if (body->trailer_text)
        body->trailer_text[body->trailer_bytes++] = c;
}

/* One byte of framing. */
static enum state step(struct http_body *body, uint8_t c)
{
    enum state state = body->state;
    if (state == SIZE)
        return step_size(body, c);
    body->overhead_bytes += state != SIZE_LF && state != DATA_CR && state != DATA_LF;
    if (state < SIZE_LF)
        return body->overhead_bytes > OVERHEAD_MAX ? BAD_CHUNK : step_extension(state, c);
    if (state == SIZE_LF)
        return c == '\n' ? begin_chunk(body) : BAD_CHUNK;
    if (state == DATA_CR)
        return c == '\r' ? DATA_LF : BAD_CHUNK;
    if (state == DATA_LF) {
        body->digits = 0;
        return c == '\n' ? SIZE : BAD_CHUNK;
    }
    if (state == LAST_LF) {
        body->done = c == '\n';
        return body->done ? LAST_LF : BAD_TRAILER;
    }
    if (body->overhead_bytes > OVERHEAD_MAX)
        return BAD_TRAILER;
    keep_trailer(body, c);
    return step_trailer(state, c);
}

static size_t take_data(struct http_body *body, struct bytes in, struct bytes *piece)
{
    size_t len = in.len < body->left_bytes ? in.len : (size_t)body->left_bytes;
    *piece = bytes_of(in.ptr, len);
    body->left_bytes -= len;
    body->body_bytes += len;
    if (body->left_bytes == 0 && body->framing == HTTP_BODY_LENGTH)
        body->done = true;
    else if (body->left_bytes == 0)
        body->state = DATA_CR;
    return len;
}

size_t http_body_feed(struct http_body *body, struct bytes in, struct bytes *piece)
{
    size_t taken = 0;
    *piece = bytes_of(in.ptr, 0);
    while (taken < in.len && !body->done && body->refusal == HTTP_ACCEPTED) {
        if (body->state == DATA)
            return taken + take_data(body, bytes_from(in, taken), piece);
        body->state = (uint8_t)step(body, in.ptr[taken++]);
        if (body->state >= BAD_CHUNK)
            body->refusal = body->state == BAD_CHUNK ? HTTP_REFUSED_CHUNK : HTTP_REFUSED_TRAILER;
    }
    return taken;
}

unsigned http_body_trailers(const struct http_body *body, struct http_field *fields)
{
    struct bytes rest = bytes_of(body->trailer_text, body->trailer_bytes);
    unsigned count = 0;
    while (rest.len > 0 && count < HTTP_TRAILERS_MAX) {
        const uint8_t *colon = memchr(rest.ptr, ':', rest.len), *cr = memchr(rest.ptr, '\r', rest.len);
        if (colon == NULL || cr == NULL || colon > cr)
            break; /* the empty line */
        struct bytes name = bytes_of(rest.ptr, (size_t)(colon - rest.ptr));
        struct bytes value = bytes_of(colon + 1, (size_t)(cr - colon - 1));
        fields[count++] = (struct http_field){name, bytes_trim(value)};
        rest = bytes_from(rest, (size_t)(cr - rest.ptr) + 2);
    }
    return count;
}
