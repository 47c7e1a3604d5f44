/*
 * The S3 origin against a server that does wrong: a row per fault with what the fetch reports, and stories of
 * retries, resumption, back-pressure, time-outs, cancels and connections. Sockets and time are real; the
 * faulty origin runs as a child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "rig.h"

static struct child child;

static struct origin *make_origin(const struct origin_config *base)
{
    char endpoint[64];
    const char *why;
    struct origin *origin;
    struct origin_config config = *base;
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", child.port);
    if (config.endpoint == NULL)
        config.endpoint = endpoint;
    config.name = "entry";
    config.bucket = "b";
    config.region = "us-east-1";
    config.access_key = "key-id";
    config.secret_key = "very-secret";
    if (config.initial_backoff_ns == 0)
        config.initial_backoff_ns = 10 * NS_PER_MS;
    int error = origin_create(&origin, &config, &why);
    if (error != 0)
        fail_msg("%s", why);
    return origin;
}

static void check_bytes(const struct caught *caught, uint64_t first, unsigned seed)
{
    for (size_t i = 0; i < caught->len; i++) {
        if (caught->bytes[i] != rig_pattern(first + i, seed))
            fail_msg("byte %zu is wrong", i);
    }
}

static int setup(void **state)
{
    static struct rig rig;
    child_control(&child, "reset");
    rig_init(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    return 0;
}

/* ---- one row per fault ---- */

struct fault {
    const char *key;
    uint64_t first, last; /* a range; last 0: the whole */
    const char *if_match;
    int error;
    unsigned status;   /* of the head, or 0: no head; the fetch's where error is set and `told` */
    size_t len;        /* bytes delivered */
    unsigned attempts; /* 0: any */
    bool head_only;
    const char *if_none_match;
    unsigned told; /* fetch.status */
};

