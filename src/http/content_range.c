#include "http/content_range.h"

static bool split_at(struct bytes text, uint8_t separator, struct bytes *left, struct bytes *right)
{
    const uint8_t *at = text.len > 0 ? memchr(text.ptr, separator, text.len) : NULL;
    if (!at)
        return false;
    size_t len = (size_t)(at - text.ptr);
    *left = bytes_of(text.ptr, len);
    *right = bytes_from(text, len + 1);
    return true;
}

static bool is_star(struct bytes text)
{
    return bytes_equal(text, BYTES("*"));
}

static bool parse_range(struct bytes text, struct content_range *range)
{
    struct bytes first, last;
    range->has_range = !is_star(text);
    if (!range->has_range)
        return true;
    return split_at(text, '-', &first, &last) && bytes_to_u64(first, &range->first) &&
           bytes_to_u64(last, &range->last) && range->first <= range->last && range->last < UINT64_MAX;
}

static bool parse_length(struct bytes text, struct content_range *range)
{
    range->has_length = !is_star(text);
    return !range->has_length || bytes_to_u64(text, &range->length);
}

bool content_range_parse(struct bytes value, struct content_range *range)
{
    struct bytes unit = BYTES("bytes "), place, length;
    *range = (struct content_range){0};
    value = bytes_trim(value);
    if (value.len < unit.len || !bytes_equal_nocase(bytes_of(value.ptr, unit.len), unit))
        return false;
    if (!split_at(bytes_from(value, unit.len), '/', &place, &length))
        return false;
    if (!parse_range(place, range) || !parse_length(length, range))
        return false;
    if (!range->has_range || !range->has_length)
        return range->has_range || range->has_length;
    return range->last < range->length;
}

void content_range_write(struct writer *w, const struct content_range *range)
{
    CHECK(range->has_range || range->has_length);
    CHECK(!range->has_range || range->first <= range->last);
    write_bytes(w, BYTES("bytes "));
    if (range->has_range) {
        write_decimal(w, range->first);
        write_u8(w, '-');
        write_decimal(w, range->last);
    } else {
        write_u8(w, '*');
    }
    write_u8(w, '/');
    if (range->has_length)
        write_decimal(w, range->length);
    else
        write_u8(w, '*');
}
