#include "http/target.h"

#include "base/error.h"
#include "base/utf8.h"

/* Refused in every form: what a parser should have refused before, and fragments (RFC 3986 3.5). */
static bool has_forbidden(struct bytes raw)
{
    for (size_t i = 0; i < raw.len; i++)
        if (raw.ptr[i] <= ' ' || raw.ptr[i] == 0x7F || raw.ptr[i] == '#')
            return true;
    return false;
}

static size_t find(struct bytes a, uint8_t c)
{
    const uint8_t *at = a.len > 0 ? memchr(a.ptr, c, a.len) : NULL;
    return at ? (size_t)(at - a.ptr) : a.len;
}

static void split_query(struct bytes rest, struct target *target)
{
    size_t mark = find(rest, '?');
    target->path = bytes_of(rest.ptr, mark);
    if (mark < rest.len)
        target->query = bytes_from(rest, mark + 1);
}

static bool starts_with_nocase(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && bytes_equal_nocase(bytes_of(a.ptr, prefix.len), prefix);
}

/* RFC 9112 3.2.2. An authority with user information is refused (RFC 9110 4.2.4). */
static int split_absolute(struct bytes raw, size_t scheme_len, struct target *target)
{
    struct bytes rest = bytes_from(raw, scheme_len);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    target->form = TARGET_ABSOLUTE;
    target->authority = bytes_of(rest.ptr, end);
    if (end == 0 || find(target->authority, '@') < end)
        return E_SYNTAX;
    split_query(bytes_from(rest, end), target);
    if (target->path.len == 0)
        target->path = BYTES("/");
    return 0;
}

int target_split(struct bytes raw, struct target *target)
{
    *target = (struct target){.form = TARGET_ORIGIN};
    if (raw.len == 0 || has_forbidden(raw))
        return E_SYNTAX;
    if (raw.ptr[0] == '/') {
        split_query(raw, target);
        return 0;
    }
    if (bytes_equal(raw, BYTES("*"))) {
        target->form = TARGET_ASTERISK;
        target->path = raw;
        return 0;
    }
    if (starts_with_nocase(raw, BYTES("http://")))
        return split_absolute(raw, 7, target);
    if (starts_with_nocase(raw, BYTES("https://")))
        return split_absolute(raw, 8, target);
    return E_SYNTAX;
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* The port after a host: nothing, or ":" and at most five digits. */
static bool is_port(struct bytes text)
{
    uint64_t port = 0;
    return text.len == 0 ||
           (text.ptr[0] == ':' &&
               (text.len == 1 || (bytes_to_u64(bytes_from(text, 1), &port) && port <= 65535)));
}

bool target_is_authority(struct bytes text)
{
    size_t at = 0;
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    if (bracketed) {
        for (at = 1; at < text.len && (is_alnum(text.ptr[at]) || text.ptr[at] == ':' || text.ptr[at] == '.');
             at++)
            ;
        if (at == 1 || at == text.len || text.ptr[at++] != ']')
            return false;
    } else {
        while (at < text.len && (is_alnum(text.ptr[at]) || memchr("-._~", text.ptr[at], 4) != NULL))
            at++;
    }
    return at > 0 && is_port(bytes_from(text, at));
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int target_decode(struct bytes raw, uint8_t *buf, struct bytes *decoded)
{
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = raw.ptr[i];
        if (c == '%') {
            int high = i + 2 < raw.len ? hex_value(raw.ptr[i + 1]) : -1;
            int low = i + 2 < raw.len ? hex_value(raw.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return E_SYNTAX;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c < ' ' || c == 0x7F) {
            return E_SYNTAX;
        }
        if (c == 0)
            return E_SYNTAX;
        buf[len++] = c;
    }
    CHECK(len <= raw.len);
    *decoded = bytes_of(buf, len);
    return utf8_valid(*decoded) ? 0 : E_SYNTAX;
}

static bool is_dot_segment(struct bytes segment)
{
    return bytes_equal(segment, BYTES(".")) || bytes_equal(segment, BYTES(".."));
}

static bool has_dot_segment(struct bytes path)
{
    while (path.len > 0) {
        size_t end = find(path, '/');
        if (is_dot_segment(bytes_of(path.ptr, end)))
            return true;
        path = bytes_from(path, end < path.len ? end + 1 : end);
    }
    return false;
}

int target_decode_path(struct bytes raw_path, uint8_t *buf, struct bytes *decoded)
{
    int result = target_decode(raw_path, buf, decoded);
    if (result < 0)
        return result;
    if (decoded->len == 0 || decoded->ptr[0] != '/' || has_dot_segment(*decoded))
        return E_SYNTAX;
    return 0;
}

/* RFC 3986 3.3: pchar, and what is between segments. */
static bool may_stand_in_path(uint8_t c)
{
    return is_alnum(c) || (c != 0 && strchr("-._~!$&'()*+,;=:@/", c) != NULL);
}

void target_encode_path(struct writer *w, struct bytes path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (may_stand_in_path(path.ptr[i]))
            write_u8(w, path.ptr[i]);
        else
            write_percent(w, path.ptr[i]);
    }
}

bool target_next_parameter(struct bytes *query, struct bytes *name, struct bytes *value)
{
    while (query->len > 0) {
        size_t end = find(*query, '&');
        struct bytes piece = bytes_of(query->ptr, end);
        *query = bytes_from(*query, end < query->len ? end + 1 : end);
        if (piece.len == 0)
            continue;
        size_t equals = find(piece, '=');
        *name = bytes_of(piece.ptr, equals);
        *value = equals < piece.len ? bytes_from(piece, equals + 1) : bytes_of(NULL, 0);
        return true;
    }
    return false;
}
