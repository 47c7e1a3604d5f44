/*
 * Entity tags (RFC 9110 8.8.3): parse, compare, match against a list.
 *
 * One deviation, in request lists only: a bare tag without quotes (no comma, blank or quote in it) counts as
 * a strong one, as S3 does it, because S3 clients send it. `*` is a list of its own, not a tag. Pure;
 * borrows.
 */
#pragma once

#include "base/bytes.h"

struct etag {
    struct bytes opaque; /* without the quotes */
    bool weak;
};

/* Exactly one tag, `"x"` or `W/"x"`, nothing around it. */
MUST_CHECK bool etag_parse(struct bytes text, struct etag *tag);

bool etag_strong_equal(struct etag a, struct etag b);
bool etag_weak_equal(struct etag a, struct etag b);

enum etag_match { ETAG_NO_MATCH, ETAG_MATCH, ETAG_MALFORMED };
enum etag_comparison { ETAG_WEAK, ETAG_STRONG };

/* Does the value of If-Match or If-None-Match name the stored tag? `*` matches also where stored is NULL (an
 * object without a tag). What stands before a malformed element counts; ETAG_MALFORMED means that nothing
 * matched up to it. */
enum etag_match etag_list_match(
    struct bytes list, const struct etag *stored, enum etag_comparison comparison);
