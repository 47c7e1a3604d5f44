#include "base/json.h"

#include "base/utf8.h"

static void write_escape(struct writer *w, uint8_t c)
{
    static const struct {
        uint8_t byte;
        char letter;
    } shorts[] = {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\b', 'b'}, {'\f', 'f'}};
    for (size_t i = 0; i < sizeof shorts / sizeof *shorts; i++) {
        if (shorts[i].byte == c) {
            write_u8(w, '\\');
            write_u8(w, (uint8_t)shorts[i].letter);
            return;
        }
    }
    write_bytes(w, BYTES("\\u00"));
    write_hex(w, bytes_of(&c, 1));
}

/* Length of the longest start of `text` that goes out as it is. */
static size_t plain_length(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        uint8_t c = text.ptr[at];
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            break;
        size_t len = c < 0x80 ? 1 : utf8_first(bytes_from(text, at));
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

void json_write_string(struct writer *w, struct bytes text)
{
    write_u8(w, '"');
    while (text.len > 0) {
        size_t plain = plain_length(text);
        write_bytes(w, bytes_of(text.ptr, plain));
        text = bytes_from(text, plain);
        if (text.len > 0) {
            write_escape(w, text.ptr[0]);
            text = bytes_from(text, 1);
        }
    }
    write_u8(w, '"');
}

struct json json_of(struct writer *w)
{
    return (struct json){.w = w};
}

static void begin_value(struct json *json, const char *key)
{
    CHECK(json->depth > 0 || (!key && !json->comma));
    if (json->comma)
        write_u8(json->w, ',');
    json->comma = true;
    if (key) {
        json_write_string(json->w, bytes_of_string(key));
        write_u8(json->w, ':');
    }
}

static void open_level(struct json *json, const char *key, uint8_t bracket)
{
    begin_value(json, key);
    write_u8(json->w, bracket);
    json->depth++;
    json->comma = false;
}

static void close_level(struct json *json, uint8_t bracket)
{
    CHECK(json->depth > 0);
    write_u8(json->w, bracket);
    json->depth--;
    json->comma = true;
}

void json_open_object(struct json *json, const char *key)
{
    open_level(json, key, '{');
}

void json_close_object(struct json *json)
{
    close_level(json, '}');
}

void json_open_array(struct json *json, const char *key)
{
    open_level(json, key, '[');
}

void json_close_array(struct json *json)
{
    close_level(json, ']');
}

void json_put_string(struct json *json, const char *key, struct bytes value)
{
    begin_value(json, key);
    json_write_string(json->w, value);
}

void json_put_number(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    write_decimal(json->w, value);
}

void json_put_signed(struct json *json, const char *key, int64_t value)
{
    begin_value(json, key);
    if (value < 0)
        write_u8(json->w, '-');
    write_decimal(json->w, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void json_put_ms(struct json *json, const char *key, uint64_t duration_ns)
{
    uint64_t us = duration_ns / 1000;
    uint8_t fraction[4] = {
        '.', (uint8_t)('0' + us / 100 % 10), (uint8_t)('0' + us / 10 % 10), (uint8_t)('0' + us % 10)};
    begin_value(json, key);
    write_decimal(json->w, us / 1000);
    write_bytes(json->w, bytes_of(fraction, sizeof fraction));
}

void json_put_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    write_bytes(json->w, value ? BYTES("true") : BYTES("false"));
}

void json_put_null(struct json *json, const char *key)
{
    begin_value(json, key);
    write_bytes(json->w, BYTES("null"));
}
