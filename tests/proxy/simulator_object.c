/* Objects, their versions, and what happens to them. */
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/answer.h"
#include "simulator.h"

#define MODIFIED_BASE_S INT64_C(1700000000)

static const uint64_t lens[OBJECTS] = {
    0, 1, 900, 16383, 16384, 16385, 65535, 65536, 65537, 200000, 700000, 3000000, 262145, 5000000};

static const enum object_kind kinds[OBJECTS] = {
    [2] = OBJECT_NO_CACHE,
    [3] = OBJECT_UNTAGGED,
    [6] = OBJECT_UNTAGGED,
    [7] = OBJECT_WEAK,
    [9] = OBJECT_NO_STORE,
    [10] = OBJECT_WEAK,
};

int64_t object_modified_s(unsigned version)
{
    return MODIFIED_BASE_S + 10 * (int64_t)version;
}

unsigned object_current(const struct object *object)
{
    return object->versions - 1;
}

int object_version(const struct object *object, struct bytes etag)
{
    for (unsigned v = 0; v < object->versions; v++)
        if (bytes_equal(etag, bytes_of_string(object->etags[v])))
            return (int)v;
    return -1;
}

static void put(struct world *world, struct object *object)
{
    unsigned v = object_current(object);
    char extra[256], date[64] = "", age[64] = "";
    struct writer w = writer_of((uint8_t *)date, sizeof date - 1);
    answer_write_date(object_modified_s(v), &w);
    if (object->max_age_s[v] != UINT32_MAX)
        snprintf(age, sizeof age, "Cache-Control: max-age=%u\r\n", object->max_age_s[v]);
    snprintf(extra, sizeof extra, "Content-Type: text/x-%s\r\nLast-Modified: %s\r\n%s%s", object->key, date,
        age,
        object->kind == OBJECT_NO_STORE   ? "Cache-Control: no-store\r\n"
        : object->kind == OBJECT_NO_CACHE ? "Cache-Control: no-cache\r\n"
                                          : "");
    fake_put_pattern(world->origin, object->key, object->lens[v], object->seeds[v], object->etags[v], extra);
}

static void add_version(struct world *world, struct object *object)
{
    unsigned v = object->versions++;
    bool weak = object->kind == OBJECT_WEAK;
    CHECK(v < VERSIONS);
    object->lens[v] = v == 0 ? lens[object - world->objects] : lens[below(world, 12)];
    object->seeds[v] = random_next(&world->random);
    object->max_age_s[v] = below(world, 4) || world->plan.calm ? UINT32_MAX : (unsigned)below(world, 2) * 30;
    if (object->kind != OBJECT_UNTAGGED)
        snprintf(object->etags[v], sizeof object->etags[v], "%s\"v%u\"", weak ? "W/" : "", v);
    if (v > 0)
        object->changed_ns = object->replaced_ns[v - 1] = world_now_ns(world);
}

void objects_make(struct world *world)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct object *object = &world->objects[i];
        *object = (struct object){.kind = kinds[i]};
        snprintf(object->key, sizeof object->key, "object-%u", i);
        add_version(world, object);
    }
}

void objects_put(struct world *world)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        put(world, &world->objects[i]);
        world->objects[i].faulty_until_ns = 0;
    }
}

static void give_fault(struct world *world, struct object *object, const struct fake_script *script)
{
    object->faulty_until_ns = UINT64_MAX;
    world_trace(world, "fault %s: error %d, after head %d, at %llu, %u fetches%s%s%s%s", object->key,
        script->error, script->after_head, (unsigned long long)script->break_after, script->fetches,
        script->hang ? ", hang" : "", script->ignore_range ? ", ignore range" : "",
        script->ignore_if_match ? ", ignore if-match" : "", script->no_length ? ", no length" : "");
    fake_script(world->origin, object->key, script);
}

static void fault(struct world *world, struct object *object)
{
    static const int errors[] = {
        E_TRUNCATED, E_TIMEOUT, E_UNREACHABLE, E_EXHAUSTED, E_PROTOCOL, E_REFUSED, E_MISSING};
    struct fake_script script = {.fetches = 1 + (unsigned)below(world, 3)};
    switch (below(world, 8)) {
    case 0:
        script.hang = true;
        script.after_head = below(world, 2);
        break;
    case 1:
        script.ignore_range = true;
        break;
    case 2:
        script.ignore_if_match = true;
        break;
    case 3:
        script.no_length = true;
        break;
    default:
        script.error = errors[below(world, 7)];
        script.after_head = below(world, 2);
        script.break_after = below(world, 500000);
        break;
    }
    give_fault(world, object, &script);
}

void objects_disturb(struct world *world)
{
    struct object *object = &world->objects[below(world, OBJECTS)];
    if (world->plan.calm)
        return;
    /* Without a tag versions can't be told apart: what comes of them could not be judged. */
    if (below(world, 2) && object->kind != OBJECT_UNTAGGED && object->versions < VERSIONS) {
        add_version(world, object);
        put(world, object);
        world_trace(world, "overwritten %s: version %u, %llu bytes", object->key, object_current(object),
            (unsigned long long)object->lens[object_current(object)]);
    } else if (below(world, 2)) {
        fault(world, object);
    }
}
