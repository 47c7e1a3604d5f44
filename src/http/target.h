/*
 * The request target (RFC 9112 3.2, RFC 3986): split, and its path decoded once and strictly.
 *
 * The decoded path is what routing, rules and keys see, so that no encoding dodges a rule: `%2F` becomes `/`,
 * `+` stays a plus, and what could mean two things is refused, never repaired: NUL, a `%` without two hex
 * digits, ill-formed UTF-8, a `.` or `..` segment (also an encoded one), a fragment, raw controls. `//` and a
 * trailing `/` are kept. Raw bytes above 0x7F are accepted where they are well-formed UTF-8. Pure; any
 * thread.
 */
#pragma once

#include "base/bytes.h"

enum target_form {
    TARGET_ORIGIN,   /* /path?query */
    TARGET_ABSOLUTE, /* http://authority/path?query; authority then overrides Host (RFC 9112 3.2.2) */
    TARGET_ASTERISK, /* *, OPTIONS only: the caller checks the method */
};

struct target {
    enum target_form form;
    struct bytes authority; /* absolute form only */
    struct bytes path;      /* raw, starts with '/'; "*" in asterisk form */
    struct bytes query;     /* raw, without '?'; ptr is NULL where there is no '?' */
};

/* 0 or E_SYNTAX. Everything borrows from `raw`. */
MUST_CHECK int target_split(struct bytes raw, struct target *target);

/* Decodes target.path into buf, which has at least raw_path.len bytes; *decoded lies in buf. 0 or E_SYNTAX.
 * buf may be where raw_path lies. */
MUST_CHECK int target_decode_path(struct bytes raw_path, uint8_t *buf, struct bytes *decoded);

/* Decodes one component (a query name or value) by the same rules, except that segments mean nothing in it.
 */
MUST_CHECK int target_decode(struct bytes raw, uint8_t *buf, struct bytes *decoded);

/* A decoded path as most clients write it: what may not stand in one (RFC 3986 3.3) as %XX, three bytes for
 * one. */
void target_encode_path(struct writer *w, struct bytes path);

/* A host name, an IPv4 address or an IPv6 address in brackets, with an optional port. Narrower than RFC 3986:
 * no percent-encoding and no sub-delims (a comma among them) in names. */
bool target_is_authority(struct bytes text);

/* Takes the next `name=value` off the raw query (RFC 3986 leaves the shape to us: `&` separates, the first
 * `=` divides). Both raw; value.ptr is NULL where there is no `=`. Empty pieces are skipped. False at the
 * end. */
bool target_next_parameter(struct bytes *query, struct bytes *name, struct bytes *value);
