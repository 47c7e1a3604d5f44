/* Configurations and what is said about them: every error by its full text, defaults, and what becomes of
 * each key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "app/config.h"
#include "base/clock.h"

/* A configuration that is right; cases add to it. */
#define SERVER "server: {address: 127.0.0.1, port: 8080}\n"
#define BUCKET "buckets: [{name: a, path_prefix: /a, s3: {endpoint: 'file:///tmp'}}]\n"
/* The same with lines of its own: server is line 1, the bucket's s3 line 5, the next line 6. */
#define S3_AT_6 SERVER "buckets:\n- name: a\n  path_prefix: /a\n  s3:\n"
#define S3 "    bucket: b\n    region: r\n" /* lines 6 and 7 */

struct config_case {
    const char *text;
    const char *errors; /* joined by newlines */
};

static void check_case(const struct config_case *test)
{
    struct config_errors errors;
    struct settings *settings;
    char all[8192] = "";
    config_errors_init(&errors);
    int result = config_load(test->text, strlen(test->text), "c", &settings, &errors);
    for (unsigned i = 0; i < errors.count; i++) {
        size_t len = strlen(all);
        (void)snprintf(all + len, sizeof all - len, "%s%s", i ? "\n" : "", config_errors_line(&errors, i));
    }
    if (strcmp(all, test->errors) != 0)
        print_message("---- text:\n%s---- errors:\n%s\n", test->text, all);
    assert_string_equal(all, test->errors);
    assert_int_equal(result < 0, test->errors[0] != 0);
    assert_int_equal(settings != NULL, result == 0);
    config_free(settings);
    config_errors_deinit(&errors);
}

#define CHECK_CASES(table)                                                                                   \
    for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)                                             \
    check_case(&(table)[i])

static void test_yaml(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {SERVER BUCKET, ""},
        {"", "c:1: server: required and missing: expected a mapping\n"
             "c:1: buckets: required and missing: expected a list of mappings"},
        {"- a\n", "c:1: expected a mapping of keys such as server and buckets"},
        {SERVER BUCKET "---\na: b\n", "c:3: expected one document: a second one begins here"},
        {SERVER BUCKET "io: &x auto\n", "c:3: anchors (&x) are not supported"},
        {SERVER BUCKET "io: *x\n", "c:3: aliases (*x) are not supported"},
        {SERVER BUCKET "io: !!str auto\n", "c:3: tags (tag:yaml.org,2002:str) are not supported"},
        {SERVER BUCKET "[a]: b\n", "c:3: expected a key that is a plain word"},
        {SERVER BUCKET "io: 'auto\n",
            "c:4: not valid YAML: found unexpected end of stream, while scanning a quoted scalar (column 1)"},
        {SERVER "\tio: auto\n",
            "c:2: not valid YAML: found character that cannot start any token, while scanning "
            "for the next token (column 1)"},
        {SERVER BUCKET "io: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", "c:3: nested too deeply"},
        {SERVER BUCKET "io: \"a\\0b\"\n", "c:3: a value must not contain a NUL"},
    };
    CHECK_CASES(table);
}

