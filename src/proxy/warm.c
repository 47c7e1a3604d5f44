#include "proxy/warm.h"

#include <errno.h>

#include "proxy/bare.h"
#include "proxy/request.h"

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
    if (warm->unstored && request->status < 400)
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
    bare_free(request);
}

void warm_cut(struct request *request)
{
    request->warm->cut = true;
}

/* ---- the start ---- */

int warm_start(
    struct proxy_worker *worker, struct warm *warm, unsigned bucket, struct bytes key, struct bytes host)
{
    const struct proxy *proxy = worker->proxy;
    CHECK(bucket < proxy->bucket_count);
    warm->message.deliver = deliver;
    warm->unstored = warm->cut = false;
    warm->bucket = bucket;
    bool fits;
    struct request *request = warm->request =
        bare_request(proxy->buckets[bucket].settings, key, (struct bytes){0}, host, &fits);
    if (request == NULL)
        return -ENOMEM;
    request->worker = worker;
    request->warm = warm;
    request->started_ns = io_now_ns(worker->loop);
    request_make_id(worker->proxy, request->id);
    if (fits)
        request_route(request);
    else
        reply_error(request, 414, "the key is too long", (struct bytes){0});
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
