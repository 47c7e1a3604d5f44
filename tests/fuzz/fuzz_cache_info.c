/* The query of /admin/cache/info: what is taken is a bucket and a key of it, and is told as one line of text.
 */
#include "app/cache_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t buf[8192];
    static char answer[64 << 10];
    static struct proxy_look look;
    if (size > sizeof buf)
        return 0;
    look = (struct proxy_look){0};
    if (cache_info_parse(bytes_of(data, size), buf, &look) != NULL)
        return 0;
    CHECK(look.bucket.len > 0 && look.key.len > 0 && look.bucket.len + 1 + look.key.len <= size);
    CHECK(look.bucket.ptr >= buf && look.key.ptr == look.bucket.ptr + look.bucket.len + 1);
    CHECK(look.key.ptr + look.key.len <= buf + size);
    CHECK(look.host.len + look.query.len + look.bucket.len + 1 + look.key.len <= size);
    CHECK(memchr(look.bucket.ptr, ':', look.bucket.len) == NULL);
    CHECK(memchr(look.bucket.ptr, 0, look.bucket.len + 1 + look.key.len) == NULL);
    struct writer w = writer_of(answer, sizeof answer);
    CHECK(cache_info_write(&w, &look, 0) == 200 && !w.failed);
    CHECK(memchr(answer, '\n', writer_bytes(&w).len) == answer + writer_bytes(&w).len - 1);
    return 0;
}
