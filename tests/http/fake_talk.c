#include "fake_talk.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/server.h"
#include "io/fake.h"

#define GOT_MAX (1 << 20)
#define LENGTH_MAX 5000

static uint8_t pattern[LENGTH_MAX];

struct stage {
    struct talk talk;
    struct io *io;
    struct io_loop *loop;
    struct io_handle listener, socket;
    struct http_server *server;
    struct io_address address;
    struct io_op connect_op, send_op, recv_op, close_op, timer_op;
    struct iovec iov;
    uint8_t *got;
    size_t got_len;
    unsigned requests, finished;
    bool open, ended, closed, stopped, drained;
};

struct served {
    struct stage *stage;
    struct exchange *exchange;
    struct exchange_send send;
    struct iovec iov;
    struct io_op timer_op;
    uint64_t len, at;
    unsigned kind;
    bool gone;
};

enum { KIND_PIECES, KIND_WHOLE, KIND_CHUNKED, KIND_LATE, KIND_EMPTY, KIND_CUT, KIND_SHORT, KIND_NONE };

/* ---- the handler ---- */

static void finish(struct served *served)
{
    served->stage->finished++;
    exchange_finish(served->exchange);
}

static void send_more(struct served *served);

static void sent(struct exchange_send *send)
{
    struct served *served = CONTAINER_OF(send, struct served, send);
    if (send->result < 0 || send->last)
        finish(served);
    else
        send_more(served);
}

static void send_more(struct served *served)
{
    uint64_t left = served->len - served->at;
    uint64_t len = served->kind == KIND_WHOLE || left < 777 ? left : 777;
    served->iov =
        (struct iovec){pattern + served->at, served->kind == KIND_SHORT && len == left ? len / 2 : len};
    served->at += len;
    served->send = (struct exchange_send){&served->iov, 1, served->at == served->len, sent, 0};
    exchange_send(served->exchange, &served->send);
}

static void start(struct served *served)
{
    bool unknown = served->kind == KIND_CHUNKED;
    struct exchange_head head = {
        200, BYTES("X: y\r\n"), unknown ? EXCHANGE_UNKNOWN_LENGTH : served->len, false};
    exchange_start(served->exchange, &head);
    if (served->kind == KIND_NONE)
        finish(served);
    else
        send_more(served);
    if (served->kind == KIND_CUT)
        exchange_cut(served->exchange);
}

static void is_late(struct io_op *op)
{
    struct served *served = CONTAINER_OF(op, struct served, timer_op);
    if (served->gone)
        finish(served);
    else
        start(served);
}

static void requested(void *ctx, struct exchange *exchange)
{
    struct stage *stage = ctx;
    struct served *served = exchange_memory(exchange);
    const struct http_request *request = exchange_request(exchange);
    *served = (struct served){.stage = stage, .exchange = exchange};
    stage->requests++;
    for (size_t i = 0; i < request->target.len; i++) {
        unsigned digit = (unsigned)request->target.ptr[i] - '0';
        if (digit <= 9) {
            served->len = served->len * 10 + served->kind;
            served->kind = digit;
        }
    }
    served->len %= LENGTH_MAX;
    served->kind %= KIND_NONE + 1;
    if (served->kind == KIND_EMPTY)
        served->len = 0;
    if (served->kind >= KIND_CUT && stage->talk.reset_ns == 0)
        served->kind = KIND_PIECES; /* how much of a cut reply comes through is a matter of time */
    io_op_init(&served->timer_op, is_late);
    if (served->kind == KIND_LATE)
        io_timer(stage->loop, &served->timer_op, io_now_ns(stage->loop) + 5 * NS_PER_MS);
    else
        start(served);
}

static void went(void *ctx, struct exchange *exchange)
{
    struct served *served = exchange_memory(exchange);
    (void)ctx;
    CHECK(io_op_busy(&served->timer_op) && !served->gone);
    served->gone = true; /* its timer finishes it */
}

/* ---- the client ---- */

static void ignore(struct io_op *op)
{
    (void)op;
}

static void closed(struct io_op *op)
{
    struct stage *stage = CONTAINER_OF(op, struct stage, close_op);
    stage->closed = true;
}

static void end(struct stage *stage)
{
    if (stage->ended)
        return;
    stage->ended = true;
    io_cancel(stage->loop, &stage->timer_op);
    if (stage->open)
        io_close(stage->loop, &stage->close_op, stage->socket);
    else
        stage->closed = true;
}

static void received(struct io_op *op)
{
    struct stage *stage = CONTAINER_OF(op, struct stage, recv_op);
    if (op->result > 0) {
        CHECK(stage->got_len + (size_t)op->result <= GOT_MAX);
        memcpy(stage->got + stage->got_len, op->buffer, (size_t)op->result);
        stage->got_len += (size_t)op->result;
        io_buffer_give(stage->loop, &op->buffer);
    }
    if (op->result <= 0)
        end(stage);
    else if (!stage->ended)
        io_recv(stage->loop, &stage->recv_op, stage->socket);
}

