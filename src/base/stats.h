/*
 * Counters, gauges and latency histograms: relaxed atomics that any thread may touch, allocated inside their
 * owner. Names and exposition live in the layer that exports them.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

static inline void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

static inline void counter_sub(struct counter *c, uint64_t n)
{
    atomic_fetch_sub_explicit(&c->value, n, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* Upper bounds in seconds: 0.0001 0.00025 0.0005 0.001 0.0025 ... 10 30 60, then +Inf. */
#define HISTOGRAM_BUCKETS 18
extern const uint64_t histogram_bound_ns[HISTOGRAM_BUCKETS];

struct histogram {
    struct counter buckets[HISTOGRAM_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    struct counter sum_ns;
};

void histogram_add(struct histogram *h, uint64_t duration_ns);
