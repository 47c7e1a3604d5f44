/* RFC 3629: against a decoder written the other way round, and its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)((0xF00 >> len) | c);
    return len;
}

static void test_every_character(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        uint8_t text[5] = {0, 0, 0, 0, 'x'};
        size_t len = encode(c, text);
        bool good = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        if (utf8_first(bytes_of(text, len)) != (good ? len : 0))
            fail_msg("U+%X", c);
        if (good && len > 1)
            assert_int_equal(utf8_first(bytes_of(text, len - 1)), 0);
    }
}

/* Of all sequences of two and three bytes exactly those that an encoder makes are good. */
static void test_every_short_sequence(void **state)
{
    unsigned two = 0, three = 0;
    (void)state;
    for (uint32_t i = 0; i < 1u << 24; i++) {
        uint8_t text[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        three += utf8_first(bytes_of(text, 3)) == 3;
        if (i < 1u << 16)
            two += utf8_first(bytes_of(text + 1, 2)) == 2;
    }
    assert_int_equal(two, 0x800 - 0x80);
    assert_int_equal(three, 0x10000 - 0x800 - 0x800);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(utf8_valid(BYTES("")));
    assert_true(utf8_valid(bytes_of(NULL, 0)));
    assert_true(utf8_valid(BYTES("a\xC3\xA9\0z")));
    assert_false(utf8_valid(BYTES("a\xC3")));
    assert_false(utf8_valid(BYTES("\xC0\xAF")));
    assert_false(utf8_valid(BYTES("\x80")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_every_short_sequence),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
