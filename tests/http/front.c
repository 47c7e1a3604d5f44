#include "front.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATTERN_BYTES (20 * 1024 * 1024)
#define PIECE 1000
#define PARTS 100

static uint8_t pattern[PATTERN_BYTES];

/* In the exchange's memory. */
struct served {
    struct front *front;
    struct exchange *exchange;
    struct exchange_send send;
    struct iovec iov[PARTS];
    uint64_t left, at, piece;
    bool trailing;
};

bool front_is_pattern(struct bytes body)
{
    return body.len <= PATTERN_BYTES && (body.len == 0 || memcmp(body.ptr, pattern, body.len) == 0);
}

static void finish(struct served *served)
{
    struct front *front = served->front;
    CHECK(!front->inside);
    front->finished++;
    front->inside = true;
    exchange_finish(served->exchange);
    front->inside = false;
}

static void send_more(struct served *served);

static void sent(struct exchange_send *send)
{
    struct served *served = CONTAINER_OF(send, struct served, send);
    struct front *front = served->front;
    CHECK(!front->inside);
    front->done_sends++;
    front->last_result = send->result;
    front->failed_sends += send->result < 0;
    if (send->result < 0 || send->last)
        finish(served);
    else
        send_more(served);
}

static void submit(struct served *served, unsigned count, bool last)
{
    served->send = (struct exchange_send){served->iov, count, last, sent, 0};
    served->front->inside = true;
    exchange_send(served->exchange, &served->send);
    served->front->inside = false;
}

static void send_more(struct served *served)
{
    uint64_t len = served->left < served->piece ? served->left : served->piece;
    served->iov[0] = (struct iovec){pattern + served->at, len};
    served->at += len;
    served->left -= len;
    submit(served, len > 0, served->left == 0 && (!served->trailing || len == 0));
}

static void start(struct served *served, unsigned status, uint64_t len, bool close)
{
    struct exchange_head head = {status, BYTES("X-Test: yes\r\n"), len, close};
    exchange_start(served->exchange, &head);
}

static void serve_vector(struct served *served, uint64_t n)
{
    start(served, 200, n, false);
    for (unsigned i = 0; i < PARTS; i++) {
        uint64_t from = n * i / PARTS, to = n * (i + 1) / PARTS;
        served->iov[i] = (struct iovec){pattern + from, to - from};
    }
    submit(served, PARTS, true);
}

static void serve_cut(struct served *served, uint64_t n, bool known)
{
    start(served, 200, known ? n : EXCHANGE_UNKNOWN_LENGTH, false);
    served->iov[0] = (struct iovec){pattern, n / 2};
    submit(served, 1, false);
    served->front->inside = true;
    exchange_cut(served->exchange);
    served->front->inside = false;
}

static void serve(struct served *served, const char *what, uint64_t n)
{
    served->left = n;
    served->at = 0;
    served->piece = strcmp(what, "bytes") == 0 ? UINT64_MAX : PIECE;
    served->trailing = strcmp(what, "trailing") == 0;
    if (strcmp(what, "bytes") == 0 || strcmp(what, "pieces") == 0) {
        start(served, 200, n, false);
        send_more(served);
    } else if (strcmp(what, "chunked") == 0 || served->trailing) {
        start(served, 200, EXCHANGE_UNKNOWN_LENGTH, false);
        send_more(served);
    } else if (strcmp(what, "vector") == 0) {
        serve_vector(served, n);
    } else if (strcmp(what, "cut") == 0 || strcmp(what, "opencut") == 0) {
        serve_cut(served, n, strcmp(what, "cut") == 0);
    } else if (strcmp(what, "short") == 0) {
        start(served, 200, n, false);
        served->iov[0] = (struct iovec){pattern, n / 2};
        submit(served, 1, true);
    } else if (strcmp(what, "hold") == 0) {
        served->front->held = served->exchange;
    } else if (strcmp(what, "finish") == 0) {
        finish(served);
    } else {
        bool close = strcmp(what, "close") == 0;
        start(served, n ? (unsigned)n : 404, 0, close);
        submit(served, 0, true);
    }
}

static void requested(void *ctx, struct exchange *exchange)
{
    struct front *front = ctx;
    struct served *served = exchange_memory(exchange);
    const struct http_request *request = exchange_request(exchange);
    char what[64] = "";
    unsigned long long n = 0;
    CHECK(!front->inside);
    front->requests++;
    front->last_method = request->method;
    snprintf(
        front->last_target, sizeof front->last_target, "%.*s", (int)request->target.len, request->target.ptr);
    sscanf(front->last_target, "/%60[a-z]/%llu", what, &n);
    *served = (struct served){.front = front, .exchange = exchange};
    serve(served, what, n);
}

static void went(void *ctx, struct exchange *exchange)
{
    struct front *front = ctx;
    CHECK(!front->inside);
    front->gone++;
    if (front->held == exchange)
        front->held = NULL;
    finish(exchange_memory(exchange));
}

static void refused(
    void *ctx, const struct io_address *peer, unsigned status, const char *message, struct writer *lines)
{
    struct front *front = ctx;
    CHECK(peer != NULL && message[0] != 0);
    front->refused++;
    front->last_refused = status;
    write_format(lines, "X-Refused: %u\r\n", front->refused);
}

