#include "yata/layout.h"

#include "base/error.h"

#define MAGIC 0x31617459u /* "Yta1" */
#define FORMAT 1
#define KIND_INLINE 1
#define KIND_CHUNKED 2
/* What a head of a later version may have; all of ours are LAYOUT_CHUNK_BYTES. */
#define CHUNK_BYTES_MIN (64u << 10)
#define CHUNK_BYTES_MAX (4u << 20)

static_assert(LAYOUT_INLINE_AT + 4 + 4 + LAYOUT_BODY_ID == LAYOUT_CHUNKED_LEN, "the head as described");
static_assert(LAYOUT_CHUNK_BYTES >= CHUNK_BYTES_MIN && LAYOUT_CHUNK_BYTES <= CHUNK_BYTES_MAX, "ours decode");

struct bytes layout_encode(const struct layout *layout, uint8_t *to)
{
    struct writer w = writer_of(to, LAYOUT_CHUNKED_LEN);
    write_u32(&w, MAGIC);
    write_u8(&w, FORMAT);
    write_u8(&w, layout->chunk_bytes != 0 ? KIND_CHUNKED : KIND_INLINE);
    write_u16(&w, 0);
    write_u64(&w, layout->value_len);
    if (layout->chunk_bytes != 0) {
        write_u32(&w, layout->chunk_bytes);
        write_u32(&w, 0);
        write_bytes(&w, bytes_of(layout->body_id, LAYOUT_BODY_ID));
    }
    CHECK(!w.failed);
    return writer_bytes(&w);
}

static bool chunk_bytes_valid(uint32_t bytes)
{
    return bytes >= CHUNK_BYTES_MIN && bytes <= CHUNK_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

int layout_decode(struct layout *layout, struct bytes front, uint32_t head_len)
{
    struct reader r = reader_of(front);
    uint32_t magic = read_u32(&r);
    uint8_t format = read_u8(&r), kind = read_u8(&r);
    uint16_t zero = read_u16(&r);
    *layout = (struct layout){.value_len = read_u64(&r)};
    if (r.failed || magic != MAGIC || format != FORMAT || zero != 0)
        return E_FOREIGN;
    if (kind == KIND_INLINE)
        return layout->value_len == head_len - LAYOUT_INLINE_AT ? 0 : E_FOREIGN;
    layout->chunk_bytes = read_u32(&r);
    uint32_t more = read_u32(&r);
    struct bytes id = read_bytes(&r, LAYOUT_BODY_ID);
    if (r.failed || kind != KIND_CHUNKED || more != 0 || head_len != LAYOUT_CHUNKED_LEN ||
        layout->value_len == 0 || !chunk_bytes_valid(layout->chunk_bytes))
        return E_FOREIGN;
    memcpy(layout->body_id, id.ptr, LAYOUT_BODY_ID);
    return 0;
}

uint64_t layout_chunk_count(const struct layout *layout)
{
    CHECK(layout->chunk_bytes > 0 && layout->value_len > 0);
    return (layout->value_len - 1) / layout->chunk_bytes + 1;
}

uint32_t layout_chunk_len(const struct layout *layout, uint64_t number)
{
    CHECK(number < layout_chunk_count(layout));
    uint64_t left = layout->value_len - number * layout->chunk_bytes;
    return left < layout->chunk_bytes ? (uint32_t)left : layout->chunk_bytes;
}

struct item_key layout_chunk_key(const uint8_t *body_id, uint64_t number, uint8_t *to)
{
    struct writer w = writer_of(to, LAYOUT_CHUNK_KEY);
    write_bytes(&w, bytes_of(body_id, LAYOUT_BODY_ID));
    write_u64(&w, number);
    return (struct item_key){ITEM_CHUNK, writer_bytes(&w)};
}
