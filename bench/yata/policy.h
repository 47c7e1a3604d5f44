/*
 * Orders of eviction over traces: ours, and small reference implementations of those that are published, to
 * compare with. Counted by object bytes, without overhead, as the published figures are.
 *
 * A policy owns which objects are in; the objects themselves lie in one array of the runner's, by number.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct policy_object {
    struct list_node link; /* in one of the policy's queues, or in none */
    uint32_t number, bytes;
    uint8_t queue, uses; /* the policy's; 0: not in */
};

struct policy {
    const char *name;
    /* The state for a cache of that many bytes. NULL: out of memory. */
    void *(*create)(uint64_t capacity_bytes, uint64_t object_count);
    /* True if the object was in; afterwards it is, where the policy admits it. */
    bool (*request)(void *state, struct policy_object *object);
    void (*destroy)(void *state);
};

extern const struct policy policy_ours;      /* cache/s3fifo.h */
extern const struct policy policy_lru;       /* policy_lru.c */
extern const struct policy policy_sieve;     /* policy_sieve.c: Zhang et al., NSDI 2024 */
extern const struct policy policy_s3fifo;    /* policy_s3fifo.c: Yang et al., SOSP 2023 */
extern const struct policy policy_w_tinylfu; /* policy_tinylfu.c: Einziger et al., ACM ToS 2017 */

static inline struct policy_object *policy_object_of(struct list_node *node)
{
    return CONTAINER_OF(node, struct policy_object, link);
}
