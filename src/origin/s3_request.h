/*
 * An S3 request: URL and field lines, signed with this moment's date. Every attempt is
 * built anew, since a signature ages and a resumed transfer asks for another range.
 */
#pragma once

#include "origin/outgoing.h"

/* -ENOMEM, E_TOO_LARGE. wall_s: seconds since 1970. */
MUST_CHECK int s3_request_build(const struct origin *origin, const struct origin_request *request,
    int64_t wall_s, struct outgoing *built);
