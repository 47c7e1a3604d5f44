/* Step 7: release, count, one log line. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "proxy/request.h"

const char *const cache_result_name[RESULT_COUNT] = {
    "HIT", "MISS", "PARTIAL", "REVALIDATED", "BYPASS", "NONE"};

#define LOG_ROOM LOG_LINE_MAX
/* What of a key is always logged, and what of a Range field at most. */
#define LOG_KEY_MIN 1024
#define LOG_RANGE_MAX 128
#define LOG_REST_MAX 1200
static_assert(
    6 * (LOG_KEY_MIN + LOG_RANGE_MAX) + LOG_REST_MAX <= LOG_ROOM, "JSON spells a byte by six at most");

void request_restart(struct request *request)
{
    CHECK(!request->begun);
    request->restarts++;
    if (request->restarts > REQUEST_RESTARTS_MAX + 2) {
        reply_error(request, 502, "the origin gave no usable answer", (struct bytes){0});
        return;
    }
    item_unref(&request->head_item);
    flight_unref(&request->head_flight);
    request->head_known = request->head_missed = request->not_modified = false;
    request->head_tier = CACHE_NONE;
    request->identity = request->base_identity;
    request->variant = NULL;
    request->variant_known = false;
    request->bytes_memory = request->bytes_disk = request->bytes_origin = 0;
    request_lookup(request);
}

static enum cache_result result_of(const struct request *request)
{
    if (!request->bucket || (!request->head_known && !request->asked && !request->negative))
        return RESULT_NONE;
    if (request->negative)
        return RESULT_HIT;
    if (request->pass)
        return RESULT_BYPASS;
    if (request->head_missed || !request->head_known)
        return RESULT_MISS;
    if (request->bytes_origin)
        return request->bytes_memory || request->bytes_disk ? RESULT_PARTIAL : RESULT_MISS;
    return request->validated ? RESULT_REVALIDATED : RESULT_HIT;
}

static const char *tier_of(const struct request *request)
{
    if (request->bytes_memory && request->bytes_disk)
        return "mixed";
    if (request->bytes_memory)
        return "memory";
    if (request->bytes_disk)
        return "disk";
    return request->bytes_origin ? "origin" : "none";
}

static void count(struct request *request, enum cache_result result, uint64_t duration_ns)
{
    struct proxy_stats *stats = &request->worker->proxy->stats;
    enum http_method method = request->http->method;
    uint64_t saved = request->bytes_memory + request->bytes_disk;
    counter_add(&stats->requests_by_method[method == HTTP_GET       ? METHOD_SLOT_GET
                                           : method == HTTP_HEAD    ? METHOD_SLOT_HEAD
                                           : method == HTTP_OPTIONS ? METHOD_SLOT_OPTIONS
                                                                    : METHOD_SLOT_OTHER],
        1);
    if (request->status < STATUS_SLOTS)
        counter_add(&stats->requests_by_status[request->status], 1);
    histogram_add(&stats->duration[result], duration_ns);
    if (request->first_byte_ns)
        histogram_add(&stats->first_byte, request->first_byte_ns - request->started_ns);
    if (request->gone)
        counter_add(&stats->gone_clients, 1);
    if (!request->bucket)
        return;
    struct bucket_stats *bucket = &request->bucket->stats;
    counter_add(&bucket->requests, 1);
    counter_add(&bucket->results[result], 1);
    if (result == RESULT_HIT)
        counter_add(request->bytes_disk || request->head_tier == CACHE_DISK ? &bucket->hits_disk
                                                                            : &bucket->hits_memory,
            1);
    counter_add(&bucket->bytes_sent, exchange_body_bytes(request->exchange));
    counter_add(&bucket->bytes_saved, saved);
}

static void write_client(struct json *json, const struct request *request)
{
    char text[IO_ADDRESS_TEXT];
    io_address_format(exchange_peer(request->exchange), text);
    json_put_string(json, "client", bytes_of_string(text));
}

static void write_time(struct json *json, const struct proxy_worker *worker)
{
    char text[LOG_TIME_TEXT];
    size_t len = log_time(text, io_wall_ns(worker->loop));
    json_put_string(json, "time", bytes_of(text, len));
}

static struct bytes shortened(struct bytes text, size_t max)
{
    return bytes_of(text.ptr, text.len < max ? text.len : max);
}

