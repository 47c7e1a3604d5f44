#include "proxy/identity.h"

bool identity_write(uint8_t *buf, struct bytes endpoint, struct bytes bucket, struct bytes key,
    struct bytes version_id, struct bytes *identity)
{
    struct writer w = writer_of(buf, ITEM_KEY_MAX);
    write_bytes(&w, endpoint);
    write_u8(&w, 0);
    write_bytes(&w, bucket);
    write_u8(&w, 0);
    write_bytes(&w, key);
    write_u8(&w, 0);
    write_bytes(&w, version_id);
    *identity = writer_bytes(&w);
    return !w.failed;
}

/* Up to and with the NUL of that number; `otherwise` where there are fewer. */
static size_t through_nul(struct bytes identity, unsigned number, size_t otherwise)
{
    for (size_t i = 0; i < identity.len; i++)
        if (identity.ptr[i] == 0 && --number == 0)
            return i + 1;
    return otherwise;
}

size_t identity_bucket_len(struct bytes identity)
{
    return through_nul(identity, 2, 0);
}

size_t identity_object_len(struct bytes identity)
{
    return through_nul(identity, 3, identity.len);
}

struct item_key identity_chunk_key(uint8_t *buf, const uint8_t body_id[BODY_ID_LEN], uint64_t number)
{
    struct writer w = writer_of(buf, CHUNK_KEY_LEN);
    write_bytes(&w, bytes_of(body_id, BODY_ID_LEN));
    write_u64(&w, number);
    CHECK(!w.failed);
    return (struct item_key){.kind = ITEM_CHUNK, .bytes = writer_bytes(&w)};
}
