/*
 * The parsing algorithms of RFC 9651 4.2, one function each, on a reader that stops at the first fault. The
 * check and the walks are the same functions: a walk over a checked field can't fail.
 */
#include "http/structured.h"

#include "base/utf8.h"
#include "http/fields.h"

#define INTEGER_DIGITS_MAX 15
#define DECIMAL_DIGITS_MAX 12
#define FRACTION_DIGITS_MAX 3

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(uint8_t c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* ---- the reader: 0 at the end ---- */

static uint8_t peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : 0;
}

static bool take(struct reader *r, uint8_t c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static void expect(struct reader *r, uint8_t c)
{
    if (!take(r, c))
        r->failed = true;
}

static void skip_spaces(struct reader *r)
{
    while (take(r, ' '))
        ;
}

static void skip_ows(struct reader *r)
{
    while (take(r, ' ') || take(r, '\t'))
        ;
}

static struct bytes since(const struct reader *r, const uint8_t *start)
{
    return bytes_of(start, (size_t)(r->at - start));
}

/* ---- bare items ---- */

/* One digit more than `max` at most, which is one too many. */
static unsigned take_digits(struct reader *r, unsigned max, int64_t *number)
{
    unsigned count = 0;
    for (; is_digit(peek(r)) && count <= max; count++, r->at++)
        *number = *number * 10 + (*r->at - '0');
    return count;
}

/* 4.2.4 */
static struct structured_value take_number(struct reader *r)
{
    struct structured_value value = {.type = STRUCTURED_INTEGER};
    bool negative = take(r, '-');
    unsigned digits = take_digits(r, INTEGER_DIGITS_MAX, &value.number), fraction = 0;
    r->failed |= digits == 0 || digits > INTEGER_DIGITS_MAX;
    if (!r->failed && take(r, '.')) {
        value.type = STRUCTURED_DECIMAL;
        r->failed |= digits > DECIMAL_DIGITS_MAX;
    }
    if (!r->failed && value.type == STRUCTURED_DECIMAL) {
        fraction = take_digits(r, FRACTION_DIGITS_MAX, &value.number);
        r->failed |= fraction == 0 || fraction > FRACTION_DIGITS_MAX;
        for (; !r->failed && fraction < FRACTION_DIGITS_MAX; fraction++)
            value.number *= 10;
    }
    if (negative)
        value.number = -value.number;
    return value;
}

/* 4.2.9 */
static struct structured_value take_date(struct reader *r)
{
    expect(r, '@');
    struct structured_value value = take_number(r);
    r->failed |= value.type != STRUCTURED_INTEGER;
    value.type = STRUCTURED_DATE;
    return value;
}

/* 4.2.5 */
static struct structured_value take_string(struct reader *r)
{
    expect(r, '"');
    const uint8_t *start = r->at;
    while (!r->failed && peek(r) != '"') {
        uint8_t c = peek(r);
        r->failed |= c < 0x20 || c > 0x7E;
        if (take(r, '\\'))
            r->failed |= peek(r) != '"' && peek(r) != '\\';
        if (!r->failed)
            r->at++;
    }
    struct structured_value value = {.type = STRUCTURED_STRING, .text = since(r, start)};
    expect(r, '"');
    return value;
}

/* 4.2.6 */
static struct structured_value take_token(struct reader *r)
{
    const uint8_t *start = r->at++;
    while (peek(r) && (peek(r) == ':' || peek(r) == '/' || http_is_token(bytes_of(r->at, 1))))
        r->at++;
    return (struct structured_value){.type = STRUCTURED_TOKEN, .text = since(r, start)};
}

static int base64_value(uint8_t c)
{
    if (is_digit(c))
        return 52 + (c - '0');
    if (is_lower(c))
        return 26 + (c - 'a');
    if (is_alpha(c))
        return c - 'A';
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool base64_valid(struct bytes text)
{
    size_t len = text.len;
    for (unsigned padding = 0; padding < 2 && len > 0 && text.ptr[len - 1] == '='; padding++)
        len--;
    for (size_t i = 0; i < len; i++)
        if (base64_value(text.ptr[i]) < 0)
            return false;
    return len % 4 != 1 && (len == text.len || text.len % 4 == 0);
}

/* 4.2.7 */
static struct structured_value take_byte_sequence(struct reader *r)
{
    expect(r, ':');
    const uint8_t *start = r->at;
    while (peek(r) && peek(r) != ':')
        r->at++;
    struct structured_value value = {.type = STRUCTURED_BYTES, .text = since(r, start)};
    expect(r, ':');
    r->failed |= !base64_valid(value.text);
    return value;
}

/* 4.2.8 */
static struct structured_value take_boolean(struct reader *r)
{
    struct structured_value value = {.type = STRUCTURED_BOOLEAN, .number = 1};
    expect(r, '?');
    if (!take(r, '1')) {
        expect(r, '0');
        value.number = 0;
    }
    return value;
}

static int hex_value(uint8_t c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? 10 + (c - 'a') : -1;
}

/* One character of a display string's encoding, percent-encoded or not; -1 where it is neither. */
static int take_encoded(struct reader *r)
{
    uint8_t c = peek(r);
    if (c < 0x20 || c > 0x7E || c == '"')
        return -1;
    r->at++;
    if (c != '%')
        return c;
    if (reader_left(r) < 2 || hex_value(r->at[0]) < 0 || hex_value(r->at[1]) < 0)
        return -1;
    r->at += 2;
    return hex_value(r->at[-2]) << 4 | hex_value(r->at[-1]);
}

/* Holds back the bytes of one UTF-8 character until it is complete. */
static bool display_valid(struct bytes text)
{
    struct reader r = reader_of(text);
    uint8_t held[4];
    size_t count = 0;
    while (reader_left(&r) > 0) {
        int c = take_encoded(&r);
        if (c < 0 || count == sizeof held)
            return false;
        held[count++] = (uint8_t)c;
        size_t whole = utf8_first(bytes_of(held, count));
        if (whole > 0)
            count = 0;
    }
    return count == 0;
}

/* 4.2.10 */
static struct structured_value take_display(struct reader *r)
{
    expect(r, '%');
    expect(r, '"');
    const uint8_t *start = r->at;
    while (peek(r) && peek(r) != '"')
        r->at++;
    struct structured_value value = {.type = STRUCTURED_DISPLAY, .text = since(r, start)};
    expect(r, '"');
    r->failed |= !display_valid(value.text);
    return value;
}

/* 4.2.3.1 */
static struct structured_value take_bare(struct reader *r)
{
    uint8_t c = peek(r);
    if (c == '-' || is_digit(c))
        return take_number(r);
    if (c == '*' || is_alpha(c))
        return take_token(r);
    switch (c) {
    case '"':
        return take_string(r);
    case ':':
        return take_byte_sequence(r);
    case '?':
        return take_boolean(r);
    case '@':
        return take_date(r);
    case '%':
        return take_display(r);
    default:
        r->failed = true;
        return (struct structured_value){0};
    }
}

/* ---- parameters, items, lists ---- */

static bool is_key_char(uint8_t c)
{
    return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*';
}

/* 4.2.3.3 */
static struct bytes take_key(struct reader *r)
{
    const uint8_t *start = r->at;
    r->failed |= !is_lower(peek(r)) && peek(r) != '*';
    while (is_key_char(peek(r)))
        r->at++;
    return since(r, start);
}

/* One parameter behind its semicolon. */
static void take_parameter(struct reader *r, struct bytes *key, struct structured_value *value)
{
    skip_spaces(r);
    *key = take_key(r);
    *value = (struct structured_value){.type = STRUCTURED_BOOLEAN, .number = 1};
    if (!r->failed && take(r, '='))
        *value = take_bare(r);
}

/* 4.2.3.2 */
static struct bytes take_parameters(struct reader *r)
{
    const uint8_t *start = r->at;
    while (!r->failed && take(r, ';')) {
        struct bytes key;
        struct structured_value value;
        take_parameter(r, &key, &value);
    }
    return since(r, start);
}

/* 4.2.3 */
static struct structured_member take_item(struct reader *r)
{
    struct structured_member item = {.value = take_bare(r)};
    if (!r->failed)
        item.parameters = take_parameters(r);
    return item;
}

/* 4.2.1.2 */
static struct structured_member take_inner_list(struct reader *r)
{
    struct structured_member list = {.value.type = STRUCTURED_INNER};
    expect(r, '(');
    const uint8_t *start = r->at;
    for (skip_spaces(r); !r->failed && peek(r) != ')'; skip_spaces(r)) {
        (void)take_item(r);
        r->failed |= peek(r) != ' ' && peek(r) != ')';
    }
    list.value.text = since(r, start);
    expect(r, ')');
    if (!r->failed)
        list.parameters = take_parameters(r);
    return list;
}

static struct structured_member take_item_or_list(struct reader *r)
{
    return peek(r) == '(' ? take_inner_list(r) : take_item(r);
}

/* A member of a dictionary; 4.2.2. */
static struct structured_member take_entry(struct reader *r)
{
    struct bytes key = take_key(r);
    struct structured_member member = {.value = {.type = STRUCTURED_BOOLEAN, .number = 1}};
    if (!r->failed && take(r, '='))
        member = take_item_or_list(r);
    else if (!r->failed)
        member.parameters = take_parameters(r);
    member.key = key;
    return member;
}

/* The next member and the comma behind it, which must not be the last thing. */
static struct structured_member take_member(enum structured_kind kind, struct reader *r)
{
    struct structured_member member;
    if (kind == STRUCTURED_ITEM)
        member = take_item(r);
    else
        member = kind == STRUCTURED_LIST ? take_item_or_list(r) : take_entry(r);
    if (r->failed)
        return member;
    if (kind == STRUCTURED_ITEM) {
        skip_spaces(r);
        r->failed |= reader_left(r) > 0;
        return member;
    }
    skip_ows(r);
    if (reader_left(r) > 0) {
        expect(r, ',');
        skip_ows(r);
        r->failed |= reader_left(r) == 0;
    }
    return member;
}

bool structured_check(enum structured_kind kind, struct bytes field)
{
    struct reader r = reader_of(field);
    skip_spaces(&r);
    if (reader_left(&r) == 0)
        return kind != STRUCTURED_ITEM;
    while (!r.failed && reader_left(&r) > 0)
        (void)take_member(kind, &r);
    return !r.failed;
}

/* ---- walks ---- */

static bool walked(const struct reader *r, struct bytes *rest)
{
    CHECK(!r->failed);
    *rest = bytes_of(r->at, reader_left(r));
    return true;
}

bool structured_next_member(enum structured_kind kind, struct bytes *rest, struct structured_member *member)
{
    struct reader r = reader_of(*rest);
    skip_spaces(&r);
    if (reader_left(&r) == 0)
        return false;
    *member = take_member(kind, &r);
    return walked(&r, rest);
}

bool structured_next_inner(struct bytes *rest, struct structured_member *item)
{
    struct reader r = reader_of(*rest);
    skip_spaces(&r);
    if (reader_left(&r) == 0)
        return false;
    *item = take_item(&r);
    return walked(&r, rest);
}

bool structured_next_parameter(struct bytes *rest, struct bytes *key, struct structured_value *value)
{
    struct reader r = reader_of(*rest);
    if (!take(&r, ';'))
        return false;
    take_parameter(&r, key, value);
    return walked(&r, rest);
}

/* ---- decoding ---- */

static struct bytes decode_base64(struct bytes text, uint8_t *buf)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        bits = bits << 6 | (uint32_t)base64_value(text.ptr[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf[len++] = (uint8_t)(bits >> have);
        }
    }
    return bytes_of(buf, len);
}

struct bytes structured_decode(const struct structured_value *value, uint8_t *buf)
{
    struct bytes text = value->text;
    struct reader r = reader_of(text);
    size_t len = 0;
    if (value->type == STRUCTURED_BYTES)
        return decode_base64(text, buf);
    while (reader_left(&r) > 0) {
        if (value->type == STRUCTURED_DISPLAY) {
            int c = take_encoded(&r);
            CHECK(c >= 0);
            buf[len++] = (uint8_t)c;
        } else {
            (void)(value->type == STRUCTURED_STRING && take(&r, '\\'));
            buf[len++] = read_u8(&r);
        }
    }
    return bytes_of(buf, len);
}
