/*
 * The Range field (RFC 9110 14.1.1, 14.1.2, 14.2): parsed without knowing the length, resolved with it.
 *
 * - Only the unit `bytes` (any case). Another unit or a malformed set is ignored: RANGE_NONE, answered 200.
 * - Numbers beyond 64 bits clamp: they are larger than any object.
 * - Absurd sets are refused: more than RANGE_MAX ranges, or a byte asked for more than twice (14.2 names
 *   overlapping and many small ranges as attacks). RANGE_REFUSED is answered 416, which 15.5.17 defines for
 *   just that ("an excessive request of small or overlapping ranges"), with an unsatisfied Content-Range.
 * - The order asked for is kept and nothing is merged: who asked for two overlapping ranges gets two parts.
 * - On an object of 0 bytes nothing is satisfiable, `-n` neither: a 206 couldn't say what it holds. Pure.
 */
#pragma once

#include "base/bytes.h"

#define RANGE_MAX 64

enum range_verdict {
    RANGE_NONE, /* as if there were no Range field */
    RANGE_OK,
    RANGE_UNSATISFIABLE, /* 416 */
    RANGE_REFUSED,       /* 416 */
};

enum range_kind {
    RANGE_BETWEEN, /* first-last */
    RANGE_FROM,    /* first- */
    RANGE_SUFFIX,  /* -suffix; the number stands in `last` */
};

struct range_spec {
    enum range_kind kind;
    uint64_t first, last;
};

struct range_set {
    unsigned count;
    struct range_spec specs[RANGE_MAX];
};

/* Both ends inclusive; first <= last < length of the object. */
struct range {
    uint64_t first, last;
};

struct range_list {
    unsigned count;
    struct range ranges[RANGE_MAX];
};

/* RANGE_NONE, RANGE_OK (set->count >= 1) or RANGE_REFUSED. */
enum range_verdict range_parse(struct bytes value, struct range_set *set);

/* RANGE_OK (list->count >= 1; unsatisfiable ones are left out), RANGE_UNSATISFIABLE or RANGE_REFUSED. */
enum range_verdict range_resolve(const struct range_set *set, uint64_t length, struct range_list *list);

/* One spec alone; false: not satisfiable. */
bool range_resolve_one(const struct range_spec *spec, uint64_t length, struct range *range);

/* `bytes=...` of one spec, for a request to the origin. */
void range_write(struct writer *w, const struct range_spec *spec);

static inline uint64_t range_length(struct range range)
{
    return range.last - range.first + 1;
}
