#include "proxy/variant.h"

#include "base/error.h"
#include "base/random.h"
#include "proxy/head.h"

#define VARIANT_VERSION 1

/* RFC 9110 12.5.5 and the Fetch standard: an answer with Access-Control-Allow-Origin for one origin depends
 * on Origin, whether it says so or not (S3 does not). */
enum vary_verdict variant_names_of(struct bytes field_lines, struct vary_names *names)
{
    enum vary_verdict verdict = VARY_NONE;
    struct head_line line;
    bool for_one_origin = false;
    vary_init(names);
    while (head_next_line(&field_lines, &line)) {
        if (bytes_equal_nocase(line.name, BYTES("access-control-allow-origin")))
            for_one_origin |= !bytes_equal(line.value, BYTES("*"));
        else if (bytes_equal_nocase(line.name, BYTES("vary")))
            verdict = vary_add(names, line.value);
        if (verdict == VARY_NEVER)
            return verdict;
    }
    return for_one_origin ? vary_add(names, BYTES("origin")) : verdict;
}

bool variant_merge(struct variant *variant, const struct vary_names *names, bool *fits)
{
    struct vary_names all = variant->names;
    *fits = names->len == 0 || vary_add(&all, vary_text(names)) != VARY_NEVER;
    if (!*fits || all.len == variant->names.len)
        return false;
    variant->names = all;
    random_os(variant->id, VARIANT_ID_LEN);
    return true;
}

void variant_encode(const struct variant *variant, struct writer *w)
{
    write_u8(w, VARIANT_VERSION);
    write_bytes(w, bytes_of(variant->id, VARIANT_ID_LEN));
    write_bytes(w, vary_text(&variant->names));
}

int variant_decode(struct variant *variant, const struct item *item)
{
    uint8_t text[VARIANT_ENCODED_MAX];
    uint32_t len = item_held_len(item);
    if (len <= 1 + VARIANT_ID_LEN || len > sizeof text || item_filled(item) < len)
        return E_CORRUPT;
    item_copy(item, 0, len, text);
    struct reader r = reader_of(bytes_of(text, len));
    uint8_t version = read_u8(&r);
    struct bytes id = read_bytes(&r, VARIANT_ID_LEN), names = bytes_of(r.at, reader_left(&r));
    memcpy(variant->id, id.ptr, VARIANT_ID_LEN);
    vary_init(&variant->names);
    bool ours = version == VARIANT_VERSION && vary_add(&variant->names, names) == VARY_NAMES &&
                bytes_equal(vary_text(&variant->names), names);
    return ours ? 0 : E_CORRUPT;
}

bool variant_identity(uint8_t *buf, struct bytes identity, const struct variant *variant,
    const struct http_fields *request, struct bytes *result)
{
    struct writer w = writer_of(buf, ITEM_KEY_MAX);
    write_bytes(&w, identity);
    write_u8(&w, 0);
    write_bytes(&w, bytes_of(variant->id, VARIANT_ID_LEN));
    vary_values(vary_text(&variant->names), request, &w);
    *result = writer_bytes(&w);
    return !w.failed;
}
