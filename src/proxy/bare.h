/*
 * A request that no client sent: GET, Host where a host is named, and no other field.
 *
 * struct bare    | its caller's, as long as the request
 * struct request | bare_request to bare_free, or who it goes to (warm.h)
 */
#pragma once

#include "http/parser.h"
#include "proxy/settings.h"

#define BARE_TARGET_MAX 8192

struct request;

struct bare {
    struct http_request http;
    struct http_field host;
    uint8_t target[BARE_TARGET_MAX];
};

/* For a decoded key of the bucket, in the spelling that most clients use. Of a generic HTTP origin the key is
 * a path whose leading slash may be left out; `query` is raw, ptr NULL: none. Host and query are borrowed.
 * False: it is too long. */
MUST_CHECK bool bare_write(struct bare *bare, const struct bucket_settings *settings, struct bytes key,
    struct bytes query, struct bytes host);
/* NULL: out of memory. */
struct request *bare_request(const struct bare *bare);
void bare_free(struct request *request);
