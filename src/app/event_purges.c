#include "app/event_purges.h"

#include "base/error.h"

static void count(struct event_purges *purges, unsigned event, enum event_result result)
{
    bool created = purges->events->events[event].kind == S3_EVENT_CREATED;
    counter_add(&purges->stats->events[created ? EVENT_CREATED : EVENT_REMOVED][result], 1);
}

/* The next event's object and entry; false: there is none. Events of unknown buckets are passed over. */
static bool next_purge(struct event_purges *purges, struct event_purge *to)
{
    const struct s3_events *events = purges->events;
    for (; purges->at < events->count; purges->at++, purges->next_entry = 0) {
        const struct s3_event *event = &events->events[purges->at];
        bool first = purges->next_entry == 0;
        const char *entry = proxy_entry_of_s3_bucket(purges->proxy, event->bucket, &purges->next_entry);
        if (entry) {
            to->purge.bucket = bytes_of_string(entry);
            to->purge.key = event->key;
            to->event = purges->at;
            return true;
        }
        if (first) {
            purges->unknown++;
            count(purges, purges->at, EVENT_UNKNOWN_BUCKET);
            log_text(purges->log, LOG_WARN, "events",
                "no bucket is configured that reads the S3 bucket '%.*s'", (int)event->bucket.len,
                (const char *)event->bucket.ptr);
        }
    }
    return false;
}

static void ended(struct event_purge *purge, int result)
{
    struct event_purges *purges = purge->batch;
    const struct proxy_purge *what = &purge->purge;
    log_text(purges->log, result < 0 ? LOG_WARN : LOG_DEBUG, "events",
        "purge of bucket '%.*s', key '%.*s': %s", (int)what->bucket.len, (const char *)what->bucket.ptr,
        (int)what->key.len, (const char *)what->key.ptr, result < 0 ? error_text(result) : "durable");
    count(purges, purge->event, result < 0 ? EVENT_NOT_DURABLE : EVENT_PURGED);
    if (result < 0)
        purges->result = result;
    else
        purges->purged++;
    purge->running = false;
    purges->running--;
}

static void go_on(struct event_purges *purges);

static void purge_done(struct proxy_purge *done)
{
    struct event_purge *purge = CONTAINER_OF(done, struct event_purge, purge);
    ended(purge, done->result);
    go_on(purge->batch);
}

static void start_one(struct event_purges *purges, struct event_purge *purge)
{
    purge->purge.prefix = purge->purge.tag = purge->purge.host = purge->purge.query = (struct bytes){0};
    purge->purge.soft = false;
    purge->purge.durable_until_ns = purges->durable_until_ns;
    purge->purge.done = purge_done;
    purge->batch = purges;
    purge->running = true;
    purges->running++;
    int result = proxy_purge(purges->proxy, purges->loop, &purge->purge);
    if (result < 0) /* too long to have been stored */
        ended(purge, result == E_TOO_LARGE ? 0 : result);
}

static void go_on(struct event_purges *purges)
{
    if (purges->entered) /* a purge was done inside its call */
        return;
    purges->entered = true;
    for (unsigned i = 0; i < EVENT_PURGES_AT_ONCE; i++)
        while (!purges->slots[i].running && next_purge(purges, &purges->slots[i]))
            start_one(purges, &purges->slots[i]);
    purges->entered = false;
    if (purges->running == 0)
        purges->done(purges);
}

void event_purges_start(struct event_purges *purges)
{
    CHECK(purges->done && purges->events);
    purges->result = 0;
    purges->durable_until_ns = io_now_ns(purges->loop) + PURGE_DURABLE_NS; /* of all of them */
    purges->purged = purges->unknown = purges->at = purges->next_entry = purges->running = 0;
    purges->entered = false;
    for (unsigned i = 0; i < EVENT_PURGES_AT_ONCE; i++)
        purges->slots[i].running = false;
    go_on(purges);
}
