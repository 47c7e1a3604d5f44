/* What a server does with many connections, with time, with bounds, and at its end. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "front.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: h\r\n\r\n"

static const struct http_server_stats *stats(struct front *front)
{
    return http_server_stats(front->server);
}

/* ---- over loopback ---- */

static void listen_on_loopback(struct front *front)
{
    struct io_address address;
    struct io_listen_options options = {0};
    assert_int_equal(io_address_parse(&address, "127.0.0.1", 0), 0);
    assert_int_equal(io_listen(front->io, &address, &options, &front->config.listener), 0);
}

/* receive_bytes: SO_RCVBUF, if not 0. */
static void client_connect(struct client *client, struct front *front, int receive_bytes)
{
    struct io_address address;
    assert_int_equal(io_local_address(front->loop, front->config.listener, &address), 0);
    *client = (struct client){.front = front, .capacity = 65536};
    client->got = calloc(1, client->capacity + 1);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    if (receive_bytes > 0)
        assert_int_equal(
            setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes), 0);
    int result = connect(client->fd, (const struct sockaddr *)&address.storage, address.len);
    assert_true(result == 0 || errno == EINPROGRESS);
}

static void client_reset(struct client *client)
{
    struct linger none = {1, 0};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    client_close(client);
}

static void test_accept(void **state)
{
    enum { CLIENTS = 40 };
    struct front front;
    struct client clients[CLIENTS];
    struct bytes body;
    (void)state;
    front_init(&front);
    listen_on_loopback(&front);
    front_open(&front);
    for (int i = 0; i < CLIENTS; i++)
        client_connect(&clients[i], &front, 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < CLIENTS; i++) {
            client_send(&clients[i], GET("/bytes/1000"));
            assert_int_equal(client_response(&clients[i], false, &body), 200);
            assert_int_equal(body.len, 1000);
        }
    assert_int_equal(counter_get(&stats(&front)->accepted), CLIENTS);
    assert_int_equal(counter_get(&stats(&front)->connections_open), CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    front_until(&front, counter_get(&stats(&front)->connections_open) == 0);
    front_close(&front);
}

/* Beyond the bound 503; beyond that the backlog; and all is well again when one leaves. */
static void test_bound(void **state)
{
    enum { BOUND = 3, CLIENTS = 80 };
    struct front front;
    struct client held[BOUND], more[CLIENTS];
    struct bytes body;
    (void)state;
    front_init(&front);
    front.config.max_connections = BOUND;
    front.config.retry_after_s = 7;
    listen_on_loopback(&front);
    front_open(&front);
    for (int i = 0; i < BOUND; i++) {
        client_connect(&held[i], &front, 0);
        client_send(&held[i], GET("/bytes/10"));
        assert_int_equal(client_response(&held[i], false, &body), 200);
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_connect(&more[i], &front, 0);
        client_send(&more[i], GET("/bytes/10"));
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_await_end(&more[i]);
        assert_true(client_has(&more[i], "HTTP/1.1 503 "));
        assert_true(client_has(&more[i], "Retry-After: 7\r\n"));
        assert_true(client_has(&more[i], "\"status\":503}"));
        assert_false(more[i].reset);
        client_close(&more[i]);
    }
    assert_int_equal(counter_get(&stats(&front)->refused), CLIENTS);
    client_close(&held[0]);
    front_until(&front, counter_get(&stats(&front)->connections_open) == BOUND - 1);
    client_connect(&held[0], &front, 0);
    for (int i = 0; i < BOUND; i++) {
        client_send(&held[i], GET("/bytes/10"));
        assert_int_equal(client_response(&held[i], false, &body), 200);
        client_close(&held[i]);
    }
    front_close(&front);
}

/* A reset while the handler works is told; and a body that only the close ends is cut by a reset. */
static void test_resets(void **state)
{
    struct front front;
    struct client client;
    (void)state;
    front_init(&front);
    listen_on_loopback(&front);
    front_open(&front);
    client_connect(&client, &front, 0);
    client_send(&client, GET("/hold"));
    front_until(&front, front.held != NULL);
    client_reset(&client);
    front_until(&front, front.gone == 1);
    assert_int_equal(front.finished, 1);
    assert_int_equal(counter_get(&stats(&front)->resets), 1);

    client_connect(&client, &front, 0);
    client_send(&client, GET("/bytes/20000000"));
    front_until(&front, front.requests == 2);
    client_reset(&client);
    front_until(&front, front.failed_sends == 1);
    assert_int_equal(front.gone, 1);

    client_connect(&client, &front, 0);
    client_send(&client, "GET /opencut/3000 HTTP/1.0\r\n\r\n");
    client_await_end(&client);
    assert_true(client.reset);
    assert_false(client.eof);
    client_close(&client);
    client_connect(&client, &front, 0);
    client_send(&client, "GET /chunked/3000 HTTP/1.0\r\n\r\n");
    client_await_end(&client);
    assert_true(client.eof);
    client_close(&client);
    front_close(&front);
}

/* ---- time ---- */

static void test_timeouts(void **state)
{
    static const struct {
        const char *sent;
        unsigned status; /* 0: closed in silence */
    } cases[] = {
        {"", 0},
        {"GET / HTTP", 408},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab", 408},
        {GET("/status/204"), 0},
        {GET("/status/204") "GET /", 408},
    };
    struct front front;
    (void)state;
    front_init(&front);
    front.config.header_timeout_ns = 60 * NS_PER_MS;
    front.config.body_timeout_ns = 60 * NS_PER_MS;
    front.config.idle_timeout_ns = 90 * NS_PER_MS;
    front_open(&front);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        uint64_t begin_ns = io_now_ns(front.loop); /* from which the first deadline counts */
        client_open(&client, &front);
        client_send(&client, cases[i].sent);
        client_await_end(&client);
        uint64_t took_ns = clock_monotonic_ns() - begin_ns;
        assert_true(took_ns >= 60 * NS_PER_MS);
        assert_true(took_ns < 25 * NS_PER_S); /* the defaults begin at 30 s */
        assert_int_equal(client_has(&client, "HTTP/1.1 408 "), cases[i].status == 408);
        client_close(&client);
    }
    assert_int_equal(counter_get(&stats(&front)->timeouts_header), 3);
    assert_int_equal(counter_get(&stats(&front)->timeouts_body), 1);
    assert_int_equal(counter_get(&stats(&front)->timeouts_idle), 1);
    front_close(&front);
}

