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

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

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
    {"no-length", .status = 200, .len = 100000, .attempts = 1},
    {"no-length-reset", .status = 200, .error = E_TRUNCATED, .len = 50000, .attempts = 1},
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

/* ---- stories ---- */

static void test_pause_and_leftovers(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){0});
    static const char *const keys[] = {
        "ok,size=3000000", "chunked,size=300000", "reset-body,size=300000,at=100000"};
    static const size_t takes[] = {40000, 7001, 999};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct caught caught = {.take_max = takes[i]};
        caught_run(&caught, *state, origin, keys[i]);
        assert_int_equal(caught.fetch.error, 0);
        assert_true(caught.len >= 300000);
        check_bytes(&caught, 0, 1);
        caught_free(&caught);
    }
    origin_destroy(origin);
}

/* A pause longer than the stall time-out is not a stall. */
static void test_no_timeout_while_paused(void **state)
{
    struct origin *origin =
        make_origin(&(struct origin_config){.stall_timeout_ns = NS_PER_S, .max_attempts = 1});
    struct rig *rig = *state;
    struct caught caught = {.take_max = 1, .pause_ns = 1500 * NS_PER_MS};
    /* No more than the kernels hold during the pause: after it the origin's process may stand still. */
    caught_start(&caught, rig, origin, "ok,size=1000000");
    while (!caught.paused)
        io_loop_turn(rig->loop, NS_PER_MS);
    uint64_t paused_ns = caught.resume_ns - caught.pause_ns;
    caught.take_max = 0; /* one pause is enough */
    caught_wait(&caught);
    assert_int_equal(caught.fetch.error, 0);
    assert_true(clock_monotonic_ns() - paused_ns > 1400 * NS_PER_MS);
    caught_free(&caught);
    origin_destroy(origin);
}

/* While paused the origin is held back: its bytes don't pile up with us. */
static void test_back_pressure(void **state)
{
    struct rig *rig = *state;
    struct origin *origin = make_origin(&(struct origin_config){0});
    struct caught caught = {.take_max = 1, .drop_body = true};
    caught_start(&caught, rig, origin, "endless");
    while (!caught.paused)
        io_loop_turn(rig->loop, NS_PER_MS);
    uint64_t sent = 0, before = UINT64_MAX;
    for (unsigned tries = 0; sent != before && tries < 60; tries++) { /* buffers of both kernels fill */
        before = sent;
        rig_turn_for(rig, 300 * NS_PER_MS);
        sent = child_count(&child, "endless", "bytes");
    }
    assert_true(caught.paused);
    assert_int_equal(sent, before);
    origin_fetch_cancel(&caught.fetch);
    caught.paused = false;
    caught_wait(&caught);
    assert_int_equal(caught.fetch.error, E_CANCELED);
    origin_destroy(origin);
}

struct timed {
    const char *key;
    struct origin_config config;
    int error;
    uint64_t least_ms, most_ms;
    unsigned attempts;
};

