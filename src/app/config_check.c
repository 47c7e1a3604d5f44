#include "app/config_check.h"

#include <stdio.h>

#include "app/sns_topic.h"
#include "base/clock.h"
#include "cache/disk.h"
#include "http/fields.h"
#include "io/io.h"
#include "origin/origin.h"
#include "proxy/caching.h"

#define CHECK_ERROR(reading, line, ...)                                                                      \
    config_error((reading)->errors, (reading)->file_name, line, __VA_ARGS__)

/* A broken value counts: what is wrong with it was said. */
static bool is_filled(const struct config_value *value)
{
    return value->broken || (value->text != NULL && value->text[0] != 0);
}

/* Two texts that may be NULL; NULL and "" are the same. */
static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

unsigned config_port(const struct config_scope *scope, enum config_id address, enum config_id port)
{
    const struct config_value *in_address = &scope->values[address];
    return (unsigned)(in_address->number ? in_address->number : scope->values[port].number);
}

/* "buckets[3].s3.region" */
static const char *bucket_key(char *buf, size_t size, unsigned index, const char *key)
{
    (void)snprintf(buf, size, "buckets[%u].%s", index, key);
    return buf;
}

/* ---- server, admin ---- */

static void check_port(
    struct config_reading *reading, enum config_id address, enum config_id port, const char *key)
{
    const struct config_value *in_address = &reading->top.values[address], *own = &reading->top.values[port];
    if (in_address->number && own->given && in_address->number != own->number)
        CHECK_ERROR(reading, own->line, key, "expected %u, as in the address, or no port there",
            (unsigned)in_address->number);
}

static bool is_any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static void check_server(struct config_reading *reading)
{
    const struct config_value *values = reading->top.values;
    const struct config_value *address = &values[KEY_SERVER_ADDRESS], *admin = &values[KEY_ADMIN_ADDRESS];
    check_port(reading, KEY_SERVER_ADDRESS, KEY_SERVER_PORT, "server.port");
    check_port(reading, KEY_ADMIN_ADDRESS, KEY_ADMIN_PORT, "admin.port");
    unsigned port = config_port(&reading->top, KEY_SERVER_ADDRESS, KEY_SERVER_PORT);
    unsigned admin_port = config_port(&reading->top, KEY_ADMIN_ADDRESS, KEY_ADMIN_PORT);
    if (address->text && port == 0 && !values[KEY_SERVER_PORT].given)
        CHECK_ERROR(reading, address->line, "server.port",
            "required and missing: expected an integer from 1 to 65535");
    if (address->text && port == admin_port && port != 0 &&
        (same_text(address->text, admin->text) || is_any_address(address->text) ||
            is_any_address(admin->text)))
        CHECK_ERROR(reading, values[KEY_ADMIN_PORT].line, "admin.port",
            "expected another port than the server's (%u)", port);
    if (values[KEY_SERVER_COALESCING].number == 0)
        CHECK_ERROR(reading, values[KEY_SERVER_COALESCING].line, "server.coalescing.enabled",
            "expected true: one fetch for the same bytes can't be switched off");
}

static void check_events(struct config_reading *reading)
{
    const struct config_value *topics = &reading->top.values[KEY_ADMIN_SNS_TOPICS];
    struct sns_topic topic;
    for (uint64_t i = 0; i < topics->number; i++)
        if (!sns_topic_parse(bytes_of_string(topics->texts[i]), &topic))
            CHECK_ERROR(reading, topics->line, "admin.events.sns_topics",
                "expected arn:aws:sns:REGION:ACCOUNT:NAME, also of aws-cn or aws-us-gov");
}

/* ---- buckets ---- */

static void http_origin(const struct config_value *values, struct origin_config *config)
{
    *config = (struct origin_config){
        .protocol = ORIGIN_PROTOCOL_HTTP,
        .name = values[KEY_BUCKET_NAME].text,
        .endpoint = values[KEY_HTTP_ENDPOINT].text,
        .ca_file = values[KEY_HTTP_CA_FILE].text,
        .first_byte_timeout_ns = values[KEY_HTTP_TIMEOUT].number,
        .stall_timeout_ns = values[KEY_HTTP_TIMEOUT].number,
        .max_attempts = (unsigned)values[KEY_HTTP_ATTEMPTS].number,
        .initial_backoff_ns = values[KEY_HTTP_INITIAL_BACKOFF].number * NS_PER_MS,
        .max_backoff_ns = values[KEY_HTTP_MAX_BACKOFF].number * NS_PER_MS,
        .connection_pool_size = (unsigned)values[KEY_HTTP_POOL].number,
    };
}