/* Single bytes do not push the deadline of a head; the time of a handler is nobody's fault. */
static void test_deadline_is_the_heads(void **state)
{
    struct front front;
    struct client slow, held;
    struct bytes body;
    (void)state;
    front_init(&front);
    front.config.header_timeout_ns = 100 * NS_PER_MS;
    front.config.idle_timeout_ns = 100 * NS_PER_MS;
    front_open(&front);
    client_open(&slow, &front);
    client_open(&held, &front);
    client_send(&held, GET("/hold"));
    uint64_t begin_ns = clock_monotonic_ns();
    for (int i = 0; clock_monotonic_ns() - begin_ns < 25 * NS_PER_S && !slow.eof; i++) {
        client_send(&slow, i == 0 ? "GET / HTTP/1.1\r\nX: " : "x");
        front_idle(&front, 10 * NS_PER_MS);
        client_read(&slow, SIZE_MAX);
    }
    assert_true(slow.eof && client_has(&slow, " 408 "));
    front_idle(&front, 200 * NS_PER_MS);
    front_release(&front);
    assert_int_equal(client_response(&held, false, &body), 200);
    client_close(&slow);
    client_close(&held);
    front_close(&front);
}

/* One client reads nothing, one reads slowly but above the rate, and one is not held up by either. False: a
 * round took a second, because one was, or because the machine let all of us wait. */
static bool serves_beside_slow_readers(void)
{
    struct front front;
    struct client stalled, slow, quick;
    struct bytes body;
    unsigned after = 0; /* rounds since the stalled one was ended */
    bool steady = true;
    front_init(&front);
    front.config.send_grace_ns = 2 * NS_PER_S;
    front.config.min_send_rate = 20000;
    listen_on_loopback(&front);
    front_open(&front);
    client_connect(&stalled, &front, 4096);
    client_connect(&slow, &front, 4096);
    client_connect(&quick, &front, 0);
    uint64_t begin_ns = clock_monotonic_ns(), last_ns = begin_ns, stalled_ns = 0;
    client_send(&stalled, GET("/bytes/20000000"));
    client_send(&slow, GET("/bytes/20000000"));
    front_until(&front, front.requests == 2);
    while (steady && after < 50) {
        assert_true(last_ns - begin_ns < 20 * NS_PER_S);
        client_send(&quick, GET("/bytes/100"));
        assert_int_equal(client_response(&quick, false, &body), 200);
        client_read(&slow, 4000); /* every 5 ms or more: at most 800 kB/s */
        client_forget(&slow);
        after += stalled_ns != 0;
        if (stalled_ns == 0 && front.failed_sends > 0)
            stalled_ns = clock_monotonic_ns() - begin_ns;
        front_idle(&front, 5 * NS_PER_MS);
        uint64_t now_ns = clock_monotonic_ns();
        steady = now_ns - last_ns < NS_PER_S;
        last_ns = now_ns;
    }
    if (steady) {
        assert_int_equal(front.failed_sends, 1);
        assert_int_equal(front.last_result, 0);
        assert_true(stalled_ns >= 1900 * NS_PER_MS);
        assert_false(slow.reset || slow.eof);
        assert_int_equal(counter_get(&stats(&front)->timeouts_send), 1);
    }
    client_close(&stalled);
    client_close(&slow);
    client_close(&quick);
    front_close(&front);
    return steady;
}

