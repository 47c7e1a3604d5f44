/*
 * The configuration as the program uses it: an immutable snapshot, made by app/config.c from YAML (or by a
 * test), with every default filled in and every value checked. Strings live as long as the snapshot.
 *
 * struct settings | born by config_load | owned by process | dies by config_free after the last worker
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "cache/disk.h"
#include "http/forwarded.h"
#include "io/io.h"
#include "origin/origin.h"
#include "proxy/caching.h"
#include "proxy/http_key.h"

struct bucket_settings {
    const char *name;
    const char *path_prefix; /* "/", or without a trailing slash */
    struct origin_config origin;
    struct {
        bool on; /* origin is a generic HTTP server */
        enum forwarded_style forwarded;
        bool preserve_host; /* the client's Host goes to the origin, and is a part of the key */
        struct query_rules query;
    } http;
    struct caching caching;
    const struct caching_rule *caching_rules; /* in order; the first that matches holds */
    unsigned caching_rule_count;
    uint64_t max_item_bytes; /* objects above are not stored at all; UINT64_MAX: no bound */
    const char *tag_field;   /* names tags beside Surrogate-Key and Cache-Tag; NULL: none */
};

/* Whether the host that clients name is a part of the key: wherever the origin is told of it. */
static inline bool settings_key_has_host(const struct bucket_settings *settings)
{
    return settings->http.preserve_host || settings->http.forwarded != FORWARDED_OFF;
}

struct settings {
    struct {
        const char *host; /* numeric */
        uint16_t port;
        unsigned threads;               /* never 0 here */
        uint64_t first_byte_timeout_ns; /* server.request_timeout */
        unsigned max_concurrent_requests;
        unsigned max_connections;
        uint64_t max_body_bytes;
        uint32_t max_header_bytes, max_target_bytes;
        uint64_t shutdown_timeout_ns;
    } server;
    struct bucket_settings *buckets;
    unsigned bucket_count;
    struct {
        bool enabled, memory, disk;     /* layers in use */
        uint64_t memory_bytes;          /* budget of the tier */
        uint64_t memory_item_bytes;     /* bound on what it keeps of one object */
        uint32_t chunk_bytes;           /* a power of two */
        struct disk_config disk_config; /* memory, event: filled in at boot */
        const char *disk_directory;     /* to be made where it is missing, or NULL */
    } cache;
    struct {
        const char *host;
        uint16_t port;
        const char *token;             /* NULL: none */
        const char *const *sns_topics; /* whose messages are taken, ARNs */
        unsigned sns_topic_count;
        const char *sns_intermediates; /* a file, NULL: none */
    } admin;
    struct {
        enum log_level level;
        const char *output, *access; /* "stdout", "stderr", "off" or a path */
    } logging;
    enum io_choice io;
};
