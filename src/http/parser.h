/*
 * Requests of HTTP/1.0 and 1.1 (RFC 9112), strict and incremental, and the framing of their bodies. Pure.
 *
 * The idea: the caller keeps the head of a request in one buffer and shows all of it, from its first byte,
 * each time more has come. The parser remembers which lines it has judged and judges only whole lines, so
 * that any split of the input gives the same request or the same error; a limit is judged before the syntax
 * of the line that exceeds it, since the line's end may never come. Positions are kept as offsets, so the
 * buffer may move between calls.
 *
 * What two servers could read differently is refused, never repaired: line ends other than CRLF, obsolete
 * folding, white space before a colon, control characters, repeated Content-Length (also of one value),
 * Content-Length beside Transfer-Encoding, codings other than one "chunked", any in HTTP/1.0, a missing or
 * repeated Host. After a refusal the connection can't be used: nobody knows where the next request starts.
 *
 * Rejected: a table-driven or generated automaton (fast, but rules are hard to see and hence to audit), and
 * repairing as RFC 9112 allows (bare LF, merged Content-Length): each repair is a known smuggling gap.
 */
#pragma once

#include "base/bytes.h"
#include "http/fields.h"

#define HTTP_FIELDS_MAX 100

struct http_limits {
    size_t max_target_bytes; /* 0: 8 KiB; beyond: 414 */
    size_t max_header_bytes; /* request line and fields; 0: 64 KiB; beyond: 431 */
    unsigned max_fields;     /* at most and, if 0, HTTP_FIELDS_MAX; beyond: 431 */
    uint64_t max_body_bytes; /* 0: 10 MiB; beyond: 413. UINT64_MAX: none */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_OPTIONS,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_CONNECT,
    HTTP_TRACE,
    HTTP_METHOD_OTHER, /* a valid token: see method_text */
};

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

/* Borrows from the head's buffer, the fields from the parser. */
struct http_request {
    enum http_method method;
    struct bytes method_text;
    struct bytes target; /* as received: target_split() takes it apart */
    struct bytes host;   /* of an absolute-form target, else the Host field's; may be empty */
    unsigned minor;      /* HTTP/1.minor: 0 or 1 */
    struct http_fields fields;
    enum http_framing framing;
    uint64_t content_length; /* with HTTP_BODY_LENGTH */
    bool keep_alive;         /* what the client asks for */
    bool expect_continue;    /* the client waits for 100 before it sends its body */
    size_t head_bytes;       /* up to and with the empty line */
};

/* What a request is refused for: name, status, label of metrics, what the client is told. */
#define HTTP_REFUSAL_TABLE(X)                                                                                \
    X(LINE, 400, "line", "malformed request line")                                                           \
    X(TARGET, 400, "target", "malformed request target")                                                     \
    X(TARGET_LONG, 414, "target_long", "request target too long")                                            \
    X(VERSION, 505, "version", "only HTTP/1.0 and HTTP/1.1 are spoken here")                                 \
    X(LINE_END, 400, "line_end", "line end other than CRLF")                                                 \
    X(FIELD, 400, "field", "malformed field line")                                                           \
    X(FOLDING, 400, "folding", "folded field line")                                                          \
    X(HEAD_LARGE, 431, "head_large", "request head too large")                                               \
    X(FIELD_COUNT, 431, "field_count", "too many field lines")                                               \
    X(HOST, 400, "host", "missing, repeated or malformed Host")                                              \
    X(LENGTH, 400, "length", "repeated or malformed Content-Length")                                         \
    X(LENGTH_AND_CODING, 400, "length_and_coding", "Content-Length beside Transfer-Encoding")                \
    X(CODING, 501, "coding", "unknown Transfer-Encoding")                                                    \
    X(CODING_MALFORMED, 400, "coding_malformed", "malformed, repeated or misplaced Transfer-Encoding")       \
    X(EXPECT, 417, "expect", "unknown expectation")                                                          \
    X(BODY_LARGE, 413, "body_large", "request body too large")                                               \
    X(CHUNK, 400, "chunk", "malformed chunk")                                                                \
    X(TRAILER, 400, "trailer", "malformed or too large trailer section")

enum http_refusal {
    HTTP_ACCEPTED,
#define X(name, status, label, text) HTTP_REFUSED_##name,
    HTTP_REFUSAL_TABLE(X)
#undef X
        HTTP_REFUSALS
};

/* 0 for HTTP_ACCEPTED. */
unsigned http_refusal_status(enum http_refusal refusal);
/* "line", "target_long": a label of metrics. Static. */
const char *http_refusal_name(enum http_refusal refusal);
/* Static. */
const char *http_refusal_text(enum http_refusal refusal);

struct http_span {
    uint32_t at, len;
};

struct http_parser {
    struct http_limits limits;
    enum http_refusal refusal;
    enum { HTTP_PARSE_START, HTTP_PARSE_FIELDS, HTTP_PARSE_DONE, HTTP_PARSE_REFUSED } state;
    size_t judged;  /* lines up to here are parsed */
    size_t scanned; /* and up to here there is no further line end */
    unsigned minor;
    struct http_span method, target;
    unsigned count;
    struct {
        struct http_span name, value;
    } spans[HTTP_FIELDS_MAX];
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* limits may be NULL. Zeroes in it stand for the defaults. */
void http_parser_init(struct http_parser *parser, const struct http_limits *limits);
/* For the next request. */
void http_parser_reset(struct http_parser *parser);

enum http_parse { HTTP_PARSE_MORE, HTTP_PARSE_REQUEST, HTTP_PARSE_REFUSAL };

/* `head` is all that was received since the first byte of this request; at each call at least as long as
 * before, with the same bytes in front, wherever they lie now. REQUEST: *request is filled, and what follows
 * request->head_bytes is its body or the next request; where the bytes have moved since, a further call fills
 * it again. REFUSAL: parser->refusal says why; reset first. */
enum http_parse http_parser_feed(struct http_parser *parser, struct bytes head, struct http_request *request);

/*
 * Decoder of a request body. Chunk extensions and trailers are judged and bounded; the extensions are
 * dropped, the trailers too unless there is room for them.
 */
#define HTTP_TRAILER_BYTES_MAX 8192
#define HTTP_TRAILERS_MAX 32

struct http_body {
    enum http_framing framing;
    enum http_refusal refusal;
    bool done;
    uint8_t state;
    uint8_t digits;
    uint32_t overhead_bytes; /* chunk lines' extensions and trailers so far: bounded */
    uint64_t left_bytes;     /* of the body, or of this chunk */
    uint64_t body_bytes;     /* so far, without framing */
    uint64_t max_body_bytes;
    uint8_t *trailer_text; /* the caller's, HTTP_TRAILER_BYTES_MAX; NULL: trailers are dropped */
    uint32_t trailer_bytes;
};

/* A request without a body is done at once. One that is known to be too large is refused at once. */
void http_body_init(struct http_body *body, const struct http_request *request, uint64_t max_body_bytes);
/* Takes bytes from the front of `in`, up to the end of one piece of body, which is put into *piece (it
 * borrows from `in`; empty if there is none), and returns how many it took: call again with the rest until
 * body->done, body->refusal or nothing is left. Takes at least one byte unless done, refused or `in` is
 * empty. */
size_t http_body_feed(struct http_body *body, struct bytes in, struct bytes *piece);

/* The trailer section that was kept, taken apart: at most HTTP_TRAILERS_MAX fields into `fields`. */
unsigned http_body_trailers(const struct http_body *body, struct http_field *fields);
