#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "http/connection.h"
#include "http/response.h"

static struct io_loop *loop_of(const struct connection *conn)
{
    return conn->server->config.loop;
}

void connection_input_free(struct connection *conn)
{
    if (conn->in != conn->in_inline)
        free(conn->in);
    free(conn->ahead);
    conn->in = conn->in_inline;
    conn->in_capacity = sizeof conn->in_inline;
    conn->in_len = conn->ahead_len = 0;
    conn->ahead = NULL;
}

/* Room for `len` more bytes behind the input. Bounded by its users: a head never grows beyond its limit plus
 * one receive, nor a body's rest beyond one receive. */
static bool reserve(struct connection *conn, size_t len)
{
    size_t capacity = conn->in_capacity;
    CHECK(!conn->exchange.owned);
    while (capacity - conn->in_len < len)
        capacity *= 2;
    if (capacity == conn->in_capacity)
        return true;
    uint8_t *grown = malloc(capacity);
    if (grown == NULL)
        return false;
    memcpy(grown, conn->in, conn->in_len);
    if (conn->in != conn->in_inline)
        free(conn->in);
    conn->in = grown;
    conn->in_capacity = capacity;
    if (conn->state == CONNECTION_BODY) /* its request points into the input */
        http_parser_feed(&conn->parser, bytes_of(conn->in, conn->in_len), &conn->exchange.request);
    return true;
}

static bool keep(struct connection *conn, struct bytes data)
{
    bool fits = conn->in_capacity - conn->in_len >= data.len;
    if (!fits && conn->exchange.owned) {
        CHECK(conn->ahead == NULL);
        conn->ahead = malloc(data.len);
        if (conn->ahead == NULL)
            return false;
        memcpy(conn->ahead, data.ptr, data.len);
        conn->ahead_len = data.len;
        return true;
    }
    if (!fits && !reserve(conn, data.len))
        return false;
    memcpy(conn->in + conn->in_len, data.ptr, data.len);
    conn->in_len += data.len;
    return true;
}

static void take_in(struct connection *conn, struct bytes data)
{
    counter_add(&conn->server->stats.bytes_received, data.len);
    if (conn->state == CONNECTION_HEAD && conn->in_len == 0) {
        conn->exchange.begin_ns = io_now_ns(loop_of(conn));
        if (conn->deadline == DEADLINE_IDLE)
            conn->deadline = DEADLINE_NONE; /* set again if the head is not complete */
    }
    if (!keep(conn, data))
        connection_abandon(conn, -ENOMEM);
}

void connection_received(struct io_op *op)
{
    struct connection *conn = CONTAINER_OF(op, struct connection, recv_op);
    connection_enter(conn);
    if (op->result > 0) {
        if (!conn->closing)
            take_in(conn, bytes_of(op->buffer, (size_t)op->result));
        io_buffer_give(loop_of(conn), &op->buffer);
    } else if (op->result == 0) {
        conn->eof = true;
    } else if (!conn->closing) {
        if (conn->state != CONNECTION_HEAD || conn->in_len > 0)
            counter_add(&conn->server->stats.resets, 1);
        connection_abandon(conn, (int)op->result);
    }
    if (!conn->closing)
        connection_advance(conn);
    connection_leave(conn);
}

void connection_receive(struct connection *conn)
{
    if (!io_op_busy(&conn->recv_op))
        io_recv(loop_of(conn), &conn->recv_op, conn->socket);
}

/* ---- refusals ---- */

static void refusal_sent(struct exchange_send *send)
{
    struct connection *conn = CONTAINER_OF(send, struct connection, own_send);
    exchange_finish(&conn->exchange);
}

/* The method is known if the request line was good. */
static enum http_method refused_method(const struct connection *conn)
{
    const struct http_span *method = &conn->parser.method;
    bool head = bytes_equal(bytes_of(conn->in + method->at, method->len), BYTES("HEAD"));
    return head ? HTTP_HEAD : HTTP_GET;
}

void connection_refuse(struct connection *conn, unsigned status, const char *message, struct bytes lines)
{
    struct exchange *exchange = &conn->exchange;
    const struct exchange_handler *handler = &conn->server->config.handler;
    CHECK(!exchange->owned && !conn->closing && !io_op_busy(&conn->send_op));
    char fields[128 + HTTP_REFUSED_LINES_MAX];
    struct writer w = writer_of(fields, sizeof fields),
                  body = writer_of(conn->error_body, CONNECTION_ERROR_BYTES);
    http_write_field(&w, BYTES("Content-Type"), BYTES(HTTP_ERROR_CONTENT_TYPE));
    write_bytes(&w, lines);
    if (handler->refused != NULL)
        handler->refused(handler->ctx, &conn->peer, status, message, &w);
    http_write_error_body(&body, status, bytes_of_string(message));
    CHECK(!w.failed && !body.failed);
    exchange->request = (struct http_request){.method = refused_method(conn), .minor = 1};
    exchange_begin(exchange);
    exchange->own = true;
    conn->state = CONNECTION_RUNNING;
    conn->own_iov = (struct iovec){conn->error_body, writer_bytes(&body).len};
    conn->own_send = (struct exchange_send){&conn->own_iov, 1, true, refusal_sent, 0};
    struct exchange_head head = {status, writer_bytes(&w), conn->own_iov.iov_len, true};
    exchange_start(exchange, &head);
    exchange_send(exchange, &conn->own_send);
}

static void refuse(struct connection *conn, enum http_refusal refusal)
{
    counter_add(&conn->server->stats.refusals[refusal], 1);
    connection_refuse(conn, http_refusal_status(refusal), http_refusal_text(refusal), BYTES(""));
}

/* ---- requests ---- */

