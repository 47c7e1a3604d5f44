#include "app/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "http/response.h"

#define ADMIN_CONNECTIONS 64
#define ADMIN_BODY_FIRST ((size_t)64 << 10)
#define ADMIN_BODY_MAX ((size_t)64 << 20)
#define ADMIN_REQUEST_BODY_MAX ((uint64_t)1 << 20)

struct admin {
    struct admin_parts parts;
    struct http_server *server;
};

/* Lies in the exchange's memory. */
struct admin_reply {
    struct exchange *exchange;
    struct exchange_send send;
    struct iovec iov;
    char *body;
};

static void reply_sent(struct exchange_send *send)
{
    struct admin_reply *reply = CONTAINER_OF(send, struct admin_reply, send);
    free(reply->body);
    reply->body = NULL;
    exchange_finish(reply->exchange);
}

struct admin_head {
    unsigned status;
    const char *content_type, *allow;
    bool authenticate;
};

/* Takes the body over; NULL: none. */
static void send_reply(struct exchange *exchange, const struct admin_head *head, char *body, size_t len)
{
    struct admin_reply *reply = exchange_memory(exchange);
    char lines[400];
    struct writer w = writer_of(lines, sizeof lines);
    http_write_field(&w, BYTES("Content-Type"), bytes_of_string(head->content_type));
    http_write_field(&w, BYTES("Cache-Control"), BYTES("no-store"));
    http_write_field(&w, BYTES("X-Content-Type-Options"), BYTES("nosniff"));
    if (head->allow)
        http_write_field(&w, BYTES("Allow"), bytes_of_string(head->allow));
    if (head->authenticate)
        http_write_field(&w, BYTES("WWW-Authenticate"), BYTES("Bearer"));
    CHECK(!w.failed);
    exchange_start(exchange,
        &(struct exchange_head){.status = head->status, .field_lines = writer_bytes(&w), .body_len = len});
    *reply =
        (struct admin_reply){.exchange = exchange, .body = body, .iov = {.iov_base = body, .iov_len = len}};
    reply->send =
        (struct exchange_send){.iov = &reply->iov, .count = len > 0, .last = true, .done = reply_sent};
    exchange_send(exchange, &reply->send);
}

static void send_error(struct exchange *exchange, const struct admin_decision *decision)
{
    size_t capacity = 1024;
    char *body = malloc(capacity);
    struct writer w = writer_of(body, body ? capacity : 0);
    if (body)
        http_write_error_body(&w, decision->status, bytes_of_string(decision->message));
    send_reply(exchange,
        &(struct admin_head){.status = decision->status,
            .content_type = HTTP_ERROR_CONTENT_TYPE,
            .allow = decision->allow,
            .authenticate = decision->authenticate},
        body, w.failed ? 0 : writer_bytes(&w).len);
}

static void send_page(struct admin *admin, struct exchange *exchange, enum admin_page page)
{
    for (size_t capacity = ADMIN_BODY_FIRST; capacity <= ADMIN_BODY_MAX; capacity *= 2) {
        char *body = malloc(capacity);
        if (body == NULL)
            break;
        struct writer w = writer_of(body, capacity);
        unsigned status = admin->parts.page(admin->parts.context, page, &w);
        if (!w.failed) {
            send_reply(exchange,
                &(struct admin_head){.status = status,
                    .content_type = page == ADMIN_PAGE_METRICS ? "text/plain; version=0.0.4; charset=utf-8"
                                                               : "application/json"},
                body, writer_bytes(&w).len);
            return;
        }
        free(body);
    }
    send_error(exchange, &(struct admin_decision){.status = 503, .message = "out of memory"});
}

static void on_request(void *context, struct exchange *exchange)
{
    struct admin *admin = context;
    struct admin_decision decision = admin_decide(&admin->parts.rules, exchange_request(exchange));
    if (decision.page != ADMIN_PAGE_NONE)
        send_page(admin, exchange, decision.page);
    else
        send_error(exchange, &decision);
}

/* Each request is answered at once, so there is always a send pending that is told instead. */
static void on_gone(void *context, struct exchange *exchange)
{
    (void)context, (void)exchange;
    UNREACHABLE();
}

int admin_create(struct admin **admin_out, const struct admin_parts *parts)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL)
        return -ENOMEM;
    admin->parts = *parts;
    struct http_server_config config = {
        .io = parts->io,
        .loop = parts->loop,
        .listener = parts->listener,
        .handler = {.ctx = admin,
            .request_bytes = sizeof(struct admin_reply),
            .request = on_request,
            .gone = on_gone},
        .limits = {.max_body_bytes = ADMIN_REQUEST_BODY_MAX},
        .max_connections = ADMIN_CONNECTIONS,
    };
    int result = http_server_create(&config, &admin->server);
    if (result < 0) {
        free(admin);
        return result;
    }
    *admin_out = admin;
    return 0;
}

void admin_stop(struct admin *admin, void (*done)(void *context), void *context)
{
    http_server_drain(admin->server, done, context);
    http_server_stop(admin->server);
}

void admin_destroy(struct admin *admin)
{
    http_server_destroy(admin->server);
    free(admin);
}
