/* The body of a purge: what is taken stays within its bounds, and is told in the answer as well-formed text.
 */
#include "app/admin_purge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct admin_purge asked;
    static char answer[1 << 16];
    if (size < 1)
        return 0;
    struct bytes below = data[0] & 1 ? BYTES("/bucket") : data[0] & 2 ? BYTES("/bucket/key") : BYTES("");
    if (admin_purge_parse(&asked, below, bytes_of(data + 1, size - 1)) != NULL)
        return 0;
    const struct proxy_purge *purge = &asked.purge;
    CHECK(purge->prefix.len <= ADMIN_PURGE_TEXT_MAX && purge->tag.len <= ADMIN_PURGE_TEXT_MAX);
    CHECK(purge->host.len <= ADMIN_PURGE_TEXT_MAX && purge->query.len <= ADMIN_PURGE_TEXT_MAX);
    CHECK(purge->key.len > 0 || purge->host.len + purge->query.len == 0);
    CHECK(purge->key.len == 0 || (purge->prefix.len == 0 && purge->tag.len == 0));
    CHECK(purge->tag.len == 0 || memchr(purge->tag.ptr, 0, purge->tag.len) == NULL);
    asked.purge.was_stored = false;
    struct writer w = writer_of(answer, sizeof answer);
    CHECK(admin_purge_write(&w, &asked, 0) == 200 && !w.failed);
    return 0;
}
