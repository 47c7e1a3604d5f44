/* A client's Forwarded: its claims fit what they were made of. Lines are field lines. */
#include "http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field lines[4];
    struct http_fields fields = {.fields = lines};
    uint8_t text[1024 * 3 + 8];
    if (size > 1024)
        return 0;
    for (struct bytes rest = bytes_of(data, size); rest.len > 0 && fields.count < 4; fields.count++) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        lines[fields.count] = (struct http_field){BYTES("Forwarded"), bytes_of(rest.ptr, len)};
        rest = bytes_from(rest, end ? len + 1 : len);
    }
    struct writer w = writer_of(text, sizeof text);
    forwarded_write_claims(&fields, &w);
    CHECK(!w.failed);
    return 0;
}
