#include "cache/residents.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t counter_count(uint64_t items)
{
    uint64_t count = 1;
    while (count < 4 * items)
        count *= 2;
    return count;
}

uint64_t residents_bytes(uint64_t items)
{
    return counter_count(items) * sizeof(uint16_t);
}

int residents_init(struct residents *residents, uint64_t items)
{
    residents->mask = counter_count(items) - 1;
    residents->counts = calloc(counter_count(items), sizeof *residents->counts);
    return residents->counts != NULL ? 0 : -ENOMEM;
}

void residents_deinit(struct residents *residents)
{
    free((void *)residents->counts);
}

static _Atomic uint16_t *counter_of(const struct residents *residents, uint64_t sequence)
{
    return &residents->counts[sequence & residents->mask];
}

/* A counter that is full stays full: its numbers are then always "maybe". */
void residents_add(struct residents *residents, uint64_t sequence)
{
    _Atomic uint16_t *counter = counter_of(residents, sequence);
    uint16_t count = atomic_load_explicit(counter, memory_order_relaxed);
    if (count < UINT16_MAX)
        atomic_store_explicit(counter, (uint16_t)(count + 1), memory_order_relaxed);
}

void residents_remove(struct residents *residents, uint64_t sequence)
{
    _Atomic uint16_t *counter = counter_of(residents, sequence);
    uint16_t count = atomic_load_explicit(counter, memory_order_relaxed);
    if (count > 0 && count < UINT16_MAX)
        atomic_store_explicit(counter, (uint16_t)(count - 1), memory_order_relaxed);
}

bool residents_may_hold(const struct residents *residents, uint64_t sequence)
{
    return atomic_load_explicit(counter_of(residents, sequence), memory_order_relaxed) > 0;
}
