#include "http/vary.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* ---- names ---- */

void vary_init(struct vary_names *names)
{
    names->len = 0;
}

static bool next_name(struct bytes *rest, struct bytes *name)
{
    if (rest->len == 0)
        return false;
    const uint8_t *comma = memchr(rest->ptr, ',', rest->len);
    *name = bytes_of(rest->ptr, comma ? (size_t)(comma - rest->ptr) : rest->len);
    *rest = bytes_from(*rest, comma ? name->len + 1 : name->len);
    return true;
}

/* Negative: before, as sorted. */
static int compare_nocase(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    for (size_t i = 0; i < len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return lower(a.ptr[i]) < lower(b.ptr[i]) ? -1 : 1;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* Puts the name where it belongs. False: no room. */
static bool insert(struct vary_names *names, struct bytes added)
{
    struct bytes rest = vary_text(names), name;
    size_t at = 0;
    unsigned count = 0;
    for (; next_name(&rest, &name); count++) {
        int order = compare_nocase(added, name);
        if (order == 0)
            return true;
        if (order > 0)
            at += name.len + 1;
    }
    size_t grown = added.len + (names->len > 0 ? 1 : 0);
    if (count == VARY_NAMES_MAX || names->len + grown > VARY_TEXT_MAX)
        return false;
    bool last = at > names->len; /* behind the comma that is to come */
    if (last)
        names->text[names->len] = ',';
    else {
        memmove(names->text + at + grown, names->text + at, names->len - at);
        if (names->len > 0)
            names->text[at + added.len] = ',';
    }
    for (size_t i = 0; i < added.len; i++)
        names->text[at + i] = (char)lower(added.ptr[i]);
    names->len += grown;
    return true;
}

enum vary_verdict vary_add(struct vary_names *names, struct bytes value)
{
    struct http_list list = http_list_of_value(value);
    for (struct bytes name; http_list_next(&list, &name);)
        if (bytes_equal(name, BYTES("*")) || !http_is_token(name) || !insert(names, name))
            return VARY_NEVER;
    return names->len > 0 ? VARY_NAMES : VARY_NONE;
}

/* ---- values ---- */

static void write_lower(struct writer *w, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        write_u8(w, lower(text.ptr[i]));
}

static bool is_zero_weight(struct bytes parameters)
{
    struct bytes weight = bytes_trim(parameters);
    if (weight.len < 3 || lower(weight.ptr[0]) != 'q' || weight.ptr[1] != '=' || weight.ptr[2] != '0')
        return false;
    for (size_t i = 3; i < weight.len; i++)
        if (weight.ptr[i] != '.' && weight.ptr[i] != '0')
            return false;
    return true;
}

struct coding {
    struct bytes name;
    bool refused;
};

static struct coding coding_of(struct bytes member)
{
    const uint8_t *semicolon = memchr(member.ptr, ';', member.len);
    size_t len = semicolon ? (size_t)(semicolon - member.ptr) : member.len;
    struct coding coding = {.name = bytes_trim(bytes_of(member.ptr, len))};
    coding.refused = semicolon && is_zero_weight(bytes_from(member, len + 1));
    return coding;
}

/* Whether the coding says anything: what is not named is refused, but for identity. */
static bool coding_counts(const struct coding *coding)
{
    return !coding->refused || bytes_equal_nocase(coding->name, BYTES("identity")) ||
           bytes_equal(coding->name, BYTES("*"));
}

/* Sorted. False: too many. */
static bool take_codings(const struct http_fields *request, struct coding *codings, unsigned *count)
{
    struct http_list list = http_list_of(request, BYTES("accept-encoding"));
    *count = 0;
    for (struct bytes member; http_list_next(&list, &member);) {
        struct coding coding = coding_of(member);
        if (!coding_counts(&coding))
            continue;
        if (*count == VARY_CODINGS_MAX)
            return false;
        unsigned at = (*count)++;
        for (; at > 0 && compare_nocase(coding.name, codings[at - 1].name) < 0; at--)
            codings[at] = codings[at - 1];
        codings[at] = coding;
    }
    return true;
}

static void write_members(struct bytes name, const struct http_fields *request, struct writer *w)
{
    struct http_list list = http_list_of(request, name);
    for (struct bytes member; http_list_next(&list, &member);) {
        write_bytes(w, member);
        write_u8(w, ',');
    }
}

static void write_codings(const struct http_fields *request, struct writer *w)
{
    struct coding codings[VARY_CODINGS_MAX];
    unsigned count;
    if (!take_codings(request, codings, &count)) {
        write_members(BYTES("accept-encoding"), request, w);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        bool again = i > 0 && bytes_equal_nocase(codings[i].name, codings[i - 1].name);
        if (again && codings[i].refused == codings[i - 1].refused)
            continue;
        write_lower(w, codings[i].name);
        if (codings[i].refused)
            write_bytes(w, BYTES(";q=0"));
        write_u8(w, ',');
    }
}

/* Each field ends with a byte that none contains; an absent one is marked by another. */
void vary_values(struct bytes names, const struct http_fields *request, struct writer *w)
{
    for (struct bytes name; next_name(&names, &name);) {
        if (!http_fields_find(request, name))
            write_u8(w, 1);
        else if (bytes_equal(name, BYTES("accept-encoding")))
            write_codings(request, w);
        else
            write_members(name, request, w);
        write_u8(w, 2);
    }
}
