#include "origin/s3_list.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>

#include "base/error.h"

#define KEYS_FIRST ((size_t)32 << 10)

static void fail(struct s3_list *list, int error)
{
    if (list->error == 0)
        list->error = error;
    XML_StopParser(list->parser, XML_FALSE);
}

/* ---- what expat tells ---- */

static bool add_text(struct s3_list *list, const char *text, size_t len)
{
    size_t needed = list->len + len;
    if (needed > list->capacity) {
        size_t capacity = list->capacity ? list->capacity : KEYS_FIRST;
        while (capacity < needed)
            capacity *= 2;
        char *grown = needed > S3_LIST_TEXT_MAX ? NULL : realloc(list->keys, capacity);
        if (grown == NULL) {
            fail(list, needed > S3_LIST_TEXT_MAX ? E_TOO_LARGE : E_EXHAUSTED);
            return false;
        }
        list->keys = grown;
        list->capacity = capacity;
    }
    memcpy(list->keys + list->len, text, len);
    list->len = needed;
    return true;
}

static void begin_taking(struct s3_list *list, const char *name)
{
    list->taking = S3_LIST_NOTHING;
    list->small_len = 0;
    if (list->depth == 3 && list->in_contents && strcmp(name, "Key") == 0)
        list->taking = S3_LIST_KEY;
    else if (list->depth == 2 && strcmp(name, "IsTruncated") == 0)
        list->taking = S3_LIST_TRUNCATED;
    else if (list->depth == 2 && strcmp(name, "NextContinuationToken") == 0)
        list->taking = S3_LIST_TOKEN;
    else if (list->depth == 2 && strcmp(name, "EncodingType") == 0)
        list->taking = S3_LIST_ENCODING;
    if (list->taking == S3_LIST_TOKEN)
        list->token_len = 0;
}

static void on_start(void *context, const char *name, const char **attributes)
{
    struct s3_list *list = context;
    (void)attributes;
    if (list->taking != S3_LIST_NOTHING) /* what is taken holds text alone */
        fail(list, E_PROTOCOL);
    list->depth++;
    if (list->depth == 1)
        list->is_list = strcmp(name, "ListBucketResult") == 0;
    if (list->depth == 2)
        list->in_contents = strcmp(name, "Contents") == 0;
    begin_taking(list, name);
}

static bool says(const struct s3_list *list, const char *text)
{
    return bytes_equal_nocase(bytes_trim(bytes_of(list->small, list->small_len)), bytes_of_string(text));
}

static void on_end(void *context, const char *name)
{
    struct s3_list *list = context;
    (void)name;
    switch (list->taking) {
    case S3_LIST_KEY:
        (void)add_text(list, "", 1);
        break;
    case S3_LIST_TRUNCATED:
        list->truncated = says(list, "true");
        break;
    case S3_LIST_ENCODING:
        list->encoded = says(list, "url");
        break;
    default:
        break;
    }
    list->taking = S3_LIST_NOTHING;
    list->depth--;
}

static void add_token(struct s3_list *list, const char *text, size_t len)
{
    if (len > sizeof list->token - list->token_len) {
        fail(list, E_TOO_LARGE);
        return;
    }
    memcpy(list->token + list->token_len, text, len);
    list->token_len += len;
}

static void on_text(void *context, const char *text, int len)
{
    struct s3_list *list = context;
    size_t count = (size_t)len, room = sizeof list->small - list->small_len;
    switch (list->taking) {
    case S3_LIST_NOTHING:
        return;
    case S3_LIST_KEY:
        (void)add_text(list, text, count);
        return;
    case S3_LIST_TOKEN:
        add_token(list, text, count);
        return;
    case S3_LIST_TRUNCATED:
    case S3_LIST_ENCODING:
        memcpy(list->small + list->small_len, text, count < room ? count : room);
        list->small_len += count < room ? count : room;
        return;
    }
}

static void on_doctype(void *context, const char *name, const char *system, const char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    fail(context, E_PROTOCOL);
}

/* ---- the calls ---- */

int s3_list_init(struct s3_list *list)
{
    *list = (struct s3_list){.parser = XML_ParserCreate("UTF-8")};
    if (list->parser == NULL)
        return -ENOMEM;
    XML_SetUserData(list->parser, list);
    XML_SetElementHandler(list->parser, on_start, on_end);
    XML_SetCharacterDataHandler(list->parser, on_text);
    XML_SetStartDoctypeDeclHandler(list->parser, on_doctype);
    return 0;
}

static int parse(struct s3_list *list, struct bytes bytes, bool last)
{
    if (list->error != 0)
        return list->error;
    /* expat counts in int */
    CHECK(bytes.len <= INT_MAX);
    if (XML_Parse(list->parser, (const char *)bytes.ptr, (int)bytes.len, last) != XML_STATUS_OK &&
        list->error == 0)
        list->error = XML_GetErrorCode(list->parser) == XML_ERROR_NO_MEMORY ? E_EXHAUSTED : E_PROTOCOL;
    return list->error;
}

int s3_list_feed(struct s3_list *list, struct bytes bytes)
{
    return parse(list, bytes, false);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* One key in place: its new length, or below 0. */
static ssize_t decode(char *key, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len; from++, to++) {
        key[to] = key[from] == '+' ? ' ' : key[from];
        if (key[from] != '%')
            continue;
        int high = from + 2 < len ? hex_value(key[from + 1]) : -1;
        int low = high >= 0 ? hex_value(key[from + 2]) : -1;
        if (low < 0 || (high | low) == 0)
            return -1;
        key[to] = (char)(high << 4 | low);
        from += 2;
    }
    return (ssize_t)to;
}

static int decode_all(struct s3_list *list)
{
    size_t to = 0;
    for (size_t from = 0; from < list->len;) {
        size_t raw = strlen(list->keys + from);
        ssize_t len = decode(list->keys + from, raw);
        if (len < 0)
            return E_PROTOCOL;
        memmove(list->keys + to, list->keys + from, (size_t)len);
        list->keys[to + (size_t)len] = '\0';
        to += (size_t)len + 1;
        from += raw + 1;
    }
    list->len = to;
    return 0;
}

int s3_list_end(struct s3_list *list)
{
    int error = parse(list, bytes_of("", 0), true);
    if (error == 0 && (!list->is_list || (list->truncated && list->token_len == 0)))
        error = E_PROTOCOL;
    if (error == 0 && list->encoded)
        error = decode_all(list);
    list->error = error;
    return error;
}

bool s3_list_take(struct s3_list *list, struct bytes *key)
{
    CHECK(list->error == 0);
    if (list->at >= list->len)
        return false;
    *key = bytes_of_string(list->keys + list->at);
    list->at += key->len + 1;
    return true;
}

struct bytes s3_list_token(const struct s3_list *list)
{
    return bytes_of(list->token, list->truncated ? list->token_len : 0);
}

void s3_list_deinit(struct s3_list *list)
{
    if (list->parser != NULL)
        XML_ParserFree(list->parser);
    free(list->keys);
    *list = (struct s3_list){0};
}
