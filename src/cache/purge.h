/*
 * What one purge hides, and its form in a record of the log. Pure.
 *
 * A purge names the items whose key begins with `prefix` (empty: all of them) and, where `tag` is not empty,
 * that carry the tag. It hides what is older than itself: hard, as if it were not there; soft, as stale. So
 * it costs the same whatever it hides, and nobody counts.
 *
 * The key of an ITEM_PURGE record, little-endian: version u8, flags u8 (bit 0: soft), prefix length u16,
 * prefix, tag. That of an ITEM_PURGE_OBJECT record is the object's name (see purges.h). Neither has a
 * payload.
 */
#pragma once

#include "base/bytes.h"
#include "cache/item.h"

#define PURGE_TAG_MAX 512
#define PURGE_FIXED_BYTES 4
#define PURGE_PREFIX_MAX (ITEM_KEY_MAX - PURGE_FIXED_BYTES - PURGE_TAG_MAX)

struct purge {
    struct bytes prefix, tag;
    bool soft;
};

/* Whether prefix and tag are short enough for a record. */
bool purge_fits(const struct purge *purge);
/* At most ITEM_KEY_MAX bytes; returns how many. */
size_t purge_encode(const struct purge *purge, uint8_t *to);
/* Borrows from the bytes. E_CORRUPT. */
MUST_CHECK int purge_decode(struct purge *purge, struct bytes from);
/* Whether a later `wide` hides all that `narrow` hides, and as hard. */
bool purge_covers(const struct purge *wide, const struct purge *narrow);
