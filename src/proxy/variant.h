/*
 * Variants of one identity: which request fields select, and the identity that a variant's head is kept
 * under.
 *
 * A vary item stands under the identity itself. Its value, little-endian: version (1), 128 random bits (16),
 * the names as vary.h spells them. A variant's identity is that of the object, NUL, those bits and what the
 * request has in the named fields. So one look-up tells which fields count, a second finds the variant, and
 * taking the vary item away, or putting another, takes all variants out of reach.
 *
 * Answers of one object may name different fields. What counts is all that were ever named: a new name makes
 * a new vary item (and leaves the old variants behind), an answer with fewer makes none. Pure.
 */
#pragma once

#include "base/arena.h"
#include "http/vary.h"
#include "proxy/identity.h"

#define VARIANT_ID_LEN 16
#define VARIANT_ENCODED_MAX (1 + VARIANT_ID_LEN + VARY_TEXT_MAX)

struct variant {
    uint8_t id[VARIANT_ID_LEN];
    struct vary_names names;
};

/* What selects between answers with these field lines ("Name: value\r\n" each): Vary, and Origin where CORS
 * fields are for one origin only although Vary does not say so. VARY_NONE, VARY_NAMES with *names, or
 * VARY_NEVER. */
enum vary_verdict variant_names_of(struct bytes field_lines, struct vary_names *names);

/* Adds the names. True: there were new ones, and the id is another. With room exceeded nothing changes and
 * *fits is false. */
bool variant_merge(struct variant *variant, const struct vary_names *names, bool *fits);

void variant_encode(const struct variant *variant, struct writer *w);
/* E_CORRUPT. */
MUST_CHECK int variant_decode(struct variant *variant, const struct item *item);

static inline struct item_key identity_vary_key(struct bytes identity)
{
    return (struct item_key){.kind = ITEM_VARY, .bytes = identity};
}

/* Writes the variant's identity for a request; `buf` has ITEM_KEY_MAX bytes. False where it is longer: then
 * the answer can't be stored. */
MUST_CHECK bool variant_identity(uint8_t *buf, struct bytes identity, const struct variant *variant,
    const struct http_fields *request, struct bytes *result);
