/*
 * /health and /ready as JSON. /health says that the process answers. /ready says what is degraded: the driver
 * and why, the disk tier, each bucket's origin by its last answer. Its status is 200 while requests are
 * served, also degraded, and 503 before and after.
 */
#pragma once

#include "app/disk_watch.h"
#include "app/metrics.h"

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOPPING };

struct ready_source {
    enum phase phase;
    const struct metrics_source *metrics;
    const char *const *origin_kinds;     /* one a bucket */
    const struct disk_watch_state *disk; /* NULL: none configured */
};

void health_write(struct writer *w, const struct metrics_source *source);
/* Returns the status. */
unsigned ready_write(struct writer *w, const struct ready_source *source);
