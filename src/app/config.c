#include "app/config.h"

#include <sched.h>
#include <stdlib.h>

#include "app/config_check.h"
#include "app/config_variables.h"
#include "base/clock.h"
#include "base/error.h"

#define MB (UINT64_C(1) << 20)
#define NEGATIVE_TTL_S 10
#define HEURISTIC_MAX_S 86400
#define CONFIG_MEMORY_MAX ((size_t)64 << 20)

/* Settings with everything they point to. */
struct snapshot {
    struct settings settings; /* first: config_free casts */
    const struct config_note *notes;
    struct arena arena;
};

static unsigned cpu_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (unsigned)count : 1;
}

static void build_server(const struct config_reading *reading, struct settings *settings)
{
    const struct config_value *values = reading->top.values;
    settings->server.host = values[KEY_SERVER_ADDRESS].text;
    settings->server.port = (uint16_t)config_port(&reading->top, KEY_SERVER_ADDRESS, KEY_SERVER_PORT);
    settings->server.threads = (unsigned)values[KEY_SERVER_THREADS].number;
    if (settings->server.threads == 0)
        settings->server.threads = cpu_count();
    settings->server.first_byte_timeout_ns = values[KEY_SERVER_REQUEST_TIMEOUT].number;
    settings->server.max_concurrent_requests = (unsigned)values[KEY_SERVER_MAX_CONCURRENT].number;
    settings->server.max_connections = (unsigned)values[KEY_SERVER_MAX_CONNECTIONS].number;
    settings->server.max_body_bytes = values[KEY_SERVER_MAX_BODY].number;
    settings->server.max_header_bytes = (uint32_t)values[KEY_SERVER_MAX_HEADER].number;
    settings->server.max_target_bytes = (uint32_t)values[KEY_SERVER_MAX_URI].number;
    settings->server.shutdown_timeout_ns = values[KEY_SERVER_SHUTDOWN_TIMEOUT].number;
    settings->admin.host = values[KEY_ADMIN_ADDRESS].text;
    settings->admin.port = (uint16_t)config_port(&reading->top, KEY_ADMIN_ADDRESS, KEY_ADMIN_PORT);
    settings->admin.token = values[KEY_ADMIN_TOKEN].text;
    settings->admin.sns_topics = values[KEY_ADMIN_SNS_TOPICS].texts;
    settings->admin.sns_topic_count = (unsigned)values[KEY_ADMIN_SNS_TOPICS].number;
    settings->admin.sns_intermediates = values[KEY_ADMIN_SNS_INTERMEDIATES].text;
    settings->logging.level = (enum log_level)values[KEY_LOG_LEVEL].number;
    settings->logging.output = values[KEY_LOG_OUTPUT].text;
    settings->logging.access = values[KEY_LOG_ACCESS].text;
    settings->io = (enum io_choice)values[KEY_IO].number;
    static_assert(
        LOG_ERROR == 0 && LOG_WARN == 1 && LOG_INFO == 2 && LOG_DEBUG == 3, "words of logging.level");
    static_assert(IO_AUTO == 0 && IO_URING == 1 && IO_PORTABLE == 2, "words of io");
}

/* The same keys stand in a bucket and in each of its rules. */
struct caching_ids {
    enum config_id enabled, ttl, ttl_overrides, heuristic_max, ignore, set_cookie, stale_while,
        stale_if_error, honor_client, status, status_ttl;
};

static const struct caching_ids bucket_ids = {KEY_BUCKET_CACHE_ENABLED, KEY_BUCKET_TTL,
    KEY_BUCKET_TTL_OVERRIDES, KEY_BUCKET_HEURISTIC_MAX, KEY_BUCKET_IGNORE, KEY_BUCKET_SET_COOKIE,
    KEY_BUCKET_STALE_WHILE, KEY_BUCKET_STALE_IF_ERROR, KEY_BUCKET_HONOR_CLIENT, KEY_STATUS_STATUS,
    KEY_STATUS_TTL};
