/*
 * The HTTP/1.1 front of one worker: accepts on a listener, owns the connections, gives their requests to a
 * handler.
 *
 * Connections come from a free list and are bounded. Beyond the bound a few more are accepted only to be told
 * 503 with Retry-After; beyond these, and while descriptors are short, accepting pauses and clients wait in
 * the backlog.
 *
 * Deadlines (one timer per connection): the head within header_timeout from the connection's or the request's
 * first byte; idle_timeout between requests; while a reply is sent, the client has an allowance of
 * send_grace, which runs down with time and is refilled by one second for each min_send_rate bytes that its
 * side acknowledged, never above send_grace. A stalled client is thus gone after send_grace, one that reads
 * slowly but above the rate never is. The allowance must be long against the steps in which a receiver opens
 * its window, hence its size.
 *
 * Everything runs on the loop's thread, except http_server_stats.
 */
#pragma once

#include "base/stats.h"
#include "http/exchange.h"

struct http_server;

struct http_server_config {
    struct io *io;
    struct io_loop *loop;
    struct io_handle listener; /* stays the caller's; may be shared with other workers */
    struct exchange_handler handler;
    struct http_limits limits;
    unsigned max_connections;   /* 0: 1024 */
    unsigned retry_after_s;     /* in 503; 0: 1 */
    uint64_t header_timeout_ns; /* 0: 30 s */
    uint64_t idle_timeout_ns;   /* 0: 75 s */
    uint64_t body_timeout_ns;   /* to read and drop a request's body; 0: 60 s */
    uint64_t min_send_rate;     /* bytes per second; 0: 512 */
    uint64_t send_grace_ns;     /* 0: 120 s */
    uint64_t linger_ns;         /* at most, after the last reply of a connection; 0: 2 s */
};

struct http_server_stats {
    struct counter connections_open, accepted, refused, accept_errors;
    struct counter requests, bytes_received, bytes_sent;
    struct counter timeouts_header, timeouts_idle, timeouts_body,
        timeouts_send;     /* connections ended by a deadline */
    struct counter resets; /* by the client, mid-request */
    struct counter cuts;
    struct counter refusals[HTTP_REFUSALS]; /* requests refused, by kind */
};

/* Starts accepting. -ENOMEM, -EINVAL. */
MUST_CHECK int http_server_create(const struct http_server_config *config, struct http_server **server);
/* Any thread, until destroy. */
const struct http_server_stats *http_server_stats(const struct http_server *server);
/* Serves a socket that was accepted or adopted elsewhere (tests, inherited sockets); counts as accepted.
 * E_EXHAUSTED. */
MUST_CHECK int http_server_adopt(
    struct http_server *server, struct io_handle socket, const struct io_address *peer);

/* Stops accepting, closes idle connections, ends the others after their running exchange. drained(ctx) is
 * called once, from the loop, when no connection is left. */
void http_server_drain(struct http_server *server, void (*drained)(void *ctx), void *ctx);
/* After drain: ends all connections now: owners of running exchanges are told (gone or done) and finish them.
 * drained is still called. */
void http_server_stop(struct http_server *server);
/* After drained. */
void http_server_destroy(struct http_server *server);
