/*
 * Which sequences the memory tier holds, about: a counting filter. Sequences follow each other, so each
 * counter of `mask + 1` stands for every so-manieth number; with four counters for each item that fits the
 * tier, one stranger in four at most is taken for a resident.
 *
 * It is for reclaiming, which must know of every item of a segment whether memory has it, and has its
 * sequence at hand but not its key: asking the table meant reading all of the segment's headers, which is all
 * of the segment where items are small.
 *
 * Threads: add and remove under the owner's lock, the question from any.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct residents {
    _Atomic uint16_t *counts;
    uint64_t mask;
};

/* What the filter for a tier of so many items takes. */
uint64_t residents_bytes(uint64_t items);
/* -ENOMEM. */
MUST_CHECK int residents_init(struct residents *residents, uint64_t items);
void residents_deinit(struct residents *residents);
void residents_add(struct residents *residents, uint64_t sequence);
void residents_remove(struct residents *residents, uint64_t sequence);
/* False is sure. */
bool residents_may_hold(const struct residents *residents, uint64_t sequence);
