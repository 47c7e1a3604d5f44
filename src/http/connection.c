#include "http/connection.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"

#define LINGER_BYTES (16 * 1024 * 1024)
#define NEVER UINT64_MAX

static void timer_fired(struct io_op *op);
static void closed(struct io_op *op);
static void resume(struct io_message *message);

static struct io_loop *loop_of(const struct connection *conn)
{
    return conn->server->config.loop;
}

void connection_open(
    struct connection *conn, struct io_handle socket, const struct io_address *peer, bool refuse)
{
    struct http_server *server = conn->server;
    memset(conn, 0, offsetof(struct connection, parser));
    conn->server = server;
    conn->socket = socket;
    conn->peer = *peer;
    conn->message.deliver = resume;
    conn->in = conn->in_inline;
    conn->in_capacity = sizeof conn->in_inline;
    io_op_init(&conn->recv_op, connection_received);
    io_op_init(&conn->send_op, exchange_sent);
    io_op_init(&conn->timer_op, timer_fired);
    io_op_init(&conn->close_op, closed);
    http_parser_init(&conn->parser, &server->config.limits);
    list_push_back(&server->connections, &conn->node);
    connection_enter(conn);
    if (refuse) {
        char line[48];
        struct writer w = writer_of(line, sizeof line);
        write_format(&w, "Retry-After: %u\r\n", server->config.retry_after_s);
        connection_refuse(conn, 503, "too many connections", writer_bytes(&w));
    } else {
        connection_deadline(conn, DEADLINE_HEADER, server->config.header_timeout_ns);
        connection_advance(conn);
    }
    connection_leave(conn);
}

void connection_enter(struct connection *conn)
{
    conn->depth++;
}

static bool referred_to(const struct connection *conn)
{
    return conn->depth > 0 || !conn->closing || conn->exchange.owned || conn->posted ||
           io_op_busy(&conn->recv_op) || io_op_busy(&conn->send_op) || io_op_busy(&conn->timer_op) ||
           io_op_busy(&conn->close_op);
}

void connection_leave(struct connection *conn)
{
    CHECK(conn->depth > 0);
    conn->depth--;
    if (referred_to(conn))
        return;
    CHECK(conn->exchange.send == NULL && conn->exchange.head_heap == NULL);
    connection_input_free(conn);
    connection_stream_end(conn);
    interim_free(conn);
    server_closed(conn->server, conn);
}

static void closed(struct io_op *op)
{
    struct connection *conn = CONTAINER_OF(op, struct connection, close_op);
    connection_enter(conn);
    connection_leave(conn);
}

static void begin_close(struct connection *conn)
{
    CHECK(!conn->closing);
    conn->closing = true;
    conn->deadline = DEADLINE_NONE;
    if (io_op_busy(&conn->timer_op))
        io_cancel(loop_of(conn), &conn->timer_op);
}

void connection_linger(struct connection *conn)
{
    begin_close(conn);
    if (conn->eof)
        io_close(loop_of(conn), &conn->close_op, conn->socket);
    else
        io_linger(loop_of(conn), &conn->close_op, conn->socket, conn->server->config.linger_ns, LINGER_BYTES);
}

void connection_die(struct connection *conn, int reason)
{
    CHECK(reason < 0);
    if (conn->closing)
        return;
    conn->death = reason;
    /* Where the end of the connection would end the body, a plain close would make a part look whole. */
    if (conn->exchange.until_close && !conn->exchange.complete)
        (void)io_reset_on_close(loop_of(conn), conn->socket);
    begin_close(conn);
    io_close(loop_of(conn), &conn->close_op, conn->socket);
}

void connection_cut(struct connection *conn, int reason)
{
    CHECK(reason < 0 && !conn->closing);
    if (conn->exchange.until_close) {
        connection_die(conn, reason);
        return;
    }
    conn->death = reason;
    connection_linger(conn);
}

void connection_abandon(struct connection *conn, int reason)
{
    struct exchange *exchange = &conn->exchange;
    if (conn->closing)
        return;
    connection_die(conn, reason);
    if (!exchange->owned)
        return;
    /* A pending send is told by its own done. */
    bool told = exchange->send != NULL || exchange->read != NULL;
    connection_stream_fail(conn, reason);
    if (told)
        return;
    CHECK(!exchange->own);
    conn->server->config.handler.gone(conn->server->config.handler.ctx, exchange);
}

void connection_post(struct connection *conn)
{
    if (conn->posted)
        return;
    conn->posted = true;
    io_post(loop_of(conn), &conn->message);
}

/* What could not be done inside a call of the owner: the end of a send without a byte, a read of what is
 * there, or the next request. */
