/*
 * What an S3 event notification says: which objects were created or removed. Pure, but for the JSON library.
 *
 * Two shapes are read, both as the senders document them; members that mean nothing here are skipped.
 *  - Records: {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name"}, "object":
 * {"key"}}}]} (S3 User Guide, "Event message structure"; so also MinIO and Ceph, where eventName begins with
 * "s3:"). Keys are form-encoded there: "+" is a space, %XX any byte. The message that S3 sends when a
 * notification is configured ({"Event": "s3:TestEvent"}) names no object.
 *  - EventBridge: {"detail-type": "Object Created", "detail": {"bucket": {"name"}, "object": {"key"}}}
 *    (S3 User Guide, "EventBridge event message structure"). Keys are as they are.
 *
 * Objects change by ObjectCreated:*, ObjectRemoved:* and LifecycleExpiration:*, "Object Created" and "Object
 * Deleted". Other events (tags, access lists, restores, transitions, replication) change no byte of what a
 * GET answers: they are ignored. One that names no bucket or no possible key makes the whole message
 * malformed: nothing of it may be taken for done.
 */
#pragma once

#include "base/arena.h"

#define S3_EVENT_KEY_MAX 1024
/* Arena bytes that the events of a body may need: a record is over 80 bytes of it and becomes fewer. */
#define S3_EVENTS_ARENA_MAX(body_len) (2 * (body_len) + 4096)

enum s3_event_kind { S3_EVENT_CREATED, S3_EVENT_REMOVED };

struct s3_event {
    enum s3_event_kind kind;
    struct bytes bucket, key; /* the S3 bucket's name; decoded. In the arena */
};

struct s3_events {
    bool eventbridge;
    struct s3_event *events;
    unsigned count, ignored;
};

struct json_t;

/* NULL, or what is wrong with it (static); s3_events_no_memory: nothing. The second is for a body that was
 * read already; NULL: it could not be. */
extern const char s3_events_no_memory[];
const char *s3_events_parse(struct s3_events *events, struct arena *arena, struct bytes body);
const char *s3_events_read(struct s3_events *events, struct arena *arena, const struct json_t *json);
/* Decodes application/x-www-form-urlencoded text into buf, of at least text.len bytes. False: a "%" without
 * two hex digits. */
MUST_CHECK bool s3_event_decode_key(struct bytes text, uint8_t *buf, struct bytes *key);
