/*
 * The answer to ListObjectsV2: keys, and how it goes on.
 *
 * Parsed by expat as it comes; only the few elements that are wanted are kept, and no document type is taken,
 * so nothing expands. Servers are asked to percent-encode (encoding-type=url), since XML 1.0 can't carry all
 * keys; those that do so say it, maybe behind the keys, so that decoding waits for the end. `+` is then a
 * blank. Source: Amazon S3 API reference, ListObjectsV2. Needs nothing but memory: any thread, one at a time.
 */
#pragma once

#include "base/bytes.h"

#define S3_LIST_KEYS 1000           /* that are asked for */
#define S3_LIST_TOKEN_MAX 1536      /* of what S3 calls opaque */
#define S3_LIST_TEXT_MAX (8u << 20) /* of the keys of one answer, as they come */

struct s3_list {
    void *parser;
    int error; /* the first; sticky */
    unsigned depth;
    bool is_list, in_contents, truncated, encoded;
    enum { S3_LIST_NOTHING, S3_LIST_KEY, S3_LIST_TRUNCATED, S3_LIST_TOKEN, S3_LIST_ENCODING } taking;
    char *keys; /* NUL behind each */
    size_t len, capacity, at;
    char small[16]; /* the element's text */
    size_t small_len, token_len;
    char token[S3_LIST_TOKEN_MAX];
};

/* -ENOMEM. */
MUST_CHECK int s3_list_init(struct s3_list *list);
/* What comes next of the body. 0; E_PROTOCOL: no such answer; E_TOO_LARGE; E_EXHAUSTED: no memory. */
MUST_CHECK int s3_list_feed(struct s3_list *list, struct bytes bytes);
/* The body is complete: the same errors. Then the keys can be taken. */
MUST_CHECK int s3_list_end(struct s3_list *list);
/* The next key; false at the end. Valid until deinit. */
bool s3_list_take(struct s3_list *list, struct bytes *key);
/* What asks for the answer behind this one; empty: there is none. */
struct bytes s3_list_token(const struct s3_list *list);
void s3_list_deinit(struct s3_list *list);
