/* The decoder of stored heads: arbitrary bytes are a head or E_CORRUPT; what decodes encodes to the same
 * bytes again. */
#include "base/error.h"
#include "cache/memory.h"
#include "proxy/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct caching caching = {.enabled = true, .ttl_s = 60, .heuristic_max_s = 100};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory *memory;
    static _Alignas(16) unsigned char first[1 << 18];
    struct arena arena;
    struct memory_config config = {.budget_bytes = 8u << 20};
    if (!memory)
        CHECK(memory_create(&memory, &config) == 0);
    if (size == 0 || size > 200000)
        return 0;
    arena_init(&arena, first, sizeof first, 1u << 20);
    struct item *item;
    struct item_key key = {.kind = ITEM_HEAD, .bytes = BYTES("k")};
    struct item_shape shape = {.value_len = (uint32_t)size, .held_len = (uint32_t)size};
    CHECK(memory_take(memory, key, shape, &item) == 0);
    item_append(item, bytes_of(data, size));
    item_complete(item);
    struct head head;
    int result = head_decode(&head, item, &arena);
    CHECK(result == 0 || result == E_CORRUPT);
    if (result == 0) {
        CHECK(head.encoded_bytes == head_encoded_bytes(&head));
        uint8_t *again = arena_take(&arena, head.encoded_bytes);
        struct writer w = writer_of(again, head.encoded_bytes);
        head_encode(&head, &w);
        CHECK(again && !w.failed);
        volatile int64_t fresh = head_fresh_for(&head, &caching, 1800000000);
        (void)fresh;
    }
    item_unref(&item);
    arena_reset(&arena);
    return 0;
}
