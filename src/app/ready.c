#include "app/ready.h"

#include "base/clock.h"
#include "base/json.h"

static void json_text(struct json *json, const char *key, const char *value)
{
    json_put_string(json, key, bytes_of_string(value));
}

void health_write(struct writer *w, const struct metrics_source *source)
{
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    json_text(&json, "status", "healthy");
    json_put_number(&json, "uptime_seconds", source->uptime_ns / NS_PER_S);
    json_text(&json, "version", source->version);
    json_close_object(&json);
    write_u8(w, '\n');
}

static const char *disk_word(const struct disk_watch_state *watch, const struct disk_stats *stats)
{
    if (watch->failed)
        return "out";
    if (!watch->attached)
        return "opening"; /* and its devices do not count as in use yet */
    if (stats && stats->devices > 0 && stats->devices_out == stats->devices)
        return "out";
    if (watch->degraded || (stats && stats->devices_out > 0))
        return "degraded";
    return stats && stats->recovering ? "recovering" : "ok";
}

/* Whether something is wrong with it. */
static bool write_disk(struct json *json, const struct ready_source *source)
{
    const struct disk_stats *stats = source->metrics->disk;
    json_open_object(json, "disk");
    const char *word = source->disk ? disk_word(source->disk, stats) : "off";
    bool wrong = strcmp(word, "out") == 0 || strcmp(word, "degraded") == 0;
    json_text(json, "state", word);
    if (wrong && source->disk->text[0])
        json_text(json, "reason", source->disk->text);
    if (source->disk && stats) {
        json_put_number(json, "devices", stats->devices);
        json_put_number(json, "devices_out", stats->devices_out);
        json_put_number(json, "recovering", stats->recovering);
        json_put_bool(json, "direct", stats->direct);
    }
    json_close_object(json);
    return wrong;
}

static void write_age(struct json *json, const char *key, uint64_t now_ns, uint64_t then_ns)
{
    if (then_ns == 0)
        json_put_null(json, key);
    else
        json_put_number(json, key, now_ns > then_ns ? (now_ns - then_ns) / NS_PER_S : 0);
}

/* Whether the last request to any of them failed. */
static bool write_origins(struct json *json, const struct ready_source *source)
{
    bool wrong = false;
    json_open_array(json, "origins");
    for (unsigned i = 0; i < source->metrics->bucket_count; i++) {
        const struct metrics_bucket *bucket = &source->metrics->buckets[i];
        uint64_t success = counter_get(&bucket->origin->last_success_ns);
        uint64_t failure = counter_get(&bucket->origin->last_failure_ns);
        bool failing = failure > success;
        json_open_object(json, NULL);
        json_text(json, "bucket", bucket->name);
        json_text(json, "kind", source->origin_kinds[i]);
        json_text(json, "state", failing ? "failing" : success ? "ok" : "unknown");
        write_age(json, "last_success_seconds_ago", source->metrics->now_ns, success);
        write_age(json, "last_failure_seconds_ago", source->metrics->now_ns, failure);
        json_close_object(json);
        wrong |= failing;
    }
    json_close_array(json);
    return wrong;
}

unsigned ready_write(struct writer *w, const struct ready_source *source)
{
    static const char *const phases[] = {"starting", "serving", "stopping"};
    struct json json = json_of(w);
    bool ready = source->phase == PHASE_SERVING;
    json_open_object(&json, NULL);
    json_put_bool(&json, "ready", ready);
    json_text(&json, "phase", phases[source->phase]);
    json_open_object(&json, "io");
    json_text(&json, "driver", source->metrics->driver);
    json_text(&json, "reason", source->metrics->driver_reason);
    json_close_object(&json);
    bool disk = write_disk(&json, source), origins = write_origins(&json, source);
    json_open_array(&json, "degraded");
    if (disk)
        json_text(&json, NULL, "disk");
    if (origins)
        json_text(&json, NULL, "origin");
    json_close_array(&json);
    json_close_object(&json);
    write_u8(w, '\n');
    return ready ? 200 : 503;
}