static void test_slow_readers(void **state)
{
    (void)state;
    for (unsigned tries = 1; !serves_beside_slow_readers(); tries++)
        assert_true(tries < 5);
}

/* ---- the end ---- */

static void drained(void *ctx)
{
    struct front *front = ctx;
    front->drained++;
}

static void test_drain(void **state)
{
    struct front front;
    struct client idle, fresh, half, held, late;
    struct bytes body;
    (void)state;
    front_init(&front);
    listen_on_loopback(&front);
    front_open(&front);
    client_connect(&idle, &front, 0);
    client_connect(&fresh, &front, 0);
    client_connect(&half, &front, 0);
    client_connect(&held, &front, 0);
    client_send(&idle, GET("/bytes/10"));
    assert_int_equal(client_response(&idle, false, &body), 200);
    client_send(&half, "GET /bytes/10 HT");
    client_send(&held, GET("/hold") GET("/bytes/3"));
    front_until(&front, front.held != NULL);
    front_idle(&front, 20 * NS_PER_MS);

    http_server_drain(front.server, drained, &front);
    client_await_end(&idle);
    client_await_end(&fresh);
    assert_int_equal(idle.len + fresh.len, 0);
    client_send(&half, "TP/1.1\r\nHost: h\r\n\r\n");
    client_await_end(&half);
    assert_true(client_has(&half, "200 OK") && client_has(&half, "Connection: close"));
    assert_int_equal(front.drained, 0);
    client_connect(&late, &front, 0); /* waits in the backlog */
    front_idle(&front, 20 * NS_PER_MS);
    assert_int_equal(counter_get(&stats(&front)->accepted), 4);
    front_release(&front);
    client_await_end(&held);
    assert_true(client_has(&held, "200 OK") && client_has(&held, "Connection: close"));
    assert_int_equal(front.requests, 3); /* the request behind it is not served */
    client_close(&idle);
    client_close(&fresh);
    client_close(&half);
    client_close(&held);
    client_close(&late);
    front_until(&front, front.drained == 1);
    front_close(&front);
}

/* Without mercy: a held exchange, one that sends, one that is half a head. */
static void test_stop(void **state)
{
    struct front front;
    struct client held, sending, half;
    (void)state;
    front_init(&front);
    listen_on_loopback(&front);
    front_open(&front);
    client_connect(&held, &front, 0);
    client_connect(&sending, &front, 4096);
    client_connect(&half, &front, 0);
    client_send(&held, GET("/hold"));
    client_send(&sending, GET("/bytes/20000000"));
    client_send(&half, "GET / HT");
    front_until(&front, front.requests == 2);
    front_idle(&front, 20 * NS_PER_MS);
    http_server_drain(front.server, drained, &front);
    front_idle(&front, 20 * NS_PER_MS);
    assert_int_equal(front.drained, 0);
    http_server_stop(front.server);
    assert_int_equal(front.gone, 1);
    front_until(&front, front.drained == 1);
    assert_int_equal(front.failed_sends, 1);
    assert_int_equal(front.last_result, E_CANCELED);
    client_close(&held);
    client_close(&sending);
    client_close(&half);
    front_close(&front);
}

/* Nobody came. */
static void test_drain_of_none(void **state)
{
    struct front front;
    (void)state;
    front_init(&front);
    listen_on_loopback(&front);
    front_open(&front);
    http_server_drain(front.server, drained, &front);
    assert_int_equal(front.drained, 0); /* from the loop only */
    front_until(&front, front.drained == 1);
    front_close(&front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_deadline_is_the_heads),
        cmocka_unit_test(test_slow_readers),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_drain_of_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
