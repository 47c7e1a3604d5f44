/*
 * What a request says of whom it came from: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239), and
 * Via (RFC 9110 7.6.3). Pure.
 *
 * Our own line takes the place of the client's: an address is appended to those it named, scheme and host are
 * what we saw. Of the other family nothing is let through, so that an origin that reads both can't be told
 * two things. With FORWARDED_OFF the client's fields are as any others.
 */
#pragma once

#include "http/fields.h"

enum forwarded_style { FORWARDED_X, FORWARDED_STANDARD, FORWARDED_OFF };

struct forwarded_facts {
    struct bytes client; /* numeric address: "192.0.2.1", "2001:db8::1" */
    bool https;
    struct bytes host; /* as the client said it; may be empty */
};

#define FORWARDED_FIELDS_MAX 3

/* The client's lines of this name are left out. */
bool forwarded_replaces(enum forwarded_style style, struct bytes name);
/* Our lines; the values lie in what w writes. Returns how many; w fails when it is too small (the client's
 * values and some 500 bytes are enough). */
unsigned forwarded_make(enum forwarded_style style, const struct http_fields *fields,
    const struct forwarded_facts *facts, struct writer *w, struct http_field lines[FORWARDED_FIELDS_MAX]);

/* What the client's own Forwarded claims beside addresses (host, proto and whatever else), in one spelling;
 * nothing where it claims nothing. */
void forwarded_write_claims(const struct http_fields *fields, struct writer *w);

/* Our line of Via, to stand behind those that are there: "1.1 yatagarasu". minor: of the message received.
 * Static. */
struct bytes via_value(unsigned minor);
/* Whether this message has passed here so often that it goes in a circle. */
bool via_loops(const struct http_fields *fields);
#define VIA_NAME "yatagarasu"
