/*
 * The table of all keys that a configuration may have: what it is, whether it is in force, its default and
 * its bounds. docs/configuration.md and config/yatagarasu.example.yaml are tested against it.
 *
 * Paths name list elements by "[]": "buckets[].s3.region". A row of a mapping comes before the rows below it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_MAPPING,
    CONFIG_LIST,    /* of mappings; config_read.c knows where each goes */
    CONFIG_WORDS,   /* list of words out of `words` */
    CONFIG_STRINGS, /* list of texts, none empty or twice */
    CONFIG_BOOL,
    CONFIG_INTEGER,
    CONFIG_STRING,   /* min: shortest length */
    CONFIG_WORD,     /* one of `words` */
    CONFIG_SECONDS,  /* "30", "30s", "500ms", "5m", "1h": nanoseconds; min, max in seconds */
    CONFIG_SIZE,     /* "65536", "64KiB", "1MiB": bytes */
    CONFIG_ADDRESS,  /* IP address, or IP address and port */
    CONFIG_PREFIX,   /* path prefix */
    CONFIG_URL,      /* http://, https://, file:/// */
    CONFIG_HTTP_URL, /* http://, https://, with or without a path */
    CONFIG_PATH,     /* of a file or folder */
    CONFIG_ANY,      /* of a feature that is not built */
};

enum config_use {
    CONFIG_IN_FORCE,
    CONFIG_OFF,       /* not built: accepted only with the value that switches it off */
    CONFIG_PART,      /* a setting of a feature that is off: its name is known, its value is not looked at */
    CONFIG_NO_EFFECT, /* accepted, with a line in the log */
    CONFIG_MOVED,     /* never accepted: `hint` says where it belongs */
};

/* Keys in force: where their values are found. */
enum config_id {
    KEY_SERVER_ADDRESS,
    KEY_SERVER_PORT,
    KEY_SERVER_THREADS,
    KEY_SERVER_REQUEST_TIMEOUT,
    KEY_SERVER_MAX_CONCURRENT,
    KEY_SERVER_MAX_CONNECTIONS,
    KEY_SERVER_SHUTDOWN_TIMEOUT,
    KEY_SERVER_MAX_BODY,
    KEY_SERVER_MAX_HEADER,
    KEY_SERVER_MAX_URI,
    KEY_SERVER_COALESCING,
    KEY_SERVER_STRATEGY,

    KEY_BUCKET_NAME,
    KEY_BUCKET_PREFIX,
    KEY_S3_BUCKET,
    KEY_S3_REGION,
    KEY_S3_ACCESS_KEY,
    KEY_S3_SECRET_KEY,
    KEY_S3_SESSION_TOKEN,
    KEY_S3_ENDPOINT,
    KEY_S3_ADDRESSING,
    KEY_S3_CA_FILE,
    KEY_S3_TIMEOUT,
    KEY_S3_POOL,
    KEY_S3_ATTEMPTS,
    KEY_S3_INITIAL_BACKOFF,
    KEY_S3_MAX_BACKOFF,
    KEY_HTTP_ENDPOINT,
    KEY_HTTP_CA_FILE,
    KEY_HTTP_TIMEOUT,
    KEY_HTTP_POOL,
    KEY_HTTP_ATTEMPTS,
    KEY_HTTP_INITIAL_BACKOFF,
    KEY_HTTP_MAX_BACKOFF,
    KEY_HTTP_FORWARDED,
    KEY_HTTP_PRESERVE_HOST,
    KEY_HTTP_QUERY_SORT,
    KEY_HTTP_QUERY_DROP,
    KEY_BUCKET_CACHE_ENABLED,
    KEY_BUCKET_TTL,
    KEY_BUCKET_MAX_ITEM,
    KEY_BUCKET_TTL_OVERRIDES,
    KEY_BUCKET_HEURISTIC_MAX,
    KEY_BUCKET_IGNORE,
    KEY_BUCKET_SET_COOKIE,
    KEY_BUCKET_STALE_WHILE,
    KEY_BUCKET_STALE_IF_ERROR,
    KEY_BUCKET_HONOR_CLIENT,
    KEY_STATUS_STATUS,
    KEY_STATUS_TTL,
    KEY_RULE_PATTERN,
    KEY_RULE_ENABLED,
    KEY_RULE_TTL,
    KEY_RULE_TTL_OVERRIDES,
    KEY_RULE_HEURISTIC_MAX,
    KEY_RULE_IGNORE,
    KEY_RULE_SET_COOKIE,
    KEY_RULE_STALE_WHILE,
    KEY_RULE_STALE_IF_ERROR,
    KEY_RULE_HONOR_CLIENT,
    KEY_RULE_STATUS_STATUS,
    KEY_RULE_STATUS_TTL,
    KEY_BUCKET_TAG_FIELD,

    KEY_CACHE_ENABLED,
    KEY_CACHE_LAYERS,
    KEY_CACHE_CHUNK,
    KEY_MEMORY_MAX_ITEM,
    KEY_MEMORY_SIZE,
    KEY_MEMORY_TTL,
    KEY_DISK_ENABLED,
    KEY_DISK_DIR,
    KEY_DISK_SIZE,
    KEY_DISK_EXPECTED_ITEM,
    KEY_DISK_ADMISSION,
    KEY_DISK_WRITE_BUDGET,
    KEY_DISK_WRITE_BUFFER,
    KEY_DEVICE_PATH,
    KEY_DEVICE_SIZE,

    KEY_ADMIN_ADDRESS,
    KEY_ADMIN_PORT,
    KEY_ADMIN_TOKEN,
    KEY_ADMIN_SNS_TOPICS,
    KEY_ADMIN_SNS_INTERMEDIATES,
    KEY_LOG_LEVEL,
    KEY_LOG_OUTPUT,
    KEY_LOG_ACCESS,
    KEY_IO,
    KEY_IDS,
    KEY_NONE = KEY_IDS, /* a row that has no value to find */
};

/* Bits of KEY_CACHE_LAYERS, in the order of its words. */
enum { LAYER_MEMORY = 1, LAYER_DISK = 2, LAYER_REDIS = 4 };

struct config_key {
    const char *path;
    enum config_type type;
    enum config_use use;
    enum config_id id;
    bool required;
    bool secret;          /* its value is shown nowhere */
    const char *fallback; /* as text; NULL: none */
    uint64_t min, max;    /* both 0: unbounded */
    const char *words;    /* "auto|uring|portable" */
    const char *hint;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* The row of `name` below the table path `parent` ("" at the top); NULL if there is none. */
const struct config_key *config_key_find(const char *parent, const char *name);
/* Whether the row is directly below the table path. */
bool config_key_is_below(const struct config_key *key, const char *parent);
/* The last part of its path. */
const char *config_key_name(const struct config_key *key);
/* For an unknown key: the nearest spelling below the same parent, else a key of this name elsewhere, else
 * NULL. */
const struct config_key *config_key_suggest(const char *parent, const char *name);
