#include "app/config_table.h"

#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

/* Groups and values in force. */
#define GROUP(p)                                                                                             \
    {                                                                                                        \
        .path = p, .type = CONFIG_MAPPING, .id = KEY_NONE                                                    \
    }
#define REQUIRED_GROUP(p, t)                                                                                 \
    {                                                                                                        \
        .path = p, .type = t, .id = KEY_NONE, .required = true                                               \
    }
#define VALUE(i, p, t, d)                                                                                    \
    {                                                                                                        \
        .path = p, .type = t, .id = i, .fallback = d                                                         \
    }
#define RANGE(i, p, t, d, low, high)                                                                         \
    {                                                                                                        \
        .path = p, .type = t, .id = i, .fallback = d, .min = low, .max = high                                \
    }
#define WORD(i, p, d, w)                                                                                     \
    {                                                                                                        \
        .path = p, .type = CONFIG_WORD, .id = i, .fallback = d, .words = w                                   \
    }
#define WORDS(i, p, w)                                                                                       \
    {                                                                                                        \
        .path = p, .type = CONFIG_WORDS, .id = i, .words = w                                                 \
    }
#define LIST(p)                                                                                              \
    {                                                                                                        \
        .path = p, .type = CONFIG_LIST, .id = KEY_NONE                                                       \
    }
#define REQUIRED_RANGE(i, p, t, low, high)                                                                   \
    {                                                                                                        \
        .path = p, .type = t, .id = i, .required = true, .min = low, .max = high                             \
    }
#define REQUIRED(i, p, t)                                                                                    \
    {                                                                                                        \
        .path = p, .type = t, .id = i, .required = true, .min = 1                                            \
    }
#define SECRET(i, p, low)                                                                                    \
    {                                                                                                        \
        .path = p, .type = CONFIG_STRING, .id = i, .secret = true, .min = low                                \
    }
/* Not in force. */
#define OFF(p, t, d)                                                                                         \
    {                                                                                                        \
        .path = p, .type = t, .use = CONFIG_OFF, .id = KEY_NONE, .fallback = d                               \
    }
#define PART(p)                                                                                              \
    {                                                                                                        \
        .path = p, .type = CONFIG_ANY, .use = CONFIG_PART, .id = KEY_NONE                                    \
    }
#define PART_LIST(p)                                                                                         \
    {                                                                                                        \
        .path = p, .type = CONFIG_LIST, .use = CONFIG_PART, .id = KEY_NONE                                   \
    }
#define PART_GROUP(p)                                                                                        \
    {                                                                                                        \
        .path = p, .type = CONFIG_MAPPING, .use = CONFIG_PART, .id = KEY_NONE                                \
    }
#define IDLE(p, t, d)                                                                                        \
    {                                                                                                        \
        .path = p, .type = t, .use = CONFIG_NO_EFFECT, .id = KEY_NONE, .fallback = d, .max = UINT32_MAX      \
    }
#define MOVED(p, h)                                                                                          \
    {                                                                                                        \
        .path = p, .type = CONFIG_ANY, .use = CONFIG_MOVED, .id = KEY_NONE, .hint = h                        \
    }

