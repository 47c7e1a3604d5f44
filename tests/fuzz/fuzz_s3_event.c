/* Notifications of S3's: what is taken names only possible objects, within the bound on memory. */
#include <stdlib.h>

#include "app/s3_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_events events;
    struct arena arena;
    arena_init(&arena, NULL, 0, S3_EVENTS_ARENA_MAX(size));
    const char *why = s3_events_parse(&events, &arena, bytes_of(data, size));
    CHECK(why != s3_events_no_memory);
    for (unsigned i = 0; why == NULL && i < events.count; i++) {
        const struct s3_event *event = &events.events[i];
        CHECK(event->bucket.len > 0 && event->key.len > 0 && event->key.len <= S3_EVENT_KEY_MAX);
        CHECK(!memchr(event->key.ptr, 0, event->key.len) && !memchr(event->bucket.ptr, 0, event->bucket.len));
    }
    arena_reset(&arena);
    uint8_t *buf = malloc(size);
    struct bytes key;
    if (buf && s3_event_decode_key(bytes_of(data, size), buf, &key))
        CHECK(key.len <= size);
    free(buf);
    return 0;
}
