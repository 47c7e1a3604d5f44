/* checksum_of() is XXH3 of 64 bits, at whatever length and place: devices are read by other builds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/random.h"
#include "cache/checksum.h"

#define BYTES_MAX (1u << 20)
#define PLACES 8

static uint8_t bytes[BYTES_MAX + PLACES];

static void same(uint64_t seed, size_t at, size_t len)
{
    assert_int_equal(checksum_of(seed, bytes + at, len), XXH3_64bits_withSeed(bytes + at, len, seed));
}

static void every_short_length(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 3000; len++)
        for (size_t at = 0; at < PLACES; at++)
            same(len * UINT64_C(0x9e3779b97f4a7c15), at, len);
}

static void long_lengths(void **state)
{
    (void)state;
    static const size_t lens[] = {
        4095, 4096, 4097, 16383, 16384, 16385, 65536, 99999, BYTES_MAX - 1, BYTES_MAX};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        for (size_t at = 0; at < PLACES; at++)
            for (uint64_t seed = 0; seed < 3; seed++)
                same(seed << 40, at, lens[i]);
}

int main(void)
{
    struct random random;
    random_init(&random, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_next(&random);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_short_length), cmocka_unit_test(long_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
