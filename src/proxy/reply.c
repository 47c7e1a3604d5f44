/* Replies: field lines of stored representations, and complete small answers of our own. */
#include "base/clock.h"
#include "http/cache_status.h"
#include "http/date.h"
#include "http/forwarded.h"
#include "http/response.h"
#include "proxy/request.h"

#define OWN_LINES_MAX 512
#define ERROR_BODY_MAX 512

/* Nothing stored would do. */
static enum cache_status_fwd missed(const struct request *request)
{
    return request->was_stale     ? CACHE_STATUS_STALE
           : request->vary_missed ? CACHE_STATUS_VARY_MISS
                                  : CACHE_STATUS_URI_MISS;
}

static enum cache_status_fwd forwarded(const struct request *request, const struct reply_facts *facts)
{
    if (request->pass)
        return request->control.no_store ? CACHE_STATUS_REQUEST : CACHE_STATUS_BYPASS;
    if (request->served_stale)
        return CACHE_STATUS_STALE;
    if (request->not_modified && facts->presence == PRESENT_ALL)
        return CACHE_STATUS_STALE;
    if (request->head_missed)
        return missed(request);
    switch (facts->presence) {
    case PRESENT_ALL:
        return CACHE_STATUS_HIT;
    case PRESENT_SOME:
        return CACHE_STATUS_PARTIAL;
    default:
        return CACHE_STATUS_MISS;
    }
}

static struct cache_status status_of(const struct request *request, const struct reply_facts *facts)
{
    int64_t now_s = (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S);
    enum cache_status_fwd fwd = forwarded(request, facts);
    struct cache_status status = {
        .fwd = fwd,
        .fwd_status = fwd == CACHE_STATUS_HIT ? 0 : request->origin_status,
        .stored = request->head_missed && request->storing,
        .collapsed = request->collapsed,
        .has_ttl = !request->pass,
        .ttl_s = request->pass ? 0 : head_fresh_for(&request->head, request->caching, now_s),
    };
    if (facts->in_memory || facts->on_disk)
        status.detail = !facts->on_disk     ? CACHE_STATUS_MEMORY
                        : !facts->in_memory ? CACHE_STATUS_DISK
                                            : CACHE_STATUS_MIXED;
    return status;
}

/* RFC 9110 15.4.5: what a 304 carries of the stored fields. */
static bool belongs_to_304(struct bytes name)
{
    static const struct bytes names[] = {BYTES("etag"), BYTES("cache-control"), BYTES("content-location"),
        BYTES("expires"), BYTES("vary"), BYTES("last-modified")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_nocase(name, names[i]))
            return true;
    return false;
}

static void write_stored(struct writer *w, const struct head *head, const struct reply_facts *facts)
{
    if (!facts->not_modified && !facts->content_type.ptr) {
        write_bytes(w, head->fields);
        return;
    }
    struct bytes rest = head->fields;
    struct head_line line;
    while (head_next_line(&rest, &line)) {
        bool is_type = bytes_equal_nocase(line.name, BYTES("content-type"));
        if (facts->not_modified ? belongs_to_304(line.name) : !is_type)
            write_bytes(w, line.text);
    }
}

void reply_write_id(struct writer *w, const uint8_t id[REQUEST_ID_LEN])
{
    write_bytes(w, BYTES("X-Request-ID: "));
    write_bytes(w, bytes_of(id, REQUEST_ID_LEN));
    write_bytes(w, BYTES("\r\n"));
}

/* Of what is not stored an origin speaks for itself. */
static bool serves_ranges(const struct request *request)
{
    const struct head *head = &request->head;
    if (!request->caching->generic)
        return true;
    return head->status == 200 && head_has_length(head) && !request->pass &&
           !head_has_line(head->fields, BYTES("accept-ranges"));
}

/* Of any HTTP server: its Date (RFC 9110 6.6.1), and that the message came through here. */
static void write_generic(struct request *request, struct writer *w)
{
    uint8_t date[DATE_LEN];
    date_format(request->head.date_s, date);
    http_write_field(w, BYTES("Date"), bytes_of(date, sizeof date));
    http_write_field(w, BYTES("Via"), via_value(1));
    request->dated = true;
}