static const struct caching_ids rule_ids = {KEY_RULE_ENABLED, KEY_RULE_TTL, KEY_RULE_TTL_OVERRIDES,
    KEY_RULE_HEURISTIC_MAX, KEY_RULE_IGNORE, KEY_RULE_SET_COOKIE, KEY_RULE_STALE_WHILE,
    KEY_RULE_STALE_IF_ERROR, KEY_RULE_HONOR_CLIENT, KEY_RULE_STATUS_STATUS, KEY_RULE_STATUS_TTL};

static void set_status(struct caching *caching, unsigned status, int64_t ttl_s)
{
    unsigned at = 0;
    while (at < caching->status_count && caching->statuses[at].status != status)
        at++;
    CHECK(at < CACHING_STATUSES_MAX); /* config_check bounds the lists */
    caching->status_count += at == caching->status_count;
    caching->statuses[at] = (struct caching_status){(uint16_t)status, ttl_s};
}

/* What is given takes the place of what was. */
static void apply_caching(
    struct caching *caching, const struct config_scope *scope, const struct caching_ids *ids)
{
    const struct config_value *values = scope->values;
    static_assert(
        SET_COOKIE_STRIP == 0 && SET_COOKIE_PASS == 1 && SET_COOKIE_STORE == 2, "words of set_cookie");
    static_assert(
        CACHING_IGNORE_CACHE_CONTROL == 1 && CACHING_IGNORE_EXPIRES == 2 && CACHING_IGNORE_TARGETED == 4,
        "words of ignore");
    if (values[ids->enabled].given)
        caching->enabled = values[ids->enabled].number != 0;
    if (values[ids->ttl].given)
        caching->ttl_s = (int64_t)values[ids->ttl].number;
    if (values[ids->ttl_overrides].given)
        caching->ttl_overrides = values[ids->ttl_overrides].number != 0;
    if (values[ids->heuristic_max].given)
        caching->heuristic_max_s = (int64_t)values[ids->heuristic_max].number;
    if (values[ids->ignore].given)
        caching->ignored = (unsigned)values[ids->ignore].number;
    if (values[ids->set_cookie].given)
        caching->set_cookie = (enum caching_set_cookie)values[ids->set_cookie].number;
    if (values[ids->stale_while].given)
        caching->stale_while_revalidate_s = (int64_t)values[ids->stale_while].number;
    if (values[ids->stale_if_error].given)
        caching->stale_if_error_s = (int64_t)values[ids->stale_if_error].number;
    if (values[ids->honor_client].given)
        caching->honor_client = values[ids->honor_client].number != 0;
    for (unsigned i = 0; i < scope->status_count; i++)
        set_status(caching, (unsigned)scope->statuses[i].values[ids->status].number,
            (int64_t)scope->statuses[i].values[ids->status_ttl].number);
}

/* S3: objects that say nothing live for the configured time; what is not there is remembered for a moment.
 * Any other HTTP server: the standards' rules. */
static void build_caching(const struct config_scope *scope, uint64_t ttl_s, struct caching *caching)
{
    *caching = (struct caching){.enabled = true, .ttl_s = (int64_t)ttl_s};
    if (scope->has_http) {
        *caching = (struct caching){.enabled = true,
            .generic = true,
            .ttl_s = DELTA_SECONDS_NONE,
            .heuristic_max_s = HEURISTIC_MAX_S,
            .set_cookie = SET_COOKIE_PASS,
            .honor_client = true};
    } else {
        set_status(caching, 404, NEGATIVE_TTL_S);
        set_status(caching, 410, NEGATIVE_TTL_S);
    }
    apply_caching(caching, scope, &bucket_ids);
}

/* Where the cache is switched off, no rule switches it on. */
static void switch_off(
    const struct settings *settings, struct bucket_settings *bucket, struct caching_rule *rules)
{
    bucket->caching.enabled &= settings->cache.enabled;
    for (unsigned i = 0; i < bucket->caching_rule_count; i++)
        rules[i].caching.enabled &= settings->cache.enabled;
}

