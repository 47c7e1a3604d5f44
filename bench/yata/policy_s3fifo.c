/*
 * S3-FIFO as published (Yang, Zhang, Qiu, Yue, Vinayak, SOSP 2023; parameters of libCacheSim): small is a
 * tenth of the cache, ghosts remember as many bytes as main holds, an object leaves small for main at its
 * second use after the insert. Written from the paper, apart from src/cache/s3fifo.c, so that one can check
 * the other.
 */
#include <stdlib.h>

#include "bench/yata/policy.h"

#define PROMOTE_USES 2
#define USES_MAX 3

enum { NONE, SMALL, MAIN };

/* Remembers evicted objects in order; an object may be recalled, and then be remembered again. */
struct ghosts {
    uint32_t *ring, *bytes; /* by the count of what was ever remembered */
    uint64_t *remembered;   /* by object: 1 + its newest place in the count; 0: none */
    uint64_t first, end, room, sum;
};

struct s3 {
    struct list_node small, main;
    uint64_t capacity_bytes, small_bytes, main_bytes;
    struct ghosts ghosts;
};

static void destroy(void *state)
{
    struct s3 *s3 = state;
    free(s3->ghosts.ring);
    free(s3->ghosts.bytes);
    free(s3->ghosts.remembered);
    free(s3);
}

static void *create(uint64_t capacity_bytes, uint64_t object_count)
{
    struct s3 *s3 = calloc(1, sizeof *s3);
    if (s3 == NULL)
        return NULL;
    list_init(&s3->small);
    list_init(&s3->main);
    s3->capacity_bytes = capacity_bytes;
    struct ghosts *ghosts = &s3->ghosts;
    ghosts->room = 4 * object_count + 1;
    ghosts->ring = calloc(ghosts->room, sizeof *ghosts->ring);
    ghosts->bytes = calloc(ghosts->room, sizeof *ghosts->bytes);
    ghosts->remembered = calloc(object_count, sizeof *ghosts->remembered);
    if (ghosts->ring == NULL || ghosts->bytes == NULL || ghosts->remembered == NULL) {
        destroy(s3);
        return NULL;
    }
    return s3;
}

static uint64_t main_capacity(const struct s3 *s3)
{
    return s3->capacity_bytes - s3->capacity_bytes / 10;
}

static bool recall(struct ghosts *ghosts, uint32_t number)
{
    uint64_t at = ghosts->remembered[number];
    if (at == 0)
        return false;
    ghosts->sum -= ghosts->bytes[(at - 1) % ghosts->room];
    ghosts->bytes[(at - 1) % ghosts->room] = 0;
    ghosts->remembered[number] = 0;
    return true;
}

static void remember(struct s3 *s3, const struct policy_object *object)
{
    struct ghosts *ghosts = &s3->ghosts;
    while (ghosts->first < ghosts->end &&
           (ghosts->end - ghosts->first == ghosts->room || ghosts->sum + object->bytes > main_capacity(s3))) {
        uint64_t at = ghosts->first++ % ghosts->room;
        if (ghosts->bytes[at] != 0)
            (void)recall(ghosts, ghosts->ring[at]);
    }
    ghosts->ring[ghosts->end % ghosts->room] = object->number;
    ghosts->bytes[ghosts->end % ghosts->room] = object->bytes;
    ghosts->remembered[object->number] = ++ghosts->end;
    ghosts->sum += object->bytes;
}

static void enter_main(struct s3 *s3, struct policy_object *object)
{
    object->queue = MAIN;
    s3->main_bytes += object->bytes;
    list_push_back(&s3->main, &object->link);
}

static void evict_small(struct s3 *s3)
{
    struct policy_object *object = policy_object_of(list_pop_front(&s3->small));
    s3->small_bytes -= object->bytes;
    object->queue = NONE;
    if (object->uses >= PROMOTE_USES)
        enter_main(s3, object);
    else
        remember(s3, object);
    object->uses = 0;
}

static void evict_main(struct s3 *s3)
{
    struct policy_object *object = policy_object_of(list_pop_front(&s3->main));
    if (object->uses > 0) {
        object->uses--;
        list_push_back(&s3->main, &object->link);
        return;
    }
    s3->main_bytes -= object->bytes;
    object->queue = NONE;
}

static bool request(void *state, struct policy_object *object)
{
    struct s3 *s3 = state;
    if (object->queue != NONE) {
        object->uses += object->uses < USES_MAX;
        return true;
    }
    bool proven = recall(&s3->ghosts, object->number);
    while (s3->small_bytes + s3->main_bytes + object->bytes > s3->capacity_bytes &&
           s3->small_bytes + s3->main_bytes > 0) {
        if (list_empty(&s3->small) || s3->main_bytes > main_capacity(s3))
            evict_main(s3);
        else
            evict_small(s3);
    }
    object->uses = 0;
    if (proven) {
        enter_main(s3, object);
        return false;
    }
    object->queue = SMALL;
    s3->small_bytes += object->bytes;
    list_push_back(&s3->small, &object->link);
    return false;
}

const struct policy policy_s3fifo = {"S3-FIFO", create, request, destroy};
