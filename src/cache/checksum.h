/*
 * The checksum of what lies on a device: XXH3 of 64 bits (xxhash.h), seeded.
 *
 * Distributions build libxxhash for SSE2, and the inner loop of some (Debian 12) keeps its sums in memory: 4
 * KiB take 200 ns where the CPU predicts these loads well, 850 to 1,500 where it does not, and 65 with AVX2.
 * So what is longer than XXH3's short forms goes through the same code from xxhash.h, compiled once more for
 * AVX2, where the CPU has it. The sums are the same.
 *
 * Rejected: xxh_x86dispatch.h, which does this at the library's side: Debian's static libxxhash lacks it.
 * AVX-512: a sixth faster at 16 KiB, the same at 4.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Any thread. */
uint64_t checksum_of(uint64_t seed, const void *bytes, size_t len);
