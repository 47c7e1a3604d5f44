#include "http/exchange.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "http/connection.h"

const struct http_request *exchange_request(const struct exchange *exchange)
{
    return &exchange->request;
}

static const struct connection *connection_of_const(const struct exchange *exchange)
{
    return CONTAINER_OF(exchange, const struct connection, exchange);
}

struct io_loop *exchange_loop(const struct exchange *exchange)
{
    return connection_of_const(exchange)->server->config.loop;
}

const struct io_address *exchange_peer(const struct exchange *exchange)
{
    return &connection_of_const(exchange)->peer;
}

void *exchange_memory(struct exchange *exchange)
{
    return connection_of(exchange)->memory;
}

uint64_t exchange_begin_ns(const struct exchange *exchange)
{
    return exchange->begin_ns;
}

uint64_t exchange_body_bytes(const struct exchange *exchange)
{
    return exchange->body_bytes;
}

bool exchange_is_dead(const struct exchange *exchange)
{
    return connection_of_const(exchange)->closing;
}

void exchange_begin(struct exchange *exchange)
{
    CHECK(!exchange->owned && exchange->send == NULL && exchange->head_heap == NULL);
    exchange->body_bytes = 0;
    exchange->left_bytes = EXCHANGE_UNKNOWN_LENGTH;
    exchange->owned = true;
    exchange->own = exchange->started = exchange->complete = false;
    exchange->bodiless = exchange->chunked = exchange->until_close = false;
    exchange->head = bytes_of(NULL, 0);
    exchange->read = NULL;
    exchange->trailers = (struct http_fields){NULL, 0};
}

/* A body that nobody has begun to read will not be read. */
static bool leaves_body(const struct connection *conn)
{
    return conn->body_unread || (conn->stream.on && !conn->stream.begun);
}

void exchange_start(struct exchange *exchange, const struct exchange_head *head)
{
    struct connection *conn = connection_of(exchange);
    const struct http_request *request = &exchange->request;
    CHECK(exchange->owned && !exchange->started && head->status >= 200 && head->status <= 999);
    bool unknown = head->body_len == EXCHANGE_UNKNOWN_LENGTH;
    exchange->started = true;
    exchange->bodiless = request->method == HTTP_HEAD || head->status == 204 || head->status == 304;
    exchange->left_bytes = exchange->bodiless ? EXCHANGE_UNKNOWN_LENGTH : head->body_len;
    exchange->chunked = unknown && !exchange->bodiless && request->minor >= 1;
    exchange->until_close = unknown && !exchange->bodiless && !exchange->chunked;
    conn->close_after = head->close || !request->keep_alive || leaves_body(conn) || conn->server->draining ||
                        exchange->until_close;
    if (conn->closing)
        return;
    if (exchange_write_head(exchange, head) < 0)
        connection_die(conn, -ENOMEM);
}

/* ---- sending ---- */

static unsigned part_count(const struct exchange *exchange)
{
    return exchange->send->count + 5;
}

static struct bytes part_at(const struct exchange *exchange, unsigned part)
{
    const struct exchange_send *send = exchange->send;
    if (part == 0)
        return exchange->head;
    if (part == 1)
        return exchange->prefix;
    if (part == send->count + 2)
        return exchange->suffix;
    if (part == send->count + 3)
        return exchange->tail.len > 0 ? send->trailers : bytes_of(NULL, 0);
    if (part == send->count + 4)
        return exchange->tail;
    if (exchange->bodiless)
        return bytes_of(NULL, 0);
    return bytes_of(send->iov[part - 2].iov_base, send->iov[part - 2].iov_len);
}

/* Submits what is left of the pending send, as much as one vector takes. False: nothing is left. */
static bool pump(struct connection *conn)
{
    struct exchange *exchange = &conn->exchange;
    unsigned count = 0, part = exchange->part, parts = part_count(exchange);
    if (conn->interim.sending)
        return true; /* it goes on after them */
    size_t offset = exchange->part_offset;
    for (; part < parts && count < IO_VECTOR_MAX; part++, offset = 0) {
        struct bytes bytes = part_at(exchange, part);
        if (bytes.len > offset)
            conn->vector[count++] =
                (struct iovec){(void *)(uintptr_t)(bytes.ptr + offset), bytes.len - offset};
    }
    if (count == 0)
        return false;
    io_send(conn->server->config.loop, &conn->send_op, conn->socket, conn->vector, count, part < parts);
    return true;
}

static void advance_parts(struct exchange *exchange, size_t sent)
{
    while (sent > 0) {
        CHECK(exchange->part < part_count(exchange));
        size_t left = part_at(exchange, exchange->part).len - exchange->part_offset;
        size_t step = sent < left ? sent : left;
        if (exchange->part >= 2 && exchange->part < exchange->send->count + 2)
            exchange->body_bytes += step;
        sent -= step;
        exchange->part_offset += step;
        if (step == left) {
            exchange->part++;
            exchange->part_offset = 0;
        }
    }
}

