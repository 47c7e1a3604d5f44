/*
 * Which items are written: always, on the second request, under a write budget. Any thread.
 *
 * "Second" means that the hash was put before, as far as a table of 64 Ki recent ones remembers, or that the
 * item was hit in memory after a first put (hits.h). The budget is a token bucket of one second's worth, at
 * least 4 MiB.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ADMISSION_SEEN (1u << 16)

struct admission {
    bool second_request;
    uint64_t budget_bytes_s;
    _Atomic uint64_t spent_until_ns; /* the budget is used up to this moment */
    _Atomic uint32_t seen[ADMISSION_SEEN];
};

void admission_init(struct admission *admission, bool second_request, uint64_t budget_bytes_s);
/* Whether the hash was seen before; remembers it. Always true unless on second request. */
bool admission_seen(struct admission *admission, uint64_t hash);
/* Takes `bytes` from the budget; false if it does not hold them now. */
bool admission_spend(struct admission *admission, uint64_t bytes, uint64_t now_ns);
