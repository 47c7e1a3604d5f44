#include "app/cache_page.h"

#include <errno.h>

#include "base/error.h"
#include "base/json.h"
#include "http/response.h"
#include "http/target.h"

static unsigned write_error(struct writer *w, unsigned status, const char *message)
{
    http_write_error_body(w, status, bytes_of_string(message));
    return status;
}

/* ---- stats ---- */

static void write_memory(struct json *json, const struct memory_stats *memory)
{
    json_open_object(json, "memory");
    json_put_number(json, "budget_bytes", memory->budget_bytes);
    json_put_number(json, "used_bytes", memory->used_bytes);
    json_put_number(json, "pinned_bytes", memory->pinned_bytes);
    json_put_number(json, "items", memory->items);
    json_put_number(json, "hits", memory->hits);
    json_put_number(json, "misses", memory->misses);
    json_put_number(json, "evictions", memory->evictions);
    json_close_object(json);
}

static void write_disk(struct json *json, const struct disk_stats *disk)
{
    if (disk == NULL) {
        json_put_null(json, "disk");
        return;
    }
    json_open_object(json, "disk");
    json_put_number(json, "capacity_bytes", disk->capacity_bytes);
    json_put_number(json, "items", disk->items);
    json_put_number(json, "index_bytes", disk->index_bytes);
    json_put_number(json, "waiting_bytes", disk->waiting_bytes);
    json_put_number(json, "hits", disk->hits);
    json_put_number(json, "misses", disk->misses);
    json_put_number(json, "evictions", disk->evicted);
    json_put_number(json, "corrupt", disk->corrupt);
    json_put_number(json, "written_bytes", disk->written_bytes);
    json_put_number(json, "devices", disk->devices);
    json_put_number(json, "devices_out", disk->devices_out);
    json_put_number(json, "recovering", disk->recovering);
    json_close_object(json);
}

static void write_purges(struct json *json, const struct purges_stats *purges)
{
    json_open_object(json, "purges");
    json_put_number(json, "records", purges->records);
    json_put_number(json, "records_max", PURGES_MAX);
    json_put_number(json, "purges", purges->added);
    json_put_number(json, "objects", purges->added_objects);
    json_put_number(json, "widened", purges->widened);
    json_close_object(json);
}

static void write_bucket(struct json *json, const struct metrics_bucket *bucket)
{
    const struct bucket_stats *stats = bucket->stats;
    json_open_object(json, NULL);
    json_put_string(json, "bucket", bytes_of_string(bucket->name));
    json_put_number(json, "requests", counter_get(&stats->requests));
    json_open_object(json, "results");
    for (unsigned i = 0; i < RESULT_COUNT; i++)
        json_put_number(json, cache_result_name[i], counter_get(&stats->results[i]));
    json_close_object(json);
    json_put_number(json, "hits_memory", counter_get(&stats->hits_memory));
    json_put_number(json, "hits_disk", counter_get(&stats->hits_disk));
    json_put_number(json, "bytes_sent", counter_get(&stats->bytes_sent));
    json_put_number(json, "bytes_saved", counter_get(&stats->bytes_saved));
    json_close_object(json);
}

static bool is_wanted(const struct metrics_bucket *bucket, struct bytes name)
{
    return name.len == 0 || bytes_equal(bytes_of_string(bucket->name), name);
}

unsigned cache_stats_write(struct writer *w, const struct metrics_source *source,
    const struct purges_stats *purges, struct bytes name)
{
    unsigned wanted = 0;
    for (unsigned i = 0; i < source->bucket_count; i++)
        wanted += is_wanted(&source->buckets[i], name);
    if (wanted == 0 && name.len > 0)
        return write_error(w, 404, "no bucket is configured under this name");
    struct json json = json_of(w);
    if (name.len == 0) {
        json_open_object(&json, NULL);
        write_memory(&json, source->memory);
        write_disk(&json, source->disk);
        write_purges(&json, purges);
        json_open_array(&json, "buckets");
    }
    for (unsigned i = 0; i < source->bucket_count; i++)
        if (is_wanted(&source->buckets[i], name))
            write_bucket(&json, &source->buckets[i]);
    if (name.len == 0) {
        json_close_array(&json);
        json_close_object(&json);
    }
    write_u8(w, '\n');
    return 200;
}

/* ---- info ---- */

static const char *take_parameters(struct bytes query, uint8_t *buf, struct proxy_look *look)
{
    const struct {
        struct bytes name, *to;
    } known[] = {{BYTES("key"), &look->key}, {BYTES("host"), &look->host}, {BYTES("query"), &look->query}};
    struct bytes name, value;
    while (target_next_parameter(&query, &name, &value)) {
        struct bytes *to = NULL;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (bytes_equal(name, known[i].name))
                to = known[i].to;
        if (!to || to->ptr || value.len == 0)
            return "expected ?key=bucket:key, and of a generic HTTP origin &host= and &query=, none empty";
        if (target_decode(value, buf, to) < 0)
            return "key, host or query is not well encoded";
        buf += to->len;
    }
    return NULL;
}

const char *cache_info_parse(struct bytes query, uint8_t *buf, struct proxy_look *look)
{
    look->key = look->host = look->query = (struct bytes){0};
    const char *why = take_parameters(query, buf, look);
    if (why)
        return why;
    struct bytes key = look->key;
    const uint8_t *colon = key.len ? memchr(key.ptr, ':', key.len) : NULL;
    if (!colon || colon == key.ptr || colon == key.ptr + key.len - 1)
        return "expected ?key=bucket:key";
    look->bucket = bytes_of(key.ptr, (size_t)(colon - key.ptr));
    look->key = bytes_from(key, look->bucket.len + 1);
    return NULL;
}

static void write_found(struct json *json, const struct proxy_look *look)
{
    json_put_string(json, "head_in", look->tier == CACHE_MEMORY ? BYTES("memory") : BYTES("disk"));
    json_put_number(json, "status", look->status);
    json_put_number(json, "length", look->length);
    if (look->etag_len)
        json_put_string(json, "etag", bytes_of(look->etag, look->etag_len));
    if (look->tags_len)
        json_put_string(json, "tags", bytes_of(look->tags, look->tags_len));
    json_put_bool(json, "fresh", look->fresh);
    json_put_signed(json, "fresh_for_seconds", look->fresh_for_s);
    json_put_signed(json, "age_seconds", look->age_s);
    json_put_bool(json, "softly_purged", look->softly_purged);
    json_put_number(json, "chunks", look->chunks);
    json_put_number(json, "chunks_stored", look->chunks_stored);
}

unsigned cache_info_write(struct writer *w, const struct proxy_look *look, int result)
{
    if (result == E_MISSING)
        return write_error(w, 404, "no bucket is configured under this name");
    if (result == E_REFUSED)
        return write_error(
            w, 400, "what is stored of this bucket depends on the host that clients name: expected host=");
    if (result == E_SYNTAX)
        return write_error(
            w, 400, "path, host or query is malformed; the last two are of generic HTTP origins only");
    if (result == -ENOMEM)
        return write_error(w, 503, "out of memory");
    if (result == E_EXHAUSTED)
        return write_error(w, 503, "the disk does not answer in time");
    if (result < 0)
        return write_error(w, 400, "the key or query is too long");
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    json_put_string(&json, "bucket", look->bucket);
    json_put_string(&json, "key", look->key);
    json_put_bool(&json, "stored", look->was_stored);
    if (look->was_stored)
        write_found(&json, look);
    if (look->vary.len > 0)
        json_put_string(&json, "vary", vary_text(&look->vary));
    json_close_object(&json);
    write_u8(w, '\n');
    return 200;
}
