/*
 * POST /admin/events/s3: a notification of S3's says what changed, and that is purged, durably, before it is
 * answered; whoever sent it sends it again where the answer is 5xx.
 *
 * The body (s3_event.h, sns_message.h) is read piece by piece into memory of this request, so that its bound
 * (ADMIN_EVENTS_BODY_MAX, what SNS and EventBridge carry at most) is not every connection's. Steps: read the
 * body, see what it is, who may send that (sns.h for what SNS signed, admin_rules.h for the rest), purge,
 * answer. Answers:
 *
 *   200  done and durable; also where nothing was to be done (another kind of event, an unknown bucket)
 *   400  no notification; nothing was purged
 *   401, 403, 415  as everything below /admin/; 403: a message that SNS did not sign, or of another topic
 *   503  not done, or in force until the restart only: to be sent again
 *
 * Rejected: 404 for a bucket that no entry reads. A sender would repeat what can't succeed, and one topic may
 * tell of more buckets than are cached here.
 *
 * struct admin_events | its caller's, from start until admin_events_end | the admin loop's
 */
#pragma once

#include "app/admin_rules.h"
#include "app/event_purges.h"
#include "app/sns.h"
#include "http/exchange.h"

#define ADMIN_EVENTS_BODY_MAX ((size_t)256 << 10)

struct admin_events_place {
    struct proxy *proxy;
    struct io_loop *loop;
    struct log *log;
    struct event_stats *stats;
    struct sns *sns; /* NULL: no topics */
};

struct admin_events {
    /* The caller's. */
    const struct admin_events_place *place; /* outlives it */
    struct exchange *exchange;              /* whose body streams, or which has none */
    struct admin_decision decision;         /* with a status: the answer to all but what SNS signed */
    void (*done)(struct admin_events *events);

    /* At done: the answer. `message` of an error, or NULL: see admin_events_write. */
    unsigned status;
    const char *message;

    /* The request's own. */
    bool has_body;
    struct exchange_read read;
    struct event_work *work;
};

/* done comes once, perhaps inside the call. */
void admin_events_start(struct admin_events *events);
/* The body of an answer without a message. */
void admin_events_write(struct writer *w, const struct admin_events *events);
/* Frees what it holds. */
void admin_events_end(struct admin_events *events);
