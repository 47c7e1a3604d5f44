/* Step 1: may this request run? Methods, the bound on concurrent requests. */
#include "proxy/request.h"

#define ALLOW "Allow: GET, HEAD, OPTIONS\r\n"

/* Ids are unique across restarts and workers: the process's random number and a count. */
void request_make_id(struct proxy *proxy, uint8_t id[REQUEST_ID_LEN])
{
    uint64_t n = atomic_fetch_add_explicit(&proxy->next_request, 1, memory_order_relaxed);
    uint8_t raw[12];
    for (int i = 0; i < 4; i++)
        raw[i] = (uint8_t)(proxy->instance >> (8 * i));
    for (int i = 0; i < 8; i++)
        raw[4 + i] = (uint8_t)(n >> (56 - 8 * i));
    struct writer w = writer_of(id, REQUEST_ID_LEN);
    write_hex(&w, bytes_of(raw, sizeof raw));
    CHECK(!w.failed);
}

void request_admit(struct request *request)
{
    struct proxy *proxy = request->worker->proxy;
    request_make_id(proxy, request->id);
    uint64_t running =
        atomic_fetch_add_explicit(&proxy->stats.requests_in_progress.value, 1, memory_order_relaxed);
    enum http_method method = request->http->method;
    bool read = method == HTTP_GET || method == HTTP_HEAD;
    bool any = !read && request_is_for_http(proxy, request->http);
    if (method == HTTP_OPTIONS && !any)
        reply_head_only(request, 204, BYTES(ALLOW), 0);
    else if (method == HTTP_TRACE || method == HTTP_CONNECT)
        reply_error(request, 405, "this method is not served here", BYTES(ALLOW));
    else if (!read && !any)
        reply_error(request, 405, "only GET, HEAD and OPTIONS are served here", BYTES(ALLOW));
    else if (running >= proxy->settings->server.max_concurrent_requests) {
        counter_add(&proxy->stats.requests_rejected, 1);
        reply_error(request, 503, "too many concurrent requests", BYTES("Retry-After: 1\r\n"));
    } else
        request_route(request);
}