static void write_line(struct writer *w, const struct request *request, struct bytes key,
    enum cache_result result, uint64_t duration_ns)
{
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    write_time(&json, request->worker);
    json_put_string(&json, "id", bytes_of(request->id, REQUEST_ID_LEN));
    write_client(&json, request);
    json_put_string(&json, "method", request->http->method_text);
    json_put_string(&json, "bucket",
        request->bucket ? bytes_of_string(request->bucket->settings->name) : (struct bytes){0});
    json_put_string(&json, "key", key);
    json_put_string(
        &json, "range", shortened(http_fields_value(&request->http->fields, BYTES("range")), LOG_RANGE_MAX));
    json_put_number(&json, "status", request->status);
    json_put_number(&json, "bytes", exchange_body_bytes(request->exchange));
    json_put_string(&json, "cache", bytes_of_string(cache_result_name[result]));
    json_put_string(&json, "tier", bytes_of_string(tier_of(request)));
    json_put_ms(&json, "duration_ms", duration_ns);
    json_put_ms(&json, "ttfb_ms",
        request->first_byte_ns > request->started_ns ? request->first_byte_ns - request->started_ns : 0);
    json_put_ms(&json, "origin_ms", request->origin_ns);
    json_put_bool(&json, "complete", !request->gone && !exchange_is_dead(request->exchange));
    json_close_object(&json);
    write_bytes(w, BYTES("\n"));
}

/* Every request has its line, however long its key is. */
static void log_line(const struct request *request, enum cache_result result, uint64_t duration_ns)
{
    struct log *log = request->worker->proxy->parts.access_log;
    if (!log)
        return;
    uint8_t text[LOG_ROOM];
    struct writer w = writer_of(text, sizeof text);
    write_line(&w, request, request->key, result, duration_ns);
    if (w.failed) {
        w = writer_of(text, sizeof text);
        write_line(&w, request, shortened(request->key, LOG_KEY_MIN), result, duration_ns);
    }
    if (!w.failed)
        log_put(log, writer_bytes(&w));
}

static void account(struct request *request)
{
    uint64_t duration_ns = io_clock_ns(request->worker->loop) - request->started_ns;
    enum cache_result result = result_of(request);
    count(request, result, duration_ns);
    log_line(request, result, duration_ns);
    /* Last: once none is in progress, all are counted. */
    counter_sub(&request->worker->proxy->stats.requests_in_progress, 1);
}

void request_cut(struct request *request)
{
    if (request->warm) {
        warm_cut(request);
    } else {
        counter_add(&request->worker->proxy->stats.cut_answers, 1);
        exchange_cut(request->exchange);
    }
    request_end(request);
}

void request_end(struct request *request)
{
    if (request->ending)
        return;
    request->ending = true;
    request->step = STEP_END;
    request->wait = WAIT_NOTHING;
    request_deliver_stop(request);
    pass_stop(request);
    io_cancel(request->worker->loop, &request->deadline);
    request_release(request);
}

void request_release(struct request *request)
{
    CHECK(request->ending);
    if (request->sending || io_op_busy(&request->deadline) || !flight_waiter_idle(&request->waiter) ||
        pass_busy(request))
        return;
    CHECK(request->held_count == 0);
    if (!request->warm)
        account(request);
    item_unref(&request->head_item);
    flight_unref(&request->head_flight);
    free(request->private_copy);
    pass_free(request);
    arena_reset(&request->arena);
    if (request->warm)
        warm_release(request);
    else
        exchange_finish(request->exchange);
}

void request_refused(struct proxy_worker *worker, const struct io_address *peer, unsigned status,
    const char *message, struct writer *lines)
{
    struct proxy *proxy = worker->proxy;
    uint8_t id[REQUEST_ID_LEN];
    request_make_id(proxy, id);
    reply_write_id(lines, id);
    if (status < STATUS_SLOTS)
        counter_add(&proxy->stats.requests_by_status[status], 1);
    if (!proxy->parts.access_log)
        return;
    char client[IO_ADDRESS_TEXT];
    uint8_t text[512];
    struct writer w = writer_of(text, sizeof text);
    struct json json = json_of(&w);
    io_address_format(peer, client);
    json_open_object(&json, NULL);
    write_time(&json, worker);
    json_put_string(&json, "id", bytes_of(id, REQUEST_ID_LEN));
    json_put_string(&json, "client", bytes_of_string(client));
    json_put_number(&json, "status", status);
    json_put_string(&json, "refused", bytes_of_string(message));
    json_close_object(&json);
    write_bytes(&w, BYTES("\n"));
    if (!w.failed)
        log_put(proxy->parts.access_log, writer_bytes(&w));
}
