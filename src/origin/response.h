/*
 * The head of an S3 answer: parsed strictly, then held against what was asked.
 *
 * libcurl frames the message; it is lenient, and it does not know what was asked. So each line that it hands
 * over is checked again here: one status line of HTTP/1, token names, no control characters, no folding, one
 * Content-Length that is a number, no Transfer-Encoding but chunked, and of S3 one ETag and one
 * Content-Range. Pure. Sources: RFC 9112 4, 5, 6; RFC 9110 14.4, 15.3.7.
 */
#pragma once

#include "origin/origin.h"

#define RESPONSE_HEAD_MAX (32 * 1024)
#define RESPONSE_FIELDS_MAX 128

struct response {
    unsigned status; /* 0: no status line yet */
    bool interim;    /* a 1xx head is complete: the next line begins another */
    bool complete;   /* the empty line of a final (not 1xx) head has come */
    bool chunked, has_length, has_range, range_has_total, unsatisfied, broken_range;
    uint64_t length; /* Content-Length */
    uint64_t first, last, total;
    struct bytes etag, last_modified, retry_after, bucket_region, request_id;
    unsigned field_count, told_count, trailer_count; /* trailers lie behind those told */
    size_t used;
    struct origin_field fields[RESPONSE_FIELDS_MAX]; /* into text; hop-by-hop ones are moved out at the end */
    uint8_t text[RESPONSE_HEAD_MAX];
    /* Set once by the owner. Any HTTP server's: what only a cache would look at (validators, Content-Range)
     * is then no reason to refuse a head, and counts as absent where it is malformed or said twice; trailers
     * are kept. */
    bool any_server;
};

/* Forgets all; cheap (does not touch text). */
void response_reset(struct response *response);
/* One line as received, with its line end; the status line first, the empty line last. RESPONSE_FINAL: the
 * final head is complete; RESPONSE_INTERIM: a 1xx one is (its fields stay until the next line);
 * RESPONSE_MORE; E_PROTOCOL. Lines after the end are trailers. */
enum response_progress { RESPONSE_MORE, RESPONSE_FINAL, RESPONSE_INTERIM };
MUST_CHECK int response_line(struct response *response, struct bytes line);

/* A complete 200, 206 or 304 against the request: 0 and *head (borrowing from response), E_CHANGED or
 * E_PROTOCOL. */
MUST_CHECK int response_judge(
    const struct response *response, const struct origin_request *request, struct origin_head *head);
/* The same for an answer of any server to a request that is not S3's: any status, any framing. Of its own
 * wishes: E_CHANGED for a failed if_match, -ERANGE for a range that is not there; E_PROTOCOL for a 206 that
 * is not what was asked. */
MUST_CHECK int response_judge_any(
    const struct response *response, const struct origin_request *request, struct origin_head *head);
/* A 1xx head. */
void response_interim(const struct response *response, struct origin_head *head);
/* trailer_count of them, without those that frame or steer; at the end of the body. */
const struct origin_field *response_trailers(const struct response *response);
/* Whether a tag can vouch for bytes: "..." without W/. */
bool response_tag_strong(struct bytes etag);
