/*
 * A lane: one origin's transfers on one worker, at most connection_pool_size at a time; the others wait in
 * order.
 *
 * libcurl's own limits are per multi handle and host, and its queue has no deadline that knows of pauses;
 * ours is a counter and a list. A lane lives only while a job is in it, so that it never outlives its origin.
 */
#pragma once

#include "origin/backend.h"

struct lane {
    struct list_node node; /* client->lanes */
    struct origin *origin;
    unsigned running;
    struct list_node waiting; /* struct lane_place.node */
};

struct lane_place {
    struct list_node node;
    struct lane *lane; /* NULL: in none */
    bool running;
};

/* NULL-safe: -ENOMEM; 1: go; 0: wait, a later lane_leave says when. */
MUST_CHECK int lane_enter(struct origin_client *client, struct origin *origin, struct lane_place *place);
/* Leaves; returns whose turn it is now (it counts as running), or NULL. */
struct lane_place *lane_leave(struct lane_place *place);
