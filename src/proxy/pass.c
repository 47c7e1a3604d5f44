#include "proxy/pass.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/hop_by_hop.h"

struct pass_buffer {
    uint8_t *bytes; /* PASS_BUFFER_BYTES */
    size_t len;
};

struct pass {
    struct request *request;
    struct origin_fetch fetch;
    bool fetching, answered; /* between start and done; the origin's answer is complete */
    bool paused;             /* it waits for room */

    /* The client's body. */
    struct origin_upload upload;
    struct exchange_read read;
    bool reading, body_ended;
    int body_error;
    struct bytes piece; /* read, and not yet sent on */
    struct origin_field trailers[HTTP_TRAILERS_MAX];

    /* The origin's: one buffer is sent while the other fills. */
    struct pass_buffer buffers[2];
    unsigned filling;
    struct iovec iov;
    struct exchange_send send;
    struct bytes trailer_lines;
};

static struct pass *of_fetch(struct origin_fetch *fetch)
{
    return CONTAINER_OF(fetch, struct pass, fetch);
}

/* ---- the client's body ---- */

static void note_trailers(struct pass *pass)
{
    const struct http_fields *fields = exchange_trailers(pass->request->exchange);
    unsigned count = 0;
    for (unsigned i = 0; i < fields->count; i++)
        if (!hop_by_hop_trailer(fields->fields[i].name))
            pass->trailers[count++] = (struct origin_field){fields->fields[i].name, fields->fields[i].value};
    pass->upload.trailers = pass->trailers;
    pass->upload.trailer_count = count;
}

static unsigned status_of_body_error(int error)
{
    return error == E_TIMEOUT ? 408 : error == E_TOO_LARGE ? 413 : 400;
}

/* The origin must not take a part for the whole: the request to it is broken off. */
static void body_failed(struct pass *pass, int error)
{
    struct request *request = pass->request;
    pass->body_error = error;
    if (exchange_is_dead(request->exchange)) {
        request->gone = true;
        request_end(request);
    } else if (request->begun) {
        request_cut(request);
    } else {
        pass_stop(request);
        reply_error(request, status_of_body_error(error), "the request's body is incomplete or malformed",
            (struct bytes){0});
    }
}

static void piece_read(struct exchange_read *read)
{
    struct pass *pass = CONTAINER_OF(read, struct pass, read);
    pass->reading = false;
    if (pass->request->ending || !pass->fetching)
        return;
    if (read->result < 0) {
        body_failed(pass, read->result);
        return;
    }
    pass->piece = read->bytes;
    pass->body_ended = read->bytes.len == 0;
    if (pass->body_ended)
        note_trailers(pass);
    origin_fetch_feed(&pass->fetch);
}

/* The origin wants the body: also the moment for 100 Continue, which the first read sends. */
static ssize_t give_body(struct origin_fetch *fetch, void *to, size_t capacity)
{
    struct pass *pass = of_fetch(fetch);
    if (pass->body_error != 0 || pass->request->ending)
        return ORIGIN_UPLOAD_BROKEN;
    if (pass->piece.len > 0) {
        size_t n = pass->piece.len < capacity ? pass->piece.len : capacity;
        memcpy(to, pass->piece.ptr, n);
        pass->piece = bytes_from(pass->piece, n);
        return (ssize_t)n;
    }
    if (pass->body_ended)
        return ORIGIN_UPLOAD_END;
    if (!pass->reading) {
        pass->reading = true;
        exchange_read(pass->request->exchange, &pass->read);
    }
    return 0;
}

/* ---- the origin's answer ---- */

static void sent(struct exchange_send *send);

static void send_filled(struct pass *pass, bool last)
{
    struct request *request = pass->request;
    struct pass_buffer *full = &pass->buffers[pass->filling];
    CHECK(!request->sending);
    pass->iov = (struct iovec){full->bytes, full->len};
    pass->send = (struct exchange_send){.iov = &pass->iov,
        .count = full->len > 0,
        .last = last,
        .done = sent,
        .trailers = last ? pass->trailer_lines : (struct bytes){0}};
    pass->filling ^= 1;
    pass->buffers[pass->filling].len = 0;
    request->sending = true;
    exchange_send(request->exchange, &pass->send);
}

