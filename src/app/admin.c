#include "app/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "app/admin_events.h"
#include "app/admin_prewarm.h"
#include "app/admin_purge.h"
#include "app/cache_page.h"
#include "base/error.h"
#include "http/response.h"
#include "http/target.h"
#include "io/blocking.h"

#define ADMIN_CONNECTIONS 64
#define ADMIN_BODY_FIRST ((size_t)64 << 10)
#define ADMIN_BODY_MAX ((size_t)64 << 20)
#define ADMIN_REQUEST_BODY_MAX ((size_t)256 << 10)
#define ADMIN_INTERMEDIATES_MAX ((size_t)1 << 20)

struct admin {
    struct admin_parts parts;
    struct http_server *server;
    struct admin_events_place events;
    unsigned stopping; /* parts that still end */
    void (*stopped)(void *context);
    void *stopped_context;
    uint8_t scratch[ADMIN_PATH_MAX]; /* a path that is only looked at */
};

/* Lies in the exchange's memory, which is not cleared. */
struct admin_reply {
    struct exchange *exchange;
    struct admin *admin;
    struct exchange_send send;
    struct iovec iov;
    char *body;
    uint8_t path[ADMIN_PATH_MAX];
    struct admin_purge purge;
    struct proxy_look look;
    struct admin_prewarm prewarm;
    struct admin_events events;
    size_t asked_len; /* of the request's body, where it is not read by its owner */
    uint8_t asked[ADMIN_REQUEST_BODY_MAX];
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
    reply->exchange = exchange;
    reply->body = body;
    reply->iov = (struct iovec){.iov_base = body, .iov_len = len};
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

static void send_page(
    struct admin *admin, struct exchange *exchange, enum admin_page page, struct bytes bucket)
{
    for (size_t capacity = ADMIN_BODY_FIRST; capacity <= ADMIN_BODY_MAX; capacity *= 2) {
        char *body = malloc(capacity);
        if (body == NULL)
            break;
        struct writer w = writer_of(body, capacity);
        unsigned status = admin->parts.page(admin->parts.context, page, bucket, &w);
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

/* ---- purges ---- */

static void log_purge(struct admin *admin, const struct proxy_purge *purge, int result)
{
    struct bytes key = purge->key.len ? purge->key : purge->prefix;
    log_text(admin->parts.log, result < 0 ? LOG_WARN : LOG_INFO, "admin",
        "purge %llu of bucket '%.*s', key or prefix '%.*s', tag '%.*s', %s: %s",
        (unsigned long long)purge->sequence, (int)purge->bucket.len, (const char *)purge->bucket.ptr,
        (int)key.len, (const char *)key.ptr, (int)purge->tag.len, (const char *)purge->tag.ptr,
        purge->soft ? "soft" : "hard", result < 0 ? error_text(result) : "durable");
    if (purge->widened)
        log_text(admin->parts.log, LOG_WARN, "admin",
            "the table of purges is full: older ones now hide their whole bucket, or everything");
}

static void answer_purge(struct admin_reply *reply, int result)
{
    size_t capacity = sizeof reply->purge * 8;
    char *body = malloc(capacity);
    struct writer w = writer_of(body, body ? capacity : 0);
    unsigned status = admin_purge_write(&w, &reply->purge, result);
    send_reply(reply->exchange, &(struct admin_head){.status = status, .content_type = "application/json"},
        body, w.failed ? 0 : writer_bytes(&w).len);
}

static void purge_done(struct proxy_purge *purge)
{
    struct admin_reply *reply = CONTAINER_OF(purge, struct admin_reply, purge.purge);
    log_purge(reply->admin, purge, purge->result);
    answer_purge(reply, purge->result);
}

static void start_purge(struct admin_reply *reply, struct bytes below)
{
    struct admin *admin = reply->admin;
    const char *why = admin_purge_parse(&reply->purge, below, bytes_of(reply->asked, reply->asked_len));
    if (why) {
        send_error(reply->exchange, &(struct admin_decision){.status = 400, .message = why});
        return;
    }
    reply->purge.purge.done = purge_done;
    int result = proxy_purge(admin->parts.proxy, admin->parts.loop, &reply->purge.purge);
    if (result < 0)
        answer_purge(reply, result);
}

/* ---- what is stored of one object ---- */

static void answer_look(struct admin_reply *reply, int result)
{
    size_t capacity = 4 * ADMIN_PATH_MAX;
    char *body = malloc(capacity);
    struct writer w = writer_of(body, body ? capacity : 0);
    unsigned status = cache_info_write(&w, &reply->look, result);
    send_reply(reply->exchange, &(struct admin_head){.status = status, .content_type = "application/json"},
        body, w.failed ? 0 : writer_bytes(&w).len);
}

static void look_done(struct proxy_look *look)
{
    answer_look(CONTAINER_OF(look, struct admin_reply, look), look->unknown ? E_EXHAUSTED : 0);
}

static void start_look(struct admin_reply *reply, const struct http_request *request)
{
    struct target target;
    CHECK(target_split(request->target, &target) == 0); /* it was routed by it */
    const char *why = cache_info_parse(target.query, reply->path, &reply->look);
    if (why) {
        send_error(reply->exchange, &(struct admin_decision){.status = 400, .message = why});
        return;
    }
    reply->look.done = look_done;
    int result = proxy_look(reply->admin->parts.proxy, reply->admin->parts.loop, &reply->look);
    if (result < 0)
        answer_look(reply, result);
}

/* ---- events ---- */

static void events_done(struct admin_events *events)
{
    struct admin_reply *reply = CONTAINER_OF(events, struct admin_reply, events);
    struct admin_decision decision = events->decision;
    size_t capacity = 512;
    char *body = events->message ? NULL : malloc(capacity);
    struct writer w = writer_of(body, body ? capacity : 0);
    if (body)
        admin_events_write(&w, events);
    unsigned status = events->status;
    const char *message = events->message;
    admin_events_end(events);
    if (message == NULL) {
        send_reply(reply->exchange,
            &(struct admin_head){.status = status, .content_type = "application/json"}, body,
            w.failed ? 0 : writer_bytes(&w).len);
        return;
    }
    decision.authenticate = status == 401;
    decision.status = status;
    decision.message = message;
    send_error(reply->exchange, &decision);
}

static void start_events(struct admin_reply *reply, const struct admin_decision *decision, bool has_body)
{
    reply->events.place = &reply->admin->events;
    reply->events.exchange = reply->exchange;
    reply->events.decision = *decision;
    reply->events.has_body = has_body;
    reply->events.done = events_done;
    admin_events_start(&reply->events);
}

/* ---- prewarm ---- */

static void send_written(struct admin_reply *reply, unsigned status, char *body, size_t len)
{
    send_reply(reply->exchange, &(struct admin_head){.status = status, .content_type = "application/json"},
        body, len);
}

/* NULL: all jobs. */
static void send_jobs(struct admin_reply *reply, unsigned status, const struct prewarm_job *job)
{
    for (size_t capacity = ADMIN_BODY_FIRST; capacity <= ADMIN_BODY_MAX; capacity *= 2) {
        char *body = malloc(capacity);
        if (body == NULL)
            break;
        struct writer w = writer_of(body, capacity);
        if (job)
            admin_prewarm_write_job(&w, job);
        else
            admin_prewarm_write_jobs(&w, reply->admin->parts.prewarm);
        if (!w.failed) {
            send_written(reply, status, body, writer_bytes(&w).len);
            return;
        }
        free(body);
    }
    send_error(reply->exchange, &(struct admin_decision){.status = 503, .message = "out of memory"});
}

static void order_prewarm(struct admin_reply *reply)
{
    const struct prewarm_job *job;
    const char *why = admin_prewarm_parse(&reply->prewarm, reply->asked, reply->asked_len);
    if (why) {
        send_error(reply->exchange, &(struct admin_decision){.status = 400, .message = why});
        return;
    }
    int result = prewarm_start(reply->admin->parts.prewarm, &reply->prewarm.order, &job);
    if (result == 0) {
        send_jobs(reply, 202, job);
        return;
    }
    char *body = malloc(512);
    struct writer w = writer_of(body, body ? 512 : 0);
    unsigned status = admin_prewarm_write_refusal(&w, result);
    send_written(reply, status, body, w.failed ? 0 : writer_bytes(&w).len);
}

/* `below` is empty, or /id. */
static void do_prewarm(struct admin_reply *reply, enum http_method method, struct bytes below)
{
    struct prewarm *prewarm = reply->admin->parts.prewarm;
    if (below.len == 0 && method == HTTP_POST) {
        order_prewarm(reply);
        return;
    }
    if (below.len == 0) {
        send_jobs(reply, 200, NULL);
        return;
    }
    uint64_t id;
    const struct prewarm_job *job =
        bytes_to_u64(bytes_from(below, 1), &id) ? prewarm_find(prewarm, id) : NULL;
    if (job == NULL) {
        send_error(reply->exchange, &(struct admin_decision){.status = 404, .message = "no such job"});
        return;
    }
    if (method == HTTP_DELETE)
        prewarm_cancel(prewarm, job);
    send_jobs(reply, 200, job);
}

/* ---- requests ---- */

/* More than there is room for is only counted. */
static void on_body(void *context, struct exchange *exchange, struct bytes piece, uint64_t offset)
{
    (void)context;
    struct admin_reply *reply = exchange_memory(exchange);
    reply->asked_len = (size_t)offset + piece.len;
    if (reply->asked_len <= sizeof reply->asked)
        memcpy(reply->asked + offset, piece.ptr, piece.len);
}

static bool on_streams(void *context, const struct http_request *request)
{
    struct admin *admin = context;
    return admin_decide(&admin->parts.rules, request, admin->scratch).action == ADMIN_ACTION_EVENTS;
}

static void on_request(void *context, struct exchange *exchange)
{
    struct admin *admin = context;
    struct admin_reply *reply = exchange_memory(exchange);
    const struct http_request *request = exchange_request(exchange);
    reply->exchange = exchange;
    reply->admin = admin;
    reply->body = NULL;
    bool has_body = request->framing == HTTP_BODY_CHUNKED ||
                    (request->framing == HTTP_BODY_LENGTH && request->content_length > 0);
    reply->asked_len = has_body ? reply->asked_len : 0;
    struct admin_decision decision = admin_decide(&admin->parts.rules, request, reply->path);
    if (decision.action == ADMIN_ACTION_EVENTS)
        start_events(reply, &decision, has_body);
    else if (reply->asked_len > sizeof reply->asked)
        send_error(exchange, &(struct admin_decision){.status = 413, .message = "the body is too large"});
    else if (decision.page != ADMIN_PAGE_NONE)
        send_page(admin, exchange, decision.page, (struct bytes){0});
    else if (decision.action == ADMIN_ACTION_STATS)
        send_page(admin, exchange, ADMIN_PAGE_CACHE, bytes_from(decision.below, decision.below.len > 0));
    else if (decision.action == ADMIN_ACTION_INFO)
        start_look(reply, request);
    else if (decision.action == ADMIN_ACTION_PREWARM)
        do_prewarm(reply, request->method, decision.below);
    else if (decision.action == ADMIN_ACTION_PURGE)
        start_purge(reply, decision.below);
    else
        send_error(exchange, &decision);
}

/* What is being done goes on; its answer will fail to be sent. */
static void on_gone(void *context, struct exchange *exchange)
{
    (void)context, (void)exchange;
}

/* ---- life ---- */

static int create_sns(struct admin *admin)
{
    const char *path = admin->parts.sns_intermediates;
    struct sns_parts sns = admin->parts.sns;
    char *text = NULL;
    size_t len = 0;
    if (sns.topic_count == 0)
        return 0;
    int result = path ? io_read_file(path, ADMIN_INTERMEDIATES_MAX, &text, &len) : 0;
    sns.loop = admin->parts.loop;
    sns.log = admin->parts.log;
    sns.intermediates = bytes_of(text, len);
    if (result >= 0)
        result = sns_create(&admin->events.sns, &sns);
    if (result < 0)
        log_text(admin->parts.log, LOG_ERROR, "admin", "SNS, certificates in %s: %s",
            path ? path : "the system's store", error_text(result));
    free(text);
    return result < 0 ? result : 0;
}

int admin_create(struct admin **admin_out, const struct admin_parts *parts)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL)
        return -ENOMEM;
    admin->parts = *parts;
    admin->parts.rules.sns = parts->sns.topic_count > 0;
    admin->events = (struct admin_events_place){
        .proxy = parts->proxy, .loop = parts->loop, .log = parts->log, .stats = parts->event_stats};
    struct http_server_config config = {
        .io = parts->io,
        .loop = parts->loop,
        .listener = parts->listener,
        .handler = {.ctx = admin,
            .request_bytes = sizeof(struct admin_reply),
            .request = on_request,
            .gone = on_gone,
            .body = on_body,
            .streams = on_streams},
        .limits = {.max_body_bytes = ADMIN_EVENTS_BODY_MAX},
        .max_connections = ADMIN_CONNECTIONS,
    };
    int result = create_sns(admin);
    if (result == 0)
        result = http_server_create(&config, &admin->server);
    if (result < 0) {
        sns_destroy(admin->events.sns);
        free(admin);
        return result;
    }
    *admin_out = admin;
    return 0;
}

static void part_stopped(void *context)
{
    struct admin *admin = context;
    if (--admin->stopping == 0)
        admin->stopped(admin->stopped_context);
}

void admin_stop(struct admin *admin, void (*done)(void *context), void *context)
{
    admin->stopped = done;
    admin->stopped_context = context;
    admin->stopping = 1;
    if (admin->events.sns && !sns_stop(admin->events.sns, part_stopped, admin))
        admin->stopping++;
    http_server_drain(admin->server, part_stopped, admin);
    http_server_stop(admin->server);
}

void admin_destroy(struct admin *admin)
{
    http_server_destroy(admin->server);
    sns_destroy(admin->events.sns);
    free(admin);
}
