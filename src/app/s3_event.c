#include "app/s3_event.h"

#include <jansson.h>

const char s3_events_no_memory[] = "out of memory";

/* ---- keys ---- */

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool s3_event_decode_key(struct bytes text, uint8_t *buf, struct bytes *key)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        buf[len++] = c;
    }
    *key = bytes_of(buf, len);
    return true;
}

/* ---- one event ---- */

static struct bytes text_of(const json_t *value)
{
    return json_is_string(value) ? bytes_of(json_string_value(value), json_string_length(value))
                                 : (struct bytes){0};
}

/* `what` is "s3" of a record, or the detail. */
static const char *take_object(
    struct s3_events *events, struct arena *arena, const json_t *what, enum s3_event_kind kind)
{
    struct bytes bucket = text_of(json_object_get(json_object_get(what, "bucket"), "name"));
    struct bytes key = text_of(json_object_get(json_object_get(what, "object"), "key"));
    if (bucket.len == 0 || key.len == 0)
        return "an event names no bucket or no key";
    uint8_t *decoded = arena_take(arena, key.len);
    struct s3_event event = {.kind = kind, .bucket = arena_copy(arena, bucket)};
    if (decoded == NULL || event.bucket.ptr == NULL)
        return s3_events_no_memory;
    if (!events->eventbridge) {
        if (!s3_event_decode_key(key, decoded, &event.key))
            return "a key is not form-encoded";
    } else {
        memcpy(decoded, key.ptr, key.len);
        event.key = bytes_of(decoded, key.len);
    }
    if (event.key.len > S3_EVENT_KEY_MAX || memchr(event.key.ptr, 0, event.key.len) ||
        memchr(event.bucket.ptr, 0, event.bucket.len))
        return "a key is longer than 1,024 bytes or holds a NUL";
    events->events[events->count++] = event;
    return NULL;
}

/* ---- Records ---- */

/* Whether objects change by it; in what way. */
static bool record_changes(struct bytes name, enum s3_event_kind *kind)
{
    if (bytes_start_with(name, BYTES("s3:")))
        name = bytes_from(name, 3);
    *kind = bytes_start_with(name, BYTES("ObjectCreated:")) ? S3_EVENT_CREATED : S3_EVENT_REMOVED;
    return *kind == S3_EVENT_CREATED || bytes_start_with(name, BYTES("ObjectRemoved:")) ||
           bytes_start_with(name, BYTES("LifecycleExpiration:"));
}

static const char *read_records(struct s3_events *events, struct arena *arena, const json_t *records)
{
    const char *why = NULL;
    for (size_t i = 0; i < json_array_size(records) && why == NULL; i++) {
        const json_t *record = json_array_get(records, i);
        struct bytes name = text_of(json_object_get(record, "eventName"));
        enum s3_event_kind kind;
        if (name.len == 0)
            why = "a record has no \"eventName\"";
        else if (record_changes(name, &kind))
            why = take_object(events, arena, json_object_get(record, "s3"), kind);
        else
            events->ignored++;
    }
    return why;
}

/* ---- EventBridge ---- */

static const char *read_eventbridge(
    struct s3_events *events, struct arena *arena, struct bytes type, const json_t *detail)
{
    bool created = bytes_equal(type, BYTES("Object Created"));
    if (created || bytes_equal(type, BYTES("Object Deleted")))
        return take_object(events, arena, detail, created ? S3_EVENT_CREATED : S3_EVENT_REMOVED);
    events->ignored++;
    return NULL;
}

/* ---- messages ---- */

const char *s3_events_read(struct s3_events *events, struct arena *arena, const struct json_t *json)
{
    *events = (struct s3_events){0};
    if (!json_is_object(json))
        return "the body is not a JSON object";
    const json_t *records = json_object_get(json, "Records");
    struct bytes type = text_of(json_object_get(json, "detail-type"));
    size_t max = json_is_array(records) ? json_array_size(records) : 1;
    events->eventbridge = type.len > 0;
    events->events = arena_take(arena, (max + 1) * sizeof *events->events);
    if (events->events == NULL)
        return s3_events_no_memory;
    if (json_is_array(records) && !events->eventbridge)
        return read_records(events, arena, records);
    if (events->eventbridge && records == NULL)
        return read_eventbridge(events, arena, type, json_object_get(json, "detail"));
    if (records == NULL && bytes_equal(text_of(json_object_get(json, "Event")), BYTES("s3:TestEvent"))) {
        events->ignored = 1;
        return NULL;
    }
    return "the body is no S3 event notification: it has neither \"Records\" nor a \"detail-type\"";
}

const char *s3_events_parse(struct s3_events *events, struct arena *arena, struct bytes body)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    bool exhausted = json == NULL && json_error_code(&error) == json_error_out_of_memory;
    const char *why = exhausted ? s3_events_no_memory : s3_events_read(events, arena, json);
    json_decref(json);
    return why;
}
