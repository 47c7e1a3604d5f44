#include "app/event_stats.h"

#include "app/metrics_text.h"

static const char *const envelopes[EVENT_ENVELOPES] = {"s3", "eventbridge", "sns"};
static const char *const answers[EVENT_ANSWERS] = {"accepted", "refused", "malformed", "failed"};
static const char *const kinds[EVENT_KINDS] = {"created", "removed", "other"};
static const char *const results[EVENT_RESULTS] = {"purged", "unknown_bucket", "not_durable", "ignored"};

static void write_sample(struct metrics_text *m, const char *label, const char *value, const char *result,
    const struct counter *counter)
{
    metrics_sample(m, NULL);
    metrics_label(m, label, value);
    metrics_label(m, "result", result);
    metrics_value(m, counter_get(counter));
}

void event_stats_write(struct metrics_text *m, const struct event_stats *stats)
{
    metrics_family(m, "yatagarasu_event_messages_total", METRICS_COUNTER,
        "Messages of S3 events, by envelope and by how they were answered.");
    for (unsigned i = 0; i < EVENT_ENVELOPES; i++)
        for (unsigned j = 0; j < EVENT_ANSWERS; j++)
            write_sample(m, "envelope", envelopes[i], answers[j], &stats->messages[i][j]);
    metrics_family(m, "yatagarasu_events_total", METRICS_COUNTER,
        "S3 events, by what they tell and what came of it, for each entry that reads the bucket.");
    for (unsigned i = 0; i < EVENT_KINDS; i++)
        for (unsigned j = 0; j < EVENT_RESULTS; j++)
            write_sample(m, "kind", kinds[i], results[j], &stats->events[i][j]);
}
