#include "http/etag.h"

static bool is_etagc(uint8_t c)
{
    return c == 0x21 || (c >= 0x23 && c <= 0x7E) || c >= 0x80;
}

/* Takes a tag off the start of *text. */
static bool take_quoted(struct bytes *text, struct etag *tag)
{
    struct bytes rest = *text;
    tag->weak = bytes_start_with(rest, BYTES("W/\""));
    rest = bytes_from(rest, tag->weak ? 2 : 0);
    if (rest.len == 0 || rest.ptr[0] != '"')
        return false;
    size_t end = 1;
    while (end < rest.len && is_etagc(rest.ptr[end]))
        end++;
    if (end == rest.len || rest.ptr[end] != '"')
        return false;
    tag->opaque = bytes_of(rest.ptr + 1, end - 1);
    *text = bytes_from(rest, end + 1);
    return true;
}

bool etag_parse(struct bytes text, struct etag *tag)
{
    return take_quoted(&text, tag) && text.len == 0;
}

bool etag_strong_equal(struct etag a, struct etag b)
{
    return !a.weak && !b.weak && bytes_equal(a.opaque, b.opaque);
}

bool etag_weak_equal(struct etag a, struct etag b)
{
    return bytes_equal(a.opaque, b.opaque);
}

/* The deviation told in the header. `*` inside a list is no tag. */
static bool take_bare(struct bytes *text, struct etag *tag)
{
    size_t end = 0;
    while (end < text->len && is_etagc(text->ptr[end]) && text->ptr[end] != ',')
        end++;
    tag->weak = false;
    tag->opaque = bytes_of(text->ptr, end);
    *text = bytes_from(*text, end);
    return end > 0 && !bytes_equal(tag->opaque, BYTES("*"));
}

static bool take_element(struct bytes *list, struct etag *tag)
{
    struct bytes start = *list;
    if (take_quoted(list, tag))
        return true;
    *list = start;
    return take_bare(list, tag);
}

/* Skips blanks and commas; empty elements are allowed (RFC 9110 5.6.1.2). False: no comma where one must be.
 */
static bool take_separator(struct bytes *list, bool first)
{
    bool comma = first;
    while (list->len > 0 && (list->ptr[0] == ' ' || list->ptr[0] == '\t' || list->ptr[0] == ',')) {
        comma |= list->ptr[0] == ',';
        *list = bytes_from(*list, 1);
    }
    return comma || list->len == 0;
}

enum etag_match etag_list_match(struct bytes list, const struct etag *stored, enum etag_comparison comparison)
{
    if (bytes_equal(bytes_trim(list), BYTES("*")))
        return ETAG_MATCH;
    bool (*equal)(struct etag, struct etag) = comparison == ETAG_STRONG ? etag_strong_equal : etag_weak_equal;
    unsigned count = 0;
    for (; take_separator(&list, count == 0); count++) {
        struct etag tag;
        if (list.len == 0)
            return count > 0 ? ETAG_NO_MATCH : ETAG_MALFORMED;
        if (!take_element(&list, &tag))
            return ETAG_MALFORMED;
        if (stored && equal(tag, *stored))
            return ETAG_MATCH;
    }
    return ETAG_MALFORMED;
}
