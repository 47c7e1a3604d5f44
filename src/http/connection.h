/*
 * One client connection (HTTP/1.x): input buffer, parser, the one exchange that runs on it, output, one
 * timer. Private to the front: server.c makes and drops connections, connection.c holds their life and
 * deadlines, connection_input.c turns bytes into requests, connection_stream.c bytes into the body of a
 * running one, exchange.c sends replies, exchange_interim.c what goes out before them.
 *
 * States:   HEAD -> (BODY ->) RUNNING -> HEAD ...    and from each of them -> closing
 *   HEAD     between requests, or with a part of a head in `in`
 *   BODY     the head is complete, its body is being read
 *   RUNNING  the exchange is owned by the handler (or by ourselves, to refuse the request)
 *
 * Invariants:
 *  - The head of the running request stays at the front of `in`, which does not move while the exchange is
 * owned. What a client sends meanwhile is kept, at most one receive of it (behind the head or in `ahead`),
 * and not parsed before the reply is done.
 *  - A body that streams is decoded where it lies (in `in` behind the head, then in `ahead`) as its owner
 * reads; `in_at` and `ahead_at` say how far. Nothing is received while a piece of it is lent to the owner.
 *  - While a request runs and nothing was sent ahead, a receive is in flight: it notices a reset, and it is
 * the next request's.
 *  - A connection is given back when it is closing and nothing refers to it: no op, no posted message, no
 * owned exchange, no frame of ours on the stack (`depth`). connection_leave() is where that is looked at.
 *  - The timer is moved only to earlier times; when it fires early it is set again. So a request on a warm
 * connection costs no timer operation.
 */
#pragma once

#include "http/server.h"

#define CONNECTION_IN_BYTES 4096
#define CONNECTION_HEAD_BYTES 4096
#define CONNECTION_ERROR_BYTES 256

enum connection_state { CONNECTION_HEAD, CONNECTION_BODY, CONNECTION_RUNNING };

enum deadline { DEADLINE_NONE, DEADLINE_HEADER, DEADLINE_IDLE, DEADLINE_BODY, DEADLINE_SEND };

struct exchange {
    struct http_request request;
    uint64_t begin_ns;
    uint64_t body_bytes; /* handed to the socket */
    uint64_t left_bytes; /* of a known length; EXCHANGE_UNKNOWN_LENGTH otherwise */
    bool owned, own;     /* own: refused by ourselves, the handler does not know it */
    bool started, complete;
    bool bodiless, chunked, until_close; /* how the body is told from what follows, beside a length */
    struct bytes head;                   /* staged; empty once it is sent */
    uint8_t *head_heap;
    struct exchange_read *read; /* pending */
    struct http_fields trailers;

    /* The send that is pending, as parts: head, chunk line, its vector, what ends a chunk, the trailers, what
     * ends the body. */
    struct exchange_send *send;
    struct bytes prefix, suffix, tail;
    unsigned part;      /* the part that is sent next */
    size_t part_offset; /* from here on */
    uint8_t chunk_line[20];
};

struct connection {
    struct http_server *server;
    struct list_node node;
    struct io_handle socket;
    struct io_address peer;
    struct io_op recv_op, send_op, timer_op, close_op;
    struct io_message message;
    bool posted, send_due; /* the pending send ends with the message */
    enum connection_state state;
    unsigned depth;
    bool eof, close_after, closing;
    bool body_unread; /* and will not be: what follows the head is no request */
    int death;        /* why it is closing before its time: below 0 */
    struct exchange_send own_send;
    struct iovec own_iov;

    enum deadline deadline;
    uint64_t deadline_ns, armed_ns;
    uint64_t send_deadline_ns;               /* the end of the client's allowance */
    uint64_t accepted_bytes, credited_bytes; /* by the socket; and acknowledged by the peer when last asked */

    uint8_t *in; /* in_inline, or from the heap */
    size_t in_len, in_capacity;
    uint8_t *ahead; /* received while the request ran and had no room behind it */
    size_t ahead_len;
    struct http_body body;
    uint64_t body_offset;

    struct {
        bool on;                /* the owner reads the body */
        bool begun;             /* ... and has asked for some of it */
        bool ended;             /* it knows the end or the error */
        bool lent;              /* it looks at a piece of in or ahead */
        size_t in_at, ahead_at; /* decoded up to here */
        uint8_t *trailer_text;
        struct http_field trailers[HTTP_TRAILERS_MAX];
    } stream;

