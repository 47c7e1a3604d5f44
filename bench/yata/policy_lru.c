/* Least recently used. */
#include <stdlib.h>

#include "bench/yata/policy.h"

struct lru {
    struct list_node order; /* oldest first */
    uint64_t capacity_bytes, bytes;
};

static void *create(uint64_t capacity_bytes, uint64_t object_count)
{
    (void)object_count;
    struct lru *lru = calloc(1, sizeof *lru);
    if (lru == NULL)
        return NULL;
    list_init(&lru->order);
    lru->capacity_bytes = capacity_bytes;
    return lru;
}

static bool request(void *state, struct policy_object *object)
{
    struct lru *lru = state;
    bool hit = list_linked(&object->link);
    if (hit)
        list_remove(&object->link);
    else
        lru->bytes += object->bytes;
    while (lru->bytes > lru->capacity_bytes && !list_empty(&lru->order))
        lru->bytes -= policy_object_of(list_pop_front(&lru->order))->bytes;
    list_push_back(&lru->order, &object->link);
    return hit;
}

const struct policy policy_lru = {"LRU", create, request, free};