void config_origin(const struct config_scope *bucket, struct origin_config *config)
{
    const struct config_value *values = bucket->values;
    if (bucket->has_http) {
        http_origin(values, config);
        return;
    }
    bool has_endpoint = is_filled(&values[KEY_S3_ENDPOINT]);
    *config = (struct origin_config){
        .name = values[KEY_BUCKET_NAME].text,
        .endpoint = values[KEY_S3_ENDPOINT].text,
        .bucket = values[KEY_S3_BUCKET].text,
        .region =
            !is_filled(&values[KEY_S3_REGION]) && has_endpoint ? "us-east-1" : values[KEY_S3_REGION].text,
        .access_key = values[KEY_S3_ACCESS_KEY].text,
        .secret_key = values[KEY_S3_SECRET_KEY].text,
        .session_token = values[KEY_S3_SESSION_TOKEN].text,
        .addressing = (enum origin_addressing)values[KEY_S3_ADDRESSING].number,
        .ca_file = values[KEY_S3_CA_FILE].text,
        .first_byte_timeout_ns = values[KEY_S3_TIMEOUT].number,
        .stall_timeout_ns = values[KEY_S3_TIMEOUT].number,
        .max_attempts = (unsigned)values[KEY_S3_ATTEMPTS].number,
        .initial_backoff_ns = values[KEY_S3_INITIAL_BACKOFF].number * NS_PER_MS,
        .max_backoff_ns = values[KEY_S3_MAX_BACKOFF].number * NS_PER_MS,
        .connection_pool_size = (unsigned)values[KEY_S3_POOL].number,
    };
    static_assert(ORIGIN_ADDRESS_AUTO == 0 && ORIGIN_ADDRESS_PATH == 1 && ORIGIN_ADDRESS_VIRTUAL == 2,
        "the order of the words of s3.addressing");
}

static void check_needs(struct config_reading *reading, unsigned index, enum config_id has,
    enum config_id needs, const char *key, const char *why)
{
    char path[64];
    const struct config_value *values = reading->buckets[index].values;
    if (is_filled(&values[has]) && !is_filled(&values[needs]))
        CHECK_ERROR(
            reading, values[has].line, bucket_key(path, sizeof path, index, key), "missing secret: %s", why);
}

static void check_s3(struct config_reading *reading, unsigned index)
{
    const struct config_scope *bucket = &reading->buckets[index];
    const struct config_value *values = bucket->values, *endpoint = &values[KEY_S3_ENDPOINT];
    char path[64];
    check_needs(
        reading, index, KEY_S3_ACCESS_KEY, KEY_S3_SECRET_KEY, "s3.secret_key", "expected beside access_key");
    check_needs(
        reading, index, KEY_S3_SECRET_KEY, KEY_S3_ACCESS_KEY, "s3.access_key", "expected beside secret_key");
    check_needs(reading, index, KEY_S3_SESSION_TOKEN, KEY_S3_ACCESS_KEY, "s3.access_key",
        "expected beside session_token");
    bool folder = endpoint->text && strncmp(endpoint->text, "file:", 5) == 0;
    if (!folder && !endpoint->broken && !is_filled(&values[KEY_S3_BUCKET]))
        CHECK_ERROR(reading, bucket->line, bucket_key(path, sizeof path, index, "s3.bucket"),
            "required and missing: expected the name of a bucket");
    if (!is_filled(endpoint) && !endpoint->given && !is_filled(&values[KEY_S3_REGION]))
        CHECK_ERROR(reading, bucket->line, bucket_key(path, sizeof path, index, "s3.region"),
            "required where no endpoint is given: expected a region such as eu-central-1");
    if (endpoint->text && endpoint->text[0] && strncmp(endpoint->text, "https:", 6) != 0 &&
        values[KEY_S3_CA_FILE].given)
        CHECK_ERROR(reading, values[KEY_S3_CA_FILE].line, bucket_key(path, sizeof path, index, "s3.ca_file"),
            "expected only beside an https endpoint");
    if (values[KEY_S3_INITIAL_BACKOFF].number > values[KEY_S3_MAX_BACKOFF].number)
        CHECK_ERROR(reading, values[KEY_S3_INITIAL_BACKOFF].line,
            bucket_key(path, sizeof path, index, "s3.retry.initial_backoff_ms"),
            "expected at most max_backoff_ms (%u)", (unsigned)values[KEY_S3_MAX_BACKOFF].number);
}

/* Of a bucket or rule; a status given twice would leave open which holds. */
static void check_status_list(
    struct config_reading *reading, const struct config_scope *scope, enum config_id id, const char *key)
{
    char path[96];
    if (scope->status_count > CACHING_STATUS_LIST_MAX) {
        CHECK_ERROR(reading, scope->statuses[CACHING_STATUS_LIST_MAX].line, key,
            "expected at most %u statuses", CACHING_STATUS_LIST_MAX);
        return;
    }
    for (unsigned i = 1; i < scope->status_count; i++) {
        const struct config_value *own = &scope->statuses[i].values[id];
        for (unsigned j = 0; j < i && own->number; j++)
            if (scope->statuses[j].values[id].number == own->number) {
                (void)snprintf(path, sizeof path, "%s[%u].status", key, i);
                CHECK_ERROR(reading, own->line, path, "expected to be unique: status_ttl[%u] has %u too", j,
                    (unsigned)own->number);
                break;
            }
    }
}