static void test_keys(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {SERVER BUCKET "cahce: {}\n", "c:3: cahce: unknown key: did you mean cache?"},
        {SERVER BUCKET "cache: {max_cache_size_mb: 5}\n",
            "c:3: cache.max_cache_size_mb: unknown key: did you mean cache.memory.max_cache_size_mb?"},
        {SERVER BUCKET "zzzzzzzz: 1\n", "c:3: zzzzzzzz: unknown key"},
        {SERVER BUCKET "io: auto\nio: uring\n", "c:4: io: given twice (first in line 3)"},
        {SERVER BUCKET SERVER, "c:3: server: given twice (first in line 1)"},
        {"server: {address: 127.0.0.1}\n" BUCKET,
            "c:1: server.port: required and missing: expected an integer from 1 to 65535"},
        {"server: {port: 80}\n" BUCKET,
            "c:1: server.address: required and missing: expected an IP address, or IP:port"},
        {"server:\n" BUCKET, "c:1: server: required and missing: expected a mapping"},
        {"server: 5\n" BUCKET, "c:1: server: expected a mapping"},
        {SERVER "buckets: {}\n", "c:2: buckets: expected a list of mappings"},
        {SERVER "buckets: []\n", "c:2: buckets: expected at least one bucket"},
        {SERVER "buckets: [5]\n", "c:2: buckets[0]: expected a mapping"},
        {SERVER "buckets: [{}]\n",
            "c:2: buckets[0].name: required and missing: expected a text that is not empty\n"
            "c:2: buckets[0].path_prefix: required and missing: expected a path that starts with / and "
            "has no . or .. segment\n"
            "c:2: buckets[0].s3: required and missing: expected s3 or http, a mapping"},
        {SERVER "buckets: [{name: a, path_prefix: /a, s3: ~}]\n",
            "c:2: buckets[0].s3: required and missing: expected s3 or http, a mapping"},
        {SERVER "buckets: [{name: a, path_prefix: /a, s3: 5}]\n", "c:2: buckets[0].s3: expected a mapping"},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {}}]\n",
            "c:2: buckets[0].http.endpoint: required and missing: expected http://host[:port][/path] or "
            "https://host[:port][/path]"},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'http://h/b'}, s3: {bucket: b, "
                "region: r}}]\n",
            "c:2: buckets[0].http: expected either s3 or http, found both"},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'file:///x'}}]\n",
            "c:2: buckets[0].http.endpoint: expected http://host[:port][/path] or "
            "https://host[:port][/path], "
            "found \"file:///x\""},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'http://h/a/../b'}}]\n",
            "c:2: buckets[0].http.endpoint: the endpoint's path has a dot segment"},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'http://h', ca_file: /x}}]\n",
            "c:2: buckets[0].http.ca_file: expected only beside an https endpoint"},
        {SERVER
            "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'http://h', query: {drop: [a, a]}}}]\n",
            "c:2: buckets[0].http.query.drop: expected a list of different texts, found something else, or "
            "the same "
            "twice"},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'http://h', forwarded: yes}}]\n",
            "c:2: buckets[0].http.forwarded: expected x-forwarded, forwarded or off, found \"yes\""},
        {SERVER "buckets: [{name: a, path_prefix: /a, http: {endpoint: 'https://h:1/b/', ca_file: /x, "
                "forwarded: off, "
                "preserve_host: true, query: {sort: true, drop: [a, 'b*']}}}]\n",
            ""},
        {SERVER BUCKET "metrics: {port: 9}\n",
            "c:3: metrics: are on the admin listener: admin.address and admin.port"},
        {SERVER BUCKET "admin: {events: {sns_topic: x}}\n",
            "c:3: admin.events.sns_topic: unknown key: did you mean sns_topics?"},
        {SERVER BUCKET "admin: {events: {sns_topics: ['arn:aws:sqs:us-east-1:123456789012:q']}}\n",
            "c:3: admin.events.sns_topics: expected arn:aws:sns:REGION:ACCOUNT:NAME, also of aws-cn or "
            "aws-us-gov"},
        {SERVER BUCKET "admin: {events: {sns_topics: ['arn:aws:sns:us-east-1:123456789012:t'], "
                       "sns_intermediates: /x}}\n",
            ""},
        {SERVER BUCKET "shutdown: 5\n", "c:3: shutdown: belongs to server.shutdown_timeout"},
        {SERVER BUCKET "limits: 5\n",
            "c:3: limits: belong to server.security_limits and server.max_connections"},
        {SERVER BUCKET "cache:\nadmin:\nlogging: ~\n", ""},
    };
    CHECK_CASES(table);
}

