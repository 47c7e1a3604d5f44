/* References: what they are resolved to is a path from the root, fits the room that is said to be enough, and
 * has no segment left that would be resolved again. The base, a line feed, the reference. */
#include "http/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_segments(struct bytes path)
{
    for (size_t at = 0; at < path.len;) {
        size_t end = at + 1;
        while (end < path.len && path.ptr[end] != '/')
            end++;
        struct bytes segment = bytes_of(path.ptr + at, end - at);
        CHECK(!bytes_equal(segment, BYTES("/..")) && !bytes_equal(segment, BYTES("/.")));
        at = end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t text[4096];
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    if (end == NULL || end == data || data[0] != '/' || size >= sizeof text)
        return 0;
    struct bytes base = bytes_of(data, (size_t)(end - data));
    struct bytes reference = bytes_of(end + 1, size - base.len - 1);
    if (reference_leaves(reference))
        return 0;
    struct writer w = writer_of(text, base.len + reference.len + 1);
    reference_resolve(base, reference, &w);
    CHECK(!w.failed);
    struct bytes got = writer_bytes(&w);
    CHECK(got.len > 0 && got.ptr[0] == '/');
    const uint8_t *mark = memchr(got.ptr, '?', got.len);
    bool moved = reference.len > 0 && reference.ptr[0] != '?' && reference.ptr[0] != '#';
    if (moved && memchr(base.ptr, '?', base.len) == NULL)
        check_segments(bytes_of(got.ptr, mark ? (size_t)(mark - got.ptr) : got.len));
    return 0;
}
