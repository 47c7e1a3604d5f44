#include "proxy/http_key.h"

#include <stdlib.h>

#include "http/target.h"

/* More parameters than this are left in the order they came in. */
#define SORTED_MAX 256

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that three of `text` encode, or -1. */
static int encoded_byte(struct bytes text)
{
    if (text.len < 3 || text.ptr[0] != '%')
        return -1;
    int high = hex_value(text.ptr[1]), low = hex_value(text.ptr[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* `_` is as `-`: to what hands fields on as variables (CGI, WSGI) they are one. */
static uint8_t shared_letter(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c == '_' ? '-' : c;
}

static bool begins_with(struct bytes name, struct bytes lower)
{
    if (name.len < lower.len)
        return false;
    for (size_t i = 0; i < lower.len; i++)
        if (shared_letter(name.ptr[i]) != lower.ptr[i])
            return false;
    return true;
}

static bool is_called(struct bytes name, struct bytes lower)
{
    return name.len == lower.len && begins_with(name, lower);
}

bool http_key_has_field(struct bytes name)
{
    static const struct bytes families[] = {BYTES("x-forwarded-"), BYTES("x-original-"), BYTES("x-rewrite-"),
        BYTES("x-http-"), BYTES("x-envoy-original-")};
    static const struct bytes names[] = {BYTES("x-host"), BYTES("x-method-override"), BYTES("x-scheme"),
        BYTES("x-url-scheme"), BYTES("front-end-https")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_called(name, names[i]))
            return true;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (begins_with(name, families[i]))
            return !is_called(name, BYTES("x-forwarded-for"));
    return false;
}

struct bytes http_key_rest(struct bytes raw_path, size_t decoded_len)
{
    while (decoded_len-- > 0 && raw_path.len > 0)
        raw_path = bytes_from(raw_path, encoded_byte(raw_path) < 0 ? 1 : 3);
    return raw_path.len > 0 ? raw_path : BYTES("/");
}

/* Two spellings of one byte become one; what is no encoding stays. */
static void write_shared(struct bytes raw, struct writer *w)
{
    while (raw.len > 0) {
        int byte = encoded_byte(raw);
        if (byte < 0)
            write_u8(w, raw.ptr[0]);
        else if (is_unreserved((uint8_t)byte))
            write_u8(w, (uint8_t)byte);
        else
            write_percent(w, (uint8_t)byte);
        raw = bytes_from(raw, byte < 0 ? 1 : 3);
    }
}

/* ---- the query ---- */

/* The decoded byte at the front, taken off. */
static uint8_t next_decoded(struct bytes *raw)
{
    int byte = encoded_byte(*raw);
    uint8_t c = byte < 0 ? raw->ptr[0] : (uint8_t)byte;
    *raw = bytes_from(*raw, byte < 0 ? 1 : 3);
    return c;
}

static bool is_named(struct bytes raw_name, const char *rule)
{
    for (; *rule != '\0'; rule++) {
        if (rule[0] == '*' && rule[1] == '\0')
            return true;
        if (raw_name.len == 0 || next_decoded(&raw_name) != (uint8_t)*rule)
            return false;
    }
    return raw_name.len == 0;
}

static bool is_dropped(const struct query_rules *rules, struct bytes raw_name)
{
    for (unsigned i = 0; i < rules->drop_count; i++)
        if (is_named(raw_name, rules->drop[i]))
            return true;
    return false;
}

static int compare_decoded(struct bytes a, struct bytes b)
{
    while (a.len > 0 && b.len > 0) {
        uint8_t left = next_decoded(&a), right = next_decoded(&b);
        if (left != right)
            return left < right ? -1 : 1;
    }
    return (a.len > 0) - (b.len > 0);
}

struct parameter {
    struct bytes name, whole;
    unsigned at;
};

static int compare_parameters(const void *a, const void *b)
{
    const struct parameter *left = a, *right = b;
    int order = compare_decoded(left->name, right->name);
    return order ? order : (left->at > right->at) - (left->at < right->at);
}

/* The next parameter that is kept. */
static bool next_kept(struct bytes *query, const struct query_rules *rules, struct parameter *parameter)
{
    struct bytes name, value;
    while (target_next_parameter(query, &name, &value)) {
        if (is_dropped(rules, name))
            continue;
        size_t len = value.ptr ? (size_t)(value.ptr + value.len - name.ptr) : name.len;
        *parameter = (struct parameter){.name = name, .whole = bytes_of(name.ptr, len)};
        return true;
    }
    return false;
}

/* Separators before all but the first. */
static void write_parameter(struct bytes whole, bool shared, unsigned *count, struct writer *w)
{
    write_u8(w, (*count)++ ? '&' : '?');
    if (shared)
        write_shared(whole, w);
    else
        write_bytes(w, whole);
}

static void write_in_order(struct bytes query, const struct query_rules *rules, bool shared, struct writer *w)
{
    struct parameter parameter;
    unsigned count = 0;
    while (next_kept(&query, rules, &parameter))
        write_parameter(parameter.whole, shared, &count, w);
}

/* False: too many. */
static bool write_sorted(struct bytes query, const struct query_rules *rules, struct writer *w)
{
    struct parameter parameters[SORTED_MAX], parameter;
    unsigned count = 0, written = 0;
    while (next_kept(&query, rules, &parameter)) {
        if (count == SORTED_MAX)
            return false;
        parameters[count] = parameter;
        parameters[count].at = count;
        count++;
    }
    qsort(parameters, count, sizeof *parameters, compare_parameters);
    for (unsigned i = 0; i < count; i++)
        write_parameter(parameters[i].whole, true, &written, w);
    return true;
}

/* "%%34%31" would become "%41", another query's spelling: one with a broken encoding has none but its own. */
static bool has_broken_encoding(struct bytes query, const struct query_rules *rules)
{
    struct parameter parameter;
    while (next_kept(&query, rules, &parameter))
        for (struct bytes rest = parameter.whole; rest.len > 0;
             rest = bytes_from(rest, rest.ptr[0] == '%' ? 3 : 1))
            if (rest.ptr[0] == '%' && encoded_byte(rest) < 0)
                return true;
    return false;
}

static void write_query(struct bytes query, const struct query_rules *rules, bool shared, struct writer *w)
{
    if (!query.ptr)
        return;
    shared = shared && !has_broken_encoding(query, rules);
    if (shared && rules->sort && write_sorted(query, rules, w))
        return;
    if (rules->drop_count > 0) {
        write_in_order(query, rules, shared, w);
        return;
    }
    write_u8(w, '?');
    if (shared)
        write_shared(query, w);
    else
        write_bytes(w, query);
}

void http_key_write(
    struct bytes raw_path, struct bytes raw_query, const struct query_rules *rules, struct writer *w)
{
    write_shared(raw_path, w);
    write_query(raw_query, rules, true, w);
}

void http_key_write_target(
    struct bytes raw_path, struct bytes raw_query, const struct query_rules *rules, struct writer *w)
{
    write_bytes(w, raw_path);
    write_query(raw_query, rules, false, w);
}