static bool build_rules(const struct config_scope *scope, const struct settings *settings,
    struct arena *arena, struct bucket_settings *bucket)
{
    struct caching_rule *rules = arena_take(arena, (scope->rule_count + 1) * sizeof *rules);
    for (unsigned i = 0; i < scope->rule_count && rules; i++) {
        rules[i] = (struct caching_rule){
            .pattern = scope->rules[i].values[KEY_RULE_PATTERN].text, .caching = bucket->caching};
        apply_caching(&rules[i].caching, &scope->rules[i], &rule_ids);
    }
    bucket->caching_rules = rules;
    bucket->caching_rule_count = rules ? scope->rule_count : 0;
    switch_off(settings, bucket, rules);
    return rules != NULL;
}

static void build_http(const struct config_scope *scope, struct bucket_settings *bucket)
{
    const struct config_value *values = scope->values, *drop = &values[KEY_HTTP_QUERY_DROP];
    static_assert(FORWARDED_X == 0 && FORWARDED_STANDARD == 1 && FORWARDED_OFF == 2, "words of forwarded");
    bucket->http.on = scope->has_http;
    bucket->http.forwarded = (enum forwarded_style)values[KEY_HTTP_FORWARDED].number;
    bucket->http.preserve_host = values[KEY_HTTP_PRESERVE_HOST].number != 0;
    bucket->http.query = (struct query_rules){
        .sort = values[KEY_HTTP_QUERY_SORT].number != 0,
        .drop = drop->texts,
        .drop_count = (unsigned)drop->number,
    };
}

static bool build_buckets(
    const struct config_reading *reading, struct arena *arena, struct settings *settings)
{
    settings->bucket_count = reading->bucket_count;
    settings->buckets = arena_take(arena, reading->bucket_count * sizeof *settings->buckets);
    for (unsigned i = 0; i < reading->bucket_count && settings->buckets; i++) {
        const struct config_value *values = reading->buckets[i].values, *bound = &values[KEY_BUCKET_MAX_ITEM];
        struct bucket_settings *bucket = &settings->buckets[i];
        *bucket = (struct bucket_settings){
            .name = values[KEY_BUCKET_NAME].text,
            .path_prefix = values[KEY_BUCKET_PREFIX].text,
            .max_item_bytes = bound->given ? bound->number * MB : UINT64_MAX,
            .tag_field = values[KEY_BUCKET_TAG_FIELD].text,
        };
        config_origin(&reading->buckets[i], &bucket->origin);
        build_caching(&reading->buckets[i], reading->top.values[KEY_MEMORY_TTL].number, &bucket->caching);
        if (!build_rules(&reading->buckets[i], settings, arena, bucket))
            return false;
        build_http(&reading->buckets[i], bucket);
    }
    return settings->buckets != NULL;
}

static bool build_devices(
    const struct config_reading *reading, struct arena *arena, struct settings *settings)
{
    static const char name[] = "/yatagarasu.cache";
    struct disk_config *disk = &settings->cache.disk_config;
    disk->device_count = reading->device_count;
    for (unsigned i = 0; i < reading->device_count; i++) {
        const struct config_value *values = reading->devices[i].values;
        disk->devices[i] = (struct disk_device_config){
            .path = values[KEY_DEVICE_PATH].text, .size_bytes = values[KEY_DEVICE_SIZE].number * MB};
    }
    if (reading->device_count > 0)
        return true;
    const char *directory = reading->top.values[KEY_DISK_DIR].text;
    size_t len = strlen(directory);
    char *path = arena_take(arena, len + sizeof name);
    if (path == NULL)
        return false;
    memcpy(path, directory, len);
    memcpy(path + len, name, sizeof name);
    disk->devices[0] = (struct disk_device_config){
        .path = path, .size_bytes = reading->top.values[KEY_DISK_SIZE].number * MB};
    disk->device_count = 1;
    settings->cache.disk_directory = directory;
    return true;
}

