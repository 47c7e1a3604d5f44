/* Endpoints, hosts, paths and URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "origin/endpoint.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text, *written; /* NULL: refused */
        const char *host;           /* of the Host field, path style */
    } rows[] = {
        {"http://example.com", "http://example.com:80", "example.com"},
        {"HTTPS://Example.COM/", "https://example.com:443", "example.com"},
        {"http://example.com:80", "http://example.com:80", "example.com"},
        {"https://example.com:80", "https://example.com:80", "example.com:80"},
        {"http://127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1:9000"},
        {"http://[::1]:9000/", "http://[::1]:9000", "[::1]:9000"},
        {"http://[2001:DB8::1]", "http://[2001:db8::1]:80", "[2001:db8::1]"},
        {"http://my_minio-1:65535", "http://my_minio-1:65535", "my_minio-1:65535"},
        {"", NULL, NULL},
        {"example.com", NULL, NULL},
        {"ftp://example.com", NULL, NULL},
        {"http://", NULL, NULL},
        {"http:///", NULL, NULL},
        {"http://:80", NULL, NULL},
        {"http://a..b", NULL, NULL},
        {"http://.a", NULL, NULL},
        {"http://a.", NULL, NULL},
        {"http://a b", NULL, NULL},
        {"http://a%41", NULL, NULL},
        {"http://user@host", NULL, NULL},
        {"http://user:pass@host", NULL, NULL},
        {"http://host/path", NULL, NULL},
        {"http://host//", NULL, NULL},
        {"http://host?q", NULL, NULL},
        {"http://host#f", NULL, NULL},
        {"http://host:", NULL, NULL},
        {"http://host:0", NULL, NULL},
        {"http://host:65536", NULL, NULL},
        {"http://host:+80", NULL, NULL},
        {"http://host:80:80", NULL, NULL},
        {"http://[::1", NULL, NULL},
        {"http://[::1]x", NULL, NULL},
        {"http://[host]", NULL, NULL},
        {"http://::1", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct endpoint endpoint;
        char text[ENDPOINT_TEXT_MAX];
        const char *why = endpoint_parse(&endpoint, bytes_of_string(rows[i].text));
        if ((why == NULL) != (rows[i].written != NULL))
            fail_msg("%s: %s", rows[i].text, why == NULL ? "taken" : why);
        if (why != NULL)
            continue;
        struct writer w = writer_of(text, sizeof text);
        endpoint_write(&endpoint, &w);
        assert_true(bytes_equal(writer_bytes(&w), bytes_of_string(rows[i].written)));
        w = writer_of(text, sizeof text);
        endpoint_write_host(&endpoint, BYTES("bucket"), true, &w);
        assert_true(bytes_equal(writer_bytes(&w), bytes_of_string(rows[i].host)));
    }
    char text[400] = "http://";
    struct endpoint endpoint;
    for (size_t i = 7; i < 399; i++)
        text[i] = i % 40 == 0 ? '.' : 'a';
    assert_non_null(endpoint_parse(&endpoint, bytes_of_string(text)));
}

static void test_region(void **state)
{
    struct endpoint endpoint;
    (void)state;
    assert_null(endpoint_of_region(&endpoint, BYTES("eu-west-1")));
    assert_string_equal(endpoint.host, "s3.eu-west-1.amazonaws.com");
    assert_true(endpoint.https);
    assert_int_equal(endpoint.port, 443);
    assert_null(endpoint_of_region(&endpoint, BYTES("cn-north-1")));
    assert_string_equal(endpoint.host, "s3.cn-north-1.amazonaws.com.cn");
    assert_non_null(endpoint_of_region(&endpoint, BYTES("")));
    assert_non_null(endpoint_of_region(&endpoint, BYTES("evil.com/x")));
    assert_non_null(endpoint_of_region(&endpoint, BYTES("EU")));
}

