/*
 * S3's error answers: a small tolerant scanner of the XML body, and what they mean to our client.
 *
 * Not an XML parser and not to be one: the body comes from the network, so it is only searched for the few
 * elements below <Error>, cut to their bounds, with the five entities and character references decoded.
 * Anything else gives empty texts. Values are for our log; ill-formed text stays as it is (the log escapes
 * it). Rejected: an XML library for four strings. Sources: Amazon S3 API reference, "Error responses"; our
 * answers from the project's rules. Pure.
 */
#pragma once

#include "base/bytes.h"

struct s3_error {
    /* NUL-terminated; empty where absent. */
    char code[64], message[256], region[64], request_id[64], host_id[128];
};

/* Looks at no more than the first 64 KiB. */
void s3_error_parse(struct bytes body, struct s3_error *error);

enum s3_verdict {
    S3_NOT_FOUND,     /* 404: no such key or version, or a delete marker */
    S3_FORBIDDEN,     /* 403 */
    S3_BAD_REQUEST,   /* 400: the client's key or version id is not one */
    S3_FAILED,        /* 412: the object is another one now */
    S3_UNSATISFIABLE, /* 416 */
    S3_MISCONFIGURED, /* 502: bucket, credentials, clock or region: the operator's to mend; log code, message,
                         region */
    S3_UNAVAILABLE,   /* 503 with Retry-After, once retries are exhausted */
    S3_TIMEOUT,       /* 504, once retries are exhausted */
    S3_BROKEN,        /* 502: nonsense, or a server error once retries are exhausted */
};

/* `status` is not 2xx and not 304; error may have no code (HEAD has no body). */
enum s3_verdict s3_error_verdict(unsigned status, const struct s3_error *error);
/* Worth trying again: 500, 502, 503, 504. Never 4xx. */
bool s3_error_retryable(unsigned status);
/* The status of our answer. */
unsigned s3_verdict_status(enum s3_verdict verdict);