static void sent(struct exchange_send *send)
{
    struct pass *pass = CONTAINER_OF(send, struct pass, send);
    struct request *request = pass->request;
    request->sending = false;
    if (request->ending) {
        request_release(request);
        return;
    }
    if (send->result < 0) {
        request->gone = true;
        request_end(request);
        return;
    }
    if (send->last) {
        request_end(request);
        return;
    }
    if (pass->buffers[pass->filling].len > 0 || pass->answered)
        send_filled(pass, pass->answered);
    if (pass->paused && pass->fetching) {
        pass->paused = false;
        origin_fetch_resume(&pass->fetch);
    }
}

static void on_interim(struct origin_fetch *fetch, const struct origin_head *head)
{
    struct pass *pass = of_fetch(fetch);
    if (!pass->request->ending && !pass->request->begun)
        exchange_interim(pass->request->exchange, head->status,
            pass_plain_lines(pass->request, head->fields, head->field_count));
}

/* It passed because what came before might not be stored; what comes now may be: the next goes the usual way.
 */
static void lift_mark(struct request *request, const struct origin_head *answer)
{
    int64_t now_s = (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S);
    struct head_asked asked = {.authorized = request->authorized,
        .cookie = http_fields_find(&request->http->fields, BYTES("cookie")) != NULL,
        .request_s = now_s,
        .response_s = now_s};
    struct proxy *proxy = request->worker->proxy;
    struct head head;
    bool judged = request->marked && answer->status < 500 && answer->status != 304;
    if (judged &&
        head_from_origin(&head, answer, request->caching, asked, proxy->settings->cache.chunk_bytes,
            &request->arena) == 0 &&
        !head.no_store)
        marks_remove(proxy->marks, request->identity);
}

static void on_head(struct origin_fetch *fetch, const struct origin_head *head)
{
    struct pass *pass = of_fetch(fetch);
    struct request *request = pass->request;
    bool dated, known = head->content_length != UINT64_MAX;
    if (request->ending || request->begun)
        return;
    request_invalidate(request, head);
    lift_mark(request, head);
    request->lines = pass_lines(request, head, &dated);
    for (int i = 0; i < 2; i++)
        pass->buffers[i].bytes = malloc(PASS_BUFFER_BYTES);
    if (!request->lines.ptr || !pass->buffers[0].bytes || !pass->buffers[1].bytes) {
        pass_stop(request);
        reply_error(request, 502, "the origin's head is too large", (struct bytes){0});
        return;
    }
    request->begun = true;
    request->status = request->origin_status = head->status;
    request->first_byte_ns = io_clock_ns(request->worker->loop);
    if (fetch->first_byte_ns > fetch->started_ns)
        request->origin_ns = fetch->first_byte_ns - fetch->started_ns;
    exchange_start(request->exchange, &(struct exchange_head){
                                          .status = head->status,
                                          .field_lines = request->lines,
                                          .body_len = known ? head->content_length : EXCHANGE_UNKNOWN_LENGTH,
                                          .dated = dated,
                                      });
    send_filled(pass, false); /* the head: its body may take long */
}

static size_t on_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct pass *pass = of_fetch(fetch);
    struct request *request = pass->request;
    if (request->ending || !request->begun)
        return bytes.len;
    struct pass_buffer *buffer = &pass->buffers[pass->filling];
    size_t room = PASS_BUFFER_BYTES - buffer->len, n = bytes.len < room ? bytes.len : room;
    memcpy(buffer->bytes + buffer->len, bytes.ptr, n);
    buffer->len += n;
    request->bytes_origin += n;
    if (!request->sending)
        send_filled(pass, false);
    pass->paused = n < bytes.len;
    return n;
}

static const char *message_of(int error)
{
    switch (error) {
    case E_TIMEOUT:
        return "the origin did not answer in time";
    case E_EXHAUSTED:
        return "too many requests to the origin";
    case E_SYNTAX:
        return "the request can't be sent on";
    default:
        return "the origin gave no usable answer";
    }
}