static void test_values(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {"server: {address: localhost, port: 80}\n" BUCKET,
            "c:1: server.address: expected an IP address, or IP:port, found \"localhost\""},
        {"server: {address: '0.0.0.0:8080'}\n" BUCKET, ""},
        {"server: {address: '[::1]:8080'}\n" BUCKET, ""},
        {"server: {address: '::1', port: 8080}\n" BUCKET, ""},
        {"server: {address: '1.2.3.4:70000'}\n" BUCKET,
            "c:1: server.address: expected an IP address, or IP:port, found \"1.2.3.4:70000\""},
        {"server: {address: '1.2.3.4:81', port: 80}\n" BUCKET,
            "c:1: server.port: expected 81, as in the address, or no port there"},
        {"server: {address: 1.2.3.4, port: 0}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found \"0\""},
        {"server: {address: 1.2.3.4, port: '80'}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found a text in quotes"},
        {"server: {address: 1.2.3.4, port: [80]}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found a list"},
        {"server: {address: 1.2.3.4, port: {}}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found a mapping"},
        {"server: {address: 1.2.3.4, port: 8x}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found \"8x\""},
        {"server: {address: 1.2.3.4, port: -1}\n" BUCKET,
            "c:1: server.port: expected an integer from 1 to 65535, found \"-1\""},
        {"server: {address: 1.2.3.4, port: 9090}\n" BUCKET "admin: {address: 1.2.3.4}\n",
            "c: admin.port: expected another port than the server's (9090)"},
        {"server: {address: 0.0.0.0, port: 9090}\n" BUCKET,
            "c: admin.port: expected another port than the server's (9090)"},
        {"server: {address: 1.2.3.4, port: 80, request_timeout: 0}\n" BUCKET,
            "c:1: server.request_timeout: expected a time from 1 to 3600 seconds (as 30, 30s, 500ms, 5m or "
            "1h), found \"0\""},
        {"server: {address: 1.2.3.4, port: 80, request_timeout: 2m}\n" BUCKET, ""},
        {"server: {address: 1.2.3.4, port: 80, request_timeout: 2d}\n" BUCKET,
            "c:1: server.request_timeout: expected a time from 1 to 3600 seconds (as 30, 30s, 500ms, 5m or "
            "1h), found \"2d\""},
        {"server: {address: 1.2.3.4, port: 80, coalescing: {enabled: false}}\n" BUCKET,
            "c:1: server.coalescing.enabled: expected true: one fetch for the same bytes can't be switched "
            "off"},
        {"server: {address: 1.2.3.4, port: 80, coalescing: {enabled: yes, strategy: "
         "wait_for_complete}}\n" BUCKET,
            "c:1: server.coalescing.enabled: expected true or false, found \"yes\""},
        {"server: {address: 1.2.3.4, port: 80, coalescing: {strategy: none}}\n" BUCKET,
            "c:1: server.coalescing.strategy: expected streaming or wait_for_complete, found \"none\""},
        {SERVER BUCKET "io: epoll\n", "c:3: io: expected auto, uring or portable, found \"epoll\""},
        {SERVER BUCKET "cache: {chunk_size_kb: 100}\n",
            "c:3: cache.chunk_size_kb: expected a power of two: 64, 128, 256, 512 or 1024"},
        {SERVER BUCKET "cache: {disk: {expected_item_size: 1TiB}}\n",
            "c:3: cache.disk.expected_item_size: expected a size from 512 to 1073741824 bytes (as 65536, "
            "64KiB or 1MiB), found "
            "\"1TiB\""},
        {SERVER BUCKET "logging: {level: trace}\n",
            "c:3: logging.level: expected error, warn, info or debug, found \"trace\""},
        {SERVER BUCKET "logging: {output: ''}\n", "c:3: logging.output: expected a path, found \"\""},
    };
    CHECK_CASES(table);
}

static void test_buckets(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {S3_AT_6 S3, ""},
        {SERVER "buckets:\n- {name: a, path_prefix: /a, s3: {endpoint: 'file:///a'}}\n"
                "- {name: a, path_prefix: /a/, s3: {endpoint: 'file:///b'}}\n",
            "c:4: buckets[1].name: expected to be unique: buckets[0] has \"a\" too\n"
            "c:4: buckets[1].path_prefix: expected to be unique: buckets[0] has \"/a\" too"},
        {SERVER "buckets: [{name: a, path_prefix: a, s3: {endpoint: 'file:///a'}}]\n",
            "c:2: buckets[0].path_prefix: expected a path that starts with / and has no . or .. segment, "
            "found \"a\""},
        {SERVER "buckets: [{name: a, path_prefix: /a/../b, s3: {endpoint: 'file:///a'}}]\n",
            "c:2: buckets[0].path_prefix: expected a path that starts with / and has no . or .. segment, "
            "found \"/a/../b\""},
        {SERVER "buckets: [{name: '', path_prefix: /, s3: {endpoint: 'file:///a'}}]\n",
            "c:2: buckets[0].name: expected a text that is not empty, found \"\""},
        {SERVER "buckets: [{name: a, path_prefix: /, s3: {endpoint: 'ftp://x'}}]\n",
            "c:2: buckets[0].s3.endpoint: expected http://host[:port], https://host[:port] or "
            "file:///folder, found \"ftp://x\""},
        {SERVER "buckets: [{name: a, path_prefix: /, s3: {endpoint: 'http://u:p@x', bucket: b}}]\n",
            "c:2: buckets[0].s3.endpoint: expected http://host[:port], https://host[:port] or "
            "file:///folder, found "
            "\"http://u:p@x\""},
        {S3_AT_6 "    bucket: b\n", "c:3: buckets[0].s3.region: required where no endpoint is given: "
                                    "expected a region such as eu-central-1"},
        {S3_AT_6 "    region: b\n",
            "c:3: buckets[0].s3.bucket: required and missing: expected the name of a bucket"},
        {S3_AT_6 S3 "    access_key: k\n",
            "c:8: buckets[0].s3.secret_key: missing secret: expected beside access_key"},
        {S3_AT_6 S3 "    access_key: k\n    secret_key: ''\n",
            "c:8: buckets[0].s3.secret_key: missing secret: expected beside access_key"},
        {S3_AT_6 S3 "    secret_key: k\n",
            "c:8: buckets[0].s3.access_key: missing secret: expected beside secret_key"},
        {S3_AT_6 S3 "    session_token: k\n",
            "c:8: buckets[0].s3.access_key: missing secret: expected beside session_token"},
        {S3_AT_6 S3 "    ca_file: /x\n    endpoint: http://h\n",
            "c:8: buckets[0].s3.ca_file: expected only beside an https endpoint"},
        {S3_AT_6 S3 "    retry: {initial_backoff_ms: 50, max_backoff_ms: 10}\n",
            "c:8: buckets[0].s3.retry.initial_backoff_ms: expected at most max_backoff_ms (10)"},
        {SERVER "buckets:\n- {name: a, path_prefix: /a, s3: {endpoint: 'http://h:1', bucket: x, access_key: "
                "k, secret_key: s}}\n"
                "- {name: b, path_prefix: /b, s3: {endpoint: 'http://h:1', bucket: x, access_key: k, "
                "secret_key: t}}\n"
                "- {name: d, path_prefix: /d, s3: {endpoint: 'http://h:1', bucket: y, access_key: k, "
                "secret_key: t}}\n",
            "c:4: buckets[1].s3: expected the same credentials as buckets[0], which is the same bucket at "
            "the same endpoint"},
        {SERVER "buckets:\n- {name: a, path_prefix: /a, s3: {endpoint: 'http://h:1', bucket: x, access_key: "
                "k, secret_key: s}}\n"
                "- {name: b, path_prefix: /b, s3: {endpoint: 'http://h:1', bucket: x, access_key: k, "
                "secret_key: s}}\n",
            ""},
    };
    CHECK_CASES(table);
}

