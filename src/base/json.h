/*
 * JSON, write only (RFC 8259): one object or array, built in order into a struct writer, for access log
 * lines, error bodies and the admin endpoints. No allocation; overflow is the writer's sticky `failed`.
 *
 * Strings come from clients and origins and may be any bytes. The output is always well-formed UTF-8: a byte
 * that belongs to no well-formed character is written as \u00XX (its value as a Latin-1 character), so that
 * it stays visible. Rejected: U+FFFD, which makes different keys look alike in the log.
 */
#pragma once

#include "base/bytes.h"

/* The quoted, escaped string alone. */
void json_write_string(struct writer *w, struct bytes text);

/* Commas and nesting. The names keep clear of jansson's. `key` is NULL inside arrays and for the outermost
 * value; keys are literals of ours. */
struct json {
    struct writer *w;
    unsigned depth;
    bool comma;
};

struct json json_of(struct writer *w);
void json_open_object(struct json *json, const char *key);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *key);
void json_close_array(struct json *json);
void json_put_string(struct json *json, const char *key, struct bytes value);
void json_put_number(struct json *json, const char *key, uint64_t value);
void json_put_signed(struct json *json, const char *key, int64_t value);
/* Milliseconds with three digits after the point, from nanoseconds. */
void json_put_ms(struct json *json, const char *key, uint64_t duration_ns);
void json_put_bool(struct json *json, const char *key, bool value);
void json_put_null(struct json *json, const char *key);
