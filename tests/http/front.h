/*
 * A server with a scripted handler, and clients on socket pairs, all on one thread: front_until() turns the
 * loop.
 *
 * The target says what the handler does:
 *   /bytes/N     N bytes of known length in one send, from a pattern
 *   /vector/N    the same as 100 parts
 *   /pieces/N    N bytes of known length, in sends of 1,000
 *   /chunked/N   N bytes of unknown length, in sends of 1,000, the last of them with `last`
 *   /trailing/N  the same, ended by a send without bytes
 *   /hold        nothing, until front_release()
 *   /cut/N       a head that promises N, half of it, cut
 *   /opencut/N   the same of unknown length
 *   /short/N     a last send with half of what was promised
 *   /finish      finishes without a reply
 *   /status/N    an empty reply with that status;   /close  and the connection ends
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after those, as it demands */
#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/server.h"

struct front {
    struct io *io;
    struct io_loop *loop;
    struct http_server *server;
    struct http_server_config config;
    unsigned requests, finished, gone, failed_sends, done_sends, drained;
    int last_result;
    unsigned refused, last_refused; /* how many, and the last one's status */
    uint64_t body_bytes;            /* of requests, if config.handler.body is front_body */
    struct exchange *held;
    enum http_method last_method;
    char last_target[64];
    bool inside; /* a call of the owner into the exchange: no callback may run */
};

/* Before front_open the config may be changed. */
void front_init(struct front *front);
void front_open(struct front *front);
/* Drains, and checks that nothing leaked and each request was finished. */
void front_close(struct front *front);
void front_turn(struct front *front);
void front_idle(struct front *front, uint64_t ns);
/* Answers the held exchange as /bytes/5. */
void front_release(struct front *front);
void front_body(void *ctx, struct exchange *exchange, struct bytes piece, uint64_t offset);
#define front_until(front, condition)                                                                        \
    do {                                                                                                     \
        uint64_t until_ns = clock_monotonic_ns() + 60 * NS_PER_S;                                            \
        while (!(condition)) {                                                                               \
            front_turn(front);                                                                               \
            assert_true(clock_monotonic_ns() < until_ns);                                                    \
        }                                                                                                    \
    } while (0)

/* A client, its descriptor non-blocking. */
struct client {
    struct front *front;
    int fd;
    char *got; /* NUL-terminated */
    size_t len, capacity;
    bool eof, reset;
};

/* over a socket pair */
void client_open(struct client *client, struct front *front);
void client_close(struct client *client);
void client_send(struct client *client, const char *text);
void client_send_bytes(struct client *client, const void *bytes, size_t len);
/* Reads what is there, at most `most`. */
void client_read(struct client *client, size_t most);
/* Until as many bytes have come. */
void client_await(struct client *client, size_t len);
/* Until the server has closed. */
void client_await_end(struct client *client);
/* Reads one whole response with a known length off the front; its status. *body borrows until the next call.
 */
unsigned client_response(struct client *client, bool bodiless, struct bytes *body);
bool client_has(const struct client *client, const char *text);
void client_forget(struct client *client);

/* What /bytes/N and the others send. */
bool front_is_pattern(struct bytes body);
