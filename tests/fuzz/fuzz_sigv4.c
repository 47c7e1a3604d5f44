/* SigV4's canonical request and key encoding: any path, query and field value. Lines: path, query, field. */
#include "http/target.h"
#include "origin/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes line = bytes_of(rest->ptr, len);
    *rest = bytes_from(*rest, end ? len + 1 : len);
    return line;
}

/* What is encoded for the wire decodes to the same key, where the key is one that we accept. */
static void check_key(struct bytes key)
{
    static char encoded[3 * 4096];
    static uint8_t buf[3 * 4096], whole[4096];
    struct writer w = writer_of(encoded, sizeof encoded);
    struct bytes accepted, back;
    if (key.len > sizeof whole || target_decode_path(key, whole, &accepted) < 0)
        return;
    sigv4_encode_path(&w, accepted);
    CHECK(!w.failed && target_decode_path(writer_bytes(&w), buf, &back) == 0 && bytes_equal(back, accepted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char small[64], large[65536];
    struct bytes rest = bytes_of(data, size), path = take_line(&rest), query = take_line(&rest);
    struct sigv4_field fields[2] = {{BYTES("a"), rest}, {BYTES("A"), query}};
    check_key(path);
    for (unsigned flags = 0; flags < 4; flags++) {
        struct sigv4_request request = {.method = BYTES("GET"),
            .path = path,
            .query = query,
            .fields = fields,
            .field_count = 2,
            .payload_hash = BYTES(SIGV4_EMPTY_HASH),
            .normalize_path = flags & 1,
            .encode_path = flags & 2};
        struct writer w = writer_of(large, sizeof large), tight = writer_of(small, sizeof small);
        sigv4_canonical_request(&request, &w);
        sigv4_canonical_request(&request, &tight);
        CHECK(tight.at <= tight.end);
    }
    return 0;
}