static void check_statuses(struct config_reading *reading, unsigned index)
{
    const struct config_scope *bucket = &reading->buckets[index];
    char path[80], rule[64];
    check_status_list(
        reading, bucket, KEY_STATUS_STATUS, bucket_key(path, sizeof path, index, "cache.status_ttl"));
    for (unsigned i = 0; i < bucket->rule_count; i++) {
        (void)snprintf(rule, sizeof rule, "cache.rules[%u].status_ttl", i);
        check_status_list(
            reading, &bucket->rules[i], KEY_RULE_STATUS_STATUS, bucket_key(path, sizeof path, index, rule));
    }
}

static void check_http(struct config_reading *reading, unsigned index)
{
    const struct config_value *values = reading->buckets[index].values;
    const struct config_value *endpoint = &values[KEY_HTTP_ENDPOINT];
    char path[64];
    if (endpoint->text && strncmp(endpoint->text, "https:", 6) != 0 && values[KEY_HTTP_CA_FILE].given)
        CHECK_ERROR(reading, values[KEY_HTTP_CA_FILE].line,
            bucket_key(path, sizeof path, index, "http.ca_file"), "expected only beside an https endpoint");
    if (values[KEY_HTTP_INITIAL_BACKOFF].number > values[KEY_HTTP_MAX_BACKOFF].number)
        CHECK_ERROR(reading, values[KEY_HTTP_INITIAL_BACKOFF].line,
            bucket_key(path, sizeof path, index, "http.retry.initial_backoff_ms"),
            "expected at most max_backoff_ms (%u)", (unsigned)values[KEY_HTTP_MAX_BACKOFF].number);
}

/* Exactly one origin. */
static void check_kind(struct config_reading *reading, unsigned index)
{
    const struct config_scope *bucket = &reading->buckets[index];
    char path[64];
    if (bucket->has_s3 && bucket->has_http)
        CHECK_ERROR(reading, bucket->line, bucket_key(path, sizeof path, index, "http"),
            "expected either s3 or http, found both");
    else if (bucket->has_s3)
        check_s3(reading, index);
    else if (bucket->has_http)
        check_http(reading, index);
    else if (bucket->lacks_origin)
        CHECK_ERROR(reading, bucket->line, bucket_key(path, sizeof path, index, "s3"),
            "required and missing: expected s3 or http, a mapping");
}

static void check_repeated(struct config_reading *reading, unsigned index, enum config_id id, const char *key)
{
    char path[64];
    const struct config_value *own = &reading->buckets[index].values[id];
    for (unsigned i = 0; i < index && own->text; i++)
        if (same_text(own->text, reading->buckets[i].values[id].text)) {
            CHECK_ERROR(reading, own->line, bucket_key(path, sizeof path, index, key),
                "expected to be unique: buckets[%u] has \"%s\" too", i, own->text);
            return;
        }
}

/* ---- identities ---- */

static bool same_credentials(const struct config_scope *a, const struct config_scope *b)
{
    static const enum config_id ids[] = {KEY_S3_ACCESS_KEY, KEY_S3_SECRET_KEY, KEY_S3_SESSION_TOKEN};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (!same_text(a->values[ids[i]].text, b->values[ids[i]].text))
            return false;
    return true;
}

/* Objects are kept under endpoint and bucket: who may read one entry's must be who may read the other's. */
static void check_identity(struct config_reading *reading, struct origin *const *origins, unsigned index)
{
    char path[64];
    for (unsigned i = 0; i < index && origins[index]; i++) {
        if (origins[i] == NULL ||
            !bytes_equal(origin_identity_endpoint(origins[i]), origin_identity_endpoint(origins[index])) ||
            !bytes_equal(origin_identity_bucket(origins[i]), origin_identity_bucket(origins[index])) ||
            same_credentials(&reading->buckets[i], &reading->buckets[index]))
            continue;
        CHECK_ERROR(reading, reading->buckets[index].line, bucket_key(path, sizeof path, index, "s3"),
            "expected the same credentials as buckets[%u], which is the same bucket at the same endpoint", i);
        return;
    }
}