static void test_timeouts(void **state)
{
    static const struct timed rows[] = {
        {"hang,n=0",
            {.first_byte_timeout_ns = 200 * NS_PER_MS, .connect_timeout_ns = NS_PER_S, .max_attempts = 1},
            E_TIMEOUT, 200, 18000, 1}, /* less than the default time-outs */
        {"stall,n=0", {.stall_timeout_ns = 200 * NS_PER_MS, .max_attempts = 1}, E_TIMEOUT, 200, 18000, 1},
        /* resumed after the stall; the origin's process may itself stand still for seconds */
        {"stall", {.stall_timeout_ns = 4 * NS_PER_S}, 0, 4000, 18000, 2},
        {"hang", {.first_byte_timeout_ns = 4 * NS_PER_S}, 0, 4000, 18000, 2},
        /* a drip is no stall */
        {"drip,size=9000,ms=1000", {.stall_timeout_ns = 6 * NS_PER_S}, 0, 7000, 60000, 1},
        /* Retry-After is waited for, and given up when it is beyond the budget */
        {"status,after=1", {.max_attempts = 2}, 0, 1000, 18000, 2},
        {"status,after=100", {.max_attempts = 2}, E_EXHAUSTED, 0, 18000, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin *origin = make_origin(&rows[i].config);
        struct caught caught = {0};
        uint64_t begun_ns = clock_monotonic_ns();
        caught_run(&caught, *state, origin, rows[i].key);
        uint64_t took_ms = (caught.done_ns - begun_ns) / NS_PER_MS;
        print_message("%s: error %d after %u ms, %u attempts\n", rows[i].key, caught.fetch.error,
            (unsigned)took_ms, caught.fetch.attempts);
        assert_int_equal(caught.fetch.error, rows[i].error);
        assert_int_equal(caught.fetch.attempts, rows[i].attempts);
        assert_in_range(took_ms, rows[i].least_ms, rows[i].most_ms);
        if (rows[i].error == E_EXHAUSTED)
            assert_int_equal(caught.fetch.retry_after_s, 100);
        check_bytes(&caught, 0, 1);
        caught_free(&caught);
        origin_destroy(origin);
    }
}

/* The object changes between the first half and the resumption. */
static void test_changed_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct origin *origin = make_origin(&(struct origin_config){.initial_backoff_ns = 400 * NS_PER_MS});
    struct caught caught = {0};
    caught_start(&caught, rig, origin, "truncate");
    while (caught.len < 50000)
        io_loop_turn(rig->loop, NS_PER_MS);
    child_control(&child, "version?seed=2");
    caught_wait(&caught);
    assert_int_equal(caught.fetch.error, E_CHANGED);
    assert_int_equal(caught.len, 50000);
    check_bytes(&caught, 0, 1);
    caught_free(&caught);
    origin_destroy(origin);
}

/* What resumption asks for. */
static void test_resume_asks_for_the_rest(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){0});
    struct caught caught = {0};
    caught.fetch.request.ranged = true;
    caught.fetch.request.first = 1000;
    caught.fetch.request.last = ORIGIN_TO_END;
    caught_run(&caught, *state, origin, "truncate,at=500");
    assert_int_equal(caught.fetch.error, 0);
    assert_non_null(strstr(child_control(&child, "stats"),
        "\"ranges\": [\"bytes=1000-\", \"bytes=1500-99999\"], \"if_match\": [null, \"\\\"v1\\\"\"]"));
    caught_free(&caught);
    origin_destroy(origin);
}

static void test_cancel(void **state)
{
    struct rig *rig = *state;
    struct origin *origin = make_origin(
        &(struct origin_config){.initial_backoff_ns = 5 * NS_PER_S, .max_backoff_ns = 5 * NS_PER_S});
    struct caught rows[6] = {
        {.heads = 0},                           /* at once */
        {.cancel_at_head = true},               /* in head */
        {.cancel_after = 1},                    /* in body */
        {.cancel_after = 100, .take_max = 100}, /* paused */
        {.heads = 0},                           /* before the first byte */
        {.heads = 0},                           /* backing off */
    };
    static const char *const keys[] = {"ok", "ok", "endless", "endless", "hang", "reset-before"};
    for (size_t i = 0; i < 6; i++) {
        caught_start(&rows[i], rig, origin, keys[i]);
        if (i == 0)
            origin_fetch_cancel(&rows[i].fetch);
        if (i >= 4) {
            rig_turn_for(rig, 100 * NS_PER_MS);
            origin_fetch_cancel(&rows[i].fetch);
        }
        assert_int_equal(rows[i].dones, 0);
        caught_wait(&rows[i]);
        assert_int_equal(rows[i].fetch.error, E_CANCELED);
        caught_free(&rows[i]);
    }
    assert_int_equal(counter_get(&origin_stats(origin)->in_flight), 0);
    origin_destroy(origin);
}

