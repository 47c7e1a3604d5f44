#include "http/forwarded.h"

/* A chain of our own processes is no circle; a dozen is. */
#define VIA_OURS_MAX 8

static const struct bytes x_names[] = {
    BYTES("X-Forwarded-For"), BYTES("X-Forwarded-Proto"), BYTES("X-Forwarded-Host")};

bool forwarded_replaces(enum forwarded_style style, struct bytes name)
{
    if (style == FORWARDED_OFF)
        return false;
    for (size_t i = 0; i < sizeof x_names / sizeof *x_names; i++)
        if (bytes_equal_nocase(name, x_names[i]))
            return true;
    return bytes_equal_nocase(name, BYTES("forwarded"));
}

/* All values of a name, in order, as one list that goes on. */
static void write_before(const struct http_fields *fields, struct bytes name, struct writer *w)
{
    const struct http_field *field = http_fields_find(fields, name);
    for (; field; field = http_fields_next(fields, field)) {
        if (field->value.len == 0)
            continue;
        write_bytes(w, field->value);
        write_bytes(w, BYTES(", "));
    }
}

static struct bytes since(const struct writer *w, const uint8_t *start)
{
    return bytes_of(start, w->failed ? 0 : (size_t)(w->at - start));
}

static unsigned make_x(const struct http_fields *fields, const struct forwarded_facts *facts,
    struct writer *w, struct http_field lines[FORWARDED_FIELDS_MAX])
{
    const uint8_t *start = w->at;
    write_before(fields, x_names[0], w);
    write_bytes(w, facts->client);
    lines[0] = (struct http_field){x_names[0], since(w, start)};
    lines[1] = (struct http_field){x_names[1], facts->https ? BYTES("https") : BYTES("http")};
    lines[2] = (struct http_field){x_names[2], facts->host};
    return facts->host.len > 0 ? 3 : 2;
}

/* RFC 7239 4 to 6: an IPv6 address is bracketed and quoted; a host has a colon only in quotes. */
static unsigned make_standard(const struct http_fields *fields, const struct forwarded_facts *facts,
    struct writer *w, struct http_field lines[FORWARDED_FIELDS_MAX])
{
    const uint8_t *start = w->at;
    bool ipv6 = facts->client.len > 0 && memchr(facts->client.ptr, ':', facts->client.len) != NULL;
    write_before(fields, BYTES("forwarded"), w);
    write_bytes(w, ipv6 ? BYTES("for=\"[") : BYTES("for="));
    write_bytes(w, facts->client);
    write_bytes(w, ipv6 ? BYTES("]\"") : BYTES(""));
    if (facts->host.len > 0) {
        write_bytes(w, BYTES(";host=\""));
        for (size_t i = 0; i < facts->host.len; i++) {
            if (facts->host.ptr[i] == '"' || facts->host.ptr[i] == '\\')
                write_u8(w, '\\');
            write_u8(w, facts->host.ptr[i]);
        }
        write_u8(w, '"');
    }
    write_bytes(w, facts->https ? BYTES(";proto=https") : BYTES(";proto=http"));
    lines[0] = (struct http_field){BYTES("Forwarded"), since(w, start)};
    return 1;
}

unsigned forwarded_make(enum forwarded_style style, const struct http_fields *fields,
    const struct forwarded_facts *facts, struct writer *w, struct http_field lines[FORWARDED_FIELDS_MAX])
{
    switch (style) {
    case FORWARDED_X:
        return make_x(fields, facts, w, lines);
    case FORWARDED_STANDARD:
        return make_standard(fields, facts, w, lines);
    case FORWARDED_OFF:
        return 0;
    }
    UNREACHABLE();
}

/* The next `name=value` of an element; a semicolon inside a quoted string does not split. */
static bool next_pair(struct bytes *element, struct bytes *pair)
{
    bool quoted = false;
    size_t end = 0;
    for (; end < element->len && (quoted || element->ptr[end] != ';'); end++) {
        if (quoted && element->ptr[end] == '\\' && end + 1 < element->len)
            end++;
        else if (element->ptr[end] == '"')
            quoted = !quoted;
    }
    bool some = element->len > 0;
    *pair = bytes_trim(bytes_of(element->ptr, end));
    *element = bytes_from(*element, end < element->len ? end + 1 : end);
    return some;
}

static bool is_address(struct bytes pair)
{
    return pair.len >= 4 && (bytes_equal_nocase(bytes_of(pair.ptr, 4), BYTES("for=")) ||
                                (bytes_equal_nocase(bytes_of(pair.ptr, 3), BYTES("by="))));
}

void forwarded_write_claims(const struct http_fields *fields, struct writer *w)
{
    struct http_list list = http_list_of(fields, BYTES("forwarded"));
    for (struct bytes element; http_list_next(&list, &element);) {
        for (struct bytes pair; next_pair(&element, &pair);)
            if (pair.len > 0 && !is_address(pair)) {
                write_bytes(w, pair);
                write_u8(w, ';');
            }
        write_u8(w, ',');
    }
}

struct bytes via_value(unsigned minor)
{
    return minor == 0 ? BYTES("1.0 " VIA_NAME) : BYTES("1.1 " VIA_NAME);
}

bool via_loops(const struct http_fields *fields)
{
    struct http_list list = http_list_of(fields, BYTES("via"));
    unsigned ours = 0;
    for (struct bytes member; http_list_next(&list, &member);) {
        const uint8_t *space = memchr(member.ptr, ' ', member.len);
        struct bytes by = space ? bytes_trim(bytes_from(member, (size_t)(space - member.ptr))) : member;
        ours += bytes_equal_nocase(by, BYTES(VIA_NAME));
    }
    return ours >= VIA_OURS_MAX;
}
