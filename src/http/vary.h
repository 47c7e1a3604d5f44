/*
 * Vary (RFC 9110 12.5.5, RFC 9111 4.1): which request fields select a representation, and what two requests
 * must agree in to share one.
 *
 * The names of an answer are kept as one text: lower case, sorted, each once, separated by commas. The values
 * of a request under such names are one text, too: two requests match where their texts are equal. Members of
 * a list are compared without the white space around them and empty ones; lines of one field are joined;
 * absent is not the same as empty. Accept-Encoding is normalised: codings in lower case, sorted, without
 * weights, those refused by q=0 left out, but for identity and `*`, which are kept as refused. So clients
 * that take the same codings share a variant, whichever they prefer: any of them may take what is stored.
 * Pure.
 */
#pragma once

#include "http/fields.h"

#define VARY_NAMES_MAX 16   /* fields; an answer with more is not stored */
#define VARY_TEXT_MAX 512   /* bytes of the names */
#define VARY_CODINGS_MAX 16 /* more are compared as they came */

enum vary_verdict {
    VARY_NONE,
    VARY_NAMES,
    VARY_NEVER, /* `*`, or more than can be kept: no other request matches */
};

struct vary_names {
    char text[VARY_TEXT_MAX];
    size_t len;
};

/* Nothing named. */
void vary_init(struct vary_names *names);
/* Adds the value of a field line to the names. VARY_NEVER and a malformed name can't be taken back: the
 * result counts for the whole. */
enum vary_verdict vary_add(struct vary_names *names, struct bytes value);

static inline struct bytes vary_text(const struct vary_names *names)
{
    return bytes_of(names->text, names->len);
}

/* Writes what the request has in the named fields. `w` fails where it is too long. */
void vary_values(struct bytes names, const struct http_fields *request, struct writer *w);
