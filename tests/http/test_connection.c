/* What clients see on one connection: requests, replies, refusals, ends. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "front.h"

#define HOST "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

static void test_replies(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
        size_t len;
        bool bodiless, closes;
        const char *has, *lacks;
    } cases[] = {
        {GET("/bytes/0"), 200, 0, false, false, "Content-Length: 0\r\n", "Connection:"},
        {GET("/bytes/1"), 200, 1, false, false, "X-Test: yes\r\nContent-Length: 1\r\n", "Transfer-Encoding"},
        {GET("/bytes/1000000"), 200, 1000000, false, false, "\r\nDate: ", "Connection:"},
        {GET("/vector/100000"), 200, 100000, false, false, "Content-Length: 100000\r\n", "Connection:"},
        {GET("/vector/7"), 200, 7, false, false, "Content-Length: 7\r\n", "Connection:"},
        {GET("/pieces/12345"), 200, 12345, false, false, "Content-Length: 12345\r\n", "Connection:"},
        {"HEAD /bytes/77 HTTP/1.1\r\n" HOST "\r\n", 200, 0, true, false, "Content-Length: 77\r\n",
            "Connection:"},
        {"HEAD /pieces/7777 HTTP/1.1\r\n" HOST "\r\n", 200, 0, true, false, "Content-Length: 7777\r\n",
            "Connection:"},
        {"HEAD /chunked/77 HTTP/1.1\r\n" HOST "\r\n", 200, 0, true, false, "HTTP/1.1 200 OK\r\n", "chunked"},
        {GET("/status/204"), 204, 0, true, false, "204 No Content", "Content-Length"},
        {GET("/status/304"), 304, 0, true, false, "304 Not Modified", "Content-Length"},
        {GET("/close"), 404, 0, false, true, "Connection: close\r\n", "keep-alive"},
        {"GET /bytes/5 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, 5, false, true,
            "Connection: close\r\n", "no"},
        {"GET /bytes/5 HTTP/1.0\r\n\r\n", 200, 5, false, true, "Connection: close\r\n", "keep-alive"},
        {"GET /bytes/5 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, 5, false, false,
            "Connection: keep-alive\r\n", "close"},
        {"GET /bytes/5 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, 5, false, false, "OK",
            "Connection:"},
        {"GET /bytes/5 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, 5,
            false, false, "OK", "Connection:"},
        {"PUT /status/405 HTTP/1.1\r\n" HOST "\r\n", 405, 0, false, false, "405", "Connection:"},
        {"PUT /status/405 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 405, 0, false, true,
            "Connection: close\r\n", "keep-alive"},
        {"\r\n" GET("/bytes/5"), 200, 5, false, false, "OK", "Connection:"},
    };
    struct front front;
    (void)state;
    front_init(&front);
    front_open(&front);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        struct bytes body;
        client_open(&client, &front);
        for (int again = 0; again < (cases[i].closes ? 1 : 3); again++) {
            client_send(&client, cases[i].request);
            front_until(&front, (client_read(&client, SIZE_MAX), client_has(&client, "\r\n\r\n")));
            assert_true(client_has(&client, cases[i].has));
            assert_false(client_has(&client, cases[i].lacks));
            assert_int_equal(client_response(&client, cases[i].bodiless, &body), cases[i].status);
            assert_int_equal(body.len, cases[i].len);
            assert_true(front_is_pattern(body));
        }
        if (cases[i].closes)
            client_await_end(&client);
        assert_int_equal(client.len, 0);
        assert_false(client.reset);
        client_close(&client);
    }
    assert_int_equal(front.failed_sends, 0);
    assert_int_equal(front.gone, 0);
    front_close(&front);
}

/* Chunked by hand: the sizes are known. */
static void test_unknown_length(void **state)
{
    struct front front;
    struct client client;
    (void)state;
    front_init(&front);
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, GET("/chunked/2500") GET("/trailing/1000") GET("/trailing/0"));
    front_until(&front, (client_read(&client, SIZE_MAX), front.finished == 3));
    front_idle(&front, 5 * NS_PER_MS);
    client_read(&client, SIZE_MAX);
    char *at = strstr(client.got, "\r\n\r\n") + 4;
    assert_memory_equal(at, "3e8\r\n", 5);
    assert_memory_equal(at + 5 + 1000, "\r\n3e8\r\n", 7);
    assert_memory_equal(at + 5 + 1000 + 7 + 1000, "\r\n1f4\r\n", 7);
    assert_memory_equal(at + 5 + 1000 + 7 + 1000 + 7 + 500, "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", 24);
    client_close(&client);
    /* HTTP/1.0 knows no chunks: the close ends the body. */
    client_open(&client, &front);
    client_send(&client, "GET /chunked/2500 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_await_end(&client);
    assert_true(client_has(&client, "Connection: close\r\n"));
    assert_false(client_has(&client, "chunked"));
    at = strstr(client.got, "\r\n\r\n") + 4;
    assert_int_equal(client.got + client.len - at, 2500);
    assert_true(front_is_pattern(bytes_of(at, 2500)));
    client_close(&client);
    front_close(&front);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
        enum http_refusal refusal;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400, HTTP_REFUSED_HOST},
        {"GET / HTTP/1.1\n", 400, HTTP_REFUSED_LINE_END},
        {"\x16\x03\x01", 400, HTTP_REFUSED_LINE},
        {"GET / HTTP/2.0\r\n", 505, HTTP_REFUSED_VERSION},
        {"GET / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", 417, HTTP_REFUSED_EXPECT},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501, HTTP_REFUSED_CODING},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n", 413, HTTP_REFUSED_BODY_LARGE},
        {"GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", 413,
            HTTP_REFUSED_BODY_LARGE},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413,
            HTTP_REFUSED_BODY_LARGE},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx", 400, HTTP_REFUSED_CHUNK},
    };
    struct front front;
    (void)state;
    front_init(&front);
    front_open(&front);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        struct bytes body;
        client_open(&client, &front);
        client_send(&client, cases[i].request);
        /* What follows must neither be served nor destroy the answer by a reset. */
        client_send(&client, GET("/bytes/5"));
        front_until(&front, (client_read(&client, SIZE_MAX), client_has(&client, "\r\n\r\n")));
        assert_true(client_has(&client, "Connection: close\r\n"));
        assert_true(client_has(&client, "Content-Type: application/json\r\n"));
        char line[32];
        snprintf(line, sizeof line, "X-Refused: %zu\r\n", i + 1);
        assert_true(client_has(&client, line));
        assert_int_equal(client_response(&client, false, &body), cases[i].status);
        assert_memory_equal(body.ptr, "{\"error\":", 9);
        assert_int_equal(front.refused, i + 1);
        assert_int_equal(front.last_refused, cases[i].status);
        client_await_end(&client);
        assert_int_equal(client.len, 0);
        assert_false(client.reset);
        client_close(&client);
        assert_int_equal(counter_get(&http_server_stats(front.server)->refusals[cases[i].refusal]),
            i == 7 || i == 8 ? i - 5 : 1);
    }
    assert_int_equal(front.requests, 0);
    struct client client;
    client_open(&client, &front);
    client_send(&client, "HEAD / HTTP/1.1\r\n\r\n");
    client_await_end(&client);
    assert_true(client_has(&client, "HTTP/1.1 400 "));
    assert_int_equal(strstr(client.got, "\r\n\r\n") + 4 - client.got, client.len);
    client_close(&client);
    front_close(&front);
}