static const struct fault faults[] = {
    {"ok", .status = 200, .len = 100000, .attempts = 1},
    {"ok,size=0", .status = 200, .len = 0, .attempts = 1},
    {"ok,size=1", .status = 200, .len = 1, .attempts = 1},
    {"ok,size=3000000", .status = 200, .len = 3000000, .attempts = 1},
    {"ok", 10, 19, .status = 206, .len = 10, .attempts = 1},
    {"ok", 99990, ORIGIN_TO_END, .status = 206, .len = 10, .attempts = 1},
    {"ok", 99990, 200000, .status = 206, .len = 10, .attempts = 1},
    {"ok", 100000, 100010, .error = -ERANGE, .attempts = 1, .told = 416},
    {"ok", .if_match = "\"v1\"", .status = 200, .len = 100000},
    {"ok", .if_match = "\"v2\"", .error = E_CHANGED, .attempts = 1},
    {"ok", .if_none_match = "\"v1\"", .status = 304, .attempts = 1},
    {"ok", .head_only = true, .status = 200, .attempts = 1},
    {"ok,size=5/a b+c%d&e=f;g*h~'\"()\xc3\xa4", .status = 200, .len = 5, .attempts = 1},
    {"nothing-of-that-name", .error = E_MISSING, .attempts = 1, .told = 404},
    {"nothing-of-that-name", .head_only = true, .error = E_MISSING, .attempts = 1, .told = 404},
    {"slow-head", .status = 200, .len = 100000, .attempts = 1},
    {"slow-body", .status = 200, .len = 100000, .attempts = 1},
    {"drip,size=3000,ms=50", .status = 200, .len = 3000, .attempts = 1},
    /* broken connections: tried again, resumed */
    {"reset-before", .status = 200, .len = 100000, .attempts = 2},
    {"reset-before,n=2", .status = 200, .len = 100000, .attempts = 3},
    {"reset-before,n=0", .error = E_TRUNCATED, .attempts = 3, .told = 502},
    {"reset-head", .status = 200, .len = 100000, .attempts = 2},
    {"reset-body", .status = 200, .len = 100000, .attempts = 2},
    {"reset-body,n=0", .status = 200, .len = 100000,
        .attempts = 2}, /* the second broke after its last byte */
    {"reset-body,n=0,at=1000", .status = 200, .error = E_TRUNCATED, .len = 3000, .attempts = 3},
    {"reset-body", 1000, 99999, .status = 206, .len = 99000, .attempts = 2},
    {"truncate", .status = 200, .len = 100000, .attempts = 2},
    {"truncate", 1000, 98999, .status = 206, .len = 98000, .attempts = 2},
    {"truncate,n=2,at=1000", .status = 200, .len = 100000, .attempts = 3},
    {"truncate,at=0", .status = 200, .len = 100000, .attempts = 2},
    {"close", .status = 200, .len = 100000, .attempts = 2},
    {"close,n=0", .error = E_TRUNCATED, .attempts = 3, .told = 502},
    {"chunked-truncate", .status = 200, .error = E_TRUNCATED, .len = 50000, .attempts = 1},
    {"chunked-truncate", 0, 99999, .status = 206, .len = 100000, .attempts = 2},
    /* not to be resumed */
    {"weak-etag", .status = 200, .error = E_TRUNCATED, .len = 50000, .attempts = 1},
    {"no-etag", .status = 200, .error = E_TRUNCATED, .len = 50000, .attempts = 1},
    /* framing */
    {"long", .status = 200, .len = 100000, .attempts = 1},
    {"short-length", .status = 200, .len = 50000, .attempts = 1},
    {"short-length", 0, 99, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"chunked", .status = 200, .len = 100000, .attempts = 1},
    {"chunked", 5, 99, .status = 206, .len = 95, .attempts = 1},
    {"no-length", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"no-length", 5, 99, .status = 206, .len = 95, .attempts = 1},
    {"two-lengths", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"folded", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"bare-control", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"garbage", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"http09", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"huge-head", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"early-hints", .status = 200, .len = 100000, .attempts = 1},
    /* ranges and versions */
    {"bad-range-first", 10, 19, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"bad-range-last", 10, 19, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"bad-range-total", 10, 19, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"bad-range-first", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"no-content-range", 10, 19, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"multipart", 10, 19, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"ignore-range", 10, 19, .status = 200, .len = 100000, .attempts = 1},
    {"ignore-if-match", .if_match = "\"v2\"", .error = E_CHANGED, .attempts = 1},
    {"other-version", 10, 19, "\"v1\"", .error = E_CHANGED, .attempts = 1},
    {"other-version", .if_match = "\"v1\"", .error = E_CHANGED, .attempts = 1},
    {"no-etag", 10, 19, "\"v1\"", .error = E_CHANGED, .attempts = 1},
    /* statuses */
    {"status", .status = 200, .len = 100000, .attempts = 2},
    {"status,n=2,status=500,code=InternalError", .status = 200, .len = 100000, .attempts = 3},
    {"status,status=502", .status = 200, .len = 100000, .attempts = 2},
    {"status,status=504", .status = 200, .len = 100000, .attempts = 2},
    {"status,n=0", .error = E_EXHAUSTED, .attempts = 3, .told = 503},
    {"status,n=0,status=500,code=InternalError", .error = E_PROTOCOL, .attempts = 3, .told = 502},
    {"status,n=0,status=504,code=x", .error = E_TIMEOUT, .attempts = 3, .told = 504},
    {"status,status=501,code=NotImplemented", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=403,code=AccessDenied", .error = E_REFUSED, .attempts = 1, .told = 403},
    {"status,status=403,code=AccessDenied", .head_only = true, .error = E_REFUSED, .attempts = 1,
        .told = 403},
    {"status,status=404,code=NoSuchVersion", .error = E_MISSING, .attempts = 1, .told = 404},
    {"status,status=404,code=NoSuchBucket", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=403,code=InvalidAccessKeyId", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=403,code=SignatureDoesNotMatch", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=403,code=RequestTimeTooSkewed", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=400,code=AuthorizationHeaderMalformed", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"status,status=400,code=KeyTooLongError", .error = E_SYNTAX, .attempts = 1, .told = 400},
    {"status,status=400,code=x", .head_only = true, .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"redirect", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"redirect,status=307", .error = E_PROTOCOL, .attempts = 1, .told = 502},
    {"redirect", .head_only = true, .error = E_PROTOCOL, .attempts = 1, .told = 502},
};

/* A client of its own: on a kept connection libcurl itself tries once more, uncounted. */
static void run_fault(struct origin *origin, const struct fault *fault)
{
    struct caught caught = {0};
    struct rig rig;
    char name[512];
    struct origin_request *request = &caught.fetch.request;
    request->ranged = fault->last != 0;
    request->first = fault->first;
    request->last = fault->last;
    request->head_only = fault->head_only;
    if (fault->if_match != NULL)
        request->if_match = bytes_of_string(fault->if_match);
    if (fault->if_none_match != NULL)
        request->if_none_match = bytes_of_string(fault->if_none_match);
    rig_init(&rig);
    caught_run(&caught, &rig, origin, fault->key);
    rig_deinit(&rig);
    snprintf(name, sizeof name, "%s: error %d (%s), status %u, told %u, %zu bytes, %u attempts", fault->key,
        caught.fetch.error, error_text(caught.fetch.error), caught.status, caught.fetch.status, caught.len,
        caught.fetch.attempts);
    print_message("%s\n", name);
    bool right = caught.fetch.error == fault->error && caught.status == fault->status &&
                 (fault->attempts == 0 || caught.fetch.attempts == fault->attempts) &&
                 (fault->told == 0 || caught.fetch.status == fault->told);
    right = right && caught.len == fault->len;
    if (!right)
        fail_msg("not as expected: %s", name);
    check_bytes(&caught, caught.status == 206 ? caught.first : 0, 1);
    caught_free(&caught);
}

static void test_faults(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){0});
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        child_control(&child, "reset");
        run_fault(origin, &faults[i]);
    }
    const struct origin_stats *stats = origin_stats(origin);
    assert_int_equal(counter_get(&stats->in_flight), 0);
    assert_true(counter_get(&stats->retries) > 10);
    assert_true(counter_get(&stats->resumed) >= 6);
    assert_true(counter_get(&stats->last_success_ns) > 0);
    origin_destroy(origin);
}

static struct child *started(void)
{
    return &child;
}

int main(void)
{
    if (!child_start(started(), "127.0.0.1")) {
        printf("no python3: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    child_stop(&child);
    return failed;
}