static void test_secrets_are_not_shown(void **state)
{
    (void)state;
    setenv("TEST_SECRET", "hunter2", 1);
    setenv("TEST_EMPTY", "", 1);
    setenv("TEST_PORT", "8081", 1);
    unsetenv("TEST_UNSET");
    static const struct config_case table[] = {
        {SERVER BUCKET "admin: {token: short}\n",
            "c:3: admin.token: expected a text of at least 8 characters"},
        {SERVER BUCKET "admin: {token: ''}\n", "c:3: admin.token: expected a text of at least 8 characters"},
        {SERVER BUCKET "admin: {token: }\n",
            "c:3: admin.token: expected a secret, found nothing: leave the key out if none is meant"},
        {SERVER BUCKET "admin: {token: '${TEST_EMPTY}'}\n",
            "c:3: admin.token: expected a secret, found an empty variable"},
        {SERVER BUCKET "admin: {token: '${TEST_SECRET}'}\n",
            "c:3: admin.token: expected a text of at least 8 characters"},
        {SERVER BUCKET "io: ${TEST_SECRET}\n", "c:3: io: expected auto, uring or portable"},
        {SERVER BUCKET "admin: {token: '${TEST_UNSET}'}\n",
            "c:3: admin.token: expected the environment variable TEST_UNSET to be set"},
        {S3_AT_6 S3 "    access_key: k\n    secret_key: ${TEST_UNSET}\n",
            "c:9: buckets[0].s3.secret_key: expected the environment variable TEST_UNSET to be set"},
        {S3_AT_6 S3 "    access_key: ${TEST_EMPTY}\n    secret_key: ${TEST_EMPTY}\n",
            "c:8: buckets[0].s3.access_key: expected a secret, found an empty variable\n"
            "c:9: buckets[0].s3.secret_key: expected a secret, found an empty variable"},
        {SERVER BUCKET "io: ${lower}\n",
            "c:3: io: expected ${NAME} with a name of A-Z, 0-9 and _ that begins with no digit"},
        {SERVER BUCKET "jwt: {enabled: false, secret: '${TEST_UNSET}'}\n",
            "c:3: jwt.secret: expected the environment variable TEST_UNSET to be set"},
        {"server: {address: 127.0.0.1, port: ${TEST_PORT}}\n" BUCKET,
            "c:1: not valid YAML: did not find expected ',' or '}', while parsing a flow mapping (column "
            "37)"},
        {"server: {address: 127.0.0.1, port: '${TEST_PORT}'}\n" BUCKET, ""},
        {"server:\n  address: 127.0.0.1\n  port: ${TEST_PORT}\n" BUCKET, ""},
    };
    CHECK_CASES(table);
}

