/* The examples of RFC 3986 5.4 at http://a/b/c/d;p, those that stay at the server, and what else comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/reference.h"

struct row {
    const char *base, *reference, *expected;
};

static const struct row rows[] = {
    {"/b/c/d;p", "g", "/b/c/g"},
    {"/b/c/d;p", "./g", "/b/c/g"},
    {"/b/c/d;p", "g/", "/b/c/g/"},
    {"/b/c/d;p", "/g", "/g"},
    {"/b/c/d;p", "?y", "/b/c/d;p?y"},
    {"/b/c/d;p", "g?y", "/b/c/g?y"},
    {"/b/c/d;p", "#s", "/b/c/d;p"},
    {"/b/c/d;p", "g#s", "/b/c/g"},
    {"/b/c/d;p", "g?y#s", "/b/c/g?y"},
    {"/b/c/d;p", ";x", "/b/c/;x"},
    {"/b/c/d;p", "g;x", "/b/c/g;x"},
    {"/b/c/d;p", "", "/b/c/d;p"},
    {"/b/c/d;p", ".", "/b/c/"},
    {"/b/c/d;p", "./", "/b/c/"},
    {"/b/c/d;p", "..", "/b/"},
    {"/b/c/d;p", "../", "/b/"},
    {"/b/c/d;p", "../g", "/b/g"},
    {"/b/c/d;p", "../..", "/"},
    {"/b/c/d;p", "../../", "/"},
    {"/b/c/d;p", "../../g", "/g"},
    {"/b/c/d;p", "../../../g", "/g"},
    {"/b/c/d;p", "../../../../g", "/g"},
    {"/b/c/d;p", "/./g", "/g"},
    {"/b/c/d;p", "/../g", "/g"},
    {"/b/c/d;p", "g.", "/b/c/g."},
    {"/b/c/d;p", ".g", "/b/c/.g"},
    {"/b/c/d;p", "g..", "/b/c/g.."},
    {"/b/c/d;p", "..g", "/b/c/..g"},
    {"/b/c/d;p", "./../g", "/b/g"},
    {"/b/c/d;p", "./g/.", "/b/c/g/"},
    {"/b/c/d;p", "g/./h", "/b/c/g/h"},
    {"/b/c/d;p", "g/../h", "/b/c/h"},
    {"/b/c/d;p", "g;x=1/./y", "/b/c/g;x=1/y"},
    {"/b/c/d;p", "g;x=1/../y", "/b/c/y"},
    {"/b/c/d;p", "g?y/./x", "/b/c/g?y/./x"},
    {"/b/c/d;p", "g?y/../x", "/b/c/g?y/../x"},
    {"/b/c/d;p", "g#s/../x", "/b/c/g"},
    {"/", "g", "/g"},
    {"/", "..", "/"},
    {"/b/", "g", "/b/g"},
    {"/b//", "../g", "/b/g"},
    {"/b", "g/:/h", "/g/:/h"},
};

static void test_resolve(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t text[128];
        struct bytes base = bytes_of_string(rows[i].base), reference = bytes_of_string(rows[i].reference);
        struct writer w = writer_of(text, base.len + reference.len + 1);
        assert_false(reference_leaves(reference));
        reference_resolve(base, reference, &w);
        if (w.failed || !bytes_equal(writer_bytes(&w), bytes_of_string(rows[i].expected)))
            fail_msg("%s at %s: %.*s", rows[i].reference, rows[i].base, (int)writer_bytes(&w).len, text);
    }
}

static void test_leaves(void **state)
{
    static const char *const away[] = {"http://a/b", "urn:x", "g:h", "//host/x", ":", "http:g"};
    static const char *const here[] = {"/a:b", "?a:b", "#a:b", "g/a:b", "", "/"};
    (void)state;
    for (size_t i = 0; i < sizeof away / sizeof *away; i++)
        assert_true(reference_leaves(bytes_of_string(away[i])));
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        assert_false(reference_leaves(bytes_of_string(here[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resolve), cmocka_unit_test(test_leaves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