const struct config_key config_keys[] = {
    REQUIRED_GROUP("server", CONFIG_MAPPING),
    REQUIRED(KEY_SERVER_ADDRESS, "server.address", CONFIG_ADDRESS),
    RANGE(KEY_SERVER_PORT, "server.port", CONFIG_INTEGER, NULL, 1, 65535),
    RANGE(KEY_SERVER_THREADS, "server.threads", CONFIG_INTEGER, "0", 0, 1024),
    RANGE(KEY_SERVER_REQUEST_TIMEOUT, "server.request_timeout", CONFIG_SECONDS, "30", 1, 3600),
    RANGE(KEY_SERVER_MAX_CONCURRENT, "server.max_concurrent_requests", CONFIG_INTEGER, "1000", 1, 1000000),
    RANGE(KEY_SERVER_MAX_CONNECTIONS, "server.max_connections", CONFIG_INTEGER, "10000", 1, 1000000),
    RANGE(KEY_SERVER_SHUTDOWN_TIMEOUT, "server.shutdown_timeout", CONFIG_SECONDS, "30", 0, 3600),
    OFF("server.rate_limit", CONFIG_MAPPING, NULL),
    PART("server.rate_limit.enabled"),
    PART_GROUP("server.rate_limit.global"),
    PART("server.rate_limit.global.requests_per_second"),
    PART_GROUP("server.rate_limit.per_ip"),
    PART("server.rate_limit.per_ip.requests_per_second"),
    GROUP("server.security_limits"),
    RANGE(KEY_SERVER_MAX_BODY, "server.security_limits.max_body_size", CONFIG_INTEGER, "10485760", 0,
        INT64_MAX),
    RANGE(KEY_SERVER_MAX_HEADER, "server.security_limits.max_header_size", CONFIG_INTEGER, "65536", 1024,
        1 << 20),
    RANGE(KEY_SERVER_MAX_URI, "server.security_limits.max_uri_length", CONFIG_INTEGER, "8192", 16, 1 << 20),
    GROUP("server.coalescing"),
    VALUE(KEY_SERVER_COALESCING, "server.coalescing.enabled", CONFIG_BOOL, "true"),
    WORD(KEY_SERVER_STRATEGY, "server.coalescing.strategy", "streaming", "streaming|wait_for_complete"),

    REQUIRED_GROUP("buckets", CONFIG_LIST),
    REQUIRED(KEY_BUCKET_NAME, "buckets[].name", CONFIG_STRING),
    REQUIRED(KEY_BUCKET_PREFIX, "buckets[].path_prefix", CONFIG_PREFIX),
    GROUP("buckets[].s3"),
    VALUE(KEY_S3_BUCKET, "buckets[].s3.bucket", CONFIG_STRING, NULL),
    VALUE(KEY_S3_REGION, "buckets[].s3.region", CONFIG_STRING, NULL),
    SECRET(KEY_S3_ACCESS_KEY, "buckets[].s3.access_key", 0),
    SECRET(KEY_S3_SECRET_KEY, "buckets[].s3.secret_key", 0),
    SECRET(KEY_S3_SESSION_TOKEN, "buckets[].s3.session_token", 0),
    VALUE(KEY_S3_ENDPOINT, "buckets[].s3.endpoint", CONFIG_URL, NULL),
    WORD(KEY_S3_ADDRESSING, "buckets[].s3.addressing", "auto", "auto|path|virtual"),
    VALUE(KEY_S3_CA_FILE, "buckets[].s3.ca_file", CONFIG_PATH, NULL),
    RANGE(KEY_S3_TIMEOUT, "buckets[].s3.timeout", CONFIG_SECONDS, "20", 1, 3600),
    RANGE(KEY_S3_POOL, "buckets[].s3.connection_pool_size", CONFIG_INTEGER, "50", 1, 10000),
    OFF("buckets[].s3.circuit_breaker", CONFIG_ANY, NULL),
    PART("buckets[].s3.circuit_breaker.failure_threshold"),
    PART("buckets[].s3.circuit_breaker.success_threshold"),
    PART("buckets[].s3.circuit_breaker.timeout_seconds"),
    PART("buckets[].s3.circuit_breaker.half_open_max_requests"),
    OFF("buckets[].s3.rate_limit", CONFIG_ANY, NULL),
    PART("buckets[].s3.rate_limit.requests_per_second"),
    GROUP("buckets[].s3.retry"),
    RANGE(KEY_S3_ATTEMPTS, "buckets[].s3.retry.max_attempts", CONFIG_INTEGER, "3", 1, 20),
    RANGE(KEY_S3_INITIAL_BACKOFF, "buckets[].s3.retry.initial_backoff_ms", CONFIG_INTEGER, "100", 1, 60000),
    RANGE(KEY_S3_MAX_BACKOFF, "buckets[].s3.retry.max_backoff_ms", CONFIG_INTEGER, "1000", 1, 600000),
    OFF("buckets[].s3.replicas", CONFIG_ANY, NULL),
    PART("buckets[].s3.replicas[].name"),
    PART("buckets[].s3.replicas[].bucket"),
    PART("buckets[].s3.replicas[].region"),
    PART("buckets[].s3.replicas[].access_key"),
    PART("buckets[].s3.replicas[].secret_key"),
    PART("buckets[].s3.replicas[].endpoint"),
    PART("buckets[].s3.replicas[].priority"),
    PART("buckets[].s3.replicas[].timeout"),
    GROUP("buckets[].http"),
    REQUIRED(KEY_HTTP_ENDPOINT, "buckets[].http.endpoint", CONFIG_HTTP_URL),
    VALUE(KEY_HTTP_CA_FILE, "buckets[].http.ca_file", CONFIG_PATH, NULL),
    RANGE(KEY_HTTP_TIMEOUT, "buckets[].http.timeout", CONFIG_SECONDS, "20", 1, 3600),
    RANGE(KEY_HTTP_POOL, "buckets[].http.connection_pool_size", CONFIG_INTEGER, "50", 1, 10000),
    GROUP("buckets[].http.retry"),
    RANGE(KEY_HTTP_ATTEMPTS, "buckets[].http.retry.max_attempts", CONFIG_INTEGER, "3", 1, 20),
    RANGE(
        KEY_HTTP_INITIAL_BACKOFF, "buckets[].http.retry.initial_backoff_ms", CONFIG_INTEGER, "100", 1, 60000),
    RANGE(KEY_HTTP_MAX_BACKOFF, "buckets[].http.retry.max_backoff_ms", CONFIG_INTEGER, "1000", 1, 600000),
    WORD(KEY_HTTP_FORWARDED, "buckets[].http.forwarded", "x-forwarded", "x-forwarded|forwarded|off"),
    VALUE(KEY_HTTP_PRESERVE_HOST, "buckets[].http.preserve_host", CONFIG_BOOL, "false"),
    GROUP("buckets[].http.query"),
    VALUE(KEY_HTTP_QUERY_SORT, "buckets[].http.query.sort", CONFIG_BOOL, "false"),
    VALUE(KEY_HTTP_QUERY_DROP, "buckets[].http.query.drop", CONFIG_STRINGS, NULL),
    OFF("buckets[].auth", CONFIG_MAPPING, NULL),
    PART("buckets[].auth.enabled"),
    MOVED("buckets[].auth.jwt",
        "belongs at the top of the file, as `jwt`; here it would leave the bucket open"),
    GROUP("buckets[].cache"),
    VALUE(KEY_BUCKET_CACHE_ENABLED, "buckets[].cache.enabled", CONFIG_BOOL, "true"),
    RANGE(KEY_BUCKET_TTL, "buckets[].cache.ttl_seconds", CONFIG_INTEGER, NULL, 0, UINT32_MAX),
    VALUE(KEY_BUCKET_TTL_OVERRIDES, "buckets[].cache.ttl_overrides", CONFIG_BOOL, "false"),
    RANGE(KEY_BUCKET_HEURISTIC_MAX, "buckets[].cache.heuristic_max_seconds", CONFIG_INTEGER, NULL, 0,
        UINT32_MAX),
    WORDS(KEY_BUCKET_IGNORE, "buckets[].cache.ignore", "cache-control|expires|targeted"),
    WORD(KEY_BUCKET_SET_COOKIE, "buckets[].cache.set_cookie", NULL, "strip|pass|store"),
    RANGE(KEY_BUCKET_STALE_WHILE, "buckets[].cache.stale_while_revalidate_seconds", CONFIG_INTEGER, "0", 0,
        UINT32_MAX),
    RANGE(KEY_BUCKET_STALE_IF_ERROR, "buckets[].cache.stale_if_error_seconds", CONFIG_INTEGER, "0", 0,
        UINT32_MAX),
    VALUE(KEY_BUCKET_HONOR_CLIENT, "buckets[].cache.honor_client_cache_control", CONFIG_BOOL, NULL),
    RANGE(KEY_BUCKET_MAX_ITEM, "buckets[].cache.max_item_size_mb", CONFIG_INTEGER, NULL, 0, 1 << 30),
    LIST("buckets[].cache.status_ttl"),
    REQUIRED_RANGE(KEY_STATUS_STATUS, "buckets[].cache.status_ttl[].status", CONFIG_INTEGER, 300, 599),
    REQUIRED_RANGE(KEY_STATUS_TTL, "buckets[].cache.status_ttl[].ttl_seconds", CONFIG_INTEGER, 0, UINT32_MAX),
    LIST("buckets[].cache.rules"),
    REQUIRED(KEY_RULE_PATTERN, "buckets[].cache.rules[].pattern", CONFIG_STRING),
    VALUE(KEY_RULE_ENABLED, "buckets[].cache.rules[].enabled", CONFIG_BOOL, NULL),
    RANGE(KEY_RULE_TTL, "buckets[].cache.rules[].ttl_seconds", CONFIG_INTEGER, NULL, 0, UINT32_MAX),
    VALUE(KEY_RULE_TTL_OVERRIDES, "buckets[].cache.rules[].ttl_overrides", CONFIG_BOOL, NULL),
    RANGE(KEY_RULE_HEURISTIC_MAX, "buckets[].cache.rules[].heuristic_max_seconds", CONFIG_INTEGER, NULL, 0,
        UINT32_MAX),
    WORDS(KEY_RULE_IGNORE, "buckets[].cache.rules[].ignore", "cache-control|expires|targeted"),
    WORD(KEY_RULE_SET_COOKIE, "buckets[].cache.rules[].set_cookie", NULL, "strip|pass|store"),
    RANGE(KEY_RULE_STALE_WHILE, "buckets[].cache.rules[].stale_while_revalidate_seconds", CONFIG_INTEGER,
        NULL, 0, UINT32_MAX),
    RANGE(KEY_RULE_STALE_IF_ERROR, "buckets[].cache.rules[].stale_if_error_seconds", CONFIG_INTEGER, NULL, 0,
        UINT32_MAX),
    VALUE(KEY_RULE_HONOR_CLIENT, "buckets[].cache.rules[].honor_client_cache_control", CONFIG_BOOL, NULL),
    LIST("buckets[].cache.rules[].status_ttl"),
    REQUIRED_RANGE(
        KEY_RULE_STATUS_STATUS, "buckets[].cache.rules[].status_ttl[].status", CONFIG_INTEGER, 300, 599),
    REQUIRED_RANGE(KEY_RULE_STATUS_TTL, "buckets[].cache.rules[].status_ttl[].ttl_seconds", CONFIG_INTEGER, 0,
        UINT32_MAX),
    VALUE(KEY_BUCKET_TAG_FIELD, "buckets[].cache.tag_field", CONFIG_STRING, NULL),
    OFF("buckets[].authorization", CONFIG_ANY, NULL),
    PART("buckets[].authorization.type"),
    PART("buckets[].authorization.opa_url"),
    PART("buckets[].authorization.opa_policy_path"),
    PART("buckets[].authorization.opa_timeout_ms"),
    PART("buckets[].authorization.opa_cache_ttl_seconds"),
    PART("buckets[].authorization.opa_fail_mode"),
    PART("buckets[].authorization.openfga_endpoint"),
    PART("buckets[].authorization.openfga_store_id"),
    PART("buckets[].authorization.openfga_authorization_model_id"),
    PART("buckets[].authorization.openfga_api_token"),
    PART("buckets[].authorization.openfga_timeout_ms"),
    PART("buckets[].authorization.openfga_cache_ttl_seconds"),
    PART("buckets[].authorization.openfga_fail_mode"),
    PART("buckets[].authorization.openfga_user_claim"),
    OFF("buckets[].ip_filter", CONFIG_MAPPING, NULL),
    OFF("buckets[].ip_filter.allowlist", CONFIG_ANY, NULL),
    OFF("buckets[].ip_filter.blocklist", CONFIG_ANY, NULL),
    OFF("buckets[].watermark", CONFIG_MAPPING, NULL),
    PART("buckets[].watermark.enabled"),
    PART("buckets[].watermark.cache_ttl_seconds"),
    PART_LIST("buckets[].watermark.rules"),
    PART("buckets[].watermark.rules[].pattern"),
    PART_LIST("buckets[].watermark.rules[].watermarks"),
    PART("buckets[].watermark.rules[].watermarks[].type"),
    PART("buckets[].watermark.rules[].watermarks[].text"),
    PART("buckets[].watermark.rules[].watermarks[].font_size"),
    PART("buckets[].watermark.rules[].watermarks[].color"),
    PART("buckets[].watermark.rules[].watermarks[].opacity"),
    PART("buckets[].watermark.rules[].watermarks[].position"),
    PART("buckets[].watermark.rules[].watermarks[].margin"),
    PART("buckets[].watermark.rules[].watermarks[].rotation"),
    PART("buckets[].watermark.rules[].watermarks[].tile_spacing"),
    PART("buckets[].watermark.rules[].watermarks[].source"),
    PART("buckets[].watermark.rules[].watermarks[].width"),
    PART("buckets[].watermark.rules[].watermarks[].height"),

    OFF("jwt", CONFIG_MAPPING, NULL),
    PART("jwt.enabled"),
    PART("jwt.algorithm"),
    PART("jwt.secret"),
    PART("jwt.rsa_public_key_path"),
    PART("jwt.ecdsa_public_key_path"),
    PART_LIST("jwt.token_sources"),
    PART("jwt.token_sources[].type"),
    PART("jwt.token_sources[].name"),
    PART("jwt.token_sources[].prefix"),
    PART_LIST("jwt.claims"),
    PART("jwt.claims[].claim"),
    PART("jwt.claims[].operator"),
    PART("jwt.claims[].value"),
    PART_LIST("jwt.admin_claims"),
    PART("jwt.admin_claims[].claim"),
    PART("jwt.admin_claims[].operator"),
    PART("jwt.admin_claims[].value"),
    PART_LIST("jwt.keys"),
    PART("jwt.keys[].id"),
    PART("jwt.keys[].algorithm"),
    PART("jwt.keys[].secret"),
    PART("jwt.keys[].path"),
    PART("jwt.jwks_url"),
    PART("jwt.jwks_refresh_interval_secs"),

    GROUP("cache"),
    VALUE(KEY_CACHE_ENABLED, "cache.enabled", CONFIG_BOOL, "false"),
    {.path = "cache.cache_layers",
        .type = CONFIG_WORDS,
        .id = KEY_CACHE_LAYERS,
        .words = "memory|disk|redis"},
    RANGE(KEY_CACHE_CHUNK, "cache.chunk_size_kb", CONFIG_INTEGER, "256", 64, 1024),
    GROUP("cache.memory"),
    RANGE(KEY_MEMORY_MAX_ITEM, "cache.memory.max_item_size_mb", CONFIG_INTEGER, "10", 0, 1 << 30),
    RANGE(KEY_MEMORY_SIZE, "cache.memory.max_cache_size_mb", CONFIG_INTEGER, "1024", 16, 1 << 24),
    RANGE(KEY_MEMORY_TTL, "cache.memory.default_ttl_seconds", CONFIG_INTEGER, "3600", 0, UINT32_MAX),
    GROUP("cache.disk"),
    VALUE(KEY_DISK_ENABLED, "cache.disk.enabled", CONFIG_BOOL, NULL),
    VALUE(KEY_DISK_DIR, "cache.disk.cache_dir", CONFIG_PATH, "/var/cache/yatagarasu"),
    RANGE(KEY_DISK_SIZE, "cache.disk.max_disk_cache_size_mb", CONFIG_INTEGER, "10240", 64, 1 << 30),
    {.path = "cache.disk.devices", .type = CONFIG_LIST, .id = KEY_NONE},
    REQUIRED(KEY_DEVICE_PATH, "cache.disk.devices[].path", CONFIG_PATH),
    {.path = "cache.disk.devices[].size_mb",
        .type = CONFIG_INTEGER,
        .id = KEY_DEVICE_SIZE,
        .required = true,
        .min = 64,
        .max = 1 << 30},
    RANGE(KEY_DISK_EXPECTED_ITEM, "cache.disk.expected_item_size", CONFIG_SIZE, "64KiB", 512, 1 << 30),
    WORD(KEY_DISK_ADMISSION, "cache.disk.admission", "always", "always|second_request"),
    RANGE(KEY_DISK_WRITE_BUDGET, "cache.disk.write_budget_mb_s", CONFIG_INTEGER, "0", 0, 1 << 20),
    RANGE(KEY_DISK_WRITE_BUFFER, "cache.disk.write_buffer_mb", CONFIG_INTEGER, "256", 8, 1 << 20),
    GROUP("cache.disk.sendfile"),
    IDLE("cache.disk.sendfile.enabled", CONFIG_BOOL, "true"),
    IDLE("cache.disk.sendfile.threshold_bytes", CONFIG_INTEGER, "65536"),
    OFF("cache.redis", CONFIG_MAPPING, NULL),
    PART("cache.redis.enabled"),
    PART("cache.redis.redis_url"),
    PART("cache.redis.redis_password"),
    PART("cache.redis.redis_db"),
    PART("cache.redis.redis_key_prefix"),
    PART("cache.redis.redis_ttl_seconds"),
    GROUP("cache.warming"),
    IDLE("cache.warming.concurrency", CONFIG_INTEGER, "10"),
    IDLE("cache.warming.rate_limit", CONFIG_INTEGER, "100"),

    WORD(KEY_IO, "io", "auto", "auto|uring|portable"),
    GROUP("admin"),
    VALUE(KEY_ADMIN_ADDRESS, "admin.address", CONFIG_ADDRESS, "127.0.0.1"),
    RANGE(KEY_ADMIN_PORT, "admin.port", CONFIG_INTEGER, "9090", 1, 65535),
    SECRET(KEY_ADMIN_TOKEN, "admin.token", 8),
    GROUP("admin.events"),
    VALUE(KEY_ADMIN_SNS_TOPICS, "admin.events.sns_topics", CONFIG_STRINGS, NULL),
    VALUE(KEY_ADMIN_SNS_INTERMEDIATES, "admin.events.sns_intermediates", CONFIG_PATH, NULL),
    GROUP("logging"),
    WORD(KEY_LOG_LEVEL, "logging.level", "info", "error|warn|info|debug"),
    VALUE(KEY_LOG_OUTPUT, "logging.output", CONFIG_PATH, "stderr"),
    VALUE(KEY_LOG_ACCESS, "logging.access", CONFIG_PATH, "stdout"),

    OFF("image_optimization", CONFIG_MAPPING, NULL),
    PART("image_optimization.enabled"),
    PART("image_optimization.max_width"),
    PART("image_optimization.max_height"),
    PART("image_optimization.default_quality"),
    OFF("audit_log", CONFIG_MAPPING, NULL),
    PART("audit_log.enabled"),
    PART("audit_log.outputs"),
    PART("audit_log.log_level"),
    PART_GROUP("audit_log.file"),
    PART("audit_log.file.path"),
    PART("audit_log.file.max_file_size_mb"),
    PART("audit_log.file.max_backup_files"),
    PART("audit_log.file.rotation_policy"),
    PART("audit_log.file.buffer_size"),
    PART_GROUP("audit_log.syslog"),
    PART("audit_log.syslog.address"),
    PART("audit_log.syslog.protocol"),
    PART("audit_log.syslog.facility"),
    PART_GROUP("audit_log.s3_export"),
    PART("audit_log.s3_export.bucket"),
    PART("audit_log.s3_export.region"),
    PART("audit_log.s3_export.path_prefix"),
    PART("audit_log.s3_export.export_interval_seconds"),
    OFF("observability", CONFIG_MAPPING, NULL),
    OFF("observability.tracing", CONFIG_MAPPING, NULL),
    PART("observability.tracing.enabled"),
    PART("observability.tracing.exporter"),
    PART("observability.tracing.otlp_endpoint"),
    PART("observability.tracing.jaeger_endpoint"),
    PART("observability.tracing.zipkin_endpoint"),
    PART("observability.tracing.service_name"),
    PART("observability.tracing.sampling_ratio"),
    PART("observability.tracing.propagate_context"),
    OFF("observability.request_logging", CONFIG_MAPPING, NULL),
    OFF("observability.request_logging.log_requests", CONFIG_ANY, NULL),
    OFF("observability.request_logging.log_responses", CONFIG_ANY, NULL),
    OFF("observability.request_logging.log_request_body", CONFIG_ANY, NULL),
    OFF("observability.request_logging.log_response_body", CONFIG_ANY, NULL),
    PART("observability.request_logging.include_paths"),
    PART("observability.request_logging.exclude_paths"),
    PART("observability.request_logging.status_codes"),
    PART("observability.request_logging.redact_headers"),
    PART("observability.request_logging.max_body_size"),
    OFF("observability.slow_query", CONFIG_MAPPING, NULL),
    PART("observability.slow_query.enabled"),
    PART("observability.slow_query.threshold_ms"),
    PART("observability.slow_query.include_breakdown"),
    PART("observability.slow_query.log_level"),

    OFF("https", CONFIG_ANY, NULL),
    MOVED("metrics", "are on the admin listener: admin.address and admin.port"),
    MOVED("limits", "belong to server.security_limits and server.max_connections"),
    MOVED("shutdown", "belongs to server.shutdown_timeout"),
};