/* Whatever runs when the client stops ends with E_CANCELED, before the stop is done. */
static void test_stop_in_flight(void **state)
{
    (void)state;
    static const char *const keys[] = {"endless", "hang", "status,n=0,after=5", "ok,size=9000000", "ok"};
    struct caught rows[5] = {{.drop_body = true}, {.heads = 0}, {.heads = 0}, {.take_max = 1}, {.heads = 0}};
    struct rig rig;
    rig_init(&rig);
    struct origin *origin = make_origin(&(struct origin_config){0});
    for (size_t i = 0; i < 4; i++)
        caught_start(&rows[i], &rig, origin, keys[i]);
    rig_turn_for(&rig, 200 * NS_PER_MS);
    caught_start(&rows[4], &rig, origin, keys[4]);
    rig_deinit(&rig);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(rows[i].dones, 1);
        assert_int_equal(rows[i].fetch.error, E_CANCELED);
        caught_free(&rows[i]);
    }
    origin_destroy(origin);
}

/* At most pool_size at a time; connections are kept and used again. */
static void test_pool(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){.connection_pool_size = 3});
    struct caught rows[20] = {0};
    for (size_t i = 0; i < 20; i++)
        caught_start(&rows[i], *state, origin, "slow-head,n=0,ms=20");
    for (size_t i = 0; i < 20; i++) {
        caught_wait(&rows[i]);
        assert_int_equal(rows[i].fetch.error, 0);
        check_bytes(&rows[i], 0, 1);
        caught_free(&rows[i]);
    }
    const struct origin_stats *stats = origin_stats(origin);
    assert_int_equal(counter_get(&stats->connections_opened), 3);
    assert_int_equal(counter_get(&stats->requests), 20);
    assert_int_equal(counter_get(&stats->bytes_received), 20 * 100000);
    origin_destroy(origin);
}

/* The server closed the kept connection meanwhile. */
static void test_stale_connection(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){0});
    struct caught caught = {0};
    caught_run(&caught, *state, origin, "long"); /* ends with a close */
    caught_free(&caught);
    caught = (struct caught){0};
    caught_run(&caught, *state, origin, "ok");
    assert_int_equal(caught.fetch.error, 0);
    caught_free(&caught);
    caught = (struct caught){0};
    caught_run(&caught, *state, origin, "reset-before"); /* on the kept one: libcurl tries again at once */
    assert_int_equal(caught.fetch.error, 0);
    check_bytes(&caught, 0, 1);
    caught_free(&caught);
    origin_destroy(origin);
}

