/* Variants: RFC 9111 4.1, RFC 9110 12.5.5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cache/memory.h"
#include "proxy/variant.h"

static void test_names(void **state)
{
    static const struct {
        const char *lines;
        enum vary_verdict verdict;
        const char *names;
    } rows[] = {
        {"", VARY_NONE, ""},
        {"Content-Type: a\r\n", VARY_NONE, ""},
        {"Vary: Accept-Encoding\r\nvary: Origin\r\n", VARY_NAMES, "accept-encoding,origin"},
        {"Vary: *\r\n", VARY_NEVER, NULL},
        {"Vary: a\r\nVary: *\r\nVary: b\r\n", VARY_NEVER, NULL},
        {"Vary: a, *\r\nAccess-Control-Allow-Origin: https://a\r\n", VARY_NEVER, NULL},
        /* CORS for one origin selects by it, said or not */
        {"Access-Control-Allow-Origin: https://a\r\n", VARY_NAMES, "origin"},
        {"Access-Control-Allow-Origin: https://a\r\nVary: X\r\n", VARY_NAMES, "origin,x"},
        {"Access-Control-Allow-Origin: null\r\n", VARY_NAMES, "origin"},
        {"Access-Control-Allow-Origin: *\r\n", VARY_NONE, ""},
        {"Vary: Origin\r\nAccess-Control-Allow-Origin: *\r\n", VARY_NAMES, "origin"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vary_names names;
        enum vary_verdict verdict = variant_names_of(bytes_of_string(rows[i].lines), &names);
        if (verdict != rows[i].verdict ||
            (rows[i].names && !bytes_equal(vary_text(&names), bytes_of_string(rows[i].names))))
            fail_msg("row %zu: %d '%.*s'", i, verdict, (int)names.len, names.text);
    }
}

static struct vary_names names_of(const char *text)
{
    struct vary_names names;
    vary_init(&names);
    assert_int_not_equal(vary_add(&names, bytes_of_string(text)), VARY_NEVER);
    return names;
}

static void test_merge(void **state)
{
    struct variant variant = {0}, before;
    struct vary_names a = names_of("a"), ab = names_of("b,a"), none = names_of(""),
                      many = names_of("c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r");
    bool fits;
    (void)state;
    assert_true(variant_merge(&variant, &a, &fits) && fits);
    before = variant;
    assert_false(variant_merge(&variant, &a, &fits) || variant_merge(&variant, &none, &fits));
    assert_memory_equal(&variant, &before, sizeof variant);
    assert_true(variant_merge(&variant, &ab, &fits) && fits);
    assert_true(bytes_equal(vary_text(&variant.names), BYTES("a,b")));
    assert_memory_not_equal(variant.id, before.id, VARIANT_ID_LEN);
    before = variant;
    assert_false(variant_merge(&variant, &a, &fits));
    assert_false(variant_merge(&variant, &many, &fits) || fits);
    assert_memory_equal(&variant, &before, sizeof variant);
}

static int decoded(struct memory *memory, struct bytes value, struct variant *variant)
{
    struct item *item;
    struct item_shape shape = {.value_len = (uint32_t)value.len, .held_len = (uint32_t)value.len};
    assert_int_equal(memory_take(memory, identity_vary_key(BYTES("k")), shape, &item), 0);
    item_append(item, value);
    item_complete(item);
    int result = variant_decode(variant, item);
    item_unref(&item);
    return result;
}

static void test_encoding(void **state)
{
    struct memory *memory;
    struct variant variant = {.id = "0123456789abcde"}, back;
    struct vary_names names = names_of("origin,accept");
    uint8_t text[VARIANT_ENCODED_MAX];
    struct writer w = writer_of(text, sizeof text);
    bool fits;
    (void)state;
    assert_int_equal(memory_create(&memory, &(struct memory_config){.budget_bytes = 8u << 20}), 0);
    assert_true(variant_merge(&variant, &names, &fits));
    variant_encode(&variant, &w);
    struct bytes value = writer_bytes(&w);
    assert_int_equal(decoded(memory, value, &back), 0);
    assert_memory_equal(back.id, variant.id, VARIANT_ID_LEN);
    assert_true(bytes_equal(vary_text(&back.names), BYTES("accept,origin")));
    for (size_t len = 1; len <= 1 + VARIANT_ID_LEN; len++)
        assert_int_equal(decoded(memory, bytes_of(text, len), &back), E_CORRUPT);
    text[value.len - 1] = 'N'; /* not as we spell it */
    assert_int_equal(decoded(memory, value, &back), E_CORRUPT);
    text[value.len - 1] = 'n';
    text[0]++;
    assert_int_equal(decoded(memory, value, &back), E_CORRUPT);
    memory_destroy(memory);
}

static void test_identity(void **state)
{
    struct http_field gzip = {BYTES("Accept-Encoding"), BYTES("gzip")};
    struct http_fields with = {.fields = &gzip, .count = 1}, without = {0};
    struct variant variant = {0}, other;
    struct vary_names names = names_of("accept-encoding");
    uint8_t a[ITEM_KEY_MAX], b[ITEM_KEY_MAX];
    struct bytes first, second, identity = BYTES("e\0b\0k\0v");
    bool fits;
    (void)state;
    assert_true(variant_merge(&variant, &names, &fits));
    assert_true(variant_identity(a, identity, &variant, &with, &first));
    assert_true(variant_identity(b, identity, &variant, &with, &second) && bytes_equal(first, second));
    assert_true(bytes_start_with(first, identity) && first.ptr[identity.len] == 0);
    assert_true(variant_identity(b, identity, &variant, &without, &second) && !bytes_equal(first, second));
    other = variant;
    other.id[3] ^= 1;
    assert_true(variant_identity(b, identity, &other, &with, &second) && !bytes_equal(first, second));
    static uint8_t long_value[ITEM_KEY_MAX];
    memset(long_value, 'x', sizeof long_value);
    gzip.name = BYTES("x");
    gzip.value = bytes_of(long_value, sizeof long_value);
    vary_init(&variant.names);
    assert_int_equal(vary_add(&variant.names, BYTES("x")), VARY_NAMES);
    assert_false(variant_identity(a, identity, &variant, &with, &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