static void run(struct connection *conn)
{
    const struct exchange_handler *handler = &conn->server->config.handler;
    counter_add(&conn->server->stats.requests, 1);
    conn->state = CONNECTION_RUNNING;
    connection_deadline(conn, DEADLINE_NONE, 0);
    exchange_begin(&conn->exchange);
    handler->request(handler->ctx, &conn->exchange);
}

static void begin_body(struct connection *conn)
{
    const struct http_server_config *config = &conn->server->config;
    const struct http_request *request = &conn->exchange.request;
    bool served =
        request->method == HTTP_GET || request->method == HTTP_HEAD || request->method == HTTP_OPTIONS;
    http_body_init(&conn->body, request, conn->parser.limits.max_body_bytes);
    conn->body_offset = 0;
    conn->state = CONNECTION_BODY;
    if (conn->body.done)
        return;
    bool streams = config->handler.streams != NULL && config->handler.streams(config->handler.ctx, request);
    if (!served && !streams && config->handler.body == NULL) {
        conn->body.refusal = HTTP_ACCEPTED;
        conn->body.done = true;
        conn->body_unread = true;
        return;
    }
    if (streams && conn->body.refusal == HTTP_ACCEPTED) {
        connection_stream_begin(conn);
        run(conn);
        return;
    }
    connection_deadline(conn, DEADLINE_BODY, config->body_timeout_ns);
    if (request->expect_continue && conn->body.refusal == HTTP_ACCEPTED &&
        conn->in_len == request->head_bytes)
        interim_send(conn, BYTES("HTTP/1.1 100 Continue\r\n\r\n"));
}

/* Takes what there is of the body out of the input. */
static void drop_body(struct connection *conn)
{
    const struct exchange_handler *handler = &conn->server->config.handler;
    size_t head = conn->exchange.request.head_bytes, at = head;
    while (at < conn->in_len && !conn->body.done && conn->body.refusal == HTTP_ACCEPTED) {
        struct bytes piece;
        at += http_body_feed(&conn->body, bytes_of(conn->in + at, conn->in_len - at), &piece);
        if (piece.len > 0 && handler->body != NULL)
            handler->body(handler->ctx, &conn->exchange, piece, conn->body_offset);
        conn->body_offset += piece.len;
    }
    memmove(conn->in + head, conn->in + at, conn->in_len - at);
    conn->in_len -= at - head;
}

/* Both return whether there is more to do at once. */
static bool advance_body(struct connection *conn)
{
    if (io_op_busy(&conn->send_op))
        return false;
    if (!conn->body_unread)
        drop_body(conn);
    if (conn->body.refusal != HTTP_ACCEPTED)
        refuse(conn, conn->body.refusal);
    else if (conn->body.done)
        run(conn);
    else if (conn->eof)
        connection_die(conn, -ECONNRESET);
    else
        connection_receive(conn);
    return conn->state == CONNECTION_RUNNING;
}

static void await_head(struct connection *conn)
{
    if (conn->eof)
        connection_die(conn, -ECONNRESET);
    else if (conn->deadline == DEADLINE_NONE && conn->in_len > 0)
        connection_deadline(conn, DEADLINE_HEADER, conn->server->config.header_timeout_ns);
    if (!conn->closing)
        connection_receive(conn);
}

static bool advance_head(struct connection *conn)
{
    enum http_parse parse = HTTP_PARSE_MORE;
    if (conn->in_len > 0)
        parse = http_parser_feed(&conn->parser, bytes_of(conn->in, conn->in_len), &conn->exchange.request);
    if (parse == HTTP_PARSE_REQUEST)
        begin_body(conn);
    else if (parse == HTTP_PARSE_REFUSAL)
        refuse(conn, conn->parser.refusal);
    else
        await_head(conn);
    return parse != HTTP_PARSE_MORE;
}

void connection_advance(struct connection *conn)
{
    bool more = true;
    while (more && !conn->closing) {
        if (conn->state == CONNECTION_HEAD)
            more = advance_head(conn);
        else if (conn->state == CONNECTION_BODY)
            more = advance_body(conn);
        else
            break;
    }
    if (conn->state == CONNECTION_RUNNING && conn->stream.on && !conn->closing)
        connection_stream_pump(conn);
    bool watching = conn->state == CONNECTION_RUNNING && !conn->closing && !conn->eof && !conn->exchange.own;
    if (watching && connection_stream_drained(conn) && !conn->body_unread)
        connection_receive(conn);
}

void connection_next(struct connection *conn)
{
    size_t over = conn->stream.on ? conn->stream.in_at : conn->exchange.request.head_bytes;
    CHECK(!conn->exchange.owned && over <= conn->in_len && conn->state == CONNECTION_RUNNING);
    conn->in_len -= over;
    memmove(conn->in, conn->in + over, conn->in_len);
    if (conn->in != conn->in_inline && conn->in_len == 0 && conn->ahead == NULL)
        connection_input_free(conn);
    if (conn->ahead != NULL) {
        struct bytes ahead = bytes_from(bytes_of(conn->ahead, conn->ahead_len), conn->stream.ahead_at);
        if (!keep(conn, ahead))
            connection_die(conn, -ENOMEM);
        free(conn->ahead);
        conn->ahead = NULL;
    }
    connection_stream_end(conn);
    http_parser_reset(&conn->parser);
    conn->state = CONNECTION_HEAD;
    conn->exchange.begin_ns = io_now_ns(loop_of(conn));
    if (conn->closing)
        return;
    if (conn->in_len == 0)
        connection_deadline(conn, DEADLINE_IDLE, conn->server->config.idle_timeout_ns);
    /* What was sent ahead is not served inside the owner's call; neither is an end that has come meanwhile.
     */
    if (conn->in_len > 0 || conn->eof)
        connection_post(conn);
    else
        connection_receive(conn);
}