static void test_features_that_are_off(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {SERVER BUCKET "jwt: {enabled: false, secret: x, claims: [{claim: a, operator: b, value: d}]}\n", ""},
        {SERVER BUCKET "jwt: {enabled: false, secert: x}\n",
            "c:3: jwt.secert: unknown key: did you mean secret?"},
        {SERVER BUCKET "jwt: {enabled: false, claims: [{claims: a}]}\n",
            "c:3: jwt.claims[0].claims: unknown key: did you mean claim?"},
        {SERVER BUCKET "jwt: {enabled: true}\n",
            "c:3: jwt: not built yet: jwt (leave it out, or `enabled: false`)"},
        {SERVER BUCKET "jwt: {secret: x}\n",
            "c:3: jwt: not built yet: jwt (leave it out, or `enabled: false`)"},
        {SERVER BUCKET "jwt: {}\n", "c:3: jwt: not built yet: jwt (leave it out, or `enabled: false`)"},
        {SERVER BUCKET "jwt: on\n", "c:3: jwt: not built yet: jwt (leave it out, or `enabled: false`)"},
        {SERVER BUCKET "jwt: ~\n", ""},
        {S3_AT_6 S3 "  auth: {enabled: false}\n", ""},
        {S3_AT_6 S3 "  auth: {enabled: 'false'}\n",
            "c:8: buckets[0].auth: not built yet: buckets[0].auth (leave it out, or `enabled: false`)"},
        {S3_AT_6 S3 "  auth: {enabled: false, jwt: {secret: x}}\n",
            "c:8: buckets[0].auth.jwt: belongs at the top of the file, as `jwt`; here it would leave the "
            "bucket open"},
        {S3_AT_6 S3 "  auth:\n    jwt: {secret: x}\n",
            "c:9: buckets[0].auth.jwt: belongs at the top of the file, as `jwt`; here it would leave the "
            "bucket open\n"
            "c:9: buckets[0].auth: not built yet: buckets[0].auth (leave it out, or `enabled: false`)"},
        {S3_AT_6 S3 "    circuit_breaker: {failure_threshold: 5}\n",
            "c:8: buckets[0].s3.circuit_breaker: not built yet: buckets[0].s3.circuit_breaker (leave it out, "
            "or empty)"},
        {S3_AT_6 S3 "    circuit_breaker: ~\n    replicas: []\n    rate_limit:\n", ""},
        {S3_AT_6 S3 "    replicas: [{name: x}]\n",
            "c:8: buckets[0].s3.replicas: not built yet: buckets[0].s3.replicas (leave it out, or empty)"},
        {S3_AT_6 S3 "  ip_filter: {allowlist: [], blocklist: []}\n", ""},
        {S3_AT_6 S3 "  ip_filter: {allowlist: [], blocklist: [10.0.0.0/8]}\n",
            "c:8: buckets[0].ip_filter.blocklist: not built yet: buckets[0].ip_filter.blocklist (leave it "
            "out, or empty)"},
        {S3_AT_6 S3 "  authorization: {type: opa}\n", "c:8: buckets[0].authorization: not built yet: "
                                                      "buckets[0].authorization (leave it out, or empty)"},
        {S3_AT_6 S3 "  watermark: {rules: [{pattern: '*', watermarks: [{type: text, txet: x}]}]}\n",
            "c:8: buckets[0].watermark.rules[0].watermarks[0].txet: unknown key: did you mean text?"},
        {SERVER BUCKET "audit_log: {enabled: false, file: {path: /x}}\nimage_optimization: {max_width: 5}\n",
            ""},
        {SERVER BUCKET "observability: {tracing: {enabled: false}, request_logging: {log_requests: false, "
                       "redact_headers: [a]}, "
                       "slow_query: {threshold_ms: 5}}\n",
            ""},
        {SERVER BUCKET
            "observability: {request_logging: {log_requests: true}, slow_query: {enabled: true}}\n",
            "c:3: observability.request_logging.log_requests: not built yet: "
            "observability.request_logging.log_requests (leave "
            "it out, or empty)\n"
            "c:3: observability.slow_query: not built yet: observability.slow_query (leave it out, or "
            "`enabled: false`)"},
        {SERVER BUCKET "https: {port: 443}\n", "c:3: https: not built yet: https (leave it out, or empty)"},
        {SERVER BUCKET "cache: {redis: {enabled: true}}\n",
            "c:3: cache.redis: not built yet: cache.redis (leave it out, or `enabled: false`)"},
        {SERVER BUCKET "cache: {cache_layers: [memory, redis]}\n",
            "c:3: cache.cache_layers: not built yet: cache.cache_layers: redis"},
        {"server: {address: 1.1.1.1, port: 80, rate_limit: {enabled: true, global: {requests_per_second: "
         "5}}}\n" BUCKET,
            "c:1: server.rate_limit: not built yet: server.rate_limit (leave it out, or `enabled: false`)"},
    };
    CHECK_CASES(table);
}

