/* What a prewarm over the admin listener asks for, and how a job is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/admin_prewarm.h"
#include "base/clock.h"
#include "base/error.h"

static struct admin_prewarm asked;
static uint8_t body[4096];

static const char *parse(const char *text)
{
    size_t len = strlen(text);
    memcpy(body, text, len);
    return admin_prewarm_parse(&asked, body, len);
}

static void requests(void **state)
{
    (void)state;
    const struct prewarm_order *order = &asked.order;
    assert_null(parse("{\"bucket\": \"b\", \"keys\": [\"a\", \"\\u00e9\", \"a\"]}"));
    assert_true(
        bytes_equal(order->bucket, BYTES("b")) && bytes_equal(order->keys, BYTES("a\0\xc3\xa9\0a\0")));
    assert_int_equal(order->key_count, 3);
    assert_false(order->listed);
    assert_int_equal(order->concurrency, PREWARM_CONCURRENCY_DEFAULT);
    assert_int_equal(order->rate, PREWARM_RATE_DEFAULT);
    assert_null(parse("{\"rate\": 100000, \"concurrency\": 64, \"prefix\": \"p/\", \"bucket\": \"b\"}"));
    assert_true(order->listed && bytes_equal(order->prefix, BYTES("p/")));
    assert_int_equal(order->key_count, 0);
    assert_int_equal(order->concurrency, 64);
    assert_int_equal(order->rate, 100000);
    assert_null(parse("{\"bucket\": \"b\", \"prefix\": \"\", \"rate\": 1, \"concurrency\": 1}"));
    assert_true(order->listed && order->prefix.len == 0 && order->host.len == 0);
    assert_null(parse("{\"bucket\": \"b\", \"keys\": [\"k\"], \"host\": \"h:1\"}"));
    assert_true(bytes_equal(order->host, BYTES("h:1")));
}

/* Beside what tests/e2e/test_prewarm.py sends. */
static void refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "{", "[]", "null", "{} {}", "{}", "{\"bucket\": \"b\"}",
        "{\"prefix\": \"\"}", "{\"bucket\": \"b\", \"bucket\": \"c\", \"prefix\": \"\"}",
        "{\"bucket\": \"b\", \"prefix\": \"a\\u0000b\"}", "{\"bucket\": \"b\", \"keys\": [\"a\\u0000\"]}",
        "{\"bucket\": \"b\", \"keys\": {\"a\": 1}}", "{\"bucket\": \"b\", \"keys\": [[\"a\"]]}",
        "{\"bucket\": \"b\", \"keys\": [], \"prefix\": \"\"}",
        "{\"bucket\": \"b\", \"prefix\": \"\", \"rate\": -1}",
        "{\"bucket\": \"b\", \"prefix\": \"\", \"rate\": 1e3}",
        "{\"bucket\": \"b\", \"prefix\": \"\", \"rate\": 99999999999999999999}",
        "{\"bucket\": \"b\", \"prefix\": \"\xff\"}"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!parse(cases[i]))
            fail_msg("taken: %s", cases[i]);
    assert_string_equal(parse("{\"bucket\": \"b\", \"prefix\": 1}"), "\"prefix\": expected a text");
    assert_string_equal(parse("{\"path\": \"b\"}"),
        "\"path\": unknown; the members are bucket, keys or prefix, host, concurrency, rate");
    assert_string_equal(parse("{\"bucket\": \"b\", \"prefix\": \"\", \"concurrency\": 65}"),
        "\"concurrency\": expected a whole number from 1 to 64");
}

static void expect_job(const struct prewarm_job *job, const char *text)
{
    static char answer[1 << 16];
    struct writer w = writer_of(answer, sizeof answer);
    admin_prewarm_write_job(&w, job);
    write_u8(&w, 0);
    assert_false(w.failed);
    assert_string_equal(answer, text);
}

static void jobs(void **state)
{
    (void)state;
    static struct prewarm_job job = {.id = 7,
        .bucket = "b",
        .listed = true,
        .prefix = {(const uint8_t *)"p/", 2},
        .concurrency = 4,
        .rate = 100,
        .known = 9,
        .under_way = 2,
        .fetched = 3,
        .stored = 2,
        .unstored = 1,
        .fetched_bytes = 300,
        .started_wall_ns = 86400 * NS_PER_S,
        .duration_ns = 1500 * NS_PER_US,
        .code = ""};
    expect_job(&job,
        "{\"id\":7,\"state\":\"working\",\"bucket\":\"b\",\"prefix\":\"p/\",\"concurrency\":4,\"rate\":100,"
        "\"started\":\"1970-01-02T00:00:00.000Z\",\"duration_ms\":1.500,\"keys\":9,\"keys_complete\":false,"
        "\"under_way\":2,\"fetched\":3,\"fetched_bytes\":300,\"stored_before\":2,\"not_stored\":1,\"failed\":"
        "0,"
        "\"failures\":[]}\n");
    job.state = PREWARM_FAILED;
    job.error = E_PROTOCOL;
    job.code = "NoSuchBucket";
    job.listed = false;
    job.all_known = true;
    job.failed = 1;
    job.failures[0].status = 404;
    job.failures[0].key_len = 1;
    job.failures[0].key[0] = 0xff;
    expect_job(&job,
        "{\"id\":7,\"state\":\"failed\",\"bucket\":\"b\",\"concurrency\":4,\"rate\":100,"
        "\"started\":\"1970-01-02T00:00:00.000Z\",\"duration_ms\":1.500,\"keys\":9,\"keys_complete\":true,"
        "\"under_way\":2,\"fetched\":3,\"fetched_bytes\":300,\"stored_before\":2,\"not_stored\":1,\"failed\":"
        "1,"
        "\"failures\":[{\"key\":\"\\u00ff\",\"status\":404}],\"error\":\"the peer broke its "
        "protocol\",\"code\":"
        "\"NoSuchBucket\"}\n");
}

static void refusals(void **state)
{
    (void)state;
    static const int results[] = {
        E_MISSING, E_UNSUPPORTED, E_REFUSED, E_SYNTAX, E_TOO_LARGE, E_EXHAUSTED, E_CANCELED, -12};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        char text[400];
        struct writer w = writer_of(text, sizeof text);
        assert_int_equal(admin_prewarm_write_refusal(&w, results[i]), i < 5 ? 400 : 503);
        assert_false(w.failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(refused),
        cmocka_unit_test(jobs),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
