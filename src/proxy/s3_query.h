/*
 * What a query means on an S3 bucket (Amazon S3 API reference: GetObject, and others' sub-resources).
 *
 * Only `versionId` means something, and is part of the key. `x-id` and `X-Amz-*` (any case) are dropped: SDKs
 * and presigned links add them. Sub-resources, `partNumber` and `response-*` ask for something else than the
 * object; they are refused, because ignoring them would answer another question than was asked. Others are
 * ignored. Names compare decoded and, as in S3, case-sensitively. Nothing of the client's query reaches the
 * origin but the version id.
 */
#pragma once

#include "base/bytes.h"

struct s3_query {
    struct bytes version_id; /* decoded, in the caller's buffer; empty: none */
    struct bytes
        refused; /* on E_UNSUPPORTED the parameter's name as sent, at most 64 bytes of it, for the message */
};

/* buf has at least query.len bytes. 0; E_SYNTAX: malformed, or an empty or contradictory versionId (400);
 * E_UNSUPPORTED: asks for what is not built (400). query.ptr may be NULL. */
MUST_CHECK int s3_query_parse(struct bytes query, uint8_t *buf, struct s3_query *out);
