/*
 * A stream of bytes read as requests, told as text: what parser and body decoder make of it, so that two
 * splits of one stream, or a stream and a vector's expectation, can be compared.
 *
 *   GET /target 1.1 keep host=h          or: close; then what it waits for: " expect"
 *     Name=value                         one line per field
 *   body 5 0c1d...                       length and hash, where the request has one
 *   refused host 400                     nothing follows
 *   closed 12                            after a request without keep-alive: so many bytes are left
 *   end | more                           the stream ends between requests, or inside one
 */
#pragma once

#include "http/parser.h"

struct describe {
    struct http_limits limits;
    struct http_parser parser;
    struct http_request request;
    struct http_body body;
    enum { DESCRIBE_HEAD, DESCRIBE_BODY, DESCRIBE_OVER } state;
    uint8_t *head; /* an allocation of exactly its length, so that a read beyond it is found */
    size_t len;
    uint64_t hash;
    char text[16384];
    struct writer w;
};

void describe_begin(struct describe *describe, const struct http_limits *limits);
void describe_feed(struct describe *describe, struct bytes piece);
/* The text, until the next describe_begin. */
const char *describe_end(struct describe *describe);
