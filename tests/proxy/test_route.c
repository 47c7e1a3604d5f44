/* Paths to buckets and keys: the longest prefix that ends at a segment boundary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/random.h"
#include "proxy/route.h"

static const char *const prefixes[] = {
    "/prod", "/prod/images", "/b", "/a b/\xC3\xA9", "/slash/", "/a", "/a-b", "/a/b/c/d"};

static const struct {
    const char *path;
    int bucket;
    const char *key;
} cases[] = {
    {"/prod/x", 0, "x"},
    {"/prod", 0, ""},
    {"/prod/", 0, ""},
    {"/production/x", -1, NULL},
    {"/pro", -1, NULL},
    {"/Prod/x", -1, NULL},
    {"/prod/images", 1, ""},
    {"/prod/images/x", 1, "x"},
    {"/prod/imagesx", 0, "imagesx"},
    {"/prod/image/x", 0, "image/x"},
    {"/b//lead", 2, "/lead"},
    {"/b///", 2, "//"},
    {"/b/a//b/", 2, "a//b/"},
    {"/b/trail/", 2, "trail/"},
    {"//b/x", -1, NULL},
    {"/a b/\xC3\xA9/k+%", 3, "k+%"},
    {"/slash/x", 4, "x"},
    {"/slash//x", 4, "/x"},
    {"/slashx", -1, NULL},
    {"/a/x", 5, "x"},
    {"/a-b/x", 6, "x"},
    {"/a/b/c", 5, "b/c"},
    {"/a/b/c/d", 7, ""},
    {"/a/b/c/dd", 5, "b/c/dd"},
    {"/a/b/c/d/e", 7, "e"},
    {"/", -1, NULL},
    {"/zzz", -1, NULL},
};

static struct route_table *make(const char *const *texts, size_t count)
{
    struct bytes list[32];
    assert_true(count <= 32);
    for (size_t i = 0; i < count; i++)
        list[i] = bytes_of_string(texts[i]);
    struct route_table *table = route_table_create(list, count);
    assert_non_null(table);
    return table;
}

static void assert_route(const struct route_table *table, const char *path, int bucket, const char *key)
{
    struct bytes got = {0};
    int found = route_find(table, bytes_of_string(path), &got);
    if (found != bucket || (found >= 0 && !bytes_equal(got, bytes_of_string(key))))
        fail_msg("'%s': bucket %d, key '%.*s'", path, found, (int)got.len, (const char *)got.ptr);
}

static void test_table(void **state)
{
    struct route_table *table = make(prefixes, sizeof prefixes / sizeof *prefixes);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_route(table, cases[i].path, cases[i].bucket, cases[i].key);
    route_table_destroy(table);
}

static void test_root_prefix(void **state)
{
    struct route_table *table = make((const char *const[]){"/x", "/"}, 2);
    (void)state;
    assert_route(table, "/", 1, "");
    assert_route(table, "/a", 1, "a");
    assert_route(table, "//a", 1, "/a");
    assert_route(table, "/xy", 1, "xy");
    assert_route(table, "/x/y", 0, "y");
    route_table_destroy(table);
}

static void test_few(void **state)
{
    struct route_table *none = route_table_create(NULL, 0);
    struct route_table *twins = make((const char *const[]){"/x/", "/x"}, 2);
    (void)state;
    assert_route(none, "/a", -1, NULL);
    assert_route(twins, "/x/y", 0, "y");
    assert_true(bytes_equal(route_prefix(BYTES("/x//")), BYTES("/x")));
    assert_int_equal(route_prefix(BYTES("/")).len, 0);
    route_table_destroy(none);
    route_table_destroy(twins);
    route_table_destroy(NULL);
}

/* Texts of '/', 'a' and '-', which sorts before '/': every way that prefixes can nest. */
static void random_path(struct random *random, char text[16])
{
    size_t len = 1 + random_below(random, 9);
    text[0] = '/';
    for (size_t i = 1; i < len; i++)
        text[i] = "/a-"[random_below(random, 3)];
    text[len] = 0;
}

static int slow_find(char texts[][16], int count, struct bytes path)
{
    int best = -1;
    size_t best_len = 0;
    for (int i = count - 1; i >= 0; i--) {
        struct bytes prefix = route_prefix(bytes_of_string(texts[i]));
        bool fits = bytes_start_with(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/');
        if (fits && (best < 0 || prefix.len >= best_len)) {
            best = i;
            best_len = prefix.len;
        }
    }
    return best;
}

static void test_against_slow(void **state)
{
    struct random random;
    random_init(&random, 7);
    (void)state;
    for (int round = 0; round < 500; round++) {
        char texts[12][16];
        struct bytes list[12];
        int count = 1 + (int)random_below(&random, 12);
        for (int i = 0; i < count; i++) {
            random_path(&random, texts[i]);
            list[i] = bytes_of_string(texts[i]);
        }
        struct route_table *table = route_table_create(list, (size_t)count);
        assert_non_null(table);
        for (int i = 0; i < 100; i++) {
            char path[16];
            struct bytes key;
            random_path(&random, path);
            int want = slow_find(texts, count, bytes_of_string(path));
            int got = route_find(table, bytes_of_string(path), &key);
            if (got != want)
                fail_msg("'%s': %d, want %d", path, got, want);
        }
        route_table_destroy(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_root_prefix),
        cmocka_unit_test(test_few),
        cmocka_unit_test(test_against_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
