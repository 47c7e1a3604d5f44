#include "http/range.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Takes 1*DIGIT off the start; clamps. False where there is no digit. */
static bool take_number(struct bytes *text, uint64_t *value)
{
    size_t len = 0;
    while (len < text->len && is_digit(text->ptr[len]))
        len++;
    if (len > 0 && !bytes_to_u64(bytes_of(text->ptr, len), value))
        *value = UINT64_MAX;
    *text = bytes_from(*text, len);
    return len > 0;
}

static bool take_dash(struct bytes *text)
{
    if (text->len == 0 || text->ptr[0] != '-')
        return false;
    *text = bytes_from(*text, 1);
    return true;
}

/* One element, without blanks around it. */
static bool parse_spec(struct bytes text, struct range_spec *spec)
{
    *spec = (struct range_spec){.kind = RANGE_BETWEEN};
    bool has_first = take_number(&text, &spec->first);
    if (!take_dash(&text))
        return false;
    bool has_last = take_number(&text, &spec->last);
    if (text.len > 0 || (!has_first && !has_last))
        return false;
    if (!has_first)
        spec->kind = RANGE_SUFFIX;
    else if (!has_last)
        spec->kind = RANGE_FROM;
    return spec->kind != RANGE_BETWEEN || spec->first <= spec->last;
}

static struct bytes take_element(struct bytes *list)
{
    const uint8_t *comma = memchr(list->ptr, ',', list->len);
    size_t len = comma ? (size_t)(comma - list->ptr) : list->len;
    struct bytes element = bytes_of(list->ptr, len);
    *list = bytes_from(*list, comma ? len + 1 : len);
    return bytes_trim(element);
}

/* The whole set is looked at even past the bound: a malformed one is ignored, however long it is. */
static enum range_verdict parse_set(struct bytes list, struct range_set *set)
{
    unsigned count = 0;
    while (list.len > 0) {
        struct range_spec spec;
        struct bytes element = take_element(&list);
        if (element.len == 0)
            continue;
        if (!parse_spec(element, &spec))
            return RANGE_NONE;
        if (count < RANGE_MAX)
            set->specs[count] = spec;
        count++;
    }
    if (count > RANGE_MAX)
        return RANGE_REFUSED;
    set->count = count;
    return count > 0 ? RANGE_OK : RANGE_NONE;
}

enum range_verdict range_parse(struct bytes value, struct range_set *set)
{
    struct bytes unit = BYTES("bytes=");
    set->count = 0;
    value = bytes_trim(value);
    if (value.len < unit.len || !bytes_equal_nocase(bytes_of(value.ptr, unit.len), unit))
        return RANGE_NONE;
    return parse_set(bytes_from(value, unit.len), set);
}

bool range_resolve_one(const struct range_spec *spec, uint64_t length, struct range *range)
{
    if (length == 0)
        return false;
    if (spec->kind == RANGE_SUFFIX) {
        range->first = spec->last < length ? length - spec->last : 0;
        range->last = length - 1;
        return spec->last > 0;
    }
    range->first = spec->first;
    range->last = spec->kind == RANGE_FROM || spec->last >= length ? length - 1 : spec->last;
    return range->first < length;
}

/* The deepest pile of ranges has the first byte of one of them in it. */
static bool is_absurd(const struct range_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        uint64_t at = list->ranges[i].first;
        unsigned deep = 0;
        for (unsigned j = 0; j < list->count; j++)
            deep += list->ranges[j].first <= at && at <= list->ranges[j].last;
        if (deep > 2)
            return true;
    }
    return false;
}

enum range_verdict range_resolve(const struct range_set *set, uint64_t length, struct range_list *list)
{
    CHECK(set->count >= 1 && set->count <= RANGE_MAX);
    list->count = 0;
    for (unsigned i = 0; i < set->count; i++)
        if (range_resolve_one(&set->specs[i], length, &list->ranges[list->count]))
            list->count++;
    if (list->count == 0)
        return RANGE_UNSATISFIABLE;
    return is_absurd(list) ? RANGE_REFUSED : RANGE_OK;
}

void range_write(struct writer *w, const struct range_spec *spec)
{
    write_bytes(w, BYTES("bytes="));
    if (spec->kind != RANGE_SUFFIX)
        write_decimal(w, spec->first);
    write_u8(w, '-');
    if (spec->kind != RANGE_FROM)
        write_decimal(w, spec->last);
}