struct bytes reply_lines(struct request *request, const struct reply_facts *facts)
{
    const struct head *head = &request->head;
    size_t room = head->fields.len + head->checksum_fields.len + OWN_LINES_MAX + facts->content_type.len;
    uint8_t *at = arena_take(&request->arena, room);
    if (!at)
        return (struct bytes){0};
    struct writer w = writer_of(at, room);
    struct cache_status status = status_of(request, facts);
    write_stored(&w, head, facts);
    if (facts->checksums)
        write_bytes(&w, head->checksum_fields);
    if (facts->content_type.ptr)
        http_write_field(&w, BYTES("Content-Type"), facts->content_type);
    if (facts->content_range.ptr)
        http_write_field(&w, BYTES("Content-Range"), facts->content_range);
    if (!facts->not_modified && serves_ranges(request))
        write_bytes(&w, BYTES("Accept-Ranges: bytes\r\n"));
    if (request->caching->generic)
        write_generic(request, &w);
    if (!request->head_missed || (request->caching->generic && head->initial_age_s > 0)) {
        int64_t age = head_age(head, (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S));
        http_write_field_u64(&w, BYTES("Age"), (uint64_t)age);
    }
    write_bytes(&w, BYTES("X-Cache: "));
    write_bytes(&w, cache_status_x_cache(&status));
    write_bytes(&w, BYTES("\r\nCache-Status: "));
    cache_status_write(&status, &w);
    write_bytes(&w, BYTES("\r\n"));
    reply_write_id(&w, request->id);
    CHECK(!w.failed);
    return writer_bytes(&w);
}

static void reply_sent(struct exchange_send *send)
{
    struct request *request = CONTAINER_OF(send, struct request, send);
    request->sending = false;
    if (send->result < 0)
        request->gone = true;
    if (request->ending)
        request_release(request);
    else
        request_end(request);
}

static void reply(struct request *request, const struct exchange_head *head, struct bytes body)
{
    CHECK(!request->begun && !request->sending);
    request_deliver_stop(request);
    request->step = STEP_END;
    request->begun = true;
    request->status = head->status;
    request->first_byte_ns = io_clock_ns(request->worker->loop);
    io_cancel(request->worker->loop, &request->deadline);
    if (!request->warm)
        exchange_start(request->exchange, head);
    request->iov[0] = (struct iovec){(void *)(uintptr_t)body.ptr, body.len};
    request->send = (struct exchange_send){
        .iov = request->iov, .count = body.len ? 1 : 0, .last = true, .done = reply_sent};
    request->sending = true;
    if (request->warm)
        warm_send(request);
    else
        exchange_send(request->exchange, &request->send);
}

void reply_head_only(struct request *request, unsigned status, struct bytes lines, uint64_t body_len)
{
    reply(request,
        &(struct exchange_head){
            .status = status, .field_lines = lines, .body_len = body_len, .dated = request->dated},
        (struct bytes){0});
}

/* Nothing stored answers: why was the origin asked? */
static enum cache_status_fwd failure_forwarded(const struct request *request)
{
    if (request->negative)
        return CACHE_STATUS_HIT;
    if (request->pass)
        return request->control.no_store ? CACHE_STATUS_REQUEST : CACHE_STATUS_BYPASS;
    return missed(request);
}

void reply_failure(struct request *request, const struct reply_reason *reason)
{
    uint8_t text[CACHE_STATUS_MAX + 160];
    struct writer w = writer_of(text, sizeof text);
    struct cache_status status = {
        .fwd = failure_forwarded(request),
        .fwd_status = request->negative ? 0 : request->origin_status,
        .stored = reason->stored,
        .collapsed = request->collapsed,
        .has_ttl = request->negative,
        .ttl_s = reason->ttl_s,
        .detail = request->negative ? CACHE_STATUS_MEMORY : CACHE_STATUS_NO_DETAIL,
    };
    if (reason->status == 503)
        http_write_field_u64(&w, BYTES("Retry-After"), reason->retry_after_s);
    if (request->negative)
        http_write_field_u64(&w, BYTES("Age"), (uint64_t)reason->age_s);
    write_bytes(&w, BYTES("X-Cache: "));
    write_bytes(&w, cache_status_x_cache(&status));
    write_bytes(&w, BYTES("\r\nCache-Status: "));
    cache_status_write(&status, &w);
    write_bytes(&w, BYTES("\r\n"));
    CHECK(!w.failed);
    reply_error(request, reason->status, reason->message, writer_bytes(&w));
}

void reply_error(struct request *request, unsigned status, const char *message, struct bytes lines)
{
    size_t room = ERROR_BODY_MAX + lines.len + OWN_LINES_MAX;
    uint8_t *at = arena_take(&request->arena, room);
    if (!at) { /* a head alone needs no memory of ours */
        reply_head_only(request, status, (struct bytes){0}, 0);
        return;
    }
    struct writer body = writer_of(at, ERROR_BODY_MAX);
    http_write_error_body(&body, status, bytes_of_string(message));
    CHECK(!body.failed);
    struct writer w = writer_of(at + ERROR_BODY_MAX, room - ERROR_BODY_MAX);
    write_bytes(&w, BYTES("Content-Type: application/json\r\n"));
    write_bytes(&w, lines);
    reply_write_id(&w, request->id);
    CHECK(!w.failed);
    struct bytes text = writer_bytes(&body);
    reply(request,
        &(struct exchange_head){.status = status, .field_lines = writer_bytes(&w), .body_len = text.len},
        text);
}
