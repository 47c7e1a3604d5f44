#include "proxy/warm.h"

#include <errno.h>
#include <stdlib.h>

#include "origin/sigv4.h"
#include "proxy/request.h"

#define ARENA_HEAP_MAX (1u << 20)

/* ---- what takes the place of an exchange ---- */

static void deliver(struct io_message *message)
{
    struct warm *warm = CONTAINER_OF(message, struct warm, message);
    struct request *request = warm->request;
    if (request != NULL) {
        request->send.result = 0;
        request->send.done(&request->send);
    } else {
        warm->done(warm);
    }
}

void warm_send(struct request *request)
{
    io_post(request->worker->loop, &request->warm->message);
}

void warm_pass(struct request *request)
{
    request->warm->unstored = true;
    request_end(request);
}

static enum warm_outcome outcome_of(const struct request *request)
{
    const struct warm *warm = request->warm;
    if (warm->unstored)
        return WARM_UNSTORED;
    if (warm->cut || request->gone || request->status < 200 || request->status >= 400)
        return WARM_FAILED;
    if (request->pass || (request->head_missed && !request->storing))
        return WARM_UNSTORED;
    return request->head_missed || request->bytes_origin > 0 ? WARM_FETCHED : WARM_STORED;
}

void warm_release(struct request *request)
{
    struct warm *warm = request->warm;
    warm->outcome = outcome_of(request);
    warm->status = warm->cut || request->gone ? 0 : request->status;
    warm->fetched_bytes = request->bytes_origin;
    warm->request = NULL;
    io_post(request->worker->loop, &warm->message);
    free(request);
}

void warm_cut(struct request *request)
{
    request->warm->cut = true;
}

/* ---- the start ---- */

/* The prefix, a slash, and the key as a client writes it. */
static bool write_target(struct warm *warm, const struct bucket_settings *settings, struct bytes key)
{
    struct writer w = writer_of(warm->target, sizeof warm->target);
    struct bytes prefix = bytes_of_string(settings->path_prefix);
    if (prefix.len > 1)
        sigv4_encode_path(&w, prefix);
    write_u8(&w, '/');
    sigv4_encode_path(&w, key);
    warm->http.target = writer_bytes(&w);
    return !w.failed;
}

static struct request *request_create(struct proxy_worker *worker, struct warm *warm)
{
    struct request *request = malloc(sizeof *request);
    if (request == NULL)
        return NULL;
    memset(request, 0, offsetof(struct request, first_block));
    request->worker = worker;
    request->warm = warm;
    request->http = &warm->http;
    request->started_ns = io_now_ns(worker->loop);
    arena_init(&request->arena, request->first_block, sizeof request->first_block, ARENA_HEAP_MAX);
    return request;
}

int warm_start(struct proxy_worker *worker, struct warm *warm, unsigned bucket, struct bytes key)
{
    const struct proxy *proxy = worker->proxy;
    CHECK(bucket < proxy->bucket_count && !proxy->buckets[bucket].settings->http.on);
    warm->http = (struct http_request){
        .method = HTTP_GET, .method_text = BYTES("GET"), .minor = 1, .framing = HTTP_BODY_NONE};
    warm->message.deliver = deliver;
    warm->unstored = warm->cut = false;
    warm->bucket = bucket;
    warm->request = request_create(worker, warm);
    if (warm->request == NULL)
        return -ENOMEM;
    request_make_id(worker->proxy, warm->request->id);
    if (write_target(warm, proxy->buckets[bucket].settings, key))
        request_route(warm->request);
    else
        reply_error(warm->request, 414, "the key is too long", (struct bytes){0});
    return 0;
}

void warm_cancel(struct warm *warm)
{
    struct request *request = warm->request;
    if (request == NULL || request->ending)
        return;
    request->gone = true;
    request_end(request);
}
