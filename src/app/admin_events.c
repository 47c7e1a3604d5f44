#include "app/admin_events.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/json.h"
#include "http/response.h"

struct event_work {
    struct arena arena; /* of the events */
    struct s3_events parsed;
    struct event_purges purges;
    size_t len;
    uint8_t body[ADMIN_EVENTS_BODY_MAX];
};

/* ---- the answer ---- */

static void finish(struct admin_events *events, enum event_envelope envelope, enum event_answer answer,
    unsigned status, const char *message)
{
    counter_add(&events->place->stats->messages[envelope][answer], 1);
    events->status = status;
    events->message = message;
    events->done(events);
}

static enum event_envelope envelope_of(const struct admin_events *events)
{
    return events->work->parsed.eventbridge ? EVENT_ENVELOPE_EVENTBRIDGE : EVENT_ENVELOPE_S3;
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
    finish(events, envelope_of(events), durable ? EVENT_ACCEPTED : EVENT_FAILED, durable ? 200 : 503, NULL);
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
    work->purges.context = events;
    work->purges.done = purged;
    event_purges_start(&work->purges);
}

/* ---- the message ---- */

static void take_message(struct admin_events *events)
{
    struct event_work *work = events->work;
    const struct admin_decision *decision = &events->decision;
    if (decision->status != 0) {
        finish(events, EVENT_ENVELOPE_S3, EVENT_REFUSED, decision->status, decision->message);
        return;
    }
    arena_init(&work->arena, NULL, 0, S3_EVENTS_ARENA_MAX(work->len));
    const char *why = s3_events_parse(&work->parsed, &work->arena, bytes_of(work->body, work->len));
    if (why == s3_events_no_memory)
        finish(events, envelope_of(events), EVENT_FAILED, 503, why);
    else if (why)
        finish(events, envelope_of(events), EVENT_MALFORMED, 400, why);
    else
        purge(events);
}

/* ---- the body ---- */

static void piece_read(struct exchange_read *read)
{
    struct admin_events *events = CONTAINER_OF(read, struct admin_events, read);
    struct event_work *work = events->work;
    struct bytes piece = read->result == 0 ? read->bytes : (struct bytes){0};
    bool large = read->result == E_TOO_LARGE || piece.len > sizeof work->body - work->len;
    if (large) {
        finish(events, EVENT_ENVELOPE_S3, EVENT_MALFORMED, 413, "the body is larger than 256 KiB");
    } else if (read->result < 0) {
        finish(events, EVENT_ENVELOPE_S3, EVENT_MALFORMED, read->result == E_TIMEOUT ? 408 : 400,
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
        finish(events, EVENT_ENVELOPE_S3, EVENT_FAILED, 503, "out of memory");
        return;
    }
    arena_init(&events->work->arena, NULL, 0, 0);
    events->work->parsed = (struct s3_events){0};
    events->work->purges.result = 0;
    events->work->len = 0;
    events->read.done = piece_read;
    if (events->has_body)
        exchange_read(events->exchange, &events->read);
    else
        take_message(events);
}
