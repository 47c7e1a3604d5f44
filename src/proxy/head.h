/*
 * The value of a head item: one stored representation of an object.
 *
 * Layout, little-endian: version (1), flags (1), status (2), chunk_bytes (4), body_len (8), body id (16),
 * response time (8), date (8), initial age (8), explicit lifetime (8), Last-Modified (8), windows of
 * stale-while-revalidate and stale-if-error (4 each, all ones: none), lengths of etag, tags (2 each), of
 * fields, checksum fields (4 each), the etag, the tags (tags.h), the
 * field lines raw and in order ("Name: value\r\n" each), the checksum field lines (S3 sends them only to
 * clients that ask), and, where the flag says so, the whole body. All times are seconds since 1970.
 *
 * Configured times are not stored: they are applied at each look-up (caching.h).
 */
#pragma once

#include "base/arena.h"
#include "cache/item.h"
#include "http/cache_control.h"
#include "origin/origin.h"
#include "proxy/caching.h"
#include "proxy/identity.h"

#define HEAD_INLINE_MAX (16u << 10)
#define HEAD_FIELDS_MAX (64u << 10)
#define HEAD_LENGTH_UNKNOWN UINT64_MAX

struct head {
    bool inline_body, strong, no_cache, no_store, has_last_modified;
    bool must_revalidate; /* or proxy-revalidate: never to be used stale */
    bool has_s_maxage;    /* stale only by what the answer itself allows (RFC 9111 5.2.2.10) */
    bool immutable;
    bool for_authorized; /* RFC 9111 3.5: may be stored from and given to who asks with Authorization */
    uint16_t status;
    uint32_t chunk_bytes;
    uint64_t
        body_len; /* HEAD_LENGTH_UNKNOWN while it comes from an origin that does not say; never stored so */
    uint8_t body_id[BODY_ID_LEN];
    int64_t response_s, date_s, initial_age_s;
    int64_t lifetime_s; /* that the object states, or DELTA_SECONDS_NONE: the configured one */
    int64_t last_modified_s;
    int64_t stale_while_revalidate_s, stale_if_error_s; /* that the object states, or DELTA_SECONDS_NONE */
    struct bytes etag, tags, fields, checksum_fields;
    uint32_t encoded_bytes; /* where an inline body begins */
};

/* From an origin's 200 or 206, or of a generic one any other. Field lines are copied into the arena; the body
 * id is new. 0, or E_TOO_LARGE when the fields exceed HEAD_FIELDS_MAX, or E_PROTOCOL for a 206 without the
 * whole's length. */
struct head_asked {
    bool authorized, cookie; /* the origin was sent Authorization, Cookie of a client */
    int64_t request_s, response_s;
};
MUST_CHECK int head_from_origin(struct head *head, const struct origin_head *answer,
    const struct caching *caching, struct head_asked asked, uint32_t chunk_bytes, struct arena *arena);
/* A 304: the stored head with the fields of the answer in place of those of the same name (RFC 9111 3.2), new
 * times, the same body. */
MUST_CHECK int head_freshen(struct head *head, const struct head *stored, const struct origin_head *answer,
    const struct caching *caching, struct head_asked asked, struct arena *arena);

/* Bytes of the encoding, without the body. */
uint32_t head_encoded_bytes(const struct head *head);
void head_encode(const struct head *head, struct writer *w);

/* Takes the tags from the fields; `field` is the bucket's own, or empty. False on exhaustion, or where they
 * are too many to be stored. */
MUST_CHECK bool head_read_tags(struct head *head, struct bytes field, struct arena *arena);
/* Of an item with an encoded head: for the cache, on any thread, without the arena. */
bool head_item_has_tag(const struct item *item, struct bytes tag);

/* Decodes in place where the encoding lies in one piece, else through a copy in the arena. Borrows from both.
 * E_CORRUPT, or E_EXHAUSTED of the arena. */
MUST_CHECK int head_decode(struct head *head, const struct item *item, struct arena *arena);

/* A copy whose bytes live in the arena. False on exhaustion. */
MUST_CHECK bool head_copy(struct head *to, const struct head *from, struct arena *arena);

/* Freshness at `now_s`: by the configured time where it overrides, by what the object states, by the
 * configured time, by heuristics. Negative: stale by that much. */
int64_t head_fresh_for(const struct head *head, const struct caching *caching, int64_t now_s);
/* For how long after that it may be used while it is revalidated, or when the origin fails (RFC 5861); 0:
 * never. */
int64_t head_stale_while_revalidate(const struct head *head, const struct caching *caching);
int64_t head_stale_if_error(const struct head *head, const struct caching *caching);
int64_t head_age(const struct head *head, int64_t now_s);

static inline bool head_has_length(const struct head *head)
{
    return head->body_len != HEAD_LENGTH_UNKNOWN;
}

/* Can what is missing of the body be asked for by itself, and be sure to belong to it? */
static inline bool head_rest_fetchable(const struct head *head)
{
    return head->strong && head_has_length(head);
}

static inline uint64_t head_chunk_count(const struct head *head)
{
    return (head->body_len + head->chunk_bytes - 1) / head->chunk_bytes;
}

/* Whether a line of that name is among the field lines. */
bool head_has_line(struct bytes fields, struct bytes name);

/* One of head->fields. */
struct head_line {
    struct bytes text; /* with its CRLF */
    struct bytes name, value;
};
/* Takes the next line off the front of head->fields. False at the end. */
bool head_next_line(struct bytes *rest, struct head_line *line);
