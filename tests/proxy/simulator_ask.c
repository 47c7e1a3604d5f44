/* What clients ask for. */
#include <stdio.h>

#include "base/clock.h"
#include "origin/answer.h"
#include "simulator.h"

static void draw_ranges(struct world *world, struct ask *ask, uint64_t len)
{
    static const uint64_t spans[] = {1, 100, 5000, 70000};
    ask->range_count = below(world, 4) ? 1 : 2 + (unsigned)below(world, RANGES - 1);
    for (unsigned i = 0; i < ask->range_count; i++) {
        struct ask_range *range = &ask->ranges[i];
        uint64_t span = ask->range_count > 1 ? spans[below(world, 4)] : 1 + below(world, 200000);
        range->kind = (int)below(world, 3);
        if (ask->range_count > 1 && range->kind == RANGE_OF_FIRST)
            range->kind = RANGE_OF_BOTH;
        range->first = below(world, len + 2);
        range->last = range->kind == RANGE_OF_SUFFIX ? span : range->first + span - 1;
    }
}

/* Tags of the current, of an older, of no version; several, and any. */
static void draw_tags(struct world *world, const struct object *object, char *tags, size_t room)
{
    const char *current = object->etags[object_current(object)];
    const char *other = object->etags[below(world, object->versions)];
    switch (below(world, 6)) {
    case 0:
    case 1:
        snprintf(tags, room, "%s", *current ? current : "\"none\"");
        break;
    case 2:
        snprintf(tags, room, "%s", *other ? other : "\"none\"");
        break;
    case 3:
        snprintf(tags, room, "\"unknown\", %s", *other ? other : "\"none\"");
        break;
    case 4:
        snprintf(tags, room, "\"unknown\"");
        break;
    default:
        snprintf(tags, room, "*");
        break;
    }
}

static void draw_conditions(struct world *world, struct ask *ask)
{
    const struct object *object = ask->object;
    unsigned about = (unsigned)below(world, object->versions);
    switch (below(world, 6)) {
    case 0:
        draw_tags(world, object, ask->if_match, sizeof ask->if_match);
        break;
    case 1:
        ask->modified_since_s = object_modified_s(about) + (int64_t)below(world, 20) - 10;
        break;
    case 2:
        ask->unmodified_since_s = object_modified_s(about) + (int64_t)below(world, 20) - 10;
        break;
    default:
        draw_tags(world, object, ask->if_none_match, sizeof ask->if_none_match);
        break;
    }
}

static void put(struct ask *ask, const char *format, const char *text)
{
    int n = snprintf(ask->text + ask->text_len, REQUEST_BYTES - ask->text_len, format, text);
    ask->text_len += (size_t)n;
    CHECK(ask->text_len < REQUEST_BYTES);
}

static void put_date(struct ask *ask, const char *format, int64_t date_s)
{
    char text[64] = "";
    struct writer w = writer_of((uint8_t *)text, sizeof text - 1);
    answer_write_date(date_s, &w);
    if (date_s)
        put(ask, format, text);
}

static void put_ranges(struct ask *ask)
{
    char text[64];
    for (unsigned i = 0; i < ask->range_count; i++) {
        const struct ask_range *range = &ask->ranges[i];
        put(ask, "%s", i == 0 ? "Range: bytes=" : ", ");
        if (range->kind == RANGE_OF_SUFFIX)
            snprintf(text, sizeof text, "-%llu", (unsigned long long)range->last);
        else if (range->kind == RANGE_OF_FIRST)
            snprintf(text, sizeof text, "%llu-", (unsigned long long)range->first);
        else
            snprintf(text, sizeof text, "%llu-%llu", (unsigned long long)range->first,
                (unsigned long long)range->last);
        put(ask, "%s", text);
    }
    if (ask->range_count)
        put(ask, "%s", "\r\n");
}

void ask_draw(struct world *world, struct ask *ask)
{
    *ask = (struct ask){.object = &world->objects[below(world, OBJECTS)]};
    const struct object *object = ask->object;
    ask->head = below(world, 8) == 0;
    if (below(world, 2))
        draw_ranges(world, ask, object->lens[object_current(object)]);
    if (below(world, 4) == 0)
        draw_conditions(world, ask);
    if (ask->range_count && below(world, 4) == 0)
        snprintf(ask->if_range, sizeof ask->if_range, "%s", object->etags[below(world, object->versions)]);
    put(ask, "%s", ask->head ? "HEAD" : "GET");
    put(ask, " /b/%s HTTP/1.1\r\nHost: b\r\n", object->key);
    put_ranges(ask);
    if (*ask->if_match)
        put(ask, "If-Match: %s\r\n", ask->if_match);
    if (*ask->if_none_match)
        put(ask, "If-None-Match: %s\r\n", ask->if_none_match);
    if (*ask->if_range)
        put(ask, "If-Range: %s\r\n", ask->if_range);
    put_date(ask, "If-Modified-Since: %s\r\n", ask->modified_since_s);
    put_date(ask, "If-Unmodified-Since: %s\r\n", ask->unmodified_since_s);
    put(ask, "%s", "\r\n");
}