static void test_cache(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {SERVER BUCKET "cache: {enabled: true, cache_layers: []}\n",
            "c:3: cache.cache_layers: expected at least one of memory and disk"},
        {SERVER BUCKET "cache: {enabled: true, cache_layers: [memory, memory]}\n",
            "c:3: cache.cache_layers: expected a list of different words out of memory, disk or redis, found "
            "another word or "
            "the same twice"},
        {SERVER BUCKET "cache: {enabled: true, cache_layers: memory}\n",
            "c:3: cache.cache_layers: expected a list of different words out of memory, disk or redis, found "
            "\"memory\""},
        {SERVER BUCKET "cache: {enabled: true, cache_layers: [memory, disk], disk: {enabled: false}}\n",
            "c:3: cache.disk.enabled: expected true, because cache.cache_layers names disk"},
        {SERVER BUCKET "cache: {enabled: true, cache_layers: [memory], disk: {enabled: true}}\n",
            "c:3: cache.cache_layers: expected to name disk, because cache.disk.enabled is true"},
        {SERVER BUCKET "cache: {disk: {cache_dir: /x, devices: [{path: /y, size_mb: 100}]}}\n",
            "c:3: cache.disk.devices: expected either devices or cache_dir with max_disk_cache_size_mb"},
        {SERVER BUCKET "cache: {disk: {devices: [{path: /y, size_mb: 100}, {path: /y, size_mb: 100}]}}\n",
            "c:3: cache.disk.devices[1].path: expected to be unique: devices[0] has it too"},
        {SERVER BUCKET "cache: {disk: {devices: [{path: /y}]}}\n",
            "c:3: cache.disk.devices[0].size_mb: required and missing: expected an integer from 64 to "
            "1073741824"},
        {SERVER BUCKET "cache: {memory: {max_cache_size_mb: 1}}\n",
            "c:3: cache.memory.max_cache_size_mb: expected an integer from 16 to 16777216, found \"1\""},
    };
    CHECK_CASES(table);
}

#define HTTP_CACHE_AT_7                                                                                      \
    SERVER "buckets:\n- name: a\n  path_prefix: /a\n  http: {endpoint: 'http://h'}\n  cache:\n"
#define STATUS(n) "{status: " #n ", ttl_seconds: 1}"
#define STATUSES_7                                                                                           \
    STATUS(400)                                                                                              \
    "," STATUS(401) "," STATUS(402) "," STATUS(403) "," STATUS(404) "," STATUS(405) "," STATUS(406)
#define STATUSES_15 STATUSES_7 ",\n" STATUSES_7 ",\n" STATUS(407) /* too many is all that is said */

static void test_statuses(void **state)
{
    (void)state;
    static const struct config_case table[] = {
        {HTTP_CACHE_AT_7 "    status_ttl: [" STATUS(404) "," STATUS(404) "]\n",
            "c:7: buckets[0].cache.status_ttl[1].status: expected to be unique: status_ttl[0] has 404 too"},
        {HTTP_CACHE_AT_7 "    status_ttl: [" STATUSES_15 "]\n",
            "c:9: buckets[0].cache.status_ttl: expected at most 14 statuses"},
        {HTTP_CACHE_AT_7 "    rules: [{pattern: a, status_ttl: 5}]\n",
            "c:7: buckets[0].cache.rules[0].status_ttl: expected a list of mappings"},
        {HTTP_CACHE_AT_7 "    rules: [{pattern: a, status_ttl: [{status: 200, ttl: 5}]}]\n",
            "c:7: buckets[0].cache.rules[0].status_ttl[0].status: expected an integer from 300 to 599, found "
            "\"200\"\n"
            "c:7: buckets[0].cache.rules[0].status_ttl[0].ttl: unknown key\n"
            "c:7: buckets[0].cache.rules[0].status_ttl[0].ttl_seconds: required and missing: expected an "
            "integer from 0 to 4294967295"},
        {HTTP_CACHE_AT_7 "    rules:\n    - pattern: a\n    - pattern: b\n      status_ttl:\n      - " STATUS(
             500) "\n      - " STATUS(500) "\n",
            "c:12: buckets[0].cache.rules[1].status_ttl[1].status: expected to be unique: status_ttl[0] has "
            "500 too"},
        {HTTP_CACHE_AT_7 "    rules: [{pattern: a, status_ttl: [" STATUSES_15 "]}]\n",
            "c:9: buckets[0].cache.rules[0].status_ttl: expected at most 14 statuses"},
    };
    CHECK_CASES(table);
}

static struct settings *load(const char *text)
{
    struct config_errors errors;
    struct settings *settings;
    config_errors_init(&errors);
    int result = config_load(text, strlen(text), "c", &settings, &errors);
    if (result < 0)
        print_message("%s\n", config_errors_line(&errors, 0));
    assert_int_equal(result, 0);
    config_errors_deinit(&errors);
    return settings;
}

