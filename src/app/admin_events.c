#include "app/admin_events.h"

#include <stdlib.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "http/response.h"

struct event_work {
    enum event_envelope envelope;
    struct arena arena; /* of the message and its events */
    struct sns_message message;
    struct sns_request sns;
    struct s3_events parsed;
    struct event_purges purges;
    size_t len;
    uint8_t body[ADMIN_EVENTS_BODY_MAX];
};

/* ---- the answer ---- */

static void finish(
    struct admin_events *events, enum event_answer answer, unsigned status, const char *message)
{
    enum event_envelope envelope = events->work ? events->work->envelope : EVENT_ENVELOPE_S3;
    counter_add(&events->place->stats->messages[envelope][answer], 1);
    events->status = status;
    events->message = message;
    events->done(events);
}

static enum event_answer answer_of(unsigned status)
{
    return status >= 500 ? EVENT_FAILED : status == 400 ? EVENT_MALFORMED : EVENT_REFUSED;
}

void admin_events_write(struct writer *w, const struct admin_events *events)
{
    const struct event_purges *purges = &events->work->purges;
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    if (purges->result < 0) {
        json_put_string(&json, "error", http_reason(events->status));
        json_put_string(&json, "message", BYTES("in force until restart, not durable"));
        json_put_number(&json, "status", events->status);
    }
    json_put_number(&json, "purged", purges->purged);
    json_put_number(&json, "ignored", events->work->parsed.ignored);
    json_put_number(&json, "unknown_bucket", purges->unknown);
    json_put_bool(&json, "durable", purges->result == 0);
    json_close_object(&json);
    write_u8(w, '\n');
}

void admin_events_end(struct admin_events *events)
{
    if (events->work)
        arena_reset(&events->work->arena);
    free(events->work);
    events->work = NULL;
}

/* ---- purging ---- */

static void purged(struct event_purges *purges)
{
    struct admin_events *events = purges->context;
    bool durable = purges->result == 0;
    finish(events, durable ? EVENT_ACCEPTED : EVENT_FAILED, durable ? 200 : 503, NULL);
}

static void purge(struct admin_events *events)
{
    struct event_work *work = events->work;
    const struct admin_events_place *place = events->place;
    counter_add(&place->stats->events[EVENT_OTHER][EVENT_IGNORED], work->parsed.ignored);
    work->purges.proxy = place->proxy;
    work->purges.loop = place->loop;
    work->purges.log = place->log;
    work->purges.stats = place->stats;
    work->purges.events = &work->parsed;
    work->purges.done = purged;
    event_purges_start(&work->purges);
}

/* The events were read, or `why` not. */
static void go_on(struct admin_events *events, const char *why)
{
    unsigned status = why == s3_events_no_memory || why == sns_no_memory ? 503 : 400;
    if (why)
        finish(events, answer_of(status), status, why);
    else
        purge(events);
}

/* ---- what SNS signed ---- */

static void signed_by_sns(struct sns_request *request)
{
    struct event_work *work = CONTAINER_OF(request, struct event_work, sns);
    struct admin_events *events = work->purges.context;
    if (request->status) {
        finish(events, answer_of(request->status), request->status, request->why);
        return;
    }
    if (work->message.type == SNS_UNSUBSCRIBE)
        log_text(events->place->log, LOG_WARN, "events", "unsubscribed from SNS topic '%.*s'",
            (int)work->message.topic.len, (const char *)work->message.topic.ptr);
    bool carries = work->message.type == SNS_NOTIFICATION;
    go_on(events, carries ? s3_events_parse(&work->parsed, &work->arena, work->message.text) : NULL);
}

static void take_sns(struct admin_events *events, const json_t *json)
{
    struct event_work *work = events->work;
    work->envelope = EVENT_ENVELOPE_SNS;
    if (events->place->sns == NULL) {
        finish(events, EVENT_REFUSED, 403, "admin.events.sns_topics names no SNS topic");
        return;
    }
    const char *why = sns_message_read(&work->message, &work->arena, json);
    if (why) {
        go_on(events, why);
        return;
    }
    work->sns.message = &work->message;
    work->sns.now_s = (int64_t)(clock_wall_ns() / NS_PER_S);
    work->sns.done = signed_by_sns;
    sns_request_start(events->place->sns, &work->sns);
}

/* ---- the message ---- */

/* What is no SNS message is taken only from who may send anything. */
static void take_message(struct admin_events *events)
{
    struct event_work *work = events->work;
    const struct admin_decision *decision = &events->decision;
    json_error_t error;
    json_t *json = json_loadb((const char *)work->body, work->len, JSON_REJECT_DUPLICATES, &error);
    arena_init(&work->arena, NULL, 0, S3_EVENTS_ARENA_MAX(work->len) + SNS_ARENA_MAX(work->len));
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory) {
        go_on(events, s3_events_no_memory);
    } else if (sns_message_is(json)) {
        take_sns(events, json);
    } else if (decision->status != 0) {
        finish(events, EVENT_REFUSED, decision->status, decision->message);
    } else {
        const char *why = s3_events_read(&work->parsed, &work->arena, json);
        work->envelope = work->parsed.eventbridge ? EVENT_ENVELOPE_EVENTBRIDGE : EVENT_ENVELOPE_S3;
        go_on(events, why);
    }
    json_decref(json);
}

/* ---- the body ---- */

static void piece_read(struct exchange_read *read)
{
    struct admin_events *events = CONTAINER_OF(read, struct admin_events, read);
    struct event_work *work = events->work;
    struct bytes piece = read->result == 0 ? read->bytes : (struct bytes){0};
    bool large = read->result == E_TOO_LARGE || piece.len > sizeof work->body - work->len;
    if (large) {
        finish(events, EVENT_MALFORMED, 413, "the body is larger than 256 KiB");
    } else if (read->result < 0) {
        finish(events, EVENT_MALFORMED, read->result == E_TIMEOUT ? 408 : 400,
            "the body is incomplete or malformed");
    } else if (piece.len == 0) {
        take_message(events);
    } else {
        memcpy(work->body + work->len, piece.ptr, piece.len);
        work->len += piece.len;
        exchange_read(events->exchange, &events->read);
    }
}

void admin_events_start(struct admin_events *events)
{
    CHECK(events->done && events->place);
    events->work = malloc(sizeof *events->work);
    if (events->work == NULL) {
        finish(events, EVENT_FAILED, 503, "out of memory");
        return;
    }
    arena_init(&events->work->arena, NULL, 0, 0);
    events->work->parsed = (struct s3_events){0};
    events->work->envelope = EVENT_ENVELOPE_S3;
    events->work->purges.result = 0;
    events->work->purges.context = events;
    events->work->len = 0;
    events->read.done = piece_read;
    if (events->has_body)
        exchange_read(events->exchange, &events->read);
    else
        take_message(events);
}
