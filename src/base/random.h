/*
 * Random numbers. `struct random` is xoshiro256** (Blackman and Vigna, 2018), for jitter and simulation: the
 * same seed gives the same numbers. `random_os` is the kernel's generator, for identifiers and seeds of
 * hashes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_init(struct random *random, uint64_t seed);
uint64_t random_next(struct random *random);
/* Uniform in [0, bound); bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);

/* Fills from getrandom(2). Any thread. */
void random_os(void *buf, size_t len);