static void test_defaults(void **state)
{
    (void)state;
    struct settings *s = load(SERVER BUCKET);
    assert_string_equal(s->server.host, "127.0.0.1");
    assert_int_equal(s->server.port, 8080);
    assert_true(s->server.threads >= 1);
    assert_int_equal(s->server.first_byte_timeout_ns, 30 * NS_PER_S);
    assert_int_equal(s->server.max_concurrent_requests, 1000);
    assert_int_equal(s->server.max_connections, 10000);
    assert_int_equal(s->server.max_body_bytes, 10485760);
    assert_int_equal(s->server.max_header_bytes, 65536);
    assert_int_equal(s->server.max_target_bytes, 8192);
    assert_int_equal(s->server.shutdown_timeout_ns, 30 * NS_PER_S);
    assert_int_equal(s->bucket_count, 1);
    assert_string_equal(s->buckets[0].name, "a");
    assert_string_equal(s->buckets[0].path_prefix, "/a");
    assert_false(s->buckets[0].caching.enabled);
    assert_true(s->buckets[0].max_item_bytes == UINT64_MAX);
    assert_int_equal(s->buckets[0].origin.max_attempts, 3);
    assert_int_equal(s->buckets[0].origin.initial_backoff_ns, 100 * NS_PER_MS);
    assert_int_equal(s->buckets[0].origin.max_backoff_ns, NS_PER_S);
    assert_int_equal(s->buckets[0].origin.first_byte_timeout_ns, 20 * NS_PER_S);
    assert_int_equal(s->buckets[0].origin.connection_pool_size, 50);
    assert_false(s->cache.enabled || s->cache.memory || s->cache.disk);
    assert_int_equal(s->cache.chunk_bytes, 256 << 10);
    assert_string_equal(s->admin.host, "127.0.0.1");
    assert_int_equal(s->admin.port, 9090);
    assert_null(s->admin.token);
    assert_int_equal(s->logging.level, LOG_INFO);
    assert_string_equal(s->logging.output, "stderr");
    assert_string_equal(s->logging.access, "stdout");
    assert_int_equal(s->io, IO_AUTO);
    assert_string_equal(
        config_notes(s)->text, "no key `cache`: nothing is cached, everything passes through");
    config_free(s);
}

static void test_values_in_force(void **state)
{
    (void)state;
    struct settings *s = load(
        "server: {address: '[::1]:99', threads: 3, shutdown_timeout: 500ms}\n"
        "io: portable\n"
        "admin: {address: '0.0.0.0:98', token: 12345678}\n"
        "logging: {level: debug, output: off, access: /var/log/x}\n"
        "buckets:\n"
        "- name: a\n  path_prefix: /a//\n"
        "  s3: {bucket: b, region: r, access_key: k, secret_key: s, session_token: t, addressing: path}\n"
        "  cache: {ttl_seconds: 0, max_item_size_mb: 2, tag_field: x-amz-meta-tags}\n"
        "- name: b\n  path_prefix: /\n  s3: {endpoint: 'http://[::1]:9', bucket: x}\n"
        "  cache: {enabled: false}\n"
        "cache:\n  enabled: true\n  chunk_size_kb: 512\n"
        "  memory: {max_cache_size_mb: 32, max_item_size_mb: 3, default_ttl_seconds: 7}\n"
        "  disk: {enabled: true, cache_dir: /c, max_disk_cache_size_mb: 100, admission: second_request,\n"
        "    write_budget_mb_s: 5, write_buffer_mb: 9, expected_item_size: 4KiB,\n"
        "    sendfile: {enabled: true}}\n");
    assert_string_equal(s->server.host, "::1");
    assert_int_equal(s->server.port, 99);
    assert_int_equal(s->server.threads, 3);
    assert_int_equal(s->server.shutdown_timeout_ns, 500 * NS_PER_MS);
    assert_int_equal(s->io, IO_PORTABLE);
    assert_int_equal(s->admin.port, 98);
    assert_string_equal(s->admin.token, "12345678");
    assert_int_equal(s->logging.level, LOG_DEBUG);
    assert_string_equal(s->logging.output, "off");
    assert_string_equal(s->buckets[0].path_prefix, "/a");
    assert_true(s->buckets[0].caching.enabled && s->buckets[0].caching.ttl_s == 0);
    assert_int_equal(s->buckets[0].max_item_bytes, 2 << 20);
    assert_string_equal(s->buckets[0].tag_field, "x-amz-meta-tags");
    assert_null(s->buckets[1].tag_field);
    assert_string_equal(s->buckets[0].origin.session_token, "t");
    assert_int_equal(s->buckets[0].origin.addressing, ORIGIN_ADDRESS_PATH);
    assert_string_equal(s->buckets[1].path_prefix, "/");
    assert_true(!s->buckets[1].caching.enabled && s->buckets[1].caching.ttl_s == 7);
    assert_string_equal(s->buckets[1].origin.region, "us-east-1");
    assert_true(s->cache.enabled && s->cache.memory && s->cache.disk);
    assert_int_equal(s->cache.memory_bytes, 32 << 20);
    assert_int_equal(s->cache.memory_item_bytes, 3 << 20);
    assert_int_equal(s->cache.chunk_bytes, 512 << 10);
    assert_string_equal(s->cache.disk_directory, "/c");
    assert_int_equal(s->cache.disk_config.device_count, 1);
    assert_string_equal(s->cache.disk_config.devices[0].path, "/c/yatagarasu.cache");
    assert_int_equal(s->cache.disk_config.devices[0].size_bytes, 100 << 20);
    assert_int_equal(s->cache.disk_config.admission, DISK_ADMIT_SECOND_REQUEST);
    assert_int_equal(s->cache.disk_config.write_budget_bytes_s, 5 << 20);
    assert_int_equal(s->cache.disk_config.write_buffer_bytes, 9 << 20);
    assert_int_equal(s->cache.disk_config.expected_item_bytes, 4096);
    assert_string_equal(config_notes(s)->text, "cache.disk.sendfile.enabled: accepted, has no effect (yet)");
    assert_null(config_notes(s)->next);
    config_free(s);
}

