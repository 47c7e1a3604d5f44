/* Borrowed bytes, the reader and the writer with their sticky errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_equal(void **state)
{
    (void)state;
    assert_true(bytes_equal(BYTES("ab"), BYTES("ab")));
    assert_false(bytes_equal(BYTES("ab"), BYTES("aB")));
    assert_false(bytes_equal(BYTES("ab"), BYTES("abc")));
    assert_true(bytes_equal(BYTES(""), bytes_of(NULL, 0)));
    assert_true(bytes_equal(BYTES("a\0b"), bytes_of("a\0b", 3)));
    assert_true(bytes_equal_nocase(BYTES("aZ-9"), BYTES("Az-9")));
    assert_false(bytes_equal_nocase(BYTES("a"), BYTES("ab")));
    /* Only letters are folded: these pairs differ by 0x20 alone. */
    assert_false(bytes_equal_nocase(BYTES("@["), BYTES("`{")));
    assert_false(bytes_equal_nocase(BYTES("\xC3"), BYTES("\xE3")));
}

static void test_compare(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {{"", "", 0}, {"a", "", 1}, {"", "a", -1}, {"a", "b", -1}, {"b", "ab", 1}, {"ab", "abc", -1},
        {"\x80", "a", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int order = bytes_compare(bytes_of_string(cases[i].a), bytes_of_string(cases[i].b));
        assert_int_equal((order > 0) - (order < 0), cases[i].order);
    }
}

static void test_parts(void **state)
{
    (void)state;
    assert_true(bytes_start_with(BYTES("abc"), BYTES("ab")));
    assert_true(bytes_start_with(BYTES("abc"), bytes_of(NULL, 0)));
    assert_false(bytes_start_with(BYTES("ab"), BYTES("abc")));
    assert_true(bytes_equal(bytes_trim(BYTES(" \t a b\t ")), BYTES("a b")));
    assert_int_equal(bytes_trim(BYTES(" \t ")).len, 0);
    assert_true(bytes_equal(bytes_trim(BYTES("\r\n")), BYTES("\r\n")));
    assert_true(bytes_equal(bytes_from(BYTES("abc"), 1), BYTES("bc")));
    assert_int_equal(bytes_from(BYTES("abc"), 3).len, 0);
    assert_int_equal(bytes_from(bytes_of(NULL, 0), 0).len, 0);
}

static void test_to_u64(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } cases[] = {{"0", true, 0}, {"007", true, 7}, {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0}, {"99999999999999999999", false, 0}, {"", false, 0},
        {"-1", false, 0}, {"+1", false, 0}, {" 1", false, 0}, {"1 ", false, 0}, {"0x1", false, 0},
        {"1.0", false, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        assert_int_equal(bytes_to_u64(bytes_of_string(cases[i].text), &value), cases[i].good);
        assert_true(value == cases[i].value);
    }
}

static void test_integers_round_trip(void **state)
{
    uint8_t buf[15];
    struct writer w = writer_of(buf, sizeof buf);
    (void)state;
    write_u8(&w, 0x01);
    write_u16(&w, 0x2345);
    write_u32(&w, 0x6789ABCD);
    write_u64(&w, UINT64_C(0xFEDCBA9876543210));
    assert_false(w.failed);
    assert_int_equal(buf[1], 0x45); /* little-endian */
    struct reader r = reader_of(writer_bytes(&w));
    assert_int_equal(read_u8(&r), 0x01);
    assert_int_equal(read_u16(&r), 0x2345);
    assert_int_equal(read_u32(&r), 0x6789ABCD);
    assert_true(read_u64(&r) == UINT64_C(0xFEDCBA9876543210));
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.failed);
}

/* Past the first short read everything is zero, even what would fit. */
static void test_reader_sticks(void **state)
{
    struct reader r = reader_of(BYTES("\x01\x02\x03")), empty = reader_of(bytes_of(NULL, 0));
    (void)state;
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(read_u8(&r), 0);
    assert_int_equal(read_bytes(&r, 1).len, 0);
    assert_int_equal(read_bytes(&empty, 0).len, 0);
    assert_false(empty.failed);
    assert_int_equal(read_u8(&empty), 0);
    assert_true(empty.failed);
    r = reader_of(BYTES("abc"));
    assert_int_equal(read_bytes(&r, SIZE_MAX).len, 0);
    assert_true(r.failed);
}

static void test_writer_sticks(void **state)
{
    uint8_t buf[4];
    struct writer w = writer_of(buf, sizeof buf), none = writer_of(NULL, 0);
    (void)state;
    write_bytes(&w, BYTES("abc"));
    write_bytes(&w, BYTES("de"));
    assert_true(w.failed);
    write_u8(&w, 'f');
    assert_true(bytes_equal(writer_bytes(&w), BYTES("abc")));
    write_bytes(&none, bytes_of(NULL, 0));
    assert_false(none.failed);
    write_u8(&none, 0);
    assert_true(none.failed);
}

static void test_text(void **state)
{
    char buf[64];
    struct writer w = writer_of(buf, sizeof buf);
    (void)state;
    write_decimal(&w, 0);
    write_u8(&w, ' ');
    write_decimal(&w, UINT64_MAX);
    write_u8(&w, ' ');
    write_hex(&w, BYTES("\x00\xAB\xFF"));
    write_percent(&w, 0);
    write_percent(&w, 0xAF);
    write_format(&w, " %s=%d", "x", -5);
    assert_false(w.failed);
    assert_true(bytes_equal(writer_bytes(&w), BYTES("0 18446744073709551615 00abff%00%AF x=-5")));
}

static void test_format_fits_or_fails(void **state)
{
    char buf[6];
    struct writer w = writer_of(buf, sizeof buf);
    (void)state;
    write_format(&w, "%s", "abcde");
    assert_false(w.failed);
    write_format(&w, "%s", "");
    assert_false(w.failed);
    write_format(&w, "%s", "fg");
    assert_true(w.failed);
    assert_true(bytes_equal(writer_bytes(&w), BYTES("abcde")));
    write_format(&w, "%s", "");
    assert_true(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_integers_round_trip),
        cmocka_unit_test(test_reader_sticks),
        cmocka_unit_test(test_writer_sticks),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_format_fits_or_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
