/* What configurations are taken, and what they become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "origin/origin.h"

struct row {
    struct origin_config config;
    const char *endpoint, *bucket; /* identity; NULL: refused */
};

static void test_configurations(void **state)
{
    static const struct row rows[] = {
        {{.endpoint = "http://127.0.0.1:9000", .bucket = "b"}, "http://127.0.0.1:9000", "b"},
        {{.endpoint = "HTTPS://Minio.Example.com/", .bucket = "b"}, "https://minio.example.com:443", "b"},
        {{.bucket = "b", .region = "eu-west-1", .access_key = "k", .secret_key = "s"},
            "https://s3.eu-west-1.amazonaws.com:443", "b"},
        {{.bucket = "my.bucket", .region = "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com:443",
            "my.bucket"},
        {{.endpoint = "http://h", .bucket = "b", .addressing = ORIGIN_ADDRESS_VIRTUAL}, "http://h:80", "b"},
        {{.endpoint = "file:///srv/data/"}, "file", "/srv/data"},
        {{.endpoint = "file:///"}, "file", "/"},
        {{.endpoint = "", .bucket = "b", .region = "us-east-1"}, "https://s3.us-east-1.amazonaws.com:443",
            "b"},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "http://H:81/base/"}, "http://h:81/base", ""},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "https://h"}, "https://h:443", ""},
        {{.protocol = ORIGIN_PROTOCOL_HTTP}, NULL, NULL},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "file:///srv"}, NULL, NULL},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "http://h/a/../b"}, NULL, NULL},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "http://u@h/a"}, NULL, NULL},
        {{.protocol = ORIGIN_PROTOCOL_HTTP, .endpoint = "http://h", .bucket = "b"}, NULL, NULL},
        {{.bucket = "b"}, NULL, NULL},
        {{.endpoint = "http://h"}, NULL, NULL},
        {{.endpoint = "http://h", .bucket = "a/b"}, NULL, NULL},
        {{.endpoint = "http://h/x", .bucket = "b"}, NULL, NULL},
        {{.endpoint = "file://relative"}, NULL, NULL},
        {{.endpoint = "http://h", .bucket = "b", .access_key = "k"}, NULL, NULL},
        {{.endpoint = "http://h", .bucket = "b", .secret_key = "s"}, NULL, NULL},
        {{.endpoint = "http://h", .bucket = "b", .access_key = "k", .secret_key = "s"}, NULL, NULL},
        {{.endpoint = "http://h", .bucket = "b", .access_key = "k\r\nX: y", .secret_key = "s", .region = "r"},
            NULL, NULL},
        {{.endpoint = "http://h",
             .bucket = "b",
             .access_key = "k",
             .secret_key = "s",
             .region = "r",
             .session_token = "t\n"},
            NULL, NULL},
        {{.endpoint = "https://h", .bucket = "my.b", .addressing = ORIGIN_ADDRESS_VIRTUAL}, NULL, NULL},
        {{.endpoint = "http://127.0.0.1", .bucket = "b", .addressing = ORIGIN_ADDRESS_VIRTUAL}, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin *origin;
        const char *why = NULL;
        int error = origin_create(&origin, &rows[i].config, &why);
        if ((error == 0) != (rows[i].endpoint != NULL))
            fail_msg("row %zu: %s", i, why == NULL ? "taken" : why);
        if (error != 0) {
            assert_non_null(why);
            continue;
        }
        assert_true(bytes_equal(origin_identity_endpoint(origin), bytes_of_string(rows[i].endpoint)));
        assert_true(bytes_equal(origin_identity_bucket(origin), bytes_of_string(rows[i].bucket)));
        origin_destroy(origin);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_configurations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