/* A rule's time for a status, then the bucket's, then what an S3 bucket has anyway. */
static void test_times_by_status(void **state)
{
    (void)state;
    struct settings *s = load(SERVER
        "buckets:\n- name: a\n  path_prefix: /a\n  s3: {endpoint: 'file:///a'}\n  cache:\n"
        "    status_ttl: [{status: 404, ttl_seconds: 1}, {status: 500, ttl_seconds: 2}]\n    rules:\n"
        "    - {pattern: a, status_ttl: [{status: 500, ttl_seconds: 0}, {status: 403, ttl_seconds: 3}]}\n"
        "    - {pattern: b, status_ttl: []}\n");
    static const struct {
        unsigned status;
        int64_t bucket, rule;
    } table[] = {{403, DELTA_SECONDS_NONE, 3}, {404, 1, 1}, {410, 10, 10}, {500, 2, 0}};
    const struct bucket_settings *bucket = &s->buckets[0];
    assert_int_equal(bucket->caching_rule_count, 2);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        unsigned status = table[i].status;
        assert_int_equal(caching_status_ttl(&bucket->caching, status), table[i].bucket);
        assert_int_equal(caching_status_ttl(&bucket->caching_rules[0].caching, status), table[i].rule);
        assert_int_equal(caching_status_ttl(&bucket->caching_rules[1].caching, status), table[i].bucket);
    }
    config_free(s);
}

/* What a variable holds is text: it can't add keys, is no null and is not searched again. */
static void test_variables_are_text(void **state)
{
    (void)state;
    setenv("TEST_A", "x\n  port: 1", 1);
    setenv("TEST_B", "~", 1);
    setenv("TEST_C", "${TEST_B}", 1);
    struct settings *s = load(SERVER "buckets: [{name: '${TEST_B}${TEST_B}', path_prefix: '/${TEST_C}',\n"
                                     "  s3: {endpoint: 'file:///a'}}]\nlogging: {access: $HOME}\n");
    assert_string_equal(s->buckets[0].name, "~~");
    assert_string_equal(s->buckets[0].path_prefix, "/${TEST_B}");
    assert_string_equal(s->logging.access, "$HOME");
    config_free(s);
    check_case(&(struct config_case){SERVER BUCKET "logging:\n  level: ${TEST_A}\n",
        "c:4: logging.level: expected error, warn, info or debug"});
}

static void test_many_errors_are_bounded(void **state)
{
    (void)state;
    static char text[40000];
    size_t len = 0;
    for (int i = 0; i < 1000; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "zzzzzzz%d: 1\n", i);
    struct config_errors errors;
    struct settings *settings;
    config_errors_init(&errors);
    assert_true(config_load(text, len, "c", &settings, &errors) < 0);
    assert_int_equal(errors.count, 1002);
    assert_non_null(config_errors_line(&errors, CONFIG_ERRORS_MAX - 1));
    assert_null(config_errors_line(&errors, CONFIG_ERRORS_MAX));
    config_errors_deinit(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_secrets_are_not_shown),
        cmocka_unit_test(test_features_that_are_off),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values_in_force),
        cmocka_unit_test(test_times_by_status),
        cmocka_unit_test(test_variables_are_text),
        cmocka_unit_test(test_many_errors_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
