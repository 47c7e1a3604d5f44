#include "origin/lane.h"

#include <errno.h>
#include <stdlib.h>

static struct lane *lane_of(struct origin_client *client, struct origin *origin)
{
    for (struct list_node *node = client->lanes.next; node != &client->lanes; node = node->next) {
        struct lane *lane = CONTAINER_OF(node, struct lane, node);
        if (lane->origin == origin)
            return lane;
    }
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->origin = origin;
    list_init(&lane->waiting);
    list_push_back(&client->lanes, &lane->node);
    return lane;
}

int lane_enter(struct origin_client *client, struct origin *origin, struct lane_place *place)
{
    struct lane *lane = lane_of(client, origin);
    CHECK(place->lane == NULL);
    if (lane == NULL)
        return -ENOMEM;
    place->lane = lane;
    place->running = lane->running < origin->pool_size;
    if (place->running)
        lane->running++;
    else
        list_push_back(&lane->waiting, &place->node);
    return place->running;
}

struct lane_place *lane_leave(struct lane_place *place)
{
    struct lane *lane = place->lane;
    if (lane == NULL)
        return NULL;
    place->lane = NULL;
    struct lane_place *next = NULL;
    if (!place->running) {
        list_remove(&place->node);
    } else if (!list_empty(&lane->waiting)) {
        next = CONTAINER_OF(list_pop_front(&lane->waiting), struct lane_place, node);
        next->running = true;
    } else {
        CHECK(lane->running > 0);
        lane->running--;
    }
    place->running = false;
    if (lane->running == 0) {
        CHECK(list_empty(&lane->waiting));
        list_remove(&lane->node);
        free(lane);
    }
    return next;
}
