/* What a purge over the admin listener asks for, and how it is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/admin_purge.h"
#include "base/error.h"

static struct admin_purge asked;

static void requests(void **state)
{
    (void)state;
    static const struct {
        const char *below, *body, *bucket, *key, *prefix, *tag;
        bool soft;
    } cases[] = {
        {"", "", "", "", "", "", false},
        {"", "  ", "", "", "", "", false},
        {"", "{}", "", "", "", "", false},
        {"/b", "", "b", "", "", "", false},
        {"/b", "{\"prefix\": \"a/\", \"tag\": \"red\", \"soft\": true}", "b", "", "a/", "red", true},
        {"", "{\"tag\": \"red\", \"soft\": false}", "", "", "", "red", false},
        {"/b/k", "{\"soft\": true}", "b", "k", "", "", true},
        {"/b//k/", "", "b", "/k/", "", "", false},
        {"/b", "{\"prefix\": \"\\u00e9\"}", "b", "", "\xc3\xa9", "", false},
        {"/b/k", "{\"host\": \"h\", \"query\": \"q\"}", "b", "k", "", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why =
            admin_purge_parse(&asked, bytes_of_string(cases[i].below), bytes_of_string(cases[i].body));
        if (why)
            fail_msg("%s %s: %s", cases[i].below, cases[i].body, why);
        const struct proxy_purge *purge = &asked.purge;
        assert_true(bytes_equal(purge->bucket, bytes_of_string(cases[i].bucket)));
        assert_true(bytes_equal(purge->key, bytes_of_string(cases[i].key)));
        assert_true(bytes_equal(purge->prefix, bytes_of_string(cases[i].prefix)));
        assert_true(bytes_equal(purge->tag, bytes_of_string(cases[i].tag)));
        assert_int_equal(purge->soft, cases[i].soft);
    }
}

/* Nothing that was misspelt purges more than was meant. */
static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *below, *body;
    } cases[] = {
        {"/", ""},
        {"//k", ""},
        {"/b/", ""},
        {"", "[]"},
        {"", "null"},
        {"", "{"},
        {"", "{} {}"},
        {"", "{\"prefix\": null}"},
        {"", "{\"prefix\": \"\"}"},
        {"", "{\"tag\": [\"a\"]}"},
        {"", "{\"soft\": \"true\"}"},
        {"", "{\"Prefix\": \"a\"}"},
        {"", "{\"prefix\": \"a\", \"prefix\": \"b\"}"},
        {"", "{\"prefix\": \"a\\u0000b\"}"},
        {"/b/k", "{\"prefix\": \"a\"}"},
        {"/b/k", "{\"tag\": \"a\"}"},
        {"/b", "{\"host\": \"h\"}"},
        {"", "{\"query\": \"q\"}"},
        {"/b/k", "{\"host\": \"\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!admin_purge_parse(&asked, bytes_of_string(cases[i].below), bytes_of_string(cases[i].body)))
            fail_msg("taken: %s %s", cases[i].below, cases[i].body);
    static char path[sizeof asked.path + 2];
    memset(path, 'k', sizeof path - 1);
    memcpy(path, "/b/", 3);
    assert_non_null(admin_purge_parse(&asked, bytes_of_string(path), BYTES("")));
}

static void expect(int result, unsigned status, const char *text)
{
    char buf[4096] = {0};
    struct writer w = writer_of(buf, sizeof buf - 1);
    assert_int_equal(admin_purge_write(&w, &asked, result), status);
    assert_false(w.failed);
    assert_string_equal(buf, text);
}

static void answers(void **state)
{
    (void)state;
    assert_null(admin_purge_parse(&asked, BYTES("/b/k"), BYTES("")));
    asked.purge.sequence = 7;
    assert_null(admin_purge_parse(&asked, BYTES("/b/k"), BYTES("{\"host\": \"h\", \"query\": \"q\"}")));
    assert_true(bytes_equal(asked.purge.host, BYTES("h")) && bytes_equal(asked.purge.query, BYTES("q")));
    assert_null(admin_purge_parse(&asked, BYTES("/b/k"), BYTES("")));
    assert_true(asked.purge.host.len == 0 && asked.purge.query.len == 0);
    asked.purge.was_stored = false;
    expect(0, 200,
        "{\"purged\":\"object\",\"bucket\":\"b\",\"key\":\"k\",\"soft\":false,\"sequence\":7,\"durable\":"
        "true}\n");
    asked.purge.is_told = true;
    expect(0, 200,
        "{\"purged\":\"object\",\"bucket\":\"b\",\"key\":\"k\",\"soft\":false,\"stored\":null,"
        "\"sequence\":7,\"durable\":true}\n");
    asked.purge.was_stored = true;
    asked.purge.stored_len = 5;
    memcpy(asked.purge.etag, "\"a\"", 3);
    asked.purge.etag_len = 3;
    expect(0, 200,
        "{\"purged\":\"object\",\"bucket\":\"b\",\"key\":\"k\",\"soft\":false,\"stored\":{\"etag\":"
        "\"\\\"a\\\"\",\"length\":5},\"sequence\":7,\"durable\":true}\n");
    asked.purge.was_stored = false;
    (void)vary_add(&asked.purge.vary, BYTES("X-A"));
    expect(0, 200,
        "{\"purged\":\"object\",\"bucket\":\"b\",\"key\":\"k\",\"soft\":false,\"stored\":null,"
        "\"vary\":\"x-a\",\"sequence\":7,\"durable\":true}\n");
    vary_init(&asked.purge.vary);
    expect(E_SYNTAX, 400,
        "{\"error\":\"Bad Request\",\"message\":\"path, host or query is malformed; the last two are of "
        "generic "
        "HTTP origins only\",\"status\":400}\n");
    assert_null(admin_purge_parse(&asked, BYTES("/b"), BYTES("{\"tag\": \"red\", \"soft\": true}")));
    expect(E_UNSUPPORTED, 503,
        "{\"error\":\"Service Unavailable\",\"message\":\"in force until restart, not "
        "durable\",\"status\":503,"
        "\"purged\":\"bucket\",\"bucket\":\"b\",\"tag\":\"red\",\"soft\":true,\"sequence\":7,\"durable\":"
        "false}\n");
    expect(E_MISSING, 404,
        "{\"error\":\"Not Found\",\"message\":\"no bucket is configured under this name\",\"status\":404}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(refused),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