const size_t config_key_count = LEN(config_keys);

bool config_key_is_below(const struct config_key *key, const char *parent)
{
    size_t len = strlen(parent);
    const char *rest = key->path;
    if (len > 0) {
        if (strncmp(key->path, parent, len) != 0 || key->path[len] != '.')
            return false;
        rest += len + 1;
    }
    return strchr(rest, '.') == NULL;
}

const char *config_key_name(const struct config_key *key)
{
    const char *dot = strrchr(key->path, '.');
    return dot ? dot + 1 : key->path;
}

const struct config_key *config_key_find(const char *parent, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (config_key_is_below(&config_keys[i], parent) &&
            strcmp(config_key_name(&config_keys[i]), name) == 0)
            return &config_keys[i];
    return NULL;
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Edits between two words (Levenshtein); 99 for long ones. */
static unsigned word_distance(const char *a, const char *b)
{
    unsigned row[48];
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= LEN(row) || b_len >= LEN(row))
        return 99;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned above = row[j];
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

const struct config_key *config_key_suggest(const char *parent, const char *name)
{
    const struct config_key *best = NULL, *elsewhere = NULL;
    unsigned best_distance = strlen(name) < 4 ? 2 : 3; /* strictly nearer than this */
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->use == CONFIG_MOVED)
            continue;
        if (!config_key_is_below(key, parent)) {
            if (!elsewhere && key->use != CONFIG_PART && strcmp(config_key_name(key), name) == 0)
                elsewhere = key;
            continue;
        }
        unsigned distance = word_distance(config_key_name(key), name);
        if (distance < best_distance) {
            best = key;
            best_distance = distance;
        }
    }
    return best ? best : elsewhere;
}
