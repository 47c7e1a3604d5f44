/*
 * Bodies that their owner reads, 1xx replies and trailers, over real sockets. The handler here tells what it
 * was given: /echo/... sends each piece back as it comes; /take/... answers "<bytes> <trailers>" at the end;
 * /leave answers at once; /hints sends two 103 first; /slow asks for the next piece only when told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "front.h"

struct taker {
    struct exchange *exchange;
    struct exchange_read read;
    struct exchange_send send;
    struct iovec iov;
    uint64_t bytes;
    bool echoes, slow, over, sending;
    int result;
    char text[512];
};

static struct front front;
static struct taker *slow; /* that waits to be told */
static int last_result;
static uint64_t last_bytes;

static bool streams(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return !bytes_start_with(request->target, BYTES("/dropped"));
}

static void finish(struct taker *taker)
{
    slow = slow == taker ? NULL : slow;
    last_result = taker->result;
    last_bytes = taker->bytes;
    front.finished++;
    front.inside = true;
    exchange_finish(taker->exchange);
    front.inside = false;
}

static void read_on(struct taker *taker)
{
    front.inside = true;
    exchange_read(taker->exchange, &taker->read);
    front.inside = false;
}

static void sent(struct exchange_send *send)
{
    struct taker *taker = CONTAINER_OF(send, struct taker, send);
    CHECK(!front.inside);
    taker->sending = false;
    if (send->result < 0)
        taker->result = send->result;
    if (send->last || send->result < 0)
        finish(taker);
    else
        read_on(taker);
}

static void reply(struct taker *taker, const void *bytes, size_t len, bool last)
{
    taker->iov = (struct iovec){(void *)(uintptr_t)bytes, len};
    taker->send = (struct exchange_send){
        .iov = &taker->iov, .count = len > 0, .last = last, .done = sent, .trailers = BYTES("X-End: 1\r\n")};
    taker->sending = true;
    front.inside = true;
    exchange_send(taker->exchange, &taker->send);
    front.inside = false;
}

static void start(struct taker *taker, unsigned status, uint64_t len)
{
    exchange_start(taker->exchange, &(struct exchange_head){.status = status, .body_len = len});
}

static void tell(struct taker *taker)
{
    struct writer w = writer_of(taker->text, sizeof taker->text);
    const struct http_fields *trailers = exchange_trailers(taker->exchange);
    write_decimal(&w, taker->bytes);
    for (unsigned i = 0; i < trailers->count; i++) {
        write_u8(&w, ' ');
        write_bytes(&w, trailers->fields[i].name);
        write_u8(&w, '=');
        write_bytes(&w, trailers->fields[i].value);
    }
    struct bytes text = writer_bytes(&w);
    start(taker, 200, text.len);
    reply(taker, text.ptr, text.len, true);
}

static void got(struct exchange_read *read)
{
    struct taker *taker = CONTAINER_OF(read, struct taker, read);
    CHECK(!front.inside);
    if (read->result < 0) {
        taker->result = read->result;
        if (exchange_is_dead(taker->exchange) || taker->echoes) {
            finish(taker);
        } else {
            start(taker, 400, 0);
            reply(taker, NULL, 0, true);
        }
        return;
    }
    taker->bytes += read->bytes.len;
    if (taker->echoes)
        reply(taker, read->bytes.ptr, read->bytes.len, read->bytes.len == 0);
    else if (read->bytes.len == 0)
        tell(taker);
    else if (taker->slow)
        slow = taker;
    else
        read_on(taker);
}

static void requested(void *ctx, struct exchange *exchange)
{
    struct taker *taker = exchange_memory(exchange);
    struct bytes target = exchange_request(exchange)->target;
    (void)ctx;
    front.requests++;
    *taker = (struct taker){.exchange = exchange, .read.done = got};
    if (bytes_start_with(target, BYTES("/leave")) || bytes_start_with(target, BYTES("/dropped"))) {
        start(taker, 200, 0);
        reply(taker, NULL, 0, true);
    } else if (bytes_start_with(target, BYTES("/hints"))) {
        exchange_interim(exchange, 102, BYTES(""));
        exchange_interim(exchange, 103, BYTES("Link: </a>\r\n"));
        start(taker, 200, 0);
        reply(taker, NULL, 0, true);
    } else {
        taker->echoes = bytes_start_with(target, BYTES("/echo"));
        taker->slow = bytes_start_with(target, BYTES("/slow"));
        if (taker->echoes)
            start(taker, 200, EXCHANGE_UNKNOWN_LENGTH);
        if (taker->slow)
            slow = taker;
        else
            read_on(taker);
    }
}

