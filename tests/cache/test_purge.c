/* What one purge hides, and its record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cache/purge.h"

static void round_trip(void **state)
{
    (void)state;
    static const struct purge cases[] = {
        {.soft = false},
        {.prefix = {(const uint8_t *)"a\0b\0c", 5}, .soft = true},
        {.tag = {(const uint8_t *)"red", 3}},
        {.prefix = {(const uint8_t *)"bucket/", 7}, .tag = {(const uint8_t *)"red", 3}, .soft = true},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t buf[ITEM_KEY_MAX];
        size_t len = purge_encode(&cases[i], buf);
        assert_int_equal(len, PURGE_FIXED_BYTES + cases[i].prefix.len + cases[i].tag.len);
        struct purge got;
        assert_int_equal(purge_decode(&got, bytes_of(buf, len)), 0);
        assert_true(bytes_equal(got.prefix, cases[i].prefix) && bytes_equal(got.tag, cases[i].tag));
        assert_int_equal(got.soft, cases[i].soft);
    }
}

static void the_longest_fits(void **state)
{
    (void)state;
    static uint8_t text[PURGE_PREFIX_MAX + 1], buf[ITEM_KEY_MAX];
    struct purge purge = {bytes_of(text, PURGE_PREFIX_MAX), bytes_of(text, PURGE_TAG_MAX), false}, got;
    assert_true(purge_fits(&purge));
    assert_int_equal(purge_encode(&purge, buf), sizeof buf);
    assert_int_equal(purge_decode(&got, bytes_of(buf, sizeof buf)), 0);
    purge.prefix.len++;
    assert_false(purge_fits(&purge));
    purge = (struct purge){.tag = bytes_of(text, PURGE_TAG_MAX + 1)};
    assert_false(purge_fits(&purge));
}

static void broken_records_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t bytes[8];
        size_t len;
    } cases[] = {
        {"empty", {0}, 0},
        {"cut in its lengths", {1, 0, 2}, 3},
        {"cut in its prefix", {1, 0, 3, 0, 'a', 'b'}, 6},
        {"another version", {2, 0, 1, 0, 'a'}, 5},
        {"an unknown flag", {1, 2, 1, 0, 'a'}, 5},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct purge got;
        if (purge_decode(&got, bytes_of(cases[i].bytes, cases[i].len)) != E_CORRUPT)
            fail_msg("taken: %s", cases[i].name);
    }
}

static struct purge of(const char *prefix, const char *tag, bool soft)
{
    return (struct purge){bytes_of_string(prefix), bytes_of_string(tag), soft};
}

static void covering(void **state)
{
    (void)state;
    static const struct {
        struct {
            const char *prefix, *tag;
            bool soft;
        } wide, narrow;
        bool covers;
    } cases[] = {
        {{"", "", false}, {"a/b", "red", true}, true},
        {{"a/", "", false}, {"a/b", "", false}, true},
        {{"a/b", "", false}, {"a/", "", false}, false},
        {{"a/", "", true}, {"a/b", "", false}, false},
        {{"a/", "", true}, {"a/b", "", true}, true},
        {{"a/", "red", false}, {"a/b", "red", true}, true},
        {{"a/", "red", false}, {"a/b", "blue", true}, false},
        {{"a/", "red", false}, {"a/b", "", true}, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct purge wide = of(cases[i].wide.prefix, cases[i].wide.tag, cases[i].wide.soft);
        struct purge narrow = of(cases[i].narrow.prefix, cases[i].narrow.tag, cases[i].narrow.soft);
        if (purge_covers(&wide, &narrow) != cases[i].covers)
            fail_msg("case %u", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(the_longest_fits),
        cmocka_unit_test(broken_records_are_refused),
        cmocka_unit_test(covering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
