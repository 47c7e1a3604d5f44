/* Heads: what is encoded decodes, what is not ours does not; the arithmetic of chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "yata/layout.h"

static void round_trip(void **state)
{
    (void)state;
    static const uint64_t lens[] = {1, LAYOUT_CHUNK_BYTES, LAYOUT_CHUNK_BYTES + 1, UINT64_C(1) << 50};
    for (unsigned i = 0; i < 4; i++) {
        struct layout layout = {.value_len = lens[i], .chunk_bytes = LAYOUT_CHUNK_BYTES}, got;
        memset(layout.body_id, 7, sizeof layout.body_id);
        uint8_t head[LAYOUT_CHUNKED_LEN];
        struct bytes bytes = layout_encode(&layout, head);
        assert_int_equal(bytes.len, LAYOUT_CHUNKED_LEN);
        assert_int_equal(layout_decode(&got, bytes, LAYOUT_CHUNKED_LEN), 0);
        assert_int_equal(got.value_len, lens[i]);
        assert_memory_equal(got.body_id, layout.body_id, sizeof got.body_id);
        layout.chunk_bytes = 0;
        layout.value_len = 100;
        bytes = layout_encode(&layout, head);
        assert_int_equal(bytes.len, LAYOUT_INLINE_AT);
        assert_int_equal(layout_decode(&got, bytes, LAYOUT_INLINE_AT + 100), 0);
        assert_int_equal(layout_decode(&got, bytes, LAYOUT_INLINE_AT + 99), E_FOREIGN);
    }
}

/* Every prefix, and every byte changed but those of id and length. */
static void not_ours(void **state)
{
    (void)state;
    struct layout layout = {.value_len = 1 << 20, .chunk_bytes = LAYOUT_CHUNK_BYTES}, got;
    uint8_t head[LAYOUT_CHUNKED_LEN];
    struct bytes bytes = layout_encode(&layout, head);
    for (uint32_t len = 0; len < LAYOUT_CHUNKED_LEN; len++)
        assert_int_equal(layout_decode(&got, bytes_of(head, len), len), E_FOREIGN);
    for (unsigned i = 0; i < LAYOUT_CHUNKED_LEN - LAYOUT_BODY_ID; i++) {
        if (i >= 8 && i < 16)
            continue;
        head[i] ^= 0x41;
        assert_int_equal(layout_decode(&got, bytes, LAYOUT_CHUNKED_LEN), E_FOREIGN);
        head[i] ^= 0x41;
    }
    assert_int_equal(layout_decode(&got, bytes, LAYOUT_CHUNKED_LEN + 1), E_FOREIGN);
}

static void chunks(void **state)
{
    (void)state;
    struct layout layout = {.value_len = 3 * LAYOUT_CHUNK_BYTES + 5, .chunk_bytes = LAYOUT_CHUNK_BYTES};
    assert_int_equal(layout_chunk_count(&layout), 4);
    assert_int_equal(layout_chunk_len(&layout, 2), LAYOUT_CHUNK_BYTES);
    assert_int_equal(layout_chunk_len(&layout, 3), 5);
    layout.value_len = 4 * LAYOUT_CHUNK_BYTES;
    assert_int_equal(layout_chunk_count(&layout), 4);
    assert_int_equal(layout_chunk_len(&layout, 3), LAYOUT_CHUNK_BYTES);
    uint8_t a[LAYOUT_CHUNK_KEY], b[LAYOUT_CHUNK_KEY];
    struct item_key one = layout_chunk_key(layout.body_id, 1, a),
                    two = layout_chunk_key(layout.body_id, 2, b);
    assert_int_equal(one.bytes.len, LAYOUT_CHUNK_KEY);
    assert_false(bytes_equal(one.bytes, two.bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(not_ours), cmocka_unit_test(chunks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