static void went(void *ctx, struct exchange *exchange)
{
    struct taker *taker = exchange_memory(exchange);
    (void)ctx;
    front.gone++;
    taker->result = -ECONNRESET;
    finish(taker);
}

static int setup(void **state)
{
    (void)state;
    front_init(&front);
    slow = NULL;
    last_result = 1;
    front.config.handler.request = requested;
    front.config.handler.gone = went;
    front.config.handler.streams = streams;
    front.config.handler.request_bytes = sizeof(struct taker);
    front.config.limits.max_body_bytes = 64 << 20;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    front_close(&front);
    return 0;
}

#define POST(target) "POST " target " HTTP/1.1\r\nHost: t\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* Whatever is sent in whatever pieces: the same answers, and the next request is found. */
static void test_bodies(void **state)
{
    static const struct {
        const char *request, *body;
        unsigned status;
        bool closes;
    } rows[] = {
        {POST("/take") "Content-Length: 5\r\n\r\nhello", "5", 200, false},
        {POST("/take") "Content-Length: 0\r\n\r\n", NULL, 0, false},
        {POST("/take") CHUNKED "\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "6", 200, false},
        {POST("/take") CHUNKED "\r\n0\r\n\r\n", "0", 200, false},
        {POST("/take") CHUNKED "\r\n5\r\nhello\r\n0\r\nX-Sum: a b \r\nY:\r\n\r\n", "5 X-Sum=a b Y=", 200,
            false},
        {"PUT /take HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "2", 200, true},
        {"GET /take HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi", "2", 200, false},
        {POST("/take") CHUNKED "\r\n5\r\nhello\r\nx\r\n", "", 400, true},
        {POST("/take") CHUNKED "\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", "", 400, true},
        {POST("/leave") "Content-Length: 5\r\n\r\nhello", "", 200, true},
        {"GET /dropped HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi", "", 200, false},
    };
    (void)state;
    front_open(&front);
    for (size_t step = 1; step <= 1000; step *= 10) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct client client;
            struct bytes body;
            if (rows[i].body == NULL)
                continue;
            client_open(&client, &front);
            for (size_t at = 0, len = strlen(rows[i].request); at < len; at += step) {
                client_send_bytes(&client, rows[i].request + at, len - at < step ? len - at : step);
                front_turn(&front);
            }
            client_send(&client, "GET /leave HTTP/1.1\r\nHost: t\r\n\r\n");
            unsigned status = client_response(&client, false, &body);
            if (status != rows[i].status || !bytes_equal(body, bytes_of_string(rows[i].body)))
                fail_msg("row %zu by %zu: %u %.*s", i, step, status, (int)body.len, (const char *)body.ptr);
            if (rows[i].closes) {
                client_await_end(&client);
                assert_int_equal(client.len, 0);
            } else {
                assert_int_equal(client_response(&client, false, &body), 200);
            }
            client_close(&client);
        }
    }
}

/* 20 MiB each way at once, by a client that reads slowly: memory is bounded by the sockets and one receive.
 */
static void test_echo(void **state)
{
    static char piece[10000];
    struct client client;
    size_t sent = 0, total = 20 << 20;
    (void)state;
    memset(piece, 'x', sizeof piece);
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, POST("/echo") CHUNKED "\r\n");
    while (sent < total) {
        client_send(&client, "2710\r\n");
        client_send_bytes(&client, piece, sizeof piece);
        client_send(&client, "\r\n");
        sent += sizeof piece;
        client_read(&client, SIZE_MAX);
        if (client.len > (1 << 20))
            client.len = 64; /* keep the end of the head out of the way */
    }
    client_send(&client, "0\r\n\r\n");
    front_until(&front, (client_read(&client, SIZE_MAX), front.finished == 1));
    front_idle(&front, 5 * NS_PER_MS);
    client_read(&client, SIZE_MAX);
    assert_int_equal(last_result, 0);
    assert_int_equal(last_bytes, sent);
    assert_true(client.len > 17);
    assert_memory_equal(client.got + client.len - 17, "\r\n0\r\nX-End: 1\r\n\r\n", 17);
    client_close(&client);
}

