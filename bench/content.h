/*
 * The bytes of the benchmark's objects: word i of object n is a function of both, so a client knows what it
 * must receive without having read the origin, and bytes of one object sent for another's are seen.
 *
 * Objects are named by six decimal digits below one prefix.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CONTENT_NAME "%06u"

/* The finaliser of SplitMix64. */
static inline uint64_t content_word(uint64_t object, uint64_t index)
{
    uint64_t x = (object + 1) * UINT64_C(0x9E3779B97F4A7C15) + index * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static inline void content_fill(uint8_t *buf, size_t len, uint64_t object, uint64_t offset)
{
    for (size_t at = 0; at < len;) {
        uint64_t word = content_word(object, (offset + at) / 8);
        size_t skip = (offset + at) % 8, n = 8 - skip < len - at ? 8 - skip : len - at;
        memcpy(buf + at, (uint8_t *)&word + skip, n);
        at += n;
    }
}

static inline bool content_matches(const uint8_t *buf, size_t len, uint64_t object, uint64_t offset)
{
    for (size_t at = 0; at < len;) {
        uint64_t word = content_word(object, (offset + at) / 8);
        size_t skip = (offset + at) % 8, n = 8 - skip < len - at ? 8 - skip : len - at;
        if (memcmp(buf + at, (uint8_t *)&word + skip, n) != 0)
            return false;
        at += n;
    }
    return true;
}