void front_body(void *ctx, struct exchange *exchange, struct bytes piece, uint64_t offset)
{
    struct front *front = ctx;
    (void)exchange;
    CHECK(piece.len > 0 && offset == front->body_bytes);
    front->body_bytes += piece.len;
}

void front_release(struct front *front)
{
    struct exchange *exchange = front->held;
    assert_non_null(exchange);
    front->held = NULL;
    serve(exchange_memory(exchange), "bytes", 5);
}

/* ---- life ---- */

static enum io_choice driver(void)
{
    const char *name = getenv("YATA_IO");
    return name != NULL && strcmp(name, "uring") == 0 ? IO_URING : IO_PORTABLE;
}

void front_init(struct front *front)
{
    for (size_t i = 0; i < PATTERN_BYTES && pattern[0] == 0; i++)
        pattern[PATTERN_BYTES - 1 - i] = (uint8_t)('a' + ((PATTERN_BYTES - 1 - i) * 31 >> 3) % 26);
    struct io_report report;
    struct io_config config = {.choice = driver(), .socket_capacity = 256, .buffer_count = 8};
    *front = (struct front){0};
    if (io_create(&front->io, &config, &report) < 0) {
        print_message("%s\n", report.reason);
        exit(77);
    }
    assert_int_equal(io_loop_create(front->io, &front->loop), 0);
    front->config = (struct http_server_config){
        .io = front->io,
        .loop = front->loop,
        .handler = {front, sizeof(struct served), requested, went, NULL, refused},
    };
}

void front_open(struct front *front)
{
    assert_int_equal(http_server_create(&front->config, &front->server), 0);
}

static void drained(void *ctx)
{
    struct front *front = ctx;
    front->drained++;
}

void front_close(struct front *front)
{
    if (front->drained == 0)
        http_server_drain(front->server, drained, front);
    http_server_stop(front->server);
    front_until(front, front->drained > 0);
    assert_int_equal(front->drained, 1);
    assert_int_equal(front->requests, front->finished);
    assert_int_equal(counter_get(&http_server_stats(front->server)->connections_open), 0);
    http_server_destroy(front->server);
    if (io_handle_valid(front->config.listener))
        io_listener_close(front->io, front->config.listener);
    assert_int_equal(io_loop_destroy(front->loop, 0), 0);
    assert_int_equal(io_destroy(front->io), 0);
}

void front_turn(struct front *front)
{
    io_loop_turn(front->loop, NS_PER_MS);
}

void front_idle(struct front *front, uint64_t ns)
{
    uint64_t until_ns = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < until_ns)
        front_turn(front);
}

/* ---- clients ---- */

void client_open(struct client *client, struct front *front)
{
    int pair[2];
    struct io_handle handle;
    struct io_address peer = {.len = 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    *client = (struct client){.front = front, .fd = pair[0], .capacity = 65536};
    client->got = calloc(1, client->capacity + 1);
    assert_int_equal(io_adopt(front->loop, pair[1], &handle), 0);
    assert_int_equal(http_server_adopt(front->server, handle, &peer), 0);
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    free(client->got);
    client->fd = -1;
    client->got = NULL;
}

void client_send_bytes(struct client *client, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t sent = send(client->fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            front_turn(client->front);
            continue;
        }
        if (sent < 0)
            return; /* the server has closed: what it answered tells */
        at += sent;
        len -= (size_t)sent;
    }
}

void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

void client_read(struct client *client, size_t most)
{
    while (most > 0) {
        if (client->len == client->capacity) {
            client->capacity *= 2;
            client->got = realloc(client->got, client->capacity + 1);
        }
        size_t room = client->capacity - client->len;
        ssize_t got = recv(client->fd, client->got + client->len, room < most ? room : most, 0);
        if (got <= 0) {
            client->eof |= got == 0;
            client->reset |= got < 0 && errno != EAGAIN;
            break;
        }
        client->len += (size_t)got;
        most -= (size_t)got;
    }
    client->got[client->len] = 0;
}

void client_await(struct client *client, size_t len)
{
    front_until(
        client->front, (client_read(client, SIZE_MAX), client->len >= len || client->eof || client->reset));
    assert_true(client->len >= len);
}

void client_await_end(struct client *client)
{
    front_until(client->front, (client_read(client, SIZE_MAX), client->eof || client->reset));
}

bool client_has(const struct client *client, const char *text)
{
    return strstr(client->got, text) != NULL;
}

void client_forget(struct client *client)
{
    client->len = 0;
    client->got[0] = 0;
}

unsigned client_response(struct client *client, bool bodiless, struct bytes *body)
{
    static char *last;
    unsigned status = 0;
    front_until(
        client->front, (client_read(client, SIZE_MAX), client_has(client, "\r\n\r\n") || client->eof));
    const char *end = strstr(client->got, "\r\n\r\n");
    assert_non_null(end);
    size_t head = (size_t)(end + 4 - client->got), len = 0;
    const char *field = strstr(client->got, "Content-Length: ");
    if (field != NULL && field < end && !bodiless)
        len = strtoul(field + 16, NULL, 10);
    client_await(client, head + len);
    assert_int_equal(sscanf(client->got, "HTTP/1.1 %u", &status), 1);
    free(last);
    last = malloc(len + 1);
    memcpy(last, client->got + head, len);
    *body = bytes_of(last, len);
    client->len -= head + len;
    memmove(client->got, client->got + head + len, client->len + 1);
    return status;
}
