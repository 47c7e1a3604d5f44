/*
 * Every wait of a request has a deadline.
 *
 * - For the disk: a short patience, then the request does without it; reads belong to the device and end by
 *   themselves.
 * - For the origin, before the reply has begun: the configured time since the request came, then 504.
 * - For the origin, in the middle of a reply: as long without a byte, then the connection is cut. The
 * origin's own time-outs come first; this one is for fetches that wait for memory.
 *
 * One timer serves all. It is moved, not cancelled, when a wait ends, and looks when it fires what is being
 * waited for now; requests that never wait have none.
 */
#include "proxy/request.h"

static uint64_t deadline_of(const struct request *request)
{
    uint64_t timeout_ns = request->worker->proxy->settings->server.first_byte_timeout_ns;
    uint64_t total_ns = request->started_ns + timeout_ns;
    uint64_t patience_ns = request->wait_since_ns + REQUEST_DISK_PATIENCE_NS;
    if (request->wait == WAIT_DISK)
        return !request->begun && total_ns < patience_ns ? total_ns : patience_ns;
    return request->begun ? request->wait_since_ns + timeout_ns : total_ns;
}

static void give_up(struct request *request)
{
    bool late = io_now_ns(request->worker->loop) >=
                request->started_ns + request->worker->proxy->settings->server.first_byte_timeout_ns;
    if (request->wait == WAIT_DISK && (request->begun || !late)) {
        request->wait = WAIT_NOTHING;
        counter_add(&request->worker->proxy->stats.gave_up_on_disk, 1);
        request_leave_disk(request);
    } else if (request->begun) {
        request_cut(request);
    } else {
        request_deliver_stop(request);
        if (request_use_stale(request))
            return;
        reply_error(request, 504, "no answer in time", (struct bytes){0});
    }
}

static void deadline_passed(struct io_op *op)
{
    struct request *request = CONTAINER_OF(op, struct request, deadline);
    if (request->ending)
        request_release(request);
    else if (request->wait == WAIT_NOTHING || request->sending)
        return;
    else if (io_now_ns(request->worker->loop) < deadline_of(request))
        io_timer(request->worker->loop, op, deadline_of(request));
    else
        give_up(request);
}

void request_wait(struct request *request, enum wait wait)
{
    if (request->wait != wait)
        request->wait_since_ns = io_now_ns(request->worker->loop);
    request->wait = wait;
    if (io_op_busy(&request->deadline)) {
        io_timer_move(request->worker->loop, &request->deadline, deadline_of(request));
        return;
    }
    io_op_init(&request->deadline, deadline_passed);
    io_timer(request->worker->loop, &request->deadline, deadline_of(request));
}