static void fetch_failed(struct pass *pass)
{
    struct request *request = pass->request;
    const struct origin_fetch *fetch = &pass->fetch;
    if (request->begun)
        request_cut(request);
    else
        reply_error(request, fetch->status < 400 ? 502 : fetch->status, message_of(fetch->error),
            fetch->status == 503 ? BYTES("Retry-After: 1\r\n") : (struct bytes){0});
}

static void on_done(struct origin_fetch *fetch)
{
    struct pass *pass = of_fetch(fetch);
    struct request *request = pass->request;
    pass->fetching = false;
    if (request->ending) {
        request_release(request);
    } else if (request->step != STEP_PASS) {
        return; /* an error of ours is being sent */
    } else if (fetch->error != 0) {
        fetch_failed(pass);
    } else {
        pass->answered = true;
        pass->trailer_lines = pass_plain_lines(request, fetch->trailers, fetch->trailer_count);
        if (!fetch->request.wants_trailers)
            pass->trailer_lines.len = 0;
        if (!request->sending)
            send_filled(pass, true);
    }
}

/* ---- the beginning and the end ---- */

static bool wants_trailers(const struct http_request *http)
{
    return http_list_has(http_list_of(&http->fields, BYTES("te")), BYTES("trailers"));
}

static void set_upload(struct pass *pass, const struct http_request *http)
{
    pass->upload = (struct origin_upload){
        .length = http->framing == HTTP_BODY_LENGTH ? http->content_length : ORIGIN_UPLOAD_CHUNKED,
        .expect = http->expect_continue,
        .read = give_body,
    };
    pass->read.done = piece_read;
    pass->fetch.request.upload = &pass->upload;
}

static bool set_request(struct pass *pass)
{
    struct request *request = pass->request;
    const struct http_request *http = request->http;
    struct origin_request *to = &pass->fetch.request;
    *to = (struct origin_request){
        .head_only = http->method == HTTP_HEAD,
        .method =
            http->method == HTTP_GET || http->method == HTTP_HEAD ? (struct bytes){0} : http->method_text,
        .target = request->target,
        .host = request->bucket->settings->http.preserve_host ? http->host : (struct bytes){0},
        .verbatim = true,
        .says_empty = http_fields_value(&http->fields, BYTES("content-length")).ptr != NULL,
        .wants_trailers = wants_trailers(http),
        .request_id = bytes_of(request->id, REQUEST_ID_LEN),
    };
    if (http->framing != HTTP_BODY_NONE && !to->head_only)
        set_upload(pass, http);
    return pass_fields(request, to);
}

void request_pass(struct request *request)
{
    if (request->warm) {
        warm_pass(request);
        return;
    }
    struct pass *pass = calloc(1, sizeof *pass);
    request->pass = request->asked = true;
    request->step = STEP_PASS;
    request->wait = WAIT_NOTHING; /* the origin's deadlines and the front's hold */
    request->passing = pass;
    if (pass == NULL) {
        reply_error(request, 503, "out of memory", BYTES("Retry-After: 1\r\n"));
        return;
    }
    pass->request = request;
    if (!set_request(pass)) {
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
        return;
    }
    pass->fetch.head = on_head;
    pass->fetch.interim = on_interim;
    pass->fetch.body = on_body;
    pass->fetch.done = on_done;
    pass->fetching = true;
    origin_fetch_start(request->worker->origins, request->bucket->origin, &pass->fetch);
}

void pass_stop(struct request *request)
{
    if (request->passing != NULL && request->passing->fetching)
        origin_fetch_cancel(&request->passing->fetch);
}

bool pass_busy(const struct request *request)
{
    return request->passing != NULL && request->passing->fetching;
}

void pass_free(struct request *request)
{
    struct pass *pass = request->passing;
    if (pass == NULL)
        return;
    CHECK(!pass->fetching);
    free(pass->buffers[0].bytes);
    free(pass->buffers[1].bytes);
    free(pass);
    request->passing = NULL;
}
