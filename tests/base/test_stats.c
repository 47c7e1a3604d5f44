/* Counters and histograms, also under several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/stats.h"

static int bucket_of(uint64_t duration_ns)
{
    struct histogram h = {0};
    int found = -1;
    histogram_add(&h, duration_ns);
    assert_true(counter_get(&h.sum_ns) == duration_ns);
    for (int i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        if (counter_get(&h.buckets[i]) == 0)
            continue;
        assert_int_equal(found, -1);
        found = i;
    }
    return found;
}

/* Prometheus: an upper bound belongs to its bucket. */
static void test_buckets(void **state)
{
    (void)state;
    assert_int_equal(bucket_of(0), 0);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        assert_int_equal(bucket_of(histogram_bound_ns[i]), i);
        assert_int_equal(bucket_of(histogram_bound_ns[i] + 1), i + 1);
        assert_true(i == 0 || histogram_bound_ns[i] > histogram_bound_ns[i - 1]);
    }
    assert_true(histogram_bound_ns[0] == 100 * NS_PER_US);
    assert_true(histogram_bound_ns[HISTOGRAM_BUCKETS - 1] == 60 * NS_PER_S);
}

#define THREADS 4
#define ROUNDS 20000

static struct counter shared;

static void *count(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        counter_add(&shared, 3);
        counter_sub(&shared, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(counter_get(&shared) == UINT64_C(2) * THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
