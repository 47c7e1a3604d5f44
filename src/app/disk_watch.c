#include "app/disk_watch.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"

void disk_watch_init(struct disk_watch *watch, struct log *log)
{
    *watch = (struct disk_watch){.log = log};
    CHECK(pthread_mutex_init(&watch->mutex, NULL) == 0);
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&watch->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void disk_watch_deinit(struct disk_watch *watch)
{
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
}

static void keep(struct disk_watch *watch, bool degraded, const struct disk_event *event)
{
    pthread_mutex_lock(&watch->mutex);
    watch->degraded = degraded;
    (void)snprintf(watch->text, sizeof watch->text, "%s: %s", event->device ? event->device : "",
        event->text ? event->text : "");
    pthread_mutex_unlock(&watch->mutex);
}

void disk_watch_event(void *context, const struct disk_event *event)
{
    struct disk_watch *watch = context;
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {
        [DISK_EVENT_OPENED] = {"opened", LOG_INFO},
        [DISK_EVENT_RECOVERED] = {"recovered", LOG_INFO},
        [DISK_EVENT_DEGRADED] = {"degraded", LOG_ERROR},
        [DISK_EVENT_RESTORED] = {"restored", LOG_WARN},
        [DISK_EVENT_REFUSED] = {"refused", LOG_ERROR},
    };
    CHECK(event->kind < sizeof words / sizeof *words);
    if (event->kind == DISK_EVENT_DEGRADED || event->kind == DISK_EVENT_REFUSED)
        keep(watch, true, event);
    else if (event->kind == DISK_EVENT_RESTORED)
        keep(watch, false, event);
    /* The text may say the error itself. */
    const char *text = event->text ? event->text : "",
               *error = event->error < 0 ? error_text(event->error) : "";
    bool said = error[0] == 0 || strstr(text, error) != NULL;
    log_text(watch->log, words[event->kind].level, "disk", "%s %s: %s%s%s",
        event->device ? event->device : "", words[event->kind].word, text, said ? "" : ": ",
        said ? "" : error);
}

void disk_watch_attached(struct disk_watch *watch, int result)
{
    pthread_mutex_lock(&watch->mutex);
    watch->attached = result >= 0;
    watch->failed = result < 0;
    if (result < 0 && watch->text[0] == 0)
        (void)snprintf(watch->text, sizeof watch->text, "%s", error_text(result));
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->mutex);
    if (result < 0)
        log_text(watch->log, LOG_ERROR, "disk", "no device can be used (%s): serving without the disk tier",
            error_text(result));
}

void disk_watch_wait(struct disk_watch *watch, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    pthread_mutex_lock(&watch->mutex);
    int result = 0;
    while (!watch->attached && !watch->failed && result == 0)
        result = pthread_cond_timedwait(&watch->changed, &watch->mutex, &deadline);
    pthread_mutex_unlock(&watch->mutex);
}

void disk_watch_detached(struct disk_watch *watch, int result)
{
    pthread_mutex_lock(&watch->mutex);
    watch->attached = false;
    pthread_mutex_unlock(&watch->mutex);
    if (result < 0)
        log_text(watch->log, LOG_WARN, "disk",
            "detached before all was written (%s): the next start recovers", error_text(result));
    else
        log_text(watch->log, LOG_INFO, "disk", "detached");
}

struct disk_watch_state disk_watch_state(struct disk_watch *watch)
{
    struct disk_watch_state state;
    pthread_mutex_lock(&watch->mutex);
    state = (struct disk_watch_state){
        .attached = watch->attached, .failed = watch->failed, .degraded = watch->degraded};
    memcpy(state.text, watch->text, sizeof state.text);
    pthread_mutex_unlock(&watch->mutex);
    return state;
}