    struct {                  /* 1xx replies */
        uint8_t *text, *next; /* being sent, with what is sent of it; what goes out after it */
        size_t len, sent, next_len;
        bool sending;
    } interim;

    struct exchange exchange; /* last of what is cleared when a connection opens */

    struct http_parser parser;
    struct iovec vector[IO_VECTOR_MAX];
    uint8_t in_inline[CONNECTION_IN_BYTES];
    uint8_t head_inline[CONNECTION_HEAD_BYTES];
    uint8_t error_body[CONNECTION_ERROR_BYTES];
    _Alignas(16) uint8_t memory[]; /* handler.request_bytes */
};

struct http_server {
    struct http_server_config config;
    struct http_server_stats stats;
    struct list_node connections; /* in use */
    struct list_node spare;       /* for later ones; bounded by what was ever open */
    unsigned open;
    bool paused, draining, ended, drained;
    struct io_op accept_op, pause_op;
    struct io_address peer;
    struct io_message drained_message;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    uint64_t date_s;
    uint8_t date[29];
};

static inline struct connection *connection_of(const struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct connection, exchange);
}

/* ---- connection.c ---- */

/* Starts to serve the socket; `refuse`: only to say that there are too many. */
void connection_open(
    struct connection *conn, struct io_handle socket, const struct io_address *peer, bool refuse);
/* Every callback of ours runs between these; leave gives the connection back if it has ended. */
void connection_enter(struct connection *conn);
void connection_leave(struct connection *conn);
/* After the last reply: so that it is not lost to a reset. */
void connection_linger(struct connection *conn);
/* The reply under way ends short, for a reason below 0; what the socket took before still reaches the client,
 * answers to earlier requests above all. By a reset where the end of the connection would end the body. Tells
 * nobody. */
void connection_cut(struct connection *conn, int reason);
/* Now, for a reason below 0. Tells nobody. */
void connection_die(struct connection *conn, int reason);
/* The same, and tells the owner of a running exchange. */
void connection_abandon(struct connection *conn, int reason);
/* Goes on from the loop: see resume() in connection.c. */
void connection_post(struct connection *conn);
void connection_deadline(struct connection *conn, enum deadline deadline, uint64_t after_ns);

/* ---- connection_input.c ---- */

void connection_received(struct io_op *op);
/* Goes as far as the input allows: parses, reads bodies, starts requests, receives more. */
void connection_advance(struct connection *conn);
/* Has a receive in flight. */
void connection_receive(struct connection *conn);
/* The exchange is over: drops its request from the input. */
void connection_next(struct connection *conn);
/* Answers by ourselves and closes. The message is static. `lines`: further field lines. */
void connection_refuse(struct connection *conn, unsigned status, const char *message, struct bytes lines);
void connection_input_free(struct connection *conn);

/* ---- connection_stream.c ---- */

/* The request's body is left to its owner. */
void connection_stream_begin(struct connection *conn);
/* Gives a pending read what there is. */
void connection_stream_pump(struct connection *conn);
/* Ends a pending read with an error. */
void connection_stream_fail(struct connection *conn, int error);
/* Nothing received waits to be decoded, and none of it is lent. */
bool connection_stream_drained(const struct connection *conn);
void connection_stream_end(struct connection *conn);

/* ---- exchange_interim.c ---- */

/* Queues and sends. */
void interim_send(struct connection *conn, struct bytes text);
/* A send of it has come back; true once nothing of it is left. */
MUST_CHECK bool interim_sent(struct connection *conn, ssize_t result);
void interim_free(struct connection *conn);

/* ---- exchange.c ---- */

void exchange_begin(struct exchange *exchange);
void exchange_sent(struct io_op *op);
/* Ends the pending send with a result; its owner may finish the exchange. */
void exchange_complete_send(struct exchange *exchange, int result);

/* ---- exchange_head.c ---- */

/* Stages the head; -ENOMEM. */
MUST_CHECK int exchange_write_head(struct exchange *exchange, const struct exchange_head *head);

/* ---- server.c ---- */

/* 29 bytes of the Date field. */
struct bytes server_date(struct http_server *server);
/* A connection is no more. */
void server_closed(struct http_server *server, struct connection *conn);
/* Tells the end of a drain when it has come. */
void server_settle(struct http_server *server);
