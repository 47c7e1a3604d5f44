/*
 * Views: references to the items that hold a range of a value, and where in them its bytes lie. Where a
 * quarter of the memory tier is pinned already, a view is a private copy instead; of such there is at most
 * another quarter.
 */
#pragma once

#include "yata/store.h"

/* The most items a view is made of. */
#define VIEW_ITEMS_MAX 8

/* Bytes [from, from + len) of those that an item holds. */
struct stretch {
    struct item *item;
    uint32_t from, len;
};

struct view_range {
    uint64_t from, len, value_len;
};

/* Takes over the references of the stretches where it returns 0. E_EXHAUSTED, -ENOMEM. Any thread. */
MUST_CHECK int view_create(struct yata_view **view, struct yata *yata, const struct view_range *range,
    const struct stretch *stretches, unsigned count);
