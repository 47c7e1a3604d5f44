/*
 * Preconditions in the order of RFC 9110 13.2.2, against a representation that exists.
 *
 * Malformed dates are ignored, as are date conditions where the object has no modification date. A malformed
 * tag list matches nothing: If-Match fails by it, If-None-Match passes. If-Range with a date holds only on
 * the exact time, and only where that time is a strong validator (8.8.2.2: Date at least one second later).
 * Pure.
 */
#pragma once

#include "base/bytes.h"

/* Field values as received, repeated lines joined by a comma. ptr NULL means absent. */
struct conditions {
    struct bytes if_match, if_none_match, if_modified_since, if_unmodified_since, if_range;
};

struct validators {
    struct bytes etag; /* the field's value; empty where there is none */
    bool has_last_modified;
    int64_t last_modified_s;
    int64_t date_s; /* the stored answer's Date; where it had none, when it was received */
};

enum conditional_method { CONDITIONAL_GET, CONDITIONAL_HEAD, CONDITIONAL_OTHER };

enum conditional_verdict {
    CONDITIONAL_PROCEED,
    CONDITIONAL_NOT_MODIFIED, /* 304 */
    CONDITIONAL_FAILED,       /* 412; from a cache only after revalidation */
};

struct conditional {
    enum conditional_verdict verdict;
    bool range_applies; /* on PROCEED: GET, a Range field, and If-Range absent or true */
};

bool conditions_any(const struct conditions *conditions);

/* `now_s` is for two-digit years. */
struct conditional conditional_evaluate(const struct conditions *conditions, const struct validators *stored,
    enum conditional_method method, bool has_range, int64_t now_s);