static void set_framing(struct exchange *exchange, uint64_t total)
{
    bool last = exchange->send->last;
    exchange->prefix = exchange->suffix = exchange->tail = bytes_of(NULL, 0);
    if (!exchange->chunked)
        return;
    if (total > 0) {
        struct writer w = writer_of(exchange->chunk_line, sizeof exchange->chunk_line);
        write_format(&w, "%llx\r\n", (unsigned long long)total);
        CHECK(!w.failed);
        exchange->prefix = writer_bytes(&w);
        exchange->suffix = last ? BYTES("\r\n0\r\n") : BYTES("\r\n");
    } else if (last) {
        exchange->suffix = BYTES("0\r\n");
    }
    if (last)
        exchange->tail = BYTES("\r\n");
}

void exchange_send(struct exchange *exchange, struct exchange_send *send)
{
    struct connection *conn = connection_of(exchange);
    uint64_t total = 0;
    CHECK(exchange->owned && exchange->started && exchange->send == NULL && send->done != NULL);
    for (unsigned i = 0; i < send->count && !exchange->bodiless; i++)
        total += send->iov[i].iov_len;
    if (exchange->left_bytes != EXCHANGE_UNKNOWN_LENGTH) {
        CHECK(total <= exchange->left_bytes);
        exchange->left_bytes -= total;
    }
    exchange->send = send;
    exchange->part = 0;
    exchange->part_offset = 0;
    set_framing(exchange, total);
    conn->send_due = conn->closing || !pump(conn);
    if (conn->send_due)
        connection_post(conn);
    else
        connection_deadline(conn, DEADLINE_SEND, conn->server->config.send_grace_ns);
}

void exchange_complete_send(struct exchange *exchange, int result)
{
    struct connection *conn = connection_of(exchange);
    struct exchange_send *send = exchange->send;
    bool known = exchange->left_bytes != EXCHANGE_UNKNOWN_LENGTH;
    CHECK(send != NULL && result <= 0 && (result == 0 || conn->closing));
    exchange->send = NULL;
    conn->send_due = false;
    exchange->head = bytes_of(NULL, 0);
    if (result == 0 && send->last && known && exchange->left_bytes > 0) {
        counter_add(&conn->server->stats.cuts, 1);
        connection_cut(conn, E_TRUNCATED);
        result = E_TRUNCATED;
    }
    if (result == 0)
        exchange->complete |= send->last || exchange->left_bytes == 0;
    if (exchange->read != NULL)
        connection_deadline(conn, DEADLINE_BODY, conn->server->config.body_timeout_ns);
    else
        connection_deadline(conn, DEADLINE_NONE, 0);
    send->result = result;
    send->done(send);
}

static void send_taken(struct connection *conn, size_t len)
{
    conn->accepted_bytes += len;
    counter_add(&conn->server->stats.bytes_sent, len);
    if (conn->exchange.send != NULL)
        advance_parts(&conn->exchange, len);
}

static void after_interim(struct connection *conn, ssize_t result)
{
    struct exchange *exchange = &conn->exchange;
    if (!interim_sent(conn, result))
        return;
    if (result < 0 && !conn->closing) {
        counter_add(&conn->server->stats.resets, 1);
        connection_abandon(conn, (int)result);
    }
    if (exchange->send != NULL && conn->closing)
        exchange_complete_send(exchange, conn->death);
    else if (exchange->send != NULL && !pump(conn))
        exchange_complete_send(exchange, 0);
    else if (exchange->send == NULL && !conn->closing)
        connection_advance(conn);
}

void exchange_sent(struct io_op *op)
{
    struct connection *conn = CONTAINER_OF(op, struct connection, send_op);
    struct exchange *exchange = &conn->exchange;
    connection_enter(conn);
    if (conn->interim.sending) {
        after_interim(conn, op->result);
        connection_leave(conn);
        return;
    }
    CHECK(exchange->send != NULL);
    if (op->result >= 0) {
        send_taken(conn, (size_t)op->result);
    } else if (!conn->closing) {
        counter_add(&conn->server->stats.resets, 1);
        connection_abandon(conn, (int)op->result);
    }
    if (conn->closing)
        exchange_complete_send(exchange, conn->death);
    else if (!pump(conn))
        exchange_complete_send(exchange, 0);
    connection_leave(conn);
}

/* ---- the end ---- */

void exchange_cut(struct exchange *exchange)
{
    struct connection *conn = connection_of(exchange);
    CHECK(exchange->owned);
    if (conn->closing)
        return;
    counter_add(&conn->server->stats.cuts, 1);
    connection_cut(conn, E_CANCELED);
    if (exchange->read != NULL)
        connection_post(conn);
}

void exchange_finish(struct exchange *exchange)
{
    struct connection *conn = connection_of(exchange);
    CHECK(exchange->owned && exchange->send == NULL);
    connection_enter(conn);
    exchange->read = NULL;
    if (!exchange->complete)
        exchange_cut(exchange);
    exchange->owned = false;
    free(exchange->head_heap);
    exchange->head_heap = NULL;
    conn->close_after |= conn->stream.on && !conn->body.done;
    if (!conn->closing && (conn->close_after || conn->server->draining))
        connection_linger(conn);
    else if (!conn->closing)
        connection_next(conn);
    connection_leave(conn);
}
