/* Heads of libyata's values: what decodes makes sense and encodes to the same bytes. */
#include "yata/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_chunks(const struct layout *layout)
{
    uint64_t count = layout_chunk_count(layout), last = layout_chunk_len(layout, count - 1);
    CHECK(count > 0 && last > 0 && last <= layout->chunk_bytes);
    CHECK((count - 1) * layout->chunk_bytes + last == layout->value_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct layout layout;
    uint8_t head[LAYOUT_CHUNKED_LEN];
    if (size > 1 << 20 || layout_decode(&layout, bytes_of(data, size), (uint32_t)size) < 0)
        return 0;
    struct bytes bytes = layout_encode(&layout, head);
    CHECK(bytes.len <= size && memcmp(bytes.ptr, data, bytes.len) == 0);
    if (layout.chunk_bytes != 0)
        check_chunks(&layout);
    else
        CHECK(layout.value_len == size - LAYOUT_INLINE_AT);
    return 0;
}
