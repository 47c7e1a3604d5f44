/*
 * The key of an object of a generic HTTP origin: the request target behind the bucket's prefix, in the one
 * spelling that all equivalent ones share (RFC 3986 6.2.2): unreserved characters decoded, hex digits in
 * upper case. Nothing else is changed: `%2F` is no slash, `+` no space, and parameters are as received unless
 * the configuration sorts or drops them. Pure.
 *
 * A dropped parameter is left out of what the origin is asked, too: what the key does not know must not
 * decide what is stored under it.
 */
#pragma once

#include "base/bytes.h"

/* buckets[].http.query. Names compare decoded, case-sensitively; one that ends with `*` stands for all that
 * begin so. */
struct query_rules {
    bool sort; /* by name, keeping the order of equal ones; only in the key */
    const char *const *drop;
    unsigned drop_count;
};

/* Whether servers and frameworks are known to follow such a field past the target (X-Forwarded-Host,
 * X-Original-URL, X-HTTP-Method-Override and their like): then it is a part of the key. Addresses are none
 * of them. */
bool http_key_has_field(struct bytes name);

/* What of the raw path lies behind its first `decoded_len` bytes once decoded; "/" where nothing does. The
 * path decodes (target_decode_path). */
struct bytes http_key_rest(struct bytes raw_path, size_t decoded_len);

/* Path and, after `?`, query in the shared spelling. The path decodes. w has room for path.len + query.len +
 * 2 bytes. query.ptr NULL: there is no `?`. */
void http_key_write(
    struct bytes raw_path, struct bytes raw_query, const struct query_rules *rules, struct writer *w);
/* The same as the origin is asked: as received, but for what is dropped. */
void http_key_write_target(
    struct bytes raw_path, struct bytes raw_query, const struct query_rules *rules, struct writer *w);
