/* The back-off: bounds of the jitter, budgets of attempts and time, Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/retry.h"

static const struct retry_policy policy = {.max_attempts = 5,
    .initial_backoff_ns = 100 * NS_PER_MS,
    .max_backoff_ns = 350 * NS_PER_MS,
    .budget_ns = 10 * NS_PER_S};

static void test_waits(void **state)
{
    static const uint64_t most_ms[] = {100, 200, 350, 350};
    struct random random;
    uint64_t wait_ns;
    (void)state;
    random_init(&random, 1);
    for (int round = 0; round < 200; round++) {
        struct retry retry = {0};
        for (size_t i = 0; i < 4; i++) {
            retry_attempt(&retry, 1000);
            assert_true(retry_again(&retry, &policy, 1000, 0, &random, &wait_ns));
            assert_in_range(wait_ns, most_ms[i] * NS_PER_MS / 2, most_ms[i] * NS_PER_MS);
        }
        retry_attempt(&retry, 1000);
        assert_false(retry_again(&retry, &policy, 1000, 0, &random, &wait_ns));
    }
}

/* Not always the same wait. */
static void test_jitter(void **state)
{
    struct retry retry = {.attempts = 1};
    struct random random;
    uint64_t first_ns, wait_ns, different = 0;
    (void)state;
    random_init(&random, 7);
    assert_true(retry_again(&retry, &policy, 0, 0, &random, &first_ns));
    for (int i = 0; i < 100; i++) {
        assert_true(retry_again(&retry, &policy, 0, 0, &random, &wait_ns));
        different += wait_ns != first_ns;
    }
    assert_true(different > 90);
}

static void test_time_budget(void **state)
{
    struct retry retry = {0};
    struct random random;
    uint64_t wait_ns;
    (void)state;
    random_init(&random, 1);
    retry_attempt(&retry, NS_PER_S);
    assert_true(retry_again(&retry, &policy, 10 * NS_PER_S, 0, &random, &wait_ns));
    assert_false(retry_again(&retry, &policy, 11 * NS_PER_S, 0, &random, &wait_ns));
    assert_true(retry_again(&retry, &policy, 2 * NS_PER_S, 9 * NS_PER_S, &random, &wait_ns));
    assert_int_equal(wait_ns, 9 * NS_PER_S);
    assert_false(retry_again(&retry, &policy, 2 * NS_PER_S, 9 * NS_PER_S + 1, &random, &wait_ns));
    assert_false(retry_again(&retry, &policy, UINT64_MAX, 0, &random, &wait_ns));
}

static void test_progress(void **state)
{
    struct retry retry = {0};
    struct random random;
    uint64_t wait_ns;
    (void)state;
    random_init(&random, 1);
    for (int i = 0; i < 5; i++)
        retry_attempt(&retry, 0);
    assert_false(retry_again(&retry, &policy, 0, 0, &random, &wait_ns));
    retry_progress(&retry, RETRY_PROGRESS_BYTES - 1, 0); /* too little for new attempts */
    assert_false(retry_again(&retry, &policy, 0, 0, &random, &wait_ns));
    retry_progress(&retry, RETRY_PROGRESS_BYTES, 3600 * NS_PER_S);
    assert_true(retry_again(&retry, &policy, 3600 * NS_PER_S, 0, &random, &wait_ns));
    retry_attempt(&retry, 3600 * NS_PER_S);
    assert_int_equal(retry.attempts, 1);
    retry_progress(&retry, 1, 4000 * NS_PER_S); /* restarts the clock only */
    assert_int_equal(retry.attempts, 1);
    assert_true(retry_again(&retry, &policy, 4001 * NS_PER_S, 0, &random, &wait_ns));
}

static void test_one_attempt(void **state)
{
    struct retry_policy once = policy;
    struct retry retry = {0};
    struct random random;
    uint64_t wait_ns;
    (void)state;
    random_init(&random, 1);
    once.max_attempts = 1;
    retry_attempt(&retry, 0);
    assert_false(retry_again(&retry, &once, 0, 0, &random, &wait_ns));
}

static void test_retry_after(void **state)
{
    (void)state;
    assert_int_equal(retry_after_parse(BYTES("3")), 3 * NS_PER_S);
    assert_int_equal(retry_after_parse(BYTES(" 120 ")), 120 * NS_PER_S);
    assert_int_equal(retry_after_parse(BYTES("99999999999")), 86400 * NS_PER_S);
    assert_int_equal(retry_after_parse(BYTES("")), 0);
    assert_int_equal(retry_after_parse(BYTES("-1")), 0);
    assert_int_equal(retry_after_parse(BYTES("Sun, 06 Nov 1994 08:49:37 GMT")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_time_budget),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_one_attempt),
        cmocka_unit_test(test_retry_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
