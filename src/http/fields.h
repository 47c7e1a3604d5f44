/*
 * Field lines of a message, in order and as received: names keep their case, values lack the white space
 * around them. Everything borrows from the buffer that the head was parsed from. Nothing is merged or
 * indexed: a head has a dozen lines, and walking them is faster than any table.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct http_field {
    struct bytes name, value;
};

struct http_fields {
    struct http_field *fields;
    unsigned count;
};

/* First line of that name (ASCII case folded); NULL if there is none. */
const struct http_field *http_fields_find(const struct http_fields *fields, struct bytes name);
/* The next line of the same name after `field`; NULL after the last. */
const struct http_field *http_fields_next(const struct http_fields *fields, const struct http_field *field);
unsigned http_fields_count(const struct http_fields *fields, struct bytes name);
/* Value of the first line of that name; ptr is NULL if there is none (an empty value has a ptr). */
struct bytes http_fields_value(const struct http_fields *fields, struct bytes name);

/*
 * Members of a comma-separated list (RFC 9110 5.6.1) over all lines of a name, in order, without the white
 * space around them; empty members are skipped and a comma inside a quoted string does not split.
 *
 *     struct http_list list = http_list_of(&request->fields, BYTES("if-none-match"));
 *     for (struct bytes member; http_list_next(&list, &member);)
 */
struct http_list {
    const struct http_fields *fields;
    const struct http_field *field;
    struct bytes rest;
};

struct http_list http_list_of(const struct http_fields *fields, struct bytes name);
/* Of one value alone. */
struct http_list http_list_of_value(struct bytes value);
bool http_list_next(struct http_list *list, struct bytes *member);
/* Whether a member equals `token`, ASCII case folded. */
bool http_list_has(struct http_list list, struct bytes token);

/* Characters of a token (RFC 9110 5.6.2): at least one, all of them tchar. */
bool http_is_token(struct bytes a);
/* Field values as we take and send them: HTAB, SP, visible ASCII and bytes from 0x80 on. */
bool http_is_field_value(struct bytes a);
