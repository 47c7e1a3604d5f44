/*
 * What came in by POST /admin/events/s3, for /metrics and the tests. One instance per admin listener.
 */
#pragma once

#include "base/stats.h"

enum event_envelope { EVENT_ENVELOPE_S3, EVENT_ENVELOPE_EVENTBRIDGE, EVENT_ENVELOPE_SNS };
#define EVENT_ENVELOPES 3
/* Of a message: taken, not allowed (no token, bad signature), malformed, failed (the sender may retry). */
enum event_answer { EVENT_ACCEPTED, EVENT_REFUSED, EVENT_MALFORMED, EVENT_FAILED };
#define EVENT_ANSWERS 4
/* Of an event in it. */
enum event_kind { EVENT_CREATED, EVENT_REMOVED, EVENT_OTHER };
#define EVENT_KINDS 3
enum event_result { EVENT_PURGED, EVENT_UNKNOWN_BUCKET, EVENT_NOT_DURABLE, EVENT_IGNORED };
#define EVENT_RESULTS 4

struct event_stats {
    struct counter messages[EVENT_ENVELOPES][EVENT_ANSWERS];
    struct counter events[EVENT_KINDS][EVENT_RESULTS];
};

struct metrics_text;

void event_stats_write(struct metrics_text *m, const struct event_stats *stats);
