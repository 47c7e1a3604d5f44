/*
 * Structured field values (RFC 9651): Items, Lists and Dictionaries.
 *
 * A value is checked whole first, since one bad character makes all of it invalid (4.2), and then walked in
 * place: nothing is allocated or copied, members borrow from the field. Repeated lines of a field are joined
 * by ", " before. A key that comes twice in a dictionary or in parameters counts where it comes last; the
 * walk shows both.
 *
 *     if (structured_check(STRUCTURED_DICTIONARY, value))
 *         for (struct structured_member m; structured_next_member(STRUCTURED_DICTIONARY, &value, &m);)
 *
 * Where the RFC leaves a choice: byte sequences without padding or with bits left over are accepted. Pure.
 */
#pragma once

#include "base/bytes.h"

enum structured_kind { STRUCTURED_ITEM, STRUCTURED_LIST, STRUCTURED_DICTIONARY };

enum structured_type {
    STRUCTURED_INTEGER, /* number */
    STRUCTURED_DECIMAL, /* number, in thousandths */
    STRUCTURED_STRING,  /* text: between the quotes, as received; see structured_decode */
    STRUCTURED_TOKEN,   /* text */
    STRUCTURED_BYTES,   /* text: the base64 between the colons */
    STRUCTURED_BOOLEAN, /* number: 0 or 1 */
    STRUCTURED_DATE,    /* number: seconds since 1970 */
    STRUCTURED_DISPLAY, /* text: between the quotes, percent-encoded UTF-8 */
    STRUCTURED_INNER,   /* text: between the parentheses; for structured_next_inner */
};

struct structured_value {
    enum structured_type type;
    int64_t number;
    struct bytes text;
};

struct structured_member {
    struct bytes key; /* of a dictionary; empty in lists */
    struct structured_value value;
    struct bytes parameters; /* for structured_next_parameter */
};

/* Whether the whole field is valid. An empty List or Dictionary is. */
MUST_CHECK bool structured_check(enum structured_kind kind, struct bytes field);

/* Of a checked field: take the next off the front of *rest; false at the end. */
bool structured_next_member(enum structured_kind kind, struct bytes *rest, struct structured_member *member);
bool structured_next_inner(struct bytes *rest, struct structured_member *item);
bool structured_next_parameter(struct bytes *rest, struct bytes *key, struct structured_value *value);

/* The characters of a checked String, Byte Sequence or Display String; `buf` holds text.len bytes. */
struct bytes structured_decode(const struct structured_value *value, uint8_t *buf);
