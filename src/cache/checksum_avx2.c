/* XXH3 for AVX2; compiled with -mavx2, called only where the CPU has it (checksum.c). */
#define XXH_INLINE_ALL
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

uint64_t checksum_avx2(uint64_t seed, const void *bytes, size_t len);

uint64_t checksum_avx2(uint64_t seed, const void *bytes, size_t len)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}
