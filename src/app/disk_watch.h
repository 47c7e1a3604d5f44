/*
 * What became of the disk tier: its events go to the log and are kept for /ready. Any thread.
 */
#pragma once

#include <pthread.h>

#include "base/log.h"
#include "cache/disk.h"

#define DISK_WATCH_TEXT 400

struct disk_watch {
    struct log *log;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool attached, failed; /* neither: opening */
    bool degraded;
    char text[DISK_WATCH_TEXT]; /* of what degraded it */
};

struct disk_watch_state {
    bool attached, failed, degraded;
    char text[DISK_WATCH_TEXT];
};

void disk_watch_init(struct disk_watch *watch, struct log *log);
void disk_watch_deinit(struct disk_watch *watch);
/* For disk_config.event; the context is the watch. */
void disk_watch_event(void *context, const struct disk_event *event);
/* disk_attach's result. */
void disk_watch_attached(struct disk_watch *watch, int result);
/* Until the tier is attached or failed, or the (monotonic) time is over. */
void disk_watch_wait(struct disk_watch *watch, uint64_t deadline_ns);
void disk_watch_detached(struct disk_watch *watch, int result);
struct disk_watch_state disk_watch_state(struct disk_watch *watch);
