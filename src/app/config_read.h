/*
 * A tree of YAML nodes against the table of keys: every key is known, given once, of its type and in its
 * range; what is not built is off. Out come the values in force, by id, for the file and for each bucket and
 * device in it.
 */
#pragma once

#include "app/config_values.h"

struct config_scope {
    struct config_value values[KEY_IDS]; /* with fallbacks filled in */
    unsigned line;                       /* where the element begins */
    bool has_s3, has_http;               /* a bucket: its mapping s3, http was read */
    bool lacks_origin;                   /* a bucket that says nothing of the two, not even something wrong */
    struct config_scope *rules;          /* a bucket: the elements of cache.rules */
    struct config_scope *statuses;       /* a bucket or rule: the elements of its status_ttl */
    unsigned rule_count, status_count;
};

struct config_reading {
    const char *file_name;
    struct arena *arena;
    struct config_errors *errors;
    struct config_scope top;
    struct config_scope *buckets, *devices;
    unsigned bucket_count, device_count;
    bool has_cache; /* the key `cache` is there */
    struct config_note *notes, *last_note;
};

/* For the log at start: what was accepted without having an effect. */
struct config_note {
    struct config_note *next;
    const char *text;
};

/* file_name, arena and errors are set by the caller; errors are added to the latter. */
void config_read(struct config_reading *reading, const struct yaml_node *root);
void config_note_add(struct config_reading *reading, const char *format, ...) PRINTF_LIKE(2, 3);
