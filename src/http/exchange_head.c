/* The head of a reply, staged in the connection until its first bytes are sent. */
#include <errno.h>
#include <stdlib.h>

#include "http/connection.h"
#include "http/response.h"

/* Status line, Date, framing, Connection and the empty line. */
#define OWN_LINES_MAX 256

static uint8_t *room(struct exchange *exchange, size_t len)
{
    struct connection *conn = connection_of(exchange);
    if (len <= sizeof conn->head_inline)
        return conn->head_inline;
    CHECK(exchange->head_heap == NULL);
    exchange->head_heap = malloc(len);
    return exchange->head_heap;
}

static void write_framing(struct writer *w, const struct exchange *exchange, const struct exchange_head *head)
{
    bool none = head->status == 204 || head->status == 304;
    if (exchange->chunked)
        write_bytes(w, BYTES("Transfer-Encoding: chunked\r\n"));
    else if (!none && head->body_len != EXCHANGE_UNKNOWN_LENGTH)
        http_write_field_u64(w, BYTES("Content-Length"), head->body_len);
}

int exchange_write_head(struct exchange *exchange, const struct exchange_head *head)
{
    struct connection *conn = connection_of(exchange);
    size_t len = head->field_lines.len + OWN_LINES_MAX;
    uint8_t *buf = room(exchange, len);
    if (buf == NULL)
        return -ENOMEM;
    struct writer w = writer_of(buf, len);
    write_bytes(&w, BYTES("HTTP/1.1 "));
    write_decimal(&w, head->status);
    write_u8(&w, ' ');
    write_bytes(&w, http_reason(head->status));
    write_bytes(&w, BYTES("\r\n"));
    if (!head->dated)
        http_write_field(&w, BYTES("Date"), server_date(conn->server));
    write_bytes(&w, head->field_lines);
    write_framing(&w, exchange, head);
    if (conn->close_after)
        write_bytes(&w, BYTES("Connection: close\r\n"));
    else if (exchange->request.minor == 0)
        write_bytes(&w, BYTES("Connection: keep-alive\r\n"));
    write_bytes(&w, BYTES("\r\n"));
    CHECK(!w.failed);
    exchange->head = writer_bytes(&w);
    return 0;
}
