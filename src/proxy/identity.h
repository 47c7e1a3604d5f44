/*
 * Keys of cache items.
 *
 * The identity of an object is (scheme and endpoint, S3 bucket, decoded object key, version id), joined by
 * NUL, which none but the last may contain: never a name or number from the configuration, because the cache
 * outlives the configuration. Of a generic HTTP origin the key is the decoded path, and in place of the
 * version id stands what else decides (locate_http.c); that of a variant goes on behind it (variant.h). A
 * head is kept under its identity, a chunk under the body id of its representation and its number. What
 * begins with the same bucket's part, or the same object's, is purged together.
 */
#pragma once

#include "cache/item.h"

#define BODY_ID_LEN 16
#define CHUNK_KEY_LEN (BODY_ID_LEN + 8)

/* Writes the identity into buf (at least ITEM_KEY_MAX bytes). False when it is longer. */
MUST_CHECK bool identity_write(uint8_t *buf, struct bytes endpoint, struct bytes bucket, struct bytes key,
    struct bytes version_id, struct bytes *identity);

/* The leading bytes that name the bucket (endpoint and S3 bucket), or the object (its key too), with the NUL
 * that ends them; the bucket's 0, the object's all, where there are fewer parts. */
size_t identity_bucket_len(struct bytes identity);
size_t identity_object_len(struct bytes identity);

static inline struct item_key identity_head_key(struct bytes identity)
{
    return (struct item_key){.kind = ITEM_HEAD, .bytes = identity};
}

/* buf has CHUNK_KEY_LEN bytes and must outlive the key. */
struct item_key identity_chunk_key(uint8_t *buf, const uint8_t body_id[BODY_ID_LEN], uint64_t number);
