/*
 * One version of a value: its head item and what that says. While it is held, a replacement does not change
 * it; its chunks may be evicted.
 */
#pragma once

#include "yata/layout.h"
#include "yata/store.h"

struct yata_value {
    _Atomic unsigned references; /* the program, reads under way */
    struct yata *yata;
    struct loop *loop;
    struct item *head;
    struct layout layout;
};

/* Takes over the head's reference, also where it fails: E_MISSING if the item is no head of ours, -ENOMEM. */
MUST_CHECK int value_create(
    struct yata_value **value, struct yata *yata, struct loop *loop, struct item *head);
struct yata_value *value_ref(struct yata_value *value);
void value_unref(struct yata_value *value);

/* What the head says; E_MISSING if it is not ours. */
MUST_CHECK int value_layout(struct layout *layout, const struct item *head);
/* Where [from, from + len) ends, cut off at the value's end; from as well. */
uint64_t value_clip(uint64_t value_len, uint64_t *from, uint64_t len);
