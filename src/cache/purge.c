#include "cache/purge.h"

#include "base/error.h"

#define VERSION 1
#define FLAG_SOFT 1

bool purge_fits(const struct purge *purge)
{
    return purge->prefix.len <= PURGE_PREFIX_MAX && purge->tag.len <= PURGE_TAG_MAX;
}

size_t purge_encode(const struct purge *purge, uint8_t *to)
{
    CHECK(purge_fits(purge));
    struct writer w = writer_of(to, ITEM_KEY_MAX);
    write_u8(&w, VERSION);
    write_u8(&w, purge->soft ? FLAG_SOFT : 0);
    write_u16(&w, (uint16_t)purge->prefix.len);
    write_bytes(&w, purge->prefix);
    write_bytes(&w, purge->tag);
    CHECK(!w.failed);
    return writer_bytes(&w).len;
}

int purge_decode(struct purge *purge, struct bytes from)
{
    struct reader r = reader_of(from);
    uint8_t version = read_u8(&r), flags = read_u8(&r);
    size_t len = read_u16(&r);
    *purge = (struct purge){.prefix = read_bytes(&r, len), .soft = flags & FLAG_SOFT};
    purge->tag = read_bytes(&r, reader_left(&r));
    if (r.failed || version != VERSION || (flags & ~FLAG_SOFT) != 0 || !purge_fits(purge))
        return E_CORRUPT;
    return 0;
}

bool purge_covers(const struct purge *wide, const struct purge *narrow)
{
    return bytes_start_with(narrow->prefix, wide->prefix) &&
           (wide->tag.len == 0 || bytes_equal(wide->tag, narrow->tag)) && (!wide->soft || narrow->soft);
}