static void test_urls(void **state)
{
    static const struct {
        const char *endpoint, *bucket, *key, *query;
        bool path_style;
        const char *host, *url;
    } rows[] = {
        {"http://h:9000", "b", "k", "", true, "h:9000", "http://h:9000/b/k"},
        {"http://h:9000", "b", "k", "", false, "b.h:9000", "http://b.h:9000/k"},
        {"https://s3.eu-west-1.amazonaws.com", "my.b", "k", "", true, "s3.eu-west-1.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com/my.b/k"},
        {"http://[::1]:9000", "b", "/lead//and/", "versionId=x", true, "[::1]:9000",
            "http://[::1]:9000/b//lead//and/?versionId=x"},
        {"http://h", "b", "a b+c%d?e#f&g=h;i*j~k'l\"m(n)\xc3\xa4", "", true, "h",
            "http://h/b/a%20b%2Bc%25d%3Fe%23f%26g%3Dh%3Bi%2Aj~k%27l%22m%28n%29%C3%A4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct endpoint endpoint;
        char path[4096], url[8192];
        struct bytes bucket = bytes_of_string(rows[i].bucket);
        assert_null(endpoint_parse(&endpoint, bytes_of_string(rows[i].endpoint)));
        struct writer path_w = writer_of(path, sizeof path), w = writer_of(url, sizeof url);
        endpoint_write_host(&endpoint, bucket, rows[i].path_style, &w);
        assert_true(bytes_equal(writer_bytes(&w), bytes_of_string(rows[i].host)));
        endpoint_write_path(bucket, bytes_of_string(rows[i].key), rows[i].path_style, &path_w);
        w = writer_of(url, sizeof url);
        endpoint_write_url(
            &endpoint, bucket, rows[i].path_style, writer_bytes(&path_w), bytes_of_string(rows[i].query), &w);
        write_u8(&w, 0);
        assert_false(w.failed);
        assert_string_equal(url, rows[i].url);
    }
}

/* The longest key and bucket fit. */
static void test_longest(void **state)
{
    char path[ENDPOINT_URL_MAX];
    uint8_t key[1024], bucket[255];
    (void)state;
    memset(key, 0xff, sizeof key);
    memset(bucket, 'b', sizeof bucket);
    struct writer w = writer_of(path, sizeof path);
    endpoint_write_path(bytes_of(bucket, sizeof bucket), bytes_of(key, sizeof key), true, &w);
    assert_false(w.failed);
}

static void test_buckets(void **state)
{
    struct endpoint http, https, address;
    (void)state;
    assert_null(endpoint_parse(&http, BYTES("http://example.com")));
    assert_null(endpoint_parse(&https, BYTES("https://example.com")));
    assert_null(endpoint_parse(&address, BYTES("http://127.0.0.1")));
    assert_true(endpoint_can_be_virtual(&http, BYTES("my.bucket")));
    assert_false(endpoint_can_be_virtual(&https, BYTES("my.bucket")));
    assert_true(endpoint_can_be_virtual(&https, BYTES("my-bucket")));
    assert_false(endpoint_can_be_virtual(&https, BYTES("MyBucket")));
    assert_false(endpoint_can_be_virtual(&address, BYTES("bucket")));
    static const char *const good[] = {"b", "my-bucket", "My_Bucket.1"}, *const bad[] = {"", ".", "..", "a/b",
                                                                             "a b", "a?b", "\xc3\xa4"};
    for (size_t i = 0; i < 3; i++)
        assert_true(endpoint_bucket_valid(bytes_of_string(good[i])));
    for (size_t i = 0; i < 7; i++)
        assert_false(endpoint_bucket_valid(bytes_of_string(bad[i])));
}

static void test_base(void **state)
{
    static const struct {
        const char *text, *before, *base; /* base NULL: refused */
    } rows[] = {
        {"http://h", "http://h", ""},
        {"http://h:80/", "http://h:80", ""},
        {"http://h///", "http://h", ""},
        {"https://[::1]:8/a/b/", "https://[::1]:8", "/a/b"},
        {"http://h/a%20b", "http://h", "/a%20b"},
        {"http://h/...", "http://h", "/..."},
        {"nonsense", "nonsense", ""},
        {"http://h/a?q", "", NULL},
        {"http://h/a#f", "", NULL},
        {"http://h/a b", "", NULL},
        {"http://h/a\\b", "", NULL},
        {"http://h/\xc3\xa4", "", NULL},
        {"http://h/a/../b", "", NULL},
        {"http://h/.", "", NULL},
        {"http://h/%2E%2e/x", "", NULL},
        {"http://h/.%2e", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes before, base;
        const char *why = endpoint_find_base(bytes_of_string(rows[i].text), &before, &base);
        if ((why == NULL) != (rows[i].base != NULL))
            fail_msg("%s: %s", rows[i].text, why == NULL ? "taken" : why);
        if (why != NULL)
            continue;
        assert_true(bytes_equal(before, bytes_of_string(rows[i].before)));
        assert_true(bytes_equal(base, bytes_of_string(rows[i].base)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_region),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
