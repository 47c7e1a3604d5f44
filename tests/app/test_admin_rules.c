/* Who may have what on the admin listener. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/admin_rules.h"

struct rules_case {
    const char *token;
    bool loopback;
    enum http_method method;
    const char *target, *host, *authorization, *content_type;
    enum admin_page page;
    unsigned status;
    const char *allow;
};

static const char json[] = "application/json";

#define OPEN NULL, true
#define REMOTE NULL, false
#define TOKEN "secret-token", false

static const struct rules_case table[] = {
    /* open on whatever address */
    {REMOTE, HTTP_GET, "/health", "evil", NULL, NULL, ADMIN_PAGE_HEALTH, 0, NULL},
    {REMOTE, HTTP_GET, "/ready?x=1", "evil", NULL, NULL, ADMIN_PAGE_READY, 0, NULL},
    {REMOTE, HTTP_HEAD, "/metrics", "evil", NULL, NULL, ADMIN_PAGE_METRICS, 0, NULL},
    {TOKEN, HTTP_GET, "/metrics", "evil", NULL, NULL, ADMIN_PAGE_METRICS, 0, NULL},
    {OPEN, HTTP_GET, "/%68ealth", "a", NULL, NULL, ADMIN_PAGE_HEALTH, 0, NULL},
    {OPEN, HTTP_POST, "/health", "a", NULL, json, ADMIN_PAGE_NONE, 405, "GET, HEAD"},
    {OPEN, HTTP_OPTIONS, "/metrics", "a", NULL, NULL, ADMIN_PAGE_NONE, 405, "GET, HEAD"},
    {OPEN, HTTP_GET, "/", "a", NULL, NULL, ADMIN_PAGE_NONE, 404, NULL},
    {OPEN, HTTP_GET, "/health/", "a", NULL, NULL, ADMIN_PAGE_NONE, 404, NULL},
    {OPEN, HTTP_GET, "/a/../health", "a", NULL, NULL, ADMIN_PAGE_NONE, 400, NULL},
    {OPEN, HTTP_GET, "/%zz", "a", NULL, NULL, ADMIN_PAGE_NONE, 400, NULL},
    /* without a token: loopback address, loopback Host, JSON for POST */
    {OPEN, HTTP_POST, "/admin/reload", "localhost:9090", NULL, json, ADMIN_PAGE_NONE, 501, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "LOCALHOST", NULL, "application/json; charset=utf-8", ADMIN_PAGE_NONE,
        501, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "127.0.0.1:9090", NULL, json, ADMIN_PAGE_NONE, 501, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "[::1]:9090", NULL, json, ADMIN_PAGE_NONE, 501, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "[::1]", NULL, json, ADMIN_PAGE_NONE, 501, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "evil.example:9090", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "127.0.0.1.evil.example", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "localhost.evil", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 415, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "localhost", NULL, "text/plain", ADMIN_PAGE_NONE, 415, NULL},
    {OPEN, HTTP_POST, "/admin/reload", "localhost", NULL, "text/plain; application/json", ADMIN_PAGE_NONE,
        415, NULL},
    {REMOTE, HTTP_POST, "/admin/reload", "localhost", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {REMOTE, HTTP_GET, "/admin/nothing", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 403, NULL},
    {REMOTE, HTTP_GET, "/%61dmin/cache/stats", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 403, NULL},
    {REMOTE, HTTP_GET, "/admin", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 403, NULL},
    /* with a token */
    {TOKEN, HTTP_POST, "/admin/reload", "evil", NULL, NULL, ADMIN_PAGE_NONE, 401, NULL},
    {TOKEN, HTTP_POST, "/admin/reload", "localhost", "Bearer secret-toke", NULL, ADMIN_PAGE_NONE, 401, NULL},
    {TOKEN, HTTP_POST, "/admin/reload", "localhost", "Bearer secret-tokenx", NULL, ADMIN_PAGE_NONE, 401,
        NULL},
    {TOKEN, HTTP_POST, "/admin/reload", "localhost", "Bearer ", NULL, ADMIN_PAGE_NONE, 401, NULL},
    {TOKEN, HTTP_POST, "/admin/reload", "localhost", "Basic secret-token", NULL, ADMIN_PAGE_NONE, 401, NULL},
    {TOKEN, HTTP_POST, "/admin/reload", "evil", "bearer secret-token", NULL, ADMIN_PAGE_NONE, 501, NULL},
    {"secret-token", true, HTTP_POST, "/admin/reload", "localhost", NULL, json, ADMIN_PAGE_NONE, 401, NULL},
    /* endpoints */
    {OPEN, HTTP_GET, "/admin/reload", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 405, "POST"},
    {OPEN, HTTP_POST, "/admin/cache/purge", "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/cache/purge/b/a/c", "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/cache/purge", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 415, NULL},
    {OPEN, HTTP_POST, "/admin/cache/purge", "evil", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {REMOTE, HTTP_POST, "/admin/cache/purge", "localhost", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {TOKEN, HTTP_POST, "/admin/cache/purge/b", "evil", NULL, NULL, ADMIN_PAGE_NONE, 401, NULL},
    {OPEN, HTTP_GET, "/admin/cache/purge/b", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 405, "POST"},
    {OPEN, HTTP_POST, "/admin/cache/purge/b/a/../c", "localhost", NULL, json, ADMIN_PAGE_NONE, 400, NULL},
    {OPEN, HTTP_POST, "/admin/cache/purge/", "localhost", NULL, json, ADMIN_PAGE_NONE, 404, NULL},
    {OPEN, HTTP_POST, "/admin/events/s3", "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/events/s3", "localhost", NULL, "text/plain", ADMIN_PAGE_NONE, 415, NULL},
    {REMOTE, HTTP_POST, "/admin/events/s3", "localhost", NULL, json, ADMIN_PAGE_NONE, 403, NULL},
    {TOKEN, HTTP_POST, "/admin/events/s3", "localhost", NULL, json, ADMIN_PAGE_NONE, 401, NULL},
    {OPEN, HTTP_GET, "/admin/events/s3", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 405, "POST"},
    {OPEN, HTTP_GET, "/admin/cache/stats", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_GET, "/admin/cache/stats/b", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_GET, "/admin/cache/info?key=b:k", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/cache/prewarm", "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/cache/prewarm", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 415, NULL},
    {OPEN, HTTP_GET, "/admin/cache/prewarm", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_DELETE, "/admin/cache/prewarm", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 405, "GET, POST"},
    {OPEN, HTTP_GET, "/admin/cache/prewarm/5", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_DELETE, "/admin/cache/prewarm/5", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL},
    {OPEN, HTTP_POST, "/admin/cache/prewarm/5", "localhost", NULL, json, ADMIN_PAGE_NONE, 405, "GET, DELETE"},
    {OPEN, HTTP_GET, "/admin/nothing", "localhost", NULL, NULL, ADMIN_PAGE_NONE, 404, NULL},
    {OPEN, HTTP_GET, "/administrator", "evil", NULL, NULL, ADMIN_PAGE_NONE, 404, NULL},
};

static uint8_t path[ADMIN_PATH_MAX];
static bool with_sns;

static struct admin_decision decide(const struct rules_case *test, unsigned authorization_lines)
{
    struct http_field fields[4];
    struct http_request request = {.method = test->method,
        .target = bytes_of_string(test->target),
        .host = bytes_of_string(test->host),
        .fields = {.fields = fields}};
    for (unsigned i = 0; test->authorization && i < authorization_lines; i++)
        fields[request.fields.count++] =
            (struct http_field){BYTES("Authorization"), bytes_of_string(test->authorization)};
    if (test->content_type)
        fields[request.fields.count++] =
            (struct http_field){BYTES("Content-Type"), bytes_of_string(test->content_type)};
    struct admin_rules rules = {.token = test->token, .loopback = test->loopback, .sns = with_sns};
    return admin_decide(&rules, &request, path);
}

static void test_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct admin_decision decision = decide(&table[i], 1);
        if (decision.status != table[i].status || decision.page != table[i].page)
            print_message("case %zu: %s: page %d, status %u\n", i, table[i].target, (int)decision.page,
                decision.status);
        assert_int_equal(decision.page, table[i].page);
        assert_int_equal(decision.status, table[i].status);
        assert_int_equal(decision.authenticate, decision.status == 401);
        assert_int_equal(decision.allow != NULL, table[i].allow != NULL);
        if (table[i].allow)
            assert_string_equal(decision.allow, table[i].allow);
        bool refused = decision.page == ADMIN_PAGE_NONE && decision.action == ADMIN_ACTION_NONE;
        assert_int_equal(decision.message != NULL, refused);
    }
}

static void test_what_follows_the_path(void **state)
{
    (void)state;
    static const struct {
        const char *target, *below;
    } cases[] = {
        {"/admin/cache/purge", ""},
        {"/admin/cache/purge?x=/y", ""},
        {"/admin/cache/purge/b", "/b"},
        {"/admin/cache/purge/b/a%2Fb/%25", "/b/a/b/%"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rules_case test = {
            OPEN, HTTP_POST, cases[i].target, "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL};
        struct admin_decision decision = decide(&test, 1);
        assert_int_equal(decision.action, ADMIN_ACTION_PURGE);
        assert_true(bytes_equal(decision.below, bytes_of_string(cases[i].below)));
    }
}

/* With SNS topics everybody may bring a message; who is not SNS gets what he would get without. */
static void test_what_sns_may(void **state)
{
    (void)state;
    static const struct {
        struct rules_case ask;
        unsigned status;
        bool taken;
    } cases[] = {
        {{OPEN, HTTP_POST, "/admin/events/s3", "localhost", NULL, json, ADMIN_PAGE_NONE, 0, NULL}, 0, true},
        {{OPEN, HTTP_POST, "/admin/events/s3", "cache.example", NULL, json, ADMIN_PAGE_NONE, 0, NULL}, 403,
            true},
        {{OPEN, HTTP_POST, "/admin/events/s3", "localhost", NULL, "text/plain", ADMIN_PAGE_NONE, 0, NULL},
            415, true},
        {{REMOTE, HTTP_POST, "/admin/events/s3", "cache.example", NULL, "text/plain", ADMIN_PAGE_NONE, 0,
             NULL},
            403, true},
        {{TOKEN, HTTP_POST, "/admin/events/s3", "cache.example", NULL, "text/plain", ADMIN_PAGE_NONE, 0,
             NULL},
            401, true},
        {{TOKEN, HTTP_POST, "/admin/events/s3", "x", "Bearer secret-token", NULL, ADMIN_PAGE_NONE, 0, NULL},
            0, true},
        {{TOKEN, HTTP_GET, "/admin/events/s3", "x", NULL, NULL, ADMIN_PAGE_NONE, 0, NULL}, 401, false},
        {{TOKEN, HTTP_POST, "/admin/events/s3/", "x", NULL, json, ADMIN_PAGE_NONE, 0, NULL}, 401, false},
        {{TOKEN, HTTP_POST, "/admin/cache/purge", "x", NULL, json, ADMIN_PAGE_NONE, 0, NULL}, 401, false},
        {{REMOTE, HTTP_POST, "/admin/cache/purge/b/admin/events/s3", "x", NULL, json, ADMIN_PAGE_NONE, 0,
             NULL},
            403, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        with_sns = true;
        struct admin_decision decision = decide(&cases[i].ask, 1);
        with_sns = false;
        assert_int_equal(decision.status, cases[i].status);
        assert_int_equal(decision.action == ADMIN_ACTION_EVENTS, cases[i].taken);
        assert_int_equal(decision.status == 401, decision.authenticate);
    }
}

static void test_repeated_authorization(void **state)
{
    (void)state;
    struct rules_case test = {TOKEN, HTTP_POST, "/admin/reload", "localhost", "Bearer secret-token", json,
        ADMIN_PAGE_NONE, 401, NULL};
    assert_int_equal(decide(&test, 1).status, 501);
    assert_int_equal(decide(&test, 2).status, 401);
}

static void test_long_target(void **state)
{
    (void)state;
    static char target[10000];
    memset(target, 'a', sizeof target - 1);
    target[0] = '/';
    struct rules_case test = {OPEN, HTTP_GET, target, "localhost", NULL, NULL, ADMIN_PAGE_NONE, 400, NULL};
    assert_int_equal(decide(&test, 1).status, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_what_follows_the_path),
        cmocka_unit_test(test_what_sns_may),
        cmocka_unit_test(test_repeated_authorization),
        cmocka_unit_test(test_long_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
