/* Tags of stored fields, and the parts of an identity that are purged together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/identity.h"
#include "proxy/tags.h"

static void reading(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *field, *tags;
    } cases[] = {
        {"", "", ""},
        {"ETag: \"a\"\r\n", "", ""},
        {"Surrogate-Key: red\r\n", "", "red"},
        {"surrogate-key: red  green\tblue \r\n", "", "red green blue"},
        {"Cache-Tag: red,green, blue,,\r\n", "", "red green blue"},
        {"Cache-Tag: a\r\nX-Other: b\r\nSurrogate-Key: c\r\nCache-Tag: d\r\n", "", "a c d"},
        {"x-amz-meta-tags: a,b\r\n", "", ""},
        {"x-amz-meta-tags: a,b\r\n", "X-Amz-Meta-Tags", "a b"},
        {"Surrogate-Key: \r\n", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        unsigned char block[1024];
        arena_init(&arena, block, sizeof block, 0);
        struct bytes tags =
            tags_of_lines(bytes_of_string(cases[i].lines), bytes_of_string(cases[i].field), &arena);
        if (!tags.ptr || !bytes_equal(tags, bytes_of_string(cases[i].tags)))
            fail_msg("%s: %.*s", cases[i].lines, (int)tags.len, (const char *)tags.ptr);
        arena_reset(&arena);
    }
}

static void without_room(void **state)
{
    (void)state;
    struct arena arena;
    unsigned char block[64];
    arena_init(&arena, block, sizeof block, 0);
    struct bytes lines =
        BYTES("Cache-Tag: 0123456789012345678901234567890123456789012345678901234567890123456789"
              "0123456789\r\n");
    assert_null(tags_of_lines(lines, (struct bytes){0}, &arena).ptr);
    arena_reset(&arena);
}

static void having(void **state)
{
    (void)state;
    static const struct {
        const char *tags, *tag;
        bool has;
    } cases[] = {
        {"", "a", false},
        {"a", "a", true},
        {"ab", "a", false},
        {"ba", "a", false},
        {"x a y", "a", true},
        {"x A y", "a", false},
        {"x y a", "a", true},
        {"x y", "x y", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (tags_have(bytes_of_string(cases[i].tags), bytes_of_string(cases[i].tag)) != cases[i].has)
            fail_msg("%s in %s", cases[i].tag, cases[i].tags);
}

static void what_can_be_one(void **state)
{
    (void)state;
    assert_true(tags_valid(BYTES("red/1:2-\xc3\xa9")));
    assert_false(tags_valid(BYTES("")));
    assert_false(tags_valid(BYTES("a b")));
    assert_false(tags_valid(BYTES("a,b")));
    assert_false(tags_valid(BYTES("a\tb")));
    assert_false(tags_valid(BYTES("a\nb")));
    assert_false(tags_valid(BYTES("a\0b")));
}

static void parts_of_an_identity(void **state)
{
    (void)state;
    uint8_t buf[ITEM_KEY_MAX];
    struct bytes identity;
    assert_true(identity_write(buf, BYTES("http://e"), BYTES("b"), BYTES("a/k"), BYTES("v1"), &identity));
    assert_int_equal(identity_bucket_len(identity), sizeof "http://e" + sizeof "b");
    assert_int_equal(identity_object_len(identity), sizeof "http://e" + sizeof "b" + sizeof "a/k");
    size_t object = identity_object_len(identity);
    assert_true(
        identity_write(buf, BYTES("http://e"), BYTES("b"), BYTES("a/k"), (struct bytes){0}, &identity));
    assert_int_equal(identity.len, object); /* what names the object is the identity without a version */
    assert_int_equal(identity_object_len(identity), object);
    assert_int_equal(identity_bucket_len(BYTES("http://e\0b")), 0);
    assert_int_equal(identity_object_len(BYTES("http://e\0b\0k")), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),
        cmocka_unit_test(without_room),
        cmocka_unit_test(having),
        cmocka_unit_test(what_can_be_one),
        cmocka_unit_test(parts_of_an_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