static void client_sent(struct io_op *op)
{
    struct stage *stage = CONTAINER_OF(op, struct stage, send_op);
    if (op->result < 0 || stage->ended)
        return;
    stage->iov.iov_base = (uint8_t *)stage->iov.iov_base + op->result;
    stage->iov.iov_len -= (size_t)op->result;
    if (stage->iov.iov_len > 0)
        io_send(stage->loop, &stage->send_op, stage->socket, &stage->iov, 1, false);
    else
        (void)io_shutdown_send(stage->loop, stage->socket);
}

static void connected(struct io_op *op)
{
    struct stage *stage = CONTAINER_OF(op, struct stage, connect_op);
    CHECK(op->result >= 0);
    stage->socket = op->handle;
    stage->open = true;
    io_recv(stage->loop, &stage->recv_op, stage->socket);
    if (stage->iov.iov_len > 0)
        io_send(stage->loop, &stage->send_op, stage->socket, &stage->iov, 1, false);
    else
        (void)io_shutdown_send(stage->loop, stage->socket);
}

static void drained(void *ctx)
{
    struct stage *stage = ctx;
    stage->drained = true;
}

static void disturb(struct io_op *op)
{
    struct stage *stage = CONTAINER_OF(op, struct stage, timer_op);
    if (op->result < 0)
        return;
    if (stage->talk.stop) {
        stage->stopped = true;
        http_server_drain(stage->server, drained, stage);
        http_server_stop(stage->server);
    } else if (stage->open) {
        fake_socket_reset(stage->loop, stage->socket);
    }
}

/* ---- the stage ---- */

static void open_stage(struct stage *stage, struct bytes input)
{
    struct io_report report;
    struct io_listen_options options = {0};
    struct io_config config = {.choice = IO_FAKE,
        .fake_seed = stage->talk.seed,
        .buffer_count = 4,
        .buffer_bytes = 512 << stage->talk.seed % 5,
        .socket_capacity = 16};
    CHECK(io_create(&stage->io, &config, &report) == 0);
    CHECK(io_loop_create(stage->io, &stage->loop) == 0);
    CHECK(io_address_parse(&stage->address, "127.0.0.1", 8080) == 0);
    CHECK(io_listen(stage->io, &stage->address, &options, &stage->listener) == 0);
    struct http_server_config server = {.io = stage->io,
        .loop = stage->loop,
        .listener = stage->listener,
        .handler = {stage, sizeof(struct served), requested, went, NULL},
        .limits = {.max_body_bytes = 5000}};
    CHECK(http_server_create(&server, &stage->server) == 0);
    io_op_init(&stage->connect_op, connected);
    io_op_init(&stage->send_op, client_sent);
    io_op_init(&stage->recv_op, received);
    io_op_init(&stage->close_op, closed);
    io_op_init(&stage->timer_op, stage->talk.reset_ns ? disturb : ignore);
    stage->iov = (struct iovec){(void *)(uintptr_t)input.ptr, input.len};
    stage->got = malloc(GOT_MAX);
    io_connect(stage->loop, &stage->connect_op, &stage->address);
    if (stage->talk.reset_ns)
        io_timer(stage->loop, &stage->timer_op, io_now_ns(stage->loop) + stage->talk.reset_ns);
}

static void close_stage(struct stage *stage)
{
    for (unsigned turns = 0; !stage->closed; turns++) {
        io_loop_turn(stage->loop, UINT64_MAX);
        if (stage->drained && stage->open)
            end(stage); /* it may wait in the backlog */
        CHECK(turns < 1000000);
    }
    if (!stage->stopped)
        http_server_drain(stage->server, drained, stage);
    for (unsigned turns = 0; !stage->drained; turns++) {
        io_loop_turn(stage->loop, UINT64_MAX);
        CHECK(turns < 1000000);
    }
    CHECK(stage->requests == stage->finished);
    http_server_destroy(stage->server);
    io_listener_close(stage->io, stage->listener);
    CHECK(io_loop_destroy(stage->loop, 0) == 0);
    CHECK(io_destroy(stage->io) == 0);
}

/* What depends on the time: Date, and whether a body came before its 100 Continue was due. */
static size_t mask(uint8_t *got, size_t len)
{
    static const char note[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t note_len = sizeof note - 1;
    for (uint8_t *at; (at = memmem(got, len, note, note_len)) != NULL; len -= note_len)
        memmove(at, at + note_len, len - note_len - (size_t)(at - got));
    for (size_t part = note_len - 1; part > 9; part--) /* after "HTTP/1.1 " */
        if (len >= part && memcmp(got + len - part, note, part) == 0)
            len -= part;
    for (uint8_t *at = got; (at = memmem(at, len - (size_t)(at - got), "\r\nDate: ", 8)) != NULL; at += 8)
        for (size_t i = 8; i < 37 && at + i < got + len; i++)
            at[i] = '-';
    return len;
}

struct bytes fake_talk(const struct talk *talk, struct bytes input)
{
    struct stage stage = {.talk = *talk};
    for (size_t i = 0; i < LENGTH_MAX; i++)
        pattern[i] = (uint8_t)('a' + i % 26);
    open_stage(&stage, input);
    close_stage(&stage);
    return bytes_of(stage.got, mask(stage.got, stage.got_len));
}
