/*
 * AWS Signature Version 4 as three pure functions: canonical request, string to sign, signature. Source:
 * "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API
 * reference; the general form ("Create a signed AWS API request") differs in its path rules, the two flags.
 *
 * The caller sends exactly what it signed: fields, path (sigv4_encode_path) and query. Buffers are the
 * caller's; overflow is the writer's sticky `failed`. Only libcrypto's one-shot SHA-256 and HMAC are used:
 * any thread.
 */
#pragma once

#include "base/bytes.h"

#define SIGV4_FIELDS_MAX 32
#define SIGV4_PARAMETERS_MAX 32
#define SIGV4_TIMESTAMP_LEN 16
#define SIGV4_HASH_HEX_LEN 64
#define SIGV4_SECRET_MAX 256
/* Of an empty body. */
#define SIGV4_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct sigv4_field {
    struct bytes name, value;
};

struct sigv4_request {
    struct bytes method;
    struct bytes path;                /* as sent; for S3 from sigv4_encode_path */
    struct bytes query;               /* as sent, without '?'; order does not matter */
    const struct sigv4_field *fields; /* all that are to be signed, Host among them; any order and case */
    size_t field_count;               /* at most SIGV4_FIELDS_MAX */
    struct bytes payload_hash;        /* hex, as in x-amz-content-sha256 */
    bool normalize_path;              /* remove dot segments and double slashes; never for S3 */
    bool encode_path;                 /* encode the sent path once more; never for S3 */
};

struct sigv4_scope {
    uint8_t timestamp[SIGV4_TIMESTAMP_LEN]; /* 20130524T000000Z, also the value of x-amz-date */
    struct bytes region, service;
};

struct sigv4_credentials {
    struct bytes access_key, secret_key; /* a session token is just a field: x-amz-security-token */
};

/* Seconds since 1970 UTC to 20130524T000000Z. */
void sigv4_timestamp(int64_t seconds, uint8_t timestamp[SIGV4_TIMESTAMP_LEN]);

/* The key as S3 wants it in a path: all bytes but unreserved ones and `/` as %XX. Takes up to three times its
 * length. Writes no leading `/`. */
void sigv4_encode_path(struct writer *w, struct bytes key);
/* The same for a query name or value: `/` is encoded too. */
void sigv4_encode(struct writer *w, struct bytes text);

void sigv4_canonical_request(const struct sigv4_request *request, struct writer *w);
/* host;range;x-amz-date */
void sigv4_signed_fields(const struct sigv4_request *request, struct writer *w);
/* `canonical_request` must not lie in w. Out of libcrypto's memory: w fails. */
void sigv4_string_to_sign(const struct sigv4_scope *scope, struct bytes canonical_request, struct writer *w);
/* 0, E_TOO_LARGE for a secret key above SIGV4_SECRET_MAX bytes, E_EXHAUSTED when libcrypto is out of memory.
 */
MUST_CHECK int sigv4_signature(const struct sigv4_scope *scope, struct bytes secret_key,
    struct bytes string_to_sign, uint8_t hex[SIGV4_HASH_HEX_LEN]);

/* All of the above: the value of the Authorization field into `w`. `scratch` holds the canonical request; its
 * size bounds the request's (16 KiB is plenty for a 1 KiB key and a 4 KiB token). E_TOO_LARGE when something
 * did not fit. */
MUST_CHECK int sigv4_authorize(const struct sigv4_request *request, const struct sigv4_scope *scope,
    const struct sigv4_credentials *credentials, struct writer scratch, struct writer *w);
