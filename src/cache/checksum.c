#include "cache/checksum.h"

#include <xxhash.h>

#define SHORT_BYTES 240 /* up to here XXH3 uses no vectors */

#ifdef HAVE_CHECKSUM_AVX2
uint64_t checksum_avx2(uint64_t seed, const void *bytes, size_t len); /* checksum_avx2.c */
#endif

uint64_t checksum_of(uint64_t seed, const void *bytes, size_t len)
{
#ifdef HAVE_CHECKSUM_AVX2
    if (len > SHORT_BYTES && __builtin_cpu_supports("avx2"))
        return checksum_avx2(seed, bytes, len);
#endif
    return XXH3_64bits_withSeed(bytes, len, seed);
}