static bool build_cache(const struct config_reading *reading, struct arena *arena, struct settings *settings)
{
    const struct config_value *values = reading->top.values;
    unsigned layers = config_layers(reading);
    settings->cache.enabled = values[KEY_CACHE_ENABLED].number != 0;
    settings->cache.memory = (layers & LAYER_MEMORY) != 0;
    settings->cache.disk = (layers & LAYER_DISK) != 0;
    settings->cache.memory_bytes = values[KEY_MEMORY_SIZE].number * MB;
    settings->cache.memory_item_bytes = values[KEY_MEMORY_MAX_ITEM].number * MB;
    settings->cache.chunk_bytes = (uint32_t)values[KEY_CACHE_CHUNK].number << 10;
    settings->cache.disk_config = (struct disk_config){
        .expected_item_bytes = values[KEY_DISK_EXPECTED_ITEM].number,
        .admission = (enum disk_admission)values[KEY_DISK_ADMISSION].number,
        .write_budget_bytes_s = values[KEY_DISK_WRITE_BUDGET].number * MB,
        .write_buffer_bytes = values[KEY_DISK_WRITE_BUFFER].number * MB,
    };
    static_assert(DISK_ADMIT_ALWAYS == 0 && DISK_ADMIT_SECOND_REQUEST == 1, "words of cache.disk.admission");
    return !settings->cache.disk || build_devices(reading, arena, settings);
}

static void note_cache(struct config_reading *reading)
{
    if (reading->top.values[KEY_CACHE_ENABLED].number)
        return;
    config_note_add(reading, "%s: nothing is cached, everything passes through",
        reading->has_cache ? "cache.enabled is false" : "no key `cache`");
}

/* 0, or E_SYNTAX with errors added. */
static int config_fill(struct snapshot *snapshot, const char *text, size_t len, const char *file_name,
    struct config_errors *errors)
{
    struct config_reading *reading = arena_take(&snapshot->arena, sizeof *reading);
    struct yaml_node *root = config_yaml_parse(text, len, file_name, &snapshot->arena, errors);
    if (reading == NULL || root == NULL)
        return E_SYNTAX;
    *reading = (struct config_reading){.file_name = file_name, .arena = &snapshot->arena, .errors = errors};
    config_variables_replace(root, file_name, &snapshot->arena, errors);
    config_read(reading, root);
    config_check(reading);
    if (errors->count > 0)
        return E_SYNTAX;
    build_server(reading, &snapshot->settings);
    if (!build_cache(reading, &snapshot->arena, &snapshot->settings) ||
        !build_buckets(reading, &snapshot->arena, &snapshot->settings)) {
        config_error(errors, file_name, 0, NULL, "out of memory");
        return E_SYNTAX;
    }
    note_cache(reading);
    snapshot->notes = reading->notes;
    return 0;
}

int config_load(const char *text, size_t len, const char *file_name, struct settings **settings,
    struct config_errors *errors)
{
    *settings = NULL;
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        config_error(errors, file_name, 0, NULL, "out of memory");
        return E_SYNTAX;
    }
    arena_init(&snapshot->arena, NULL, 0, CONFIG_MEMORY_MAX);
    int result = config_fill(snapshot, text, len, file_name, errors);
    if (result < 0) {
        if (errors->count == 0)
            config_error(errors, file_name, 0, NULL, "out of memory");
        config_free(&snapshot->settings);
        return result;
    }
    *settings = &snapshot->settings;
    return 0;
}

void config_free(struct settings *settings)
{
    struct snapshot *snapshot = (struct snapshot *)settings;
    if (snapshot == NULL)
        return;
    arena_reset(&snapshot->arena);
    free(snapshot);
}

const struct config_note *config_notes(const struct settings *settings)
{
    return ((const struct snapshot *)settings)->notes;
}