/* Every cut of a conversation into two, and all single bytes, give the same answers. */
static void test_splits(void **state)
{
    static const char talk[] = GET(
        "/bytes/10") "GET /chunked/20 HTTP/1.1\r\n" HOST
                     "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n"
                     "HEAD /bytes/9 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" GET("/close") "junk";
    struct front front;
    char *whole = NULL;
    size_t whole_len = 0, len = sizeof talk - 1;
    (void)state;
    front_init(&front);
    front_open(&front);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        struct client client;
        client_open(&client, &front);
        for (size_t at = 0, step; at < len; at += step) {
            step = cut > len ? 1 : at == 0 && cut > 0 ? cut : len - at;
            client_send_bytes(&client, talk + at, step);
            io_loop_turn(front.loop, 0);
            io_loop_turn(front.loop, 0);
        }
        client_await_end(&client);
        for (char *date = client.got; (date = strstr(date, "Date: ")) != NULL; date += 35)
            memset(date, '-', 35);
        if (whole == NULL) {
            whole = strdup(client.got);
            whole_len = client.len;
            assert_true(client_has(&client, "404"));
        }
        assert_int_equal(client.len, whole_len);
        assert_memory_equal(client.got, whole, whole_len);
        client_close(&client);
    }
    free(whole);
    front_close(&front);
}

