/*
 * W-TinyLFU (Einziger, Friedman, Manes, ACM Transactions on Storage 2017) with sizes, as Caffeine does it,
 * without its hill climber: a window of 1 % in LRU order; main in two LRU segments, of which protected is at
 * most 80 %; what leaves the window stays only where it was asked for more often than who would have to go
 * for it. Frequencies are a count-min sketch of four rows of 4-bit counters, halved after ten requests for
 * each counter of a row.
 */
#include <stdlib.h>

#include "bench/yata/policy.h"

#define ROWS 4
#define COUNT_MAX 15

enum { NONE, WINDOW, PROBATION, PROTECTED, QUEUES };

struct tinylfu {
    struct list_node queues[QUEUES]; /* oldest first */
    uint64_t bytes[QUEUES], most[QUEUES], capacity_bytes;
    uint8_t *counters[ROWS];
    uint64_t mask, added;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

static void destroy(void *state)
{
    struct tinylfu *lfu = state;
    for (unsigned i = 0; i < ROWS; i++)
        free(lfu->counters[i]);
    free(lfu);
}

static void *create(uint64_t capacity_bytes, uint64_t object_count)
{
    struct tinylfu *lfu = calloc(1, sizeof *lfu);
    if (lfu == NULL)
        return NULL;
    for (unsigned i = 0; i < QUEUES; i++)
        list_init(&lfu->queues[i]);
    lfu->capacity_bytes = capacity_bytes;
    lfu->most[WINDOW] = capacity_bytes / 100;
    lfu->most[PROTECTED] = (capacity_bytes - lfu->most[WINDOW]) / 10 * 8;
    uint64_t width = 1;
    while (width < object_count)
        width *= 2;
    lfu->mask = width - 1;
    for (unsigned i = 0; i < ROWS; i++)
        if ((lfu->counters[i] = calloc(width, 1)) == NULL) {
            destroy(lfu);
            return NULL;
        }
    return lfu;
}

/* ---- the sketch ---- */

static uint8_t *counter(struct tinylfu *lfu, unsigned row, uint32_t number)
{
    return &lfu->counters[row][mix(number + ((uint64_t)row << 40) + 1) & lfu->mask];
}

static unsigned frequency(struct tinylfu *lfu, uint32_t number)
{
    unsigned least = COUNT_MAX;
    for (unsigned i = 0; i < ROWS; i++)
        least = *counter(lfu, i, number) < least ? *counter(lfu, i, number) : least;
    return least;
}

static void count(struct tinylfu *lfu, uint32_t number)
{
    for (unsigned i = 0; i < ROWS; i++)
        *counter(lfu, i, number) += *counter(lfu, i, number) < COUNT_MAX;
    if (++lfu->added < 10 * (lfu->mask + 1))
        return;
    lfu->added /= 2;
    for (unsigned i = 0; i < ROWS; i++)
        for (uint64_t at = 0; at <= lfu->mask; at++)
            lfu->counters[i][at] /= 2;
}

/* ---- the queues ---- */

static void leave(struct tinylfu *lfu, struct policy_object *object)
{
    lfu->bytes[object->queue] -= object->bytes;
    list_remove(&object->link);
    object->queue = NONE;
}

static void enter(struct tinylfu *lfu, struct policy_object *object, uint8_t queue)
{
    object->queue = queue;
    lfu->bytes[queue] += object->bytes;
    list_push_back(&lfu->queues[queue], &object->link);
}

static void use(struct tinylfu *lfu, struct policy_object *object)
{
    uint8_t to = object->queue == WINDOW ? WINDOW : PROTECTED;
    leave(lfu, object);
    enter(lfu, object, to);
    while (lfu->bytes[PROTECTED] > lfu->most[PROTECTED]) {
        struct policy_object *oldest = policy_object_of(lfu->queues[PROTECTED].next);
        leave(lfu, oldest);
        enter(lfu, oldest, PROBATION);
    }
}

static struct policy_object *victim(struct tinylfu *lfu)
{
    return policy_object_of(lfu->queues[list_empty(&lfu->queues[PROBATION]) ? PROTECTED : PROBATION].next);
}

/* What left the window is last in probation; it and the oldest contend until all fits. */
static void contend(struct tinylfu *lfu, struct policy_object *candidate)
{
    leave(lfu, candidate);
    uint64_t room = lfu->capacity_bytes - lfu->most[WINDOW];
    bool stays = candidate->bytes <= room;
    while (stays && lfu->bytes[PROBATION] + lfu->bytes[PROTECTED] + candidate->bytes > room) {
        struct policy_object *oldest = victim(lfu);
        stays = frequency(lfu, candidate->number) > frequency(lfu, oldest->number);
        if (stays)
            leave(lfu, oldest);
    }
    if (stays)
        enter(lfu, candidate, PROBATION);
}

static bool request(void *state, struct policy_object *object)
{
    struct tinylfu *lfu = state;
    count(lfu, object->number);
    if (object->queue != NONE) {
        use(lfu, object);
        return true;
    }
    enter(lfu, object, WINDOW);
    while (lfu->bytes[WINDOW] > lfu->most[WINDOW])
        contend(lfu, policy_object_of(lfu->queues[WINDOW].next));
    return false;
}

const struct policy policy_w_tinylfu = {"W-TinyLFU", create, request, destroy};
