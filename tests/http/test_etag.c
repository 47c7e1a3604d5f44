/* Entity tags, RFC 9110 8.8.3 and the lists of 13.1.1 and 13.1.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/etag.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text, *opaque; /* NULL: refused */
        bool weak;
    } cases[] = {
        {"\"abc\"", "abc", false},
        {"W/\"abc\"", "abc", true},
        {"\"\"", "", false},
        {"\"a,b\"", "a,b", false},
        {"\"a\\\"", "a\\", false}, /* no escapes in tags */
        {"\"\xE9\"", "\xE9", false},
        {"\"d41d8cd98f00b204e9800998ecf8427e-12\"", "d41d8cd98f00b204e9800998ecf8427e-12", false},
        {"w/\"abc\"", NULL, false},
        {"W/abc", NULL, false},
        {"abc", NULL, false},
        {"\"abc", NULL, false},
        {"\"a b\"", NULL, false},
        {"\"abc\" ", NULL, false},
        {"\"abc\"x", NULL, false},
        {"W/", NULL, false},
        {"", NULL, false},
        {"*", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etag tag;
        bool parsed = etag_parse(bytes_of_string(cases[i].text), &tag);
        if (parsed != (cases[i].opaque != NULL))
            fail_msg("'%s': %d", cases[i].text, parsed);
        if (parsed)
            assert_true(
                bytes_equal(tag.opaque, bytes_of_string(cases[i].opaque)) && tag.weak == cases[i].weak);
    }
}

/* The table of RFC 9110 8.8.3.2. */
static void test_compare(void **state)
{
    static const struct {
        const char *a, *b;
        bool strong, weak;
    } cases[] = {
        {"W/\"1\"", "W/\"1\"", false, true},
        {"W/\"1\"", "W/\"2\"", false, false},
        {"W/\"1\"", "\"1\"", false, true},
        {"\"1\"", "\"1\"", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etag a, b;
        assert_true(etag_parse(bytes_of_string(cases[i].a), &a));
        assert_true(etag_parse(bytes_of_string(cases[i].b), &b));
        assert_int_equal(etag_strong_equal(a, b), cases[i].strong);
        assert_int_equal(etag_weak_equal(a, b), cases[i].weak);
    }
}

static void test_list(void **state)
{
    static const struct {
        const char *list;
        enum etag_match strong, weak;
    } cases[] = {
        {"\"x\"", ETAG_MATCH, ETAG_MATCH},
        {"W/\"x\"", ETAG_NO_MATCH, ETAG_MATCH},
        {"\"y\"", ETAG_NO_MATCH, ETAG_NO_MATCH},
        {"\"y\", \"x\"", ETAG_MATCH, ETAG_MATCH},
        {"\"y\",\"z\" ,\t\"x\"", ETAG_MATCH, ETAG_MATCH},
        {"\"y,x\", \"z\"", ETAG_NO_MATCH, ETAG_NO_MATCH},
        {", ,\"x\",,", ETAG_MATCH, ETAG_MATCH},
        {"\"y\",,", ETAG_NO_MATCH, ETAG_NO_MATCH},
        {"*", ETAG_MATCH, ETAG_MATCH},
        {" * ", ETAG_MATCH, ETAG_MATCH},
        {"*, \"y\"", ETAG_MALFORMED, ETAG_MALFORMED},
        {"\"y\", *", ETAG_MALFORMED, ETAG_MALFORMED},
        {"\"y\" \"x\"", ETAG_MALFORMED, ETAG_MALFORMED},
        {"\"y\", \"x", ETAG_MALFORMED, ETAG_MALFORMED},
        {"\"x\", \"broken", ETAG_MATCH, ETAG_MATCH},
        {"", ETAG_MALFORMED, ETAG_MALFORMED},
        {" , ", ETAG_MALFORMED, ETAG_MALFORMED},
        {"x", ETAG_MATCH, ETAG_MATCH},
        {"y, x", ETAG_MATCH, ETAG_MATCH},
        {"xx", ETAG_NO_MATCH, ETAG_NO_MATCH},
        {"x y", ETAG_MATCH, ETAG_MATCH},
        {"y x", ETAG_MALFORMED, ETAG_MALFORMED},
    };
    struct etag stored = {.opaque = BYTES("x")};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes list = bytes_of_string(cases[i].list);
        enum etag_match strong = etag_list_match(list, &stored, ETAG_STRONG);
        enum etag_match weak = etag_list_match(list, &stored, ETAG_WEAK);
        if (strong != cases[i].strong || weak != cases[i].weak)
            fail_msg("'%s': strong %d, weak %d", cases[i].list, strong, weak);
    }
}

static void test_list_against_no_tag(void **state)
{
    (void)state;
    assert_int_equal(etag_list_match(BYTES("*"), NULL, ETAG_STRONG), ETAG_MATCH);
    assert_int_equal(etag_list_match(BYTES("\"\""), NULL, ETAG_WEAK), ETAG_NO_MATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_against_no_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
