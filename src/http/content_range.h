/* The Content-Range field, RFC 9110 14.4: a range or a star, a slash, the whole length or a star. Pure. */
#pragma once

#include "base/bytes.h"

/* Longest text that content_range_write produces. */
#define CONTENT_RANGE_MAX 72

struct content_range {
    bool has_range;       /* false: unsatisfied, only the length is told */
    uint64_t first, last; /* first <= last */
    bool has_length;
    uint64_t length; /* > last where both are told */
};

/* Strict: another unit, first > last, last >= length, overflow or a star on both sides are false. */
MUST_CHECK bool content_range_parse(struct bytes value, struct content_range *range);

void content_range_write(struct writer *w, const struct content_range *range);
