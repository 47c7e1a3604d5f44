#include "base/stats.h"

#include "base/clock.h"

const uint64_t histogram_bound_ns[HISTOGRAM_BUCKETS] = {
    100 * NS_PER_US,
    250 * NS_PER_US,
    500 * NS_PER_US,
    1 * NS_PER_MS,
    2500 * NS_PER_US,
    5 * NS_PER_MS,
    10 * NS_PER_MS,
    25 * NS_PER_MS,
    50 * NS_PER_MS,
    100 * NS_PER_MS,
    250 * NS_PER_MS,
    500 * NS_PER_MS,
    1 * NS_PER_S,
    2500 * NS_PER_MS,
    5 * NS_PER_S,
    10 * NS_PER_S,
    30 * NS_PER_S,
    60 * NS_PER_S,
};

void histogram_add(struct histogram *h, uint64_t duration_ns)
{
    int at = 0;
    while (at < HISTOGRAM_BUCKETS && duration_ns > histogram_bound_ns[at])
        at++;
    counter_add(&h->buckets[at], 1);
    counter_add(&h->sum_ns, duration_ns);
}