static void test_unreachable(void **state)
{
    static const struct {
        const char *endpoint;
        int error;
    } rows[] = {
        {"http://127.0.0.1:1", E_UNREACHABLE},
        {"http://[::1]:1", E_UNREACHABLE},
        {"http://no-such-host.invalid", E_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin *origin = make_origin(&(struct origin_config){.endpoint = rows[i].endpoint});
        struct caught caught = {0};
        caught_run(&caught, *state, origin, "ok");
        assert_int_equal(caught.fetch.error, rows[i].error);
        assert_int_equal(caught.fetch.status, 502);
        assert_int_equal(caught.fetch.attempts, 3);
        assert_int_equal(counter_get(&origin_stats(origin)->connect_errors), 3);
        origin_destroy(origin);
    }
}

/* A listener whose backlog is full: connections to it are neither made nor refused. */
struct full {
    int listener, clients[4];
    unsigned port;
};

static void full_begin(struct full *full)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    full->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(full->listener, 0), 0);
    assert_int_equal(getsockname(full->listener, (struct sockaddr *)&address, &len), 0);
    full->port = ntohs(address.sin_port);
    for (int i = 0; i < 4; i++) {
        full->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(full->clients[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void full_end(struct full *full)
{
    for (int i = 0; i < 4; i++)
        close(full->clients[i]);
    close(full->listener);
}

static void test_connect_timeout(void **state)
{
    struct full full;
    char endpoint[64];
    full_begin(&full);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", full.port);
    struct origin *origin = make_origin(&(struct origin_config){
        .endpoint = endpoint, .connect_timeout_ns = 200 * NS_PER_MS, .max_attempts = 2});
    struct caught caught = {0};
    uint64_t begun_ns = clock_monotonic_ns();
    caught_run(&caught, *state, origin, "ok");
    assert_true(caught.done_ns - begun_ns >= 400 * NS_PER_MS);
    assert_int_equal(caught.fetch.error, E_TIMEOUT);
    assert_int_equal(caught.fetch.status, 504);
    assert_int_equal(caught.fetch.attempts, 2);
    assert_int_equal(counter_get(&origin_stats(origin)->connect_errors), 2);
    origin_destroy(origin);
    /* What was opened is closed, so that its number serves again. */
    origin = make_origin(&(struct origin_config){.max_attempts = 1});
    caught = (struct caught){0};
    caught_run(&caught, *state, origin, "ok");
    assert_int_equal(caught.fetch.error, 0);
    caught_free(&caught);
    origin_destroy(origin);
    full_end(&full);
}

/* TLS towards a server that speaks none: never plain text, never success. */
static void test_tls_refused(void **state)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "https://127.0.0.1:%u", child.port);
    struct origin *origin = make_origin(&(struct origin_config){
        .endpoint = endpoint, .connect_timeout_ns = 200 * NS_PER_MS, .max_attempts = 2});
    struct caught caught = {0};
    caught_run(&caught, *state, origin, "ok"); /* the server waits for the end of a head that it can't read */
    assert_int_equal(caught.fetch.error, E_TIMEOUT);
    assert_int_equal(caught.fetch.status, 504);
    assert_int_equal(child_count(&child, "ok", "requests"), 0);
    origin_destroy(origin);
}

/* Names are looked up by a thread of libcurl's; "localhost" may be ::1 first, where nobody listens. */
static void test_name(void **state)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://localhost:%u", child.port);
    struct origin *origin = make_origin(&(struct origin_config){.endpoint = endpoint});
    struct caught caught = {0};
    caught_run(&caught, *state, origin, "ok");
    assert_int_equal(caught.fetch.error, 0);
    caught_free(&caught);
    /* canceled while it looks up */
    struct origin *other = make_origin(&(struct origin_config){.endpoint = "http://some-name.invalid"});
    caught = (struct caught){0};
    caught_start(&caught, *state, other, "ok");
    io_loop_turn(((struct rig *)*state)->loop, 0);
    io_loop_turn(((struct rig *)*state)->loop, 0);
    origin_fetch_cancel(&caught.fetch);
    caught_wait(&caught);
    assert_int_equal(caught.fetch.error, E_CANCELED);
    origin_destroy(other);
    origin_destroy(origin);
}

/* A proxy in the environment is none of ours. */
static void test_no_proxy(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){0});
    struct caught caught = {0};
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    caught_run(&caught, *state, origin, "ok");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_int_equal(caught.fetch.error, 0);
    caught_free(&caught);
    origin_destroy(origin);
}

/* After a fetch nothing runs: no timer, no poll, no turn of the loop. */
static void test_idle(void **state)
{
    struct rig *rig = *state;
    struct origin *origin = make_origin(&(struct origin_config){0});
    struct caught caught = {0};
    struct io_loop_stats before, after;
    caught_run(&caught, rig, origin, "ok");
    caught_free(&caught);
    rig_turn_for(rig, 50 * NS_PER_MS);
    uint64_t end_ns = clock_monotonic_ns() + 20 * NS_PER_S;
    do { /* what ended with the fetch has been called back */
        io_loop_turn(rig->loop, NS_PER_MS);
        io_loop_stats(rig->loop, &before);
    } while (before.ops_in_flight > 0 && clock_monotonic_ns() < end_ns);
    for (int i = 0; i < 4; i++)
        io_loop_turn(rig->loop, 250 * NS_PER_MS);
    io_loop_stats(rig->loop, &after);
    assert_true(after.completions - before.completions <= 1);
    assert_int_equal(after.ops_in_flight, 0);
    origin_destroy(origin);
}

