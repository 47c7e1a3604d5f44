#include "http/server.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/connection.h"
#include "http/date.h"

/* Accepted beyond the bound, to be told so. */
#define REFUSALS_MAX 32
/* Until the next try when descriptors or memory are short. */
#define PAUSE_NS (100 * NS_PER_MS)

static void accepted(struct io_op *op);
static void pause_over(struct io_op *op);

struct bytes server_date(struct http_server *server)
{
    static_assert(sizeof server->date == DATE_LEN, "a Date field's length");
    uint64_t now_s = io_wall_ns(server->config.loop) / NS_PER_S;
    if (now_s != server->date_s) {
        server->date_s = now_s;
        date_format((int64_t)now_s, server->date);
    }
    return bytes_of(server->date, sizeof server->date);
}

static void set_default(uint64_t *value, uint64_t standard)
{
    *value = *value ? *value : standard;
}

static void set_defaults(struct http_server_config *config)
{
    config->max_connections = config->max_connections ? config->max_connections : 1024;
    config->retry_after_s = config->retry_after_s ? config->retry_after_s : 1;
    set_default(&config->header_timeout_ns, 30 * NS_PER_S);
    set_default(&config->idle_timeout_ns, 75 * NS_PER_S);
    set_default(&config->body_timeout_ns, 60 * NS_PER_S);
    set_default(&config->min_send_rate, 512);
    set_default(&config->send_grace_ns, 120 * NS_PER_S);
    set_default(&config->linger_ns, 2 * NS_PER_S);
}

/* ---- the free list ---- */

static struct connection *take_spare(struct http_server *server)
{
    struct list_node *node = list_pop_front(&server->spare);
    if (node != NULL)
        return CONTAINER_OF(node, struct connection, node);
    size_t bytes = sizeof(struct connection) + server->config.handler.request_bytes;
    struct connection *conn = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (conn != NULL) {
        conn->server = server;
        conn->node = (struct list_node){NULL, NULL};
    }
    return conn;
}

static bool has_spare(struct http_server *server)
{
    struct connection *conn = take_spare(server);
    if (conn != NULL)
        list_push_front(&server->spare, &conn->node);
    return conn != NULL;
}

static void open_connection(
    struct http_server *server, struct io_handle socket, const struct io_address *peer)
{
    struct connection *conn = take_spare(server);
    bool refuse = server->open >= server->config.max_connections;
    CHECK(conn != NULL);
    server->open++;
    counter_add(&server->stats.accepted, 1);
    counter_add(&server->stats.connections_open, 1);
    if (refuse)
        counter_add(&server->stats.refused, 1);
    connection_open(conn, socket, peer, refuse);
}

/* ---- accepting ---- */

static bool has_room(const struct http_server *server)
{
    return server->open < server->config.max_connections + REFUSALS_MAX;
}

static void pause_accepting(struct http_server *server)
{
    counter_add(&server->stats.accept_errors, 1);
    server->paused = true;
    io_timer(server->config.loop, &server->pause_op, io_now_ns(server->config.loop) + PAUSE_NS);
}

static void accept_next(struct http_server *server)
{
    bool able = !server->draining && !server->paused && !io_op_busy(&server->accept_op) && has_room(server);
    if (!able || !io_handle_valid(server->config.listener))
        return;
    if (has_spare(server))
        io_accept(server->config.loop, &server->accept_op, server->config.listener, &server->peer);
    else
        pause_accepting(server);
}

static void accepted(struct io_op *op)
{
    struct http_server *server = CONTAINER_OF(op, struct http_server, accept_op);
    bool over = op->result == -ECANCELED || op->result == -EBADF;
    if (op->result >= 0)
        open_connection(server, op->handle, &server->peer);
    if (over)
        server->config.listener = IO_HANDLE_NONE; /* closed by its owner, or draining */
    else if (op->result == -ECONNABORTED)
        counter_add(&server->stats.accept_errors, 1);
    else if (op->result < 0 && !server->draining)
        pause_accepting(server);
    accept_next(server);
    server_settle(server);
}

static void pause_over(struct io_op *op)
{
    struct http_server *server = CONTAINER_OF(op, struct http_server, pause_op);
    server->paused = false;
    accept_next(server);
    server_settle(server);
}

/* ---- life ---- */

static void tell_drained(struct io_message *message)
{
    struct http_server *server = CONTAINER_OF(message, struct http_server, drained_message);
    server->drained = true;
    server->on_drained(server->drained_ctx);
}

void server_settle(struct http_server *server)
{
    bool ended = server->draining && server->open == 0 && !io_op_busy(&server->accept_op) &&
                 !io_op_busy(&server->pause_op);
    if (!ended || server->ended)
        return;
    server->ended = true;
    io_post(server->config.loop, &server->drained_message);
}

void server_closed(struct http_server *server, struct connection *conn)
{
    CHECK(server->open > 0);
    server->open--;
    counter_sub(&server->stats.connections_open, 1);
    list_remove(&conn->node);
    list_push_front(&server->spare, &conn->node);
    accept_next(server);
    server_settle(server);
}

int http_server_create(const struct http_server_config *config, struct http_server **server_out)
{
    if (config->handler.request == NULL || config->handler.gone == NULL || config->loop == NULL)
        return -EINVAL;
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->config = *config;
    set_defaults(&server->config);
    list_init(&server->connections);
    list_init(&server->spare);
    io_op_init(&server->accept_op, accepted);
    io_op_init(&server->pause_op, pause_over);
    server->drained_message.deliver = tell_drained;
    accept_next(server);
    *server_out = server;
    return 0;
}

const struct http_server_stats *http_server_stats(const struct http_server *server)
{
    return &server->stats;
}

int http_server_adopt(struct http_server *server, struct io_handle socket, const struct io_address *peer)
{
    if (server->draining || !has_room(server) || !has_spare(server))
        return E_EXHAUSTED;
    open_connection(server, socket, peer);
    return 0;
}

/* Calls `end` for each connection that is not closing yet. It may end others meanwhile. */
static void for_each(struct http_server *server, void (*end)(struct connection *conn))
{
    struct list_node todo;
    list_init(&todo);
    for (struct list_node *node; (node = list_pop_front(&server->connections)) != NULL;)
        list_push_back(&todo, node);
    for (struct list_node *node; (node = list_pop_front(&todo)) != NULL;) {
        list_push_back(&server->connections, node);
        struct connection *conn = CONTAINER_OF(node, struct connection, node);
        connection_enter(conn);
        end(conn);
        connection_leave(conn);
    }
}

static void end_idle(struct connection *conn)
{
    if (conn->state == CONNECTION_HEAD && conn->in_len == 0)
        connection_die(conn, E_CANCELED);
}

static void end_any(struct connection *conn)
{
    connection_abandon(conn, E_CANCELED);
}

void http_server_drain(struct http_server *server, void (*drained)(void *ctx), void *ctx)
{
    CHECK(!server->draining && drained != NULL);
    server->draining = true;
    server->on_drained = drained;
    server->drained_ctx = ctx;
    io_cancel(server->config.loop, &server->accept_op);
    io_cancel(server->config.loop, &server->pause_op);
    for_each(server, end_idle);
    server_settle(server);
}

void http_server_stop(struct http_server *server)
{
    CHECK(server->draining);
    for_each(server, end_any);
}

void http_server_destroy(struct http_server *server)
{
    CHECK(server->drained && server->open == 0 && list_empty(&server->connections));
    for (struct list_node *node; (node = list_pop_front(&server->spare)) != NULL;)
        free(CONTAINER_OF(node, struct connection, node));
    free(server);
}
