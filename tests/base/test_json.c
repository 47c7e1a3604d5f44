/* JSON out: escapes, any bytes to well-formed UTF-8, commas and nesting; read back by jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"

static void test_strings(void **state)
{
    static const struct {
        struct bytes text;
        const char *want;
    } cases[] = {
        {BYTES(""), "\"\""},
        {BYTES("plain"), "\"plain\""},
        {BYTES("\"\\/"), "\"\\\"\\\\/\""},
        {BYTES("\n\r\t\b\f"), "\"\\n\\r\\t\\b\\f\""},
        {BYTES("a\0b\x1F\x7F"), "\"a\\u0000b\\u001f\\u007f\""},
        {BYTES("\xC3\xA9\xF0\x9F\x98\x80"), "\"\xC3\xA9\xF0\x9F\x98\x80\""},
        {BYTES("\xE9x"), "\"\\u00e9x\""},
        {BYTES("\xC0\xAF"), "\"\\u00c0\\u00af\""},
        {BYTES("\xED\xA0\x80"), "\"\\u00ed\\u00a0\\u0080\""},
        {BYTES("a\xF0\x9F"), "\"a\\u00f0\\u009f\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        struct writer w = writer_of(out, sizeof out);
        json_write_string(&w, cases[i].text);
        if (w.failed || !bytes_equal(writer_bytes(&w), bytes_of_string(cases[i].want)))
            fail_msg("row %zu: %.*s", i, (int)(w.at - w.start), out);
    }
}

static void test_document(void **state)
{
    char out[512];
    struct writer w = writer_of(out, sizeof out);
    struct json json = json_of(&w);
    (void)state;
    json_open_object(&json, NULL);
    json_put_string(&json, "a", BYTES("x\"y"));
    json_put_number(&json, "b", UINT64_MAX);
    json_put_signed(&json, "c", INT64_MIN);
    json_put_ms(&json, "d", 1234567);
    json_open_array(&json, "e");
    json_put_number(&json, NULL, 1);
    json_open_object(&json, NULL);
    json_close_object(&json);
    json_put_bool(&json, NULL, true);
    json_close_array(&json);
    json_open_object(&json, "f");
    json_put_bool(&json, "g", false);
    json_close_object(&json);
    json_put_null(&json, "h");
    json_put_ms(&json, "i", 999);
    json_close_object(&json);
    assert_false(w.failed);
    assert_true(bytes_equal(writer_bytes(&w),
        BYTES("{\"a\":\"x\\\"y\",\"b\":18446744073709551615,\"c\":-9223372036854775808,\"d\":1.234,"
              "\"e\":[1,{},true],\"f\":{\"g\":false},\"h\":null,\"i\":0.000}")));
}

/* Whatever the bytes, another implementation reads the text, and what was well-formed comes back. */
static void test_any_bytes(void **state)
{
    struct random random;
    random_init(&random, 3);
    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint8_t text[16];
        char out[128];
        size_t len = random_below(&random, sizeof text + 1);
        struct writer w = writer_of(out, sizeof out);
        for (size_t at = 0; at < len; at++)
            text[at] = (uint8_t)random_below(&random, 256);
        json_write_string(&w, bytes_of(text, len));
        assert_false(w.failed);
        json_t *value = json_loadb(out, (size_t)(w.at - w.start), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        if (utf8_valid(bytes_of(text, len))) {
            assert_int_equal(json_string_length(value), len);
            assert_memory_equal(json_string_value(value), text, len);
        }
        json_decref(value);
    }
}

static void test_overflow_sticks(void **state)
{
    char out[8];
    struct writer w = writer_of(out, sizeof out);
    struct json json = json_of(&w);
    (void)state;
    json_open_object(&json, NULL);
    json_put_string(&json, "key", BYTES("value"));
    json_close_object(&json);
    assert_true(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_overflow_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
