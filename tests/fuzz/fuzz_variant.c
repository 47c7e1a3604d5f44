/* Vary items from disk: what is taken is as we write it, and makes an identity or says that it can't. */
#include "base/error.h"
#include "cache/memory.h"
#include "proxy/variant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct variant *variant, struct bytes value)
{
    struct http_field field = {BYTES("a"), BYTES("b")};
    struct http_fields fields = {.fields = &field, .count = 1};
    uint8_t text[VARIANT_ENCODED_MAX], buf[ITEM_KEY_MAX];
    struct writer w = writer_of(text, sizeof text);
    struct bytes identity;
    variant_encode(variant, &w);
    CHECK(!w.failed && bytes_equal(writer_bytes(&w), value));
    CHECK(variant_identity(buf, BYTES("k"), variant, &fields, &identity));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory *memory;
    struct memory_config config = {.budget_bytes = 8u << 20};
    if (!memory)
        CHECK(memory_create(&memory, &config) == 0);
    if (size == 0 || size > 4096)
        return 0;
    struct item *item;
    struct item_shape shape = {.value_len = (uint32_t)size, .held_len = (uint32_t)size};
    CHECK(memory_take(memory, identity_vary_key(BYTES("k")), shape, &item) == 0);
    item_append(item, bytes_of(data, size));
    item_complete(item);
    struct variant variant;
    int result = variant_decode(&variant, item);
    CHECK(result == 0 || result == E_CORRUPT);
    if (result == 0)
        check(&variant, bytes_of(data, size));
    item_unref(&item);
    return 0;
}
