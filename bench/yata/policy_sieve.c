/* SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi, NSDI 2024): one queue in order of insertion, a bit for each
 * object, and a hand that moves from the oldest to the newest, clears bits and evicts where there is none. */
#include <stdlib.h>

#include "bench/yata/policy.h"

struct sieve {
    struct list_node order; /* oldest first */
    struct list_node *hand; /* the next to look at; the head: start at the oldest */
    uint64_t capacity_bytes, bytes;
};

static void *create(uint64_t capacity_bytes, uint64_t object_count)
{
    (void)object_count;
    struct sieve *sieve = calloc(1, sizeof *sieve);
    if (sieve == NULL)
        return NULL;
    list_init(&sieve->order);
    sieve->hand = &sieve->order;
    sieve->capacity_bytes = capacity_bytes;
    return sieve;
}

static void evict(struct sieve *sieve)
{
    for (;;) {
        if (sieve->hand == &sieve->order)
            sieve->hand = sieve->order.next;
        struct policy_object *object = policy_object_of(sieve->hand);
        sieve->hand = object->link.next;
        if (object->uses > 0) {
            object->uses = 0;
            continue;
        }
        sieve->bytes -= object->bytes;
        list_remove(&object->link);
        return;
    }
}

static bool request(void *state, struct policy_object *object)
{
    struct sieve *sieve = state;
    if (list_linked(&object->link)) {
        object->uses = 1;
        return true;
    }
    while (sieve->bytes + object->bytes > sieve->capacity_bytes && !list_empty(&sieve->order))
        evict(sieve);
    object->uses = 0;
    sieve->bytes += object->bytes;
    list_push_back(&sieve->order, &object->link);
    return false;
}

const struct policy policy_sieve = {"SIEVE", create, request, free};
