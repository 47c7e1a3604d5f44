/*
 * The body of a running request, read by its owner piece by piece. See connection.h.
 *
 * Back-pressure is what is not done: while a piece is lent, and while nobody asks, nothing is received, so
 * that a client sends as fast as its body is taken, and waits with at most one receive of it here.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "http/connection.h"

void connection_stream_begin(struct connection *conn)
{
    CHECK(!conn->stream.on && conn->stream.trailer_text == NULL);
    conn->stream.on = true;
    conn->stream.in_at = conn->exchange.request.head_bytes;
    conn->stream.ahead_at = 0;
    if (conn->exchange.request.framing == HTTP_BODY_CHUNKED)
        conn->stream.trailer_text = malloc(HTTP_TRAILER_BYTES_MAX); /* none: trailers are dropped */
    conn->body.trailer_text = conn->stream.trailer_text;
}

void connection_stream_end(struct connection *conn)
{
    free(conn->stream.trailer_text);
    conn->stream.trailer_text = conn->body.trailer_text = NULL;
    conn->stream.on = conn->stream.begun = conn->stream.ended = conn->stream.lent = false;
    conn->stream.in_at = conn->stream.ahead_at = 0;
}

static struct bytes undecoded(const struct connection *conn)
{
    size_t head = conn->exchange.request.head_bytes, at = conn->stream.on ? conn->stream.in_at : head;
    struct bytes in = bytes_of(conn->in + at, conn->in_len - at);
    return in.len > 0 || conn->ahead == NULL
               ? in
               : bytes_of(conn->ahead + conn->stream.ahead_at, conn->ahead_len - conn->stream.ahead_at);
}

bool connection_stream_drained(const struct connection *conn)
{
    return undecoded(conn).len == 0 && conn->ahead == NULL && !conn->stream.lent;
}

static void take(struct connection *conn, size_t len)
{
    if (conn->stream.in_at < conn->in_len)
        conn->stream.in_at += len;
    else
        conn->stream.ahead_at += len;
    CHECK(conn->stream.in_at <= conn->in_len && conn->stream.ahead_at <= conn->ahead_len);
}

/* What was decoded is nobody's any more: its room is free for the next receive. */
static void reclaim(struct connection *conn)
{
    conn->stream.lent = false;
    if (undecoded(conn).len > 0)
        return;
    conn->in_len = conn->stream.in_at = conn->exchange.request.head_bytes;
    free(conn->ahead);
    conn->ahead = NULL;
    conn->ahead_len = conn->stream.ahead_at = 0;
}

static void complete(struct connection *conn, struct bytes bytes, int result)
{
    struct exchange_read *read = conn->exchange.read;
    conn->exchange.read = NULL;
    conn->stream.lent = bytes.len > 0;
    conn->stream.ended = bytes.len == 0;
    conn->body_unread |= result < 0;
    if (conn->deadline == DEADLINE_BODY)
        connection_deadline(conn, DEADLINE_NONE, 0);
    if (conn->stream.ended && result == 0) {
        conn->exchange.trailers = (struct http_fields){
            conn->stream.trailers, http_body_trailers(&conn->body, conn->stream.trailers)};
        reclaim(conn);
    }
    read->bytes = bytes;
    read->result = result;
    read->done(read);
}

void connection_stream_fail(struct connection *conn, int error)
{
    CHECK(error <= 0);
    if (conn->exchange.read != NULL)
        complete(conn, bytes_of(NULL, 0), error < 0 ? error : -ECONNRESET);
}

static void refuse(struct connection *conn)
{
    enum http_refusal refusal = conn->body.refusal;
    counter_add(&conn->server->stats.refusals[refusal], 1);
    connection_stream_fail(conn, refusal == HTTP_REFUSED_BODY_LARGE ? E_TOO_LARGE : E_PROTOCOL);
}

void connection_stream_pump(struct connection *conn)
{
    struct bytes input, piece = bytes_of(NULL, 0);
    if (conn->exchange.read == NULL)
        return;
    while (piece.len == 0 && !conn->body.done && conn->body.refusal == HTTP_ACCEPTED &&
           (input = undecoded(conn)).len > 0)
        take(conn, http_body_feed(&conn->body, input, &piece));
    if (piece.len > 0)
        complete(conn, piece, 0);
    else if (conn->body.refusal != HTTP_ACCEPTED)
        refuse(conn);
    else if (conn->body.done)
        complete(conn, piece, 0);
    else if (conn->eof)
        connection_stream_fail(conn, -ECONNRESET);
    else
        reclaim(conn); /* and receive: connection_advance */
}

void exchange_read(struct exchange *exchange, struct exchange_read *read)
{
    struct connection *conn = connection_of(exchange);
    CHECK(exchange->owned && conn->stream.on && !conn->stream.ended && exchange->read == NULL);
    bool first = !conn->stream.begun;
    exchange->read = read;
    conn->stream.begun = true;
    reclaim(conn);
    bool waits = exchange->request.expect_continue && first && !exchange->started;
    if (waits && conn->body.body_bytes == 0 && undecoded(conn).len == 0)
        exchange_interim(exchange, 100, bytes_of(NULL, 0));
    if (conn->closing || conn->eof || conn->body.done || undecoded(conn).len > 0) {
        connection_post(conn);
        return;
    }
    connection_receive(conn);
    if (conn->deadline == DEADLINE_NONE)
        connection_deadline(conn, DEADLINE_BODY, conn->server->config.body_timeout_ns);
}

const struct http_fields *exchange_trailers(const struct exchange *exchange)
{
    return &exchange->trailers;
}