static void test_pipelining(void **state)
{
    struct front front;
    struct client client;
    struct bytes body;
    (void)state;
    front_init(&front);
    front_open(&front);
    client_open(&client, &front);
    for (int i = 0; i < 500; i++)
        client_send(&client, GET("/bytes/100"));
    for (int i = 0; i < 500; i++) {
        assert_int_equal(client_response(&client, false, &body), 200);
        assert_int_equal(body.len, 100);
    }
    assert_int_equal(front.requests, 500);
    /* While a request is held, the next is not looked at, and input stays bounded: sends stop going through.
     */
    client_send(&client, GET("/hold"));
    front_until(&front, front.held != NULL);
    size_t sent = 0;
    static const char more[] = GET("/bytes/3");
    for (int idle = 0; idle < 50;) {
        ssize_t n = send(client.fd, more + sent % (sizeof more - 1),
            sizeof more - 1 - sent % (sizeof more - 1), MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        front_turn(&front);
    }
    assert_int_equal(front.requests, 501);
    assert_true(sent < 1024 * 1024);
    uint64_t received = counter_get(&http_server_stats(front.server)->bytes_received);
    assert_true(received < 501 * 64 + 3 * 16384);
    front_release(&front);
    front_until(&front, (client_read(&client, SIZE_MAX), client_forget(&client),
                            front.requests == 502 + (sent / (sizeof more - 1)) - 1));
    client_close(&client);
    front_close(&front);
}

static void test_continue(void **state)
{
    struct front front;
    struct client client;
    struct bytes body;
    (void)state;
    front_init(&front);
    front_open(&front);
    client_open(&client, &front);
    for (int i = 0; i < 3; i++) {
        client_send(
            &client, "GET /bytes/5 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_int_equal(client_response(&client, true, &body), 100);
        assert_int_equal(front.requests, i);
        client_send(&client, "body");
        assert_int_equal(client_response(&client, false, &body), 200);
    }
    /* No 100 where the body has come already, nor for a method whose body is not read. */
    client_send(
        &client, "GET /bytes/5 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert_int_equal(client_response(&client, false, &body), 200);
    client_send(
        &client, "PUT /status/405 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_int_equal(client_response(&client, false, &body), 405);
    client_await_end(&client);
    client_close(&client);
    front_close(&front);
}

/* Larger than any buffer, in both framings; then one byte too large. */
static void test_bodies(void **state)
{
    static char block[1 << 16];
    struct front front;
    struct client client;
    struct bytes body;
    (void)state;
    front_init(&front);
    front.config.limits.max_body_bytes = 1 << 20;
    front.config.handler.body = front_body;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, "POST /bytes/5 HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
    for (int i = 0; i < 16; i++)
        client_send_bytes(&client, block, sizeof block);
    client_send(&client, GET("/bytes/6"));
    assert_int_equal(client_response(&client, false, &body), 200);
    assert_int_equal(client_response(&client, false, &body), 200);
    assert_int_equal(body.len, 6);
    assert_int_equal(front.body_bytes, 1 << 20);
    front.body_bytes = 0;
    client_send(&client, "GET /bytes/5 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 16; i++) {
        client_send(&client, "10000\r\n");
        client_send_bytes(&client, block, sizeof block);
        client_send(&client, "\r\n");
    }
    client_send(&client, "0\r\n\r\n");
    assert_int_equal(client_response(&client, false, &body), 200);
    assert_int_equal(front.body_bytes, 1 << 20);
    client_send(&client, "GET /bytes/5 HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n");
    assert_int_equal(client_response(&client, false, &body), 413);
    client_close(&client);
    front_close(&front);
}

static void test_cuts(void **state)
{
    static const struct {
        const char *request;
        int result;
        bool reply;
    } cases[] = {
        {GET("/cut/100000"), E_CANCELED, false},
        {GET("/opencut/3000000"), E_CANCELED, false},
        {GET("/short/1000"), E_TRUNCATED, true},
        {GET("/finish"), 0, false},
    };
    struct front front;
    (void)state;
    front_init(&front);
    front_open(&front);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        front.last_result = 0;
        client_open(&client, &front);
        client_send(&client, cases[i].request);
        client_await_end(&client);
        assert_int_equal(front.last_result, cases[i].result);
        assert_int_equal(front.finished, i + 1);
        assert_false(client_has(&client, "\r\n0\r\n\r\n"));
        if (cases[i].reply)
            assert_true(client_has(&client, "Content-Length: 1000\r\n"));
        assert_int_equal(counter_get(&http_server_stats(front.server)->cuts), i + 1);
        client_close(&client);
    }
    assert_int_equal(front.gone, 0);
    front_close(&front);
}

/* Answers that were not read yet when a later one is cut still come, though the client has sent more than was
 * read: a plain close would reset the connection and lose them. */
static void test_cut_spares_what_was_before(void **state)
{
    enum { LEN = 50000 };
    struct front front;
    struct client client;
    struct bytes body;
    (void)state;
    front_init(&front);
    front.config.linger_ns = 60 * NS_PER_S; /* while the client sends, whatever the machine does */
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, GET("/bytes/50000") GET("/cut/1000"));
    for (unsigned i = 0; i < 4000; i++)
        client_send(&client, GET("/bytes/5"));
    front_until(&front, front.finished == 2);
    assert_int_equal(front.last_result, E_CANCELED);
    assert_int_equal(client_response(&client, false, &body), 200);
    assert_int_equal(body.len, LEN);
    client_await_end(&client);
    assert_false(client.reset);
    client_close(&client);
    front_close(&front);
}

/* A client that leaves: told once, in one of the two ways. A half-close is no leaving. */
static void test_leaving(void **state)
{
    struct front front;
    struct client client;
    (void)state;
    front_init(&front);
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, GET("/hold"));
    front_until(&front, front.held != NULL);
    shutdown(client.fd, SHUT_WR);
    front_idle(&front, 20 * NS_PER_MS);
    assert_int_equal(front.gone, 0);
    front_release(&front);
    client_await_end(&client);
    assert_true(client_has(&client, "200 OK"));
    client_close(&client);
    assert_int_equal(front.failed_sends, 0);

    client_open(&client, &front);
    client_send(&client, GET("/bytes/20000000"));
    front_until(&front, front.requests == 2);
    client_close(&client);
    front_until(&front, front.finished == 2);
    assert_int_equal(front.failed_sends, 1);
    assert_int_equal(front.gone, 0);
    front_close(&front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_unknown_length),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_cut_spares_what_was_before),
        cmocka_unit_test(test_leaving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