static void check_origins(struct config_reading *reading)
{
    unsigned count = reading->bucket_count;
    struct origin **origins = count ? arena_take(reading->arena, count * sizeof(struct origin *)) : NULL;
    for (unsigned i = 0; i < count && origins; i++) {
        struct origin_config config;
        const char *why = "out of memory";
        char path[64];
        config_origin(&reading->buckets[i], &config);
        origins[i] = NULL;
        if (origin_create(&origins[i], &config, &why) < 0) {
            origins[i] = NULL;
            CHECK_ERROR(reading, reading->buckets[i].line,
                bucket_key(path, sizeof path, i, reading->buckets[i].has_http ? "http.endpoint" : "s3"), "%s",
                why);
        }
        check_identity(reading, origins, i);
    }
    for (unsigned i = 0; i < count && origins; i++)
        if (origins[i])
            origin_destroy(origins[i]);
}

static void check_tag_field(struct config_reading *reading, unsigned bucket)
{
    const struct config_value *field = &reading->buckets[bucket].values[KEY_BUCKET_TAG_FIELD];
    char path[64];
    if (field->text && !http_is_token(bytes_of_string(field->text)))
        CHECK_ERROR(reading, field->line, bucket_key(path, sizeof path, bucket, "cache.tag_field"),
            "expected the name of a response field");
}

static void check_buckets(struct config_reading *reading)
{
    for (unsigned i = 0; i < reading->bucket_count; i++) {
        check_repeated(reading, i, KEY_BUCKET_NAME, "name");
        check_repeated(reading, i, KEY_BUCKET_PREFIX, "path_prefix");
        check_kind(reading, i);
        check_statuses(reading, i);
        check_tag_field(reading, i);
    }
    /* Origins can be made only of values that are right one by one. */
    if (reading->errors->count == 0)
        check_origins(reading);
}

/* ---- cache ---- */

unsigned config_layers(const struct config_reading *reading)
{
    const struct config_value *values = reading->top.values, *layers = &values[KEY_CACHE_LAYERS];
    if (values[KEY_CACHE_ENABLED].number == 0)
        return 0;
    if (layers->given)
        return (unsigned)layers->number;
    return LAYER_MEMORY | (values[KEY_DISK_ENABLED].number ? LAYER_DISK : 0);
}

static void check_layers(struct config_reading *reading)
{
    const struct config_value *values = reading->top.values, *layers = &values[KEY_CACHE_LAYERS];
    const struct config_value *disk = &values[KEY_DISK_ENABLED];
    if (layers->broken || disk->broken)
        return;
    if (layers->given && (layers->number & LAYER_REDIS))
        CHECK_ERROR(reading, layers->line, "cache.cache_layers", "not built yet: cache.cache_layers: redis");
    if (layers->given && layers->number == 0 && values[KEY_CACHE_ENABLED].number)
        CHECK_ERROR(reading, layers->line, "cache.cache_layers", "expected at least one of memory and disk");
    if (!layers->given || !disk->given)
        return;
    if ((layers->number & LAYER_DISK) && disk->number == 0)
        CHECK_ERROR(reading, disk->line, "cache.disk.enabled",
            "expected true, because cache.cache_layers names disk");
    if (!(layers->number & LAYER_DISK) && disk->number != 0)
        CHECK_ERROR(reading, layers->line, "cache.cache_layers",
            "expected to name disk, because cache.disk.enabled is true");
}

static void check_devices(struct config_reading *reading)
{
    const struct config_value *directory = &reading->top.values[KEY_DISK_DIR];
    char path[64];
    if (reading->device_count > DISK_DEVICES_MAX)
        CHECK_ERROR(reading, reading->devices[DISK_DEVICES_MAX].line, "cache.disk.devices",
            "expected at most %u devices", DISK_DEVICES_MAX);
    if (reading->device_count && (directory->given || reading->top.values[KEY_DISK_SIZE].given))
        CHECK_ERROR(reading, directory->given ? directory->line : reading->top.values[KEY_DISK_SIZE].line,
            "cache.disk.devices", "expected either devices or cache_dir with max_disk_cache_size_mb");
    for (unsigned i = 0; i < reading->device_count; i++) {
        const struct config_value *own = &reading->devices[i].values[KEY_DEVICE_PATH];
        for (unsigned j = 0; j < i && own->text; j++)
            if (same_text(own->text, reading->devices[j].values[KEY_DEVICE_PATH].text)) {
                (void)snprintf(path, sizeof path, "cache.disk.devices[%u].path", i);
                CHECK_ERROR(reading, own->line, path, "expected to be unique: devices[%u] has it too", j);
                break;
            }
    }
}

static void check_cache(struct config_reading *reading)
{
    const struct config_value *chunk = &reading->top.values[KEY_CACHE_CHUNK];
    if (chunk->number & (chunk->number - 1))
        CHECK_ERROR(reading, chunk->line, "cache.chunk_size_kb",
            "expected a power of two: 64, 128, 256, 512 or 1024");
    check_layers(reading);
    check_devices(reading);
}

void config_check(struct config_reading *reading)
{
    check_server(reading);
    check_events(reading);
    check_cache(reading);
    check_buckets(reading);
}