static void resume(struct io_message *message)
{
    struct connection *conn = CONTAINER_OF(message, struct connection, message);
    CHECK(conn->posted);
    conn->posted = false;
    connection_enter(conn);
    if (conn->send_due)
        exchange_complete_send(&conn->exchange, conn->death);
    if (conn->closing)
        connection_stream_fail(conn, conn->death);
    else
        connection_advance(conn);
    connection_leave(conn);
}

/* ---- deadlines ---- */

static void arm(struct connection *conn, uint64_t at_ns)
{
    if (!io_op_busy(&conn->timer_op))
        io_timer(loop_of(conn), &conn->timer_op, at_ns);
    else if (at_ns < conn->armed_ns)
        io_timer_move(loop_of(conn), &conn->timer_op, at_ns);
    else
        return;
    conn->armed_ns = at_ns;
}

void connection_deadline(struct connection *conn, enum deadline deadline, uint64_t after_ns)
{
    if (conn->closing)
        return;
    conn->deadline = deadline;
    conn->deadline_ns = NEVER;
    if (deadline == DEADLINE_NONE)
        return;
    conn->deadline_ns = io_now_ns(loop_of(conn)) + after_ns;
    if (deadline == DEADLINE_SEND) {
        /* The allowance is looked at several times before it can end: see credit(). */
        conn->send_deadline_ns = conn->deadline_ns;
        conn->deadline_ns -= after_ns - after_ns / 4;
    }
    arm(conn, conn->deadline_ns);
}

/* Refills the allowance by what the peer has acknowledged since the last look: bytes that only filled the
 * socket's buffer prove nothing, and a buffer that is drained slowly takes no new ones for minutes. False:
 * used up. */
static bool credit(struct connection *conn, uint64_t now_ns)
{
    const struct http_server_config *config = &conn->server->config;
    int64_t unsent = io_unsent_bytes(loop_of(conn), conn->socket);
    uint64_t waiting = unsent > 0 ? (uint64_t)unsent : 0;
    uint64_t acknowledged = conn->accepted_bytes > waiting ? conn->accepted_bytes - waiting : 0;
    uint64_t full_ns = now_ns + config->send_grace_ns;
    if (acknowledged > conn->credited_bytes) {
        uint64_t bytes = acknowledged - conn->credited_bytes;
        conn->credited_bytes = acknowledged;
        /* In floating point: no overflow for any count of bytes. */
        double refill_ns = (double)bytes * (double)NS_PER_S / (double)config->min_send_rate;
        double end_ns = (double)conn->send_deadline_ns + refill_ns;
        conn->send_deadline_ns = end_ns < (double)full_ns ? (uint64_t)end_ns : full_ns;
    }
    if (conn->send_deadline_ns <= now_ns)
        return false;
    uint64_t look_ns = now_ns + config->send_grace_ns / 4 + 1;
    conn->deadline_ns = look_ns < conn->send_deadline_ns ? look_ns : conn->send_deadline_ns;
    return true;
}

static void expire(struct connection *conn)
{
    struct http_server_stats *stats = &conn->server->stats;
    switch (conn->deadline) {
    case DEADLINE_IDLE:
        counter_add(&stats->timeouts_idle, 1);
        connection_die(conn, E_TIMEOUT);
        break;
    case DEADLINE_HEADER:
        counter_add(&stats->timeouts_header, 1);
        if (conn->in_len > 0)
            connection_refuse(conn, 408, "the request's head took too long", BYTES(""));
        else
            connection_die(conn, E_TIMEOUT);
        break;
    case DEADLINE_BODY:
        counter_add(&stats->timeouts_body, 1);
        if (conn->stream.on)
            connection_stream_fail(conn, E_TIMEOUT);
        else if (io_op_busy(&conn->send_op))
            connection_die(conn, E_TIMEOUT);
        else
            connection_refuse(conn, 408, "the request's body took too long", BYTES(""));
        break;
    case DEADLINE_SEND:
        counter_add(&stats->timeouts_send, 1);
        connection_die(conn, E_TIMEOUT);
        break;
    case DEADLINE_NONE:
        UNREACHABLE();
    }
}

static void timer_fired(struct io_op *op)
{
    struct connection *conn = CONTAINER_OF(op, struct connection, timer_op);
    connection_enter(conn);
    uint64_t now_ns = io_now_ns(loop_of(conn));
    if (!conn->closing && conn->deadline != DEADLINE_NONE) {
        bool due = now_ns >= conn->deadline_ns;
        if (due && (conn->deadline != DEADLINE_SEND || !credit(conn, now_ns)))
            expire(conn);
        else
            arm(conn, conn->deadline_ns);
    }
    connection_leave(conn);
}
