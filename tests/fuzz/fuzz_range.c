/* Range and Content-Range. The first 8 bytes are the length of the object. */
#include "http/content_range.h"
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const struct range_list *list, uint64_t length)
{
    CHECK(list->count >= 1 && list->count <= RANGE_MAX);
    for (unsigned i = 0; i < list->count; i++)
        CHECK(list->ranges[i].first <= list->ranges[i].last && list->ranges[i].last < length);
}

/* One spec, sent to the origin and parsed there, means the same. */
static void check_rewritten(const struct range_spec *spec)
{
    char text[64];
    struct writer w = writer_of(text, sizeof text);
    struct range_set set;
    range_write(&w, spec);
    CHECK(!w.failed && range_parse(writer_bytes(&w), &set) == RANGE_OK && set.count == 1);
    CHECK(set.specs[0].kind == spec->kind && set.specs[0].first == spec->first &&
          set.specs[0].last == spec->last);
}

static void check_content_range(struct bytes text)
{
    struct content_range range, again;
    char out[CONTENT_RANGE_MAX];
    struct writer w = writer_of(out, sizeof out);
    if (!content_range_parse(text, &range))
        return;
    CHECK(range.has_range || range.has_length);
    CHECK(!range.has_range || range.first <= range.last);
    CHECK(!range.has_range || !range.has_length || range.last < range.length);
    content_range_write(&w, &range);
    CHECK(!w.failed && content_range_parse(writer_bytes(&w), &again));
    CHECK(again.first == range.first && again.last == range.last && again.length == range.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(bytes_of(data, size));
    uint64_t length = read_u64(&r);
    struct bytes text = read_bytes(&r, reader_left(&r));
    struct range_set set;
    struct range_list list;
    check_content_range(text);
    if (range_parse(text, &set) != RANGE_OK)
        return 0;
    for (unsigned i = 0; i < set.count; i++)
        check_rewritten(&set.specs[i]);
    if (range_resolve(&set, length, &list) == RANGE_OK)
        check_list(&list, length);
    return 0;
}