/* What nobody asks for stays with the client. */
static void test_back_pressure(void **state)
{
    static char body[4 << 20];
    struct client client;
    (void)state;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, POST("/slow") "Content-Length: 4194304\r\n\r\n");
    front_until(&front, slow != NULL);
    size_t taken = 0;
    for (int i = 0; i < 100; i++) {
        ssize_t n = send(client.fd, body, sizeof body - taken, MSG_NOSIGNAL);
        taken += n > 0 ? (size_t)n : 0;
        front_turn(&front);
    }
    assert_true(taken < sizeof body);
    uint64_t received = counter_get(&http_server_stats(front.server)->bytes_received);
    assert_true(received <= 2 * 16384 + 200);
    while (last_result == 1) {
        if (slow != NULL) {
            struct taker *taker = slow;
            slow = NULL;
            read_on(taker);
        }
        ssize_t n = taken < sizeof body ? send(client.fd, body, sizeof body - taken, MSG_NOSIGNAL) : 0;
        taken += n > 0 ? (size_t)n : 0;
        front_turn(&front);
    }
    assert_int_equal(last_bytes, sizeof body);
    client_close(&client);
}

static void test_continue_comes_with_the_first_read(void **state)
{
    struct client client;
    struct bytes body;
    (void)state;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, POST("/slow") "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    front_until(&front, slow != NULL);
    front_idle(&front, 20 * NS_PER_MS);
    client_read(&client, SIZE_MAX);
    assert_int_equal(client.len, 0);
    struct taker *taker = slow;
    slow = NULL;
    read_on(taker);
    front_until(&front, (client_read(&client, SIZE_MAX), client_has(&client, "\r\n\r\n")));
    assert_string_equal(client.got, "HTTP/1.1 100 Continue\r\n\r\n");
    client_forget(&client);
    client_send(&client, "hi");
    front_until(&front, slow != NULL);
    read_on(slow);
    assert_int_equal(client_response(&client, false, &body), 200);
    /* Not to who did not wait. */
    client_send(&client, POST("/take") "Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
    assert_int_equal(client_response(&client, false, &body), 200);
    /* Nor where nobody reads. */
    client_send(&client, POST("/leave") "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(client_response(&client, false, &body), 200);
    client_await_end(&client);
    client_close(&client);
}

static void test_hints(void **state)
{
    struct client client;
    (void)state;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, "GET /hints HTTP/1.1\r\nHost: t\r\n\r\n");
    front_until(&front, (client_read(&client, SIZE_MAX), client_has(&client, "Content-Length: 0\r\n\r\n")));
    assert_memory_equal(client.got,
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
        84);
    client_close(&client);
    client_open(&client, &front);
    client_send(&client, "GET /hints HTTP/1.0\r\n\r\n");
    client_await_end(&client);
    assert_memory_equal(client.got, "HTTP/1.1 200 OK\r\n", 17);
    client_close(&client);
}

static void test_a_body_that_ends_early(void **state)
{
    (void)state;
    front_open(&front);
    for (int reset = 0; reset < 2; reset++) {
        struct client client;
        last_result = 1;
        client_open(&client, &front);
        client_send(&client, POST("/take") "Content-Length: 5\r\n\r\nhel");
        front_until(&front, front.requests == (unsigned)reset + 1);
        front_idle(&front, 5 * NS_PER_MS);
        if (reset)
            client_close(&client);
        else
            shutdown(client.fd, SHUT_WR);
        front_until(&front, last_result != 1);
        assert_true(last_result < 0);
        client_close(&client);
    }
}

static void test_a_body_that_stalls(void **state)
{
    struct client client;
    struct bytes body;
    (void)state;
    front.config.body_timeout_ns = 50 * NS_PER_MS;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, POST("/take") "Content-Length: 5\r\n\r\nhel");
    assert_int_equal(client_response(&client, false, &body), 400);
    assert_int_equal(last_result, E_TIMEOUT);
    client_await_end(&client);
    client_close(&client);
}

static void test_too_large(void **state)
{
    struct client client;
    struct bytes body;
    (void)state;
    front.config.limits.max_body_bytes = 10;
    front_open(&front);
    client_open(&client, &front);
    client_send(&client, POST("/take") "Content-Length: 11\r\n\r\n");
    assert_int_equal(client_response(&client, false, &body), 413);
    client_close(&client);
    client_open(&client, &front);
    client_send(&client, POST("/take") CHUNKED "\r\n5\r\nhello\r\n6\r\n");
    assert_int_equal(client_response(&client, false, &body), 400);
    assert_int_equal(last_result, E_TOO_LARGE);
    client_close(&client);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_bodies),
        STORY(test_echo),
        STORY(test_back_pressure),
        STORY(test_continue_comes_with_the_first_read),
        STORY(test_hints),
        STORY(test_a_body_that_ends_early),
        STORY(test_a_body_that_stalls),
        STORY(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
