/* Request targets: the shapes of RFC 9112 3.2, and paths decoded once and strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "http/target.h"

static void assert_text(struct bytes got, const char *want, const char *of)
{
    if (!bytes_equal(got, bytes_of_string(want)))
        fail_msg("%s: got '%.*s', want '%s'", of, (int)got.len, (const char *)got.ptr, want);
}

static void test_split(void **state)
{
    static const struct {
        const char *raw;
        enum target_form form;
        const char *authority, *path, *query; /* query NULL: no '?' */
    } cases[] = {
        {"/", TARGET_ORIGIN, "", "/", NULL},
        {"/a/b", TARGET_ORIGIN, "", "/a/b", NULL},
        {"/a?", TARGET_ORIGIN, "", "/a", ""},
        {"/a?b?c=d", TARGET_ORIGIN, "", "/a", "b?c=d"},
        {"//host/x", TARGET_ORIGIN, "", "//host/x", NULL},
        {"/a%3Fb", TARGET_ORIGIN, "", "/a%3Fb", NULL},
        {"*", TARGET_ASTERISK, "", "*", NULL},
        {"http://h", TARGET_ABSOLUTE, "h", "/", NULL},
        {"http://h:80/a?q", TARGET_ABSOLUTE, "h:80", "/a", "q"},
        {"HTTPS://[::1]:8/x", TARGET_ABSOLUTE, "[::1]:8", "/x", NULL},
        {"http://h?q", TARGET_ABSOLUTE, "h", "/", "q"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target target;
        assert_int_equal(target_split(bytes_of_string(cases[i].raw), &target), 0);
        assert_int_equal(target.form, cases[i].form);
        assert_text(target.authority, cases[i].authority, cases[i].raw);
        assert_text(target.path, cases[i].path, cases[i].raw);
        assert_int_equal(target.query.ptr != NULL, cases[i].query != NULL);
        if (cases[i].query)
            assert_text(target.query, cases[i].query, cases[i].raw);
    }
}

static void test_split_refuses(void **state)
{
    static const char *const cases[] = {"", "a", "**", "?q", "/a#b", "/a b", "/a\tb", "/a\x01", "/a\x7f",
        "/?a b", "http://", "http:///a", "http://u@h/", "http://u:p@h/", "ftp://h/", "http:/h/a", "h:80",
        "/a?b#c"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target target;
        if (target_split(bytes_of_string(cases[i]), &target) != E_SYNTAX)
            fail_msg("'%s' was accepted", cases[i]);
    }
}

static void test_decode_path(void **state)
{
    static const struct {
        const char *raw, *decoded;
    } cases[] = {
        {"/", "/"},
        {"/a%2Fb", "/a/b"},
        {"/a%2fb", "/a/b"},
        {"%2Fa", "/a"},
        {"/a+b", "/a+b"},
        {"/a%2Bb", "/a+b"},
        {"/a%20b", "/a b"},
        {"/a%2520b", "/a%20b"},
        {"/%25", "/%"},
        {"//a//b//", "//a//b//"},
        {"/a.b/..c/.../d..", "/a.b/..c/.../d.."},
        {"/%E1%88%B4", "/\xE1\x88\xB4"},
        {"/\xE1\x88\xB4", "/\xE1\x88\xB4"},
        {"/\xE1%88%B4", "/\xE1\x88\xB4"},
        {"/%F0%9F%98%80", "/\xF0\x9F\x98\x80"},
        {"/%01%7F", "/\x01\x7F"},
        {"/a()&=;*~'\"!$,:@", "/a()&=;*~'\"!$,:@"},
        {"/a%5C..%5Cb", "/a\\..\\b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t buf[64];
        struct bytes decoded, raw = bytes_of_string(cases[i].raw);
        assert_int_equal(target_decode_path(raw, buf, &decoded), 0);
        assert_text(decoded, cases[i].decoded, cases[i].raw);
        /* In place too. */
        memcpy(buf, raw.ptr, raw.len);
        assert_int_equal(target_decode_path(bytes_of(buf, raw.len), buf, &decoded), 0);
        assert_text(decoded, cases[i].decoded, cases[i].raw);
    }
}

static void test_decode_path_refuses(void **state)
{
    static const char *const cases[] = {
        "", "a", "%", "/%", "/%2", "/%zz", "/%2g", "/%-1", "/% 1", "/%00", "/a%00b",  /* encoding, NUL */
        "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/./b", "/a/../b", "//..//", /* segments */
        "/%2e", "/%2E%2e/a", "/.%2E", "/a%2F..%2Fb", "/a/%2e%2e", "/a%2f.",           /* encoded */
        "/%80", "/%C0%AF", "/%C1%81", "/%E0%80%AF", "/%F0%80%80%AF", "/%ED%A0%80",
        "/%F4%90%80%80", /* UTF-8 */
        "/%F8%88%80%80%80", "/%FF", "/%E1%88", "/%C3", "/\xC3(", "/%E1%88/", "/a\x01",
        "/a\x7F", /* cut, raw */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t buf[64];
        struct bytes decoded;
        if (target_decode_path(bytes_of_string(cases[i]), buf, &decoded) != E_SYNTAX)
            fail_msg("'%s' was accepted", cases[i]);
    }
}

static void test_parameters(void **state)
{
    static const struct {
        const char *name, *value;
    } want[] = {{"a", "1"}, {"b", ""}, {"c", NULL}, {"d", "e=f"}, {"", "x"}};
    struct bytes query = BYTES("&a=1&&b=&c&d=e=f&=x&"), name, value;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(target_next_parameter(&query, &name, &value));
        assert_text(name, want[i].name, "name");
        assert_int_equal(value.ptr != NULL, want[i].value != NULL);
        if (want[i].value)
            assert_text(value, want[i].value, "value");
    }
    assert_false(target_next_parameter(&query, &name, &value));
    query = bytes_of(NULL, 0);
    assert_false(target_next_parameter(&query, &name, &value));
}

static void test_encode_path(void **state)
{
    static const struct {
        const char *path, *raw;
    } cases[] = {{"", ""}, {"/a b/c", "/a%20b/c"}, {"/-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@"},
        {"/%?#[]\"<>\\^`{|}\x7f", "/%25%3F%23%5B%5D%22%3C%3E%5C%5E%60%7B%7C%7D%7F"},
        {"/\xc3\xa9", "/%C3%A9"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t raw[100];
        struct writer w = writer_of(raw, sizeof raw);
        target_encode_path(&w, bytes_of_string(cases[i].path));
        assert_false(w.failed);
        assert_text(writer_bytes(&w), cases[i].raw, cases[i].path);
    }
}

static void test_authority(void **state)
{
    static const struct {
        const char *text;
        bool is_one;
    } cases[] = {{"h", true}, {"h.example:80", true}, {"192.0.2.1:65535", true}, {"[2001:db8::1]:8", true},
        {"h:", true}, {"", false}, {":80", false}, {"h:65536", false}, {"h:x", false}, {"a b", false},
        {"a/b", false}, {"a,b", false}, {"u@h", false}, {"[::1", false}, {"[]", false}, {"h%20", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (target_is_authority(bytes_of_string(cases[i].text)) != cases[i].is_one)
            fail_msg("'%s'", cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_refuses),
        cmocka_unit_test(test_decode_path),
        cmocka_unit_test(test_decode_path_refuses),
        cmocka_unit_test(test_encode_path),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
