/*
 * Replies before the reply (RFC 9110 15.2): queued, and sent whenever nothing else is. The head of the reply
 * waits for what is being sent of them. They may be dropped, so memory that is short, or a client that does
 * not read, costs them only.
 */
#include <stdlib.h>

#include "http/connection.h"
#include "http/response.h"

#define QUEUE_MAX (16 * 1024)

static void start(struct connection *conn)
{
    conn->interim.sending = true;
    conn->vector[0] =
        (struct iovec){conn->interim.text + conn->interim.sent, conn->interim.len - conn->interim.sent};
    io_send(conn->server->config.loop, &conn->send_op, conn->socket, conn->vector, 1, false);
}

static void next(struct connection *conn)
{
    free(conn->interim.text);
    conn->interim.text = conn->interim.next;
    conn->interim.len = conn->interim.next_len;
    conn->interim.sent = conn->interim.next_len = 0;
    conn->interim.next = NULL;
}

void interim_send(struct connection *conn, struct bytes text)
{
    size_t len = conn->interim.next_len + text.len;
    uint8_t *queue = len > QUEUE_MAX ? NULL : realloc(conn->interim.next, len);
    if (queue == NULL)
        return;
    memcpy(queue + conn->interim.next_len, text.ptr, text.len);
    conn->interim.next = queue;
    conn->interim.next_len = len;
    if (io_op_busy(&conn->send_op))
        return;
    next(conn);
    start(conn);
}

bool interim_sent(struct connection *conn, ssize_t result)
{
    CHECK(conn->interim.sending);
    conn->interim.sending = false;
    if (conn->closing || result < 0)
        return true;
    conn->interim.sent += (size_t)result;
    if (conn->interim.sent == conn->interim.len)
        next(conn);
    if (conn->interim.text == NULL)
        return true;
    start(conn);
    return false;
}

void interim_free(struct connection *conn)
{
    free(conn->interim.text);
    free(conn->interim.next);
    conn->interim.text = conn->interim.next = NULL;
    conn->interim.len = conn->interim.next_len = conn->interim.sent = 0;
}

void exchange_interim(struct exchange *exchange, unsigned status, struct bytes field_lines)
{
    struct connection *conn = connection_of(exchange);
    CHECK(exchange->owned && !exchange->started && status >= 100 && status <= 199 && status != 101);
    if (exchange->request.minor == 0 || conn->closing)
        return;
    size_t room = field_lines.len + 64;
    uint8_t *text = malloc(room);
    if (text == NULL)
        return;
    struct writer w = writer_of(text, room);
    write_bytes(&w, BYTES("HTTP/1.1 "));
    write_decimal(&w, status);
    write_u8(&w, ' ');
    write_bytes(&w, http_reason(status));
    write_bytes(&w, BYTES("\r\n"));
    write_bytes(&w, field_lines);
    write_bytes(&w, BYTES("\r\n"));
    CHECK(!w.failed);
    interim_send(conn, writer_bytes(&w));
    free(text);
}
