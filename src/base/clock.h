/* Time is nanoseconds in 64 bits. Pure code takes it as an argument; only loops and boot call these. */
#pragma once

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* CLOCK_MONOTONIC. */
uint64_t clock_monotonic_ns(void);
/* Since 1970-01-01 UTC. */
uint64_t clock_wall_ns(void);
