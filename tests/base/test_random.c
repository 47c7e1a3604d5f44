/* xoshiro256** against the authors' reference numbers, and the properties that callers rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

/* The state 1, 2, 3, 4, as other implementations test it. */
static void test_reference(void **state)
{
    static const uint64_t want[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    struct random random = {.state = {1, 2, 3, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_true(random_next(&random) == want[i]);
}

static void test_seed(void **state)
{
    struct random a, b, c;
    (void)state;
    random_init(&a, 5);
    random_init(&b, 5);
    random_init(&c, 6);
    for (int i = 0; i < 100; i++) {
        uint64_t number = random_next(&a);
        assert_true(number == random_next(&b));
        assert_true(number != random_next(&c));
    }
}

static void test_below(void **state)
{
    struct random random;
    unsigned seen[10] = {0};
    (void)state;
    random_init(&random, 1);
    for (int i = 0; i < 100000; i++)
        seen[random_below(&random, 10)]++;
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 9500, 10500);
    assert_true(random_below(&random, 1) == 0);
}

static void test_os(void **state)
{
    uint8_t a[1000] = {0}, b[1000] = {0};
    unsigned zeroes = 0;
    (void)state;
    random_os(a, sizeof a);
    random_os(b, sizeof b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    for (size_t i = 0; i < sizeof a; i++)
        zeroes += a[i] == 0;
    assert_true(zeroes < 50); /* every part was filled */
    random_os(a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_os),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
