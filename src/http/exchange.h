/*
 * One request and its response: all that the path of a request knows of a client. There is no function table:
 * HTTP/1 (http/connection.c) is the one implementation.
 *
 * An exchange is embedded in its connection, with the handler's own per-request memory behind it
 * (handler.request_bytes), so a request costs no allocation. It lasts from handler.request() until its owner
 * calls exchange_finish(), which the owner does exactly once, whatever happened, and after which it touches
 * neither the exchange nor that memory nor the request's bytes again. The connection stays (even when its
 * client is long gone) until then.
 *
 * Order of calls by the owner:  exchange_interim, exchange_start, exchange_send (one at a time, the last with
 * `last`), exchange_finish; exchange_read at any time before that.
 *  - An exchange that is finished before its last send succeeded is cut: the client sees an incomplete reply.
 *  - exchange_finish may be called from the done of a send, not while a send is pending.
 *  - No callback runs inside a call into the exchange: done and gone come from the loop, and so does the next
 * request.
 *
 * A client that went away is told once: by the done of the pending send or read (result < 0; of both where
 * both are), or, where none is pending, by handler.gone. Sends after it are allowed and fail. End of stream
 * from a client is a half-close, which is no leaving: it gets its answer.
 *
 * Lifetimes      | born by           | owned by                | dies by
 * exchange       | handler.request   | the handler             | exchange_finish
 * exchange memory| with it, not cleared | the handler          | exchange_finish
 * exchange_send  | the handler       | exchange till done      | its done
 */
#pragma once

#include "http/parser.h"
#include "io/io.h"

struct exchange;

#define HTTP_REFUSED_LINES_MAX 128

struct exchange_handler {
    void *ctx;
    size_t request_bytes; /* of exchange_memory(), per connection */
    /* A request has come; its body was read, or is to be (see streams). Never called inside another call of
     * this layer. */
    void (*request)(void *ctx, struct exchange *exchange);
    /* The client went away while no send was pending; at most once, never after a send failed. May finish it.
     */
    void (*gone)(void *ctx, struct exchange *exchange);
    /* Pieces of the request's body, in order, before request(); NULL: bodies of GET, HEAD and OPTIONS are
     * read and dropped, and after requests with other methods and a body the connection is closed. `offset`
     * is 0 at the first. The exchange's memory may be used, exchange_* calls that send may not. May be
     * followed by no request(), if the client leaves. */
    void (*body)(void *ctx, struct exchange *exchange, struct bytes piece, uint64_t offset);
    /* A request, or a connection too many, is answered by the front itself: for a log line, and for field
     * lines of the answer ("Name: value\r\n" each, HTTP_REFUSED_LINES_MAX bytes at most). The message is
     * static. May be NULL. */
    void (*refused)(
        void *ctx, const struct io_address *peer, unsigned status, const char *message, struct writer *lines);
    /* Of a request with a body: whether its owner reads that itself, by exchange_read(). Then request() comes
     * with the head, a client that expects 100 waits for the first read, and nothing is received ahead of the
     * owner but what fits the buffers of one receive. NULL: never. */
    bool (*streams)(void *ctx, const struct http_request *request);
};

/* The request; valid until exchange_finish. */
const struct http_request *exchange_request(const struct exchange *exchange);
struct io_loop *exchange_loop(const struct exchange *exchange);
const struct io_address *exchange_peer(const struct exchange *exchange);
/* handler.request_bytes, aligned to 16, not cleared. */
void *exchange_memory(struct exchange *exchange);
/* io_now_ns() when the first bytes of this request were received. */
uint64_t exchange_begin_ns(const struct exchange *exchange);
/* Bytes of the body handed to the socket so far (without head and framing). */
uint64_t exchange_body_bytes(const struct exchange *exchange);
/* The client is gone or the reply was cut. */
bool exchange_is_dead(const struct exchange *exchange);

struct exchange_read {
    void (*done)(struct exchange_read *read);
    struct bytes bytes; /* in done: what comes next of the body, valid until the next exchange_read or
                         * exchange_finish; empty with result 0: the body is complete */
    int result; /* in done: 0, or below 0: gone, E_TIMEOUT, E_PROTOCOL (malformed), E_TOO_LARGE, E_CANCELED
                 * (cut). Then there is no more to read, and the connection ends after the reply. */
};

/* Asks for more of a body that streams. One at a time, also while a send is pending; not after the end or an
 * error. A client that expects 100 gets it with the first. A client's leaving is told by it, as by a send; a
 * read that is pending in exchange_finish is forgotten. */
void exchange_read(struct exchange *exchange, struct exchange_read *read);
/* The fields behind a chunked body, once it is complete; at most HTTP_TRAILERS_MAX. Valid until finish. */
const struct http_fields *exchange_trailers(const struct exchange *exchange);

/* Sends a 1xx reply (not 101) before the head. Field lines as in exchange_head. Clients of HTTP/1.0 get none;
 * more than 16 KiB that wait are dropped. Before exchange_start. */
void exchange_interim(struct exchange *exchange, unsigned status, struct bytes field_lines);

#define EXCHANGE_UNKNOWN_LENGTH UINT64_MAX

struct exchange_head {
    unsigned status;
    struct bytes field_lines; /* "Name: value\r\n" each; without Date, Connection, Content-Length and
                               * Transfer-Encoding, which the exchange adds */
    uint64_t body_len; /* exact, or EXCHANGE_UNKNOWN_LENGTH: chunked for 1.1, up to the close for 1.0 */
    bool close;        /* no further request on this connection */
    bool dated;        /* field_lines have a Date of their own */
};

/* Stages the head of the reply: copied, and sent with the first exchange_send in one packet. Replies to HEAD
 * and those of status 204 and 304 have no body, whatever is sent. Content-Length is sent for HEAD where
 * body_len is known, never for 204 and 304. Once per exchange. */
void exchange_start(struct exchange *exchange, const struct exchange_head *head);

struct exchange_send {
    struct iovec *iov; /* array and bytes are the exchange's until done; neither is changed */
    unsigned count;    /* any; 0 with `last` ends the reply */
    bool last;         /* the reply ends after these: saves a packet where the length is unknown */
    void (*done)(struct exchange_send *send);
    int result; /* in done: 0, or below 0: gone, too slow (E_TIMEOUT), cut (E_CANCELED), short (E_TRUNCATED)
                 */
    struct bytes trailers; /* with `last`: field lines behind a body of unknown length, where the client's
                            * version has them */
};

/* Exactly one done for each. With a known length the sum of all sends may not exceed it (a CHECK), and a last
 * send that ends before it cuts the reply. One at a time. */
void exchange_send(struct exchange *exchange, struct exchange_send *send);

/* The reply can't be completed: closes the connection so that the client sees it as incomplete, after what
 * was sent before it. A pending send still gets its done. gone is not called. exchange_finish is still due.
 */
void exchange_cut(struct exchange *exchange);

/* The owner lets go. */
void exchange_finish(struct exchange *exchange);