/* Our configuration's faults are logged with what S3 said, and without secrets. */
static void test_log(void **state)
{
    struct origin *origin = make_origin(&(struct origin_config){.session_token = "secret-token"});
    struct caught caught = {0};
    caught_run(&caught, *state, origin, "status,status=403,code=InvalidAccessKeyId");
    assert_string_equal(caught.fetch.code, "InvalidAccessKeyId");
    const char *text = rig_log(*state);
    static const char *const wanted[] = {
        "error origin:", "bucket entry", "InvalidAccessKeyId", "as told", "us-east-1", "R1", "test-1"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strstr(text, wanted[i]) == NULL)
            fail_msg("%s is missing in: %s", wanted[i], text);
    }
    assert_null(strstr(text, "secret"));
    caught = (struct caught){0};
    caught.fetch.request.head_only = true;
    caught_run(&caught, *state, origin, "redirect");
    assert_non_null(strstr(rig_log(*state), "its region eu-west-3"));
    caught = (struct caught){0};
    caught_run(&caught, *state, origin, "status,status=403,code=AccessDenied");
    assert_string_equal(rig_log(*state), "");
    origin_destroy(origin);
}

/* Many at once, of all kinds, with a client that is slow here and there. */
static void test_crowd(void **state)
{
    static const char *const keys[] = {
        "ok,size=400000", "reset-body,at=9000", "slow-head,ms=30", "chunked", "status", "truncate"};
    enum { COUNT = 120 };
    static struct caught rows[COUNT];
    char names[COUNT][64];
    struct origin *origin = make_origin(&(struct origin_config){.max_attempts = 5});
    for (size_t i = 0; i < COUNT; i++) {
        rows[i] = (struct caught){.take_max = i % 3 == 0 ? 5000 : 0};
        snprintf(names[i], sizeof names[i], "%s/%zu", keys[i % 6], i);
        caught_start(&rows[i], *state, origin, names[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = i; j < COUNT; j++) { /* resume all that wait */
            if (rows[j].paused && rows[j].dones == 0) {
                rows[j].paused = false;
                origin_fetch_resume(&rows[j].fetch);
            }
        }
        while (rows[i].dones == 0) {
            io_loop_turn(((struct rig *)*state)->loop, NS_PER_MS);
            for (size_t j = i; j < COUNT; j++) {
                if (rows[j].paused && rows[j].dones == 0) {
                    rows[j].paused = false;
                    origin_fetch_resume(&rows[j].fetch);
                }
            }
        }
        assert_int_equal(rows[i].fetch.error, 0);
        check_bytes(&rows[i], 0, 1);
        caught_free(&rows[i]);
    }
    origin_destroy(origin);
}

static void test_ipv6(void **state)
{
    char endpoint[64];
    struct child six;
    if (!child_start(&six, "::1", NULL, NULL)) {
        print_message("no IPv6 here\n");
        skip();
    }
    snprintf(endpoint, sizeof endpoint, "http://[::1]:%u", six.port);
    struct origin *origin = make_origin(&(struct origin_config){.endpoint = endpoint});
    struct caught caught = {0};
    caught_run(&caught, *state, origin, "truncate");
    assert_int_equal(caught.fetch.error, 0);
    check_bytes(&caught, 0, 1);
    caught_free(&caught);
    origin_destroy(origin);
    child_stop(&six);
}

int main(void)
{
    /* A lost datagram ends as a name that is not found, before libcurl's time-out. */
    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
    if (!child_start(&child, "127.0.0.1", NULL, NULL)) {
        printf("no python3: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test_setup_teardown(test_pause_and_leftovers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_timeout_while_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeouts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_asks_for_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pool, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreachable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_proxy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crowd, setup, teardown),
        cmocka_unit_test(test_stop_in_flight),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    child_stop(&child);
    return failed;
}
