/*
 * A fetch over HTTP, from S3 or from an origin of kind http: attempts in a row until one says how it is, the
 * budget is spent, or the caller has enough.
 *
 * The states: waiting for a place in the lane, attempting, backing off. Once a head was told to the caller, a
 * broken body is taken up again at the byte reached, by a range with If-Match, and only where a strong entity
 * tag and the length are known; what comes then must be the rest of the same bytes (first, total and tag are
 * compared), else it is E_CHANGED.
 *
 * What may have had an effect is never sent twice: only GET, HEAD, OPTIONS and TRACE without a body are tried
 * again. Nor is another answer than 200 or 206 of an HTTP origin: it is the answer.
 */
#include "origin/transfer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/s3_error.h"

static void transfer_try(struct transfer *transfer);

static struct bytes object_etag(const struct transfer *transfer)
{
    return bytes_of(transfer->object.etag, transfer->object.etag_len);
}

/* ---- the end ---- */

static void transfer_free(struct transfer *transfer)
{
    if (transfer->job.fetch != NULL || alarm_busy(&transfer->alarm) || attempt_busy(&transfer->attempt))
        return;
    job_drop(&transfer->job);
    free(transfer);
}

static void leave_lane(struct transfer *transfer)
{
    struct lane_place *next = lane_leave(&transfer->place);
    if (next != NULL)
        job_wake(&CONTAINER_OF(next, struct transfer, place)->job, JOB_PLACE);
}

void transfer_finish(struct transfer *transfer, int error)
{
    CHECK(transfer->state != TRANSFER_ENDED);
    transfer->state = TRANSFER_ENDED;
    attempt_stop(&transfer->attempt);
    leave_lane(transfer);
    alarm_clear(&transfer->alarm);
    job_finish(&transfer->job, error);
    transfer_free(transfer);
}

/* ---- the log ---- */

void transfer_clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

static void log_tls(struct transfer *transfer)
{
    const struct origin *origin = transfer->job.origin;
    transfer_clean(transfer->attempt.tls_text);
    log_text(transfer->job.client->log, LOG_ERROR, "origin", "bucket %s: %s: TLS: %s",
        origin->name == NULL ? "" : origin->name, origin->identity, transfer->attempt.tls_text);
}

/* ---- again? ---- */

static uint64_t retry_after_ns(const struct transfer *transfer)
{
    return retry_after_parse(transfer->attempt.response.retry_after);
}

/* Whether the request may be sent once more. */
static bool repeatable(const struct origin_request *request)
{
    return attempt_is_safe(request->method) && request->upload == NULL;
}

static void back_off(struct transfer *transfer, uint64_t wait_ns)
{
    counter_add(&transfer->job.origin->stats.retries, 1);
    leave_lane(transfer);
    transfer->state = TRANSFER_BACKING_OFF;
    alarm_set(&transfer->alarm, io_now_ns(transfer->job.client->loop) + wait_ns);
}

static bool again(struct transfer *transfer)
{
    struct origin *origin = transfer->job.origin;
    uint64_t wait_ns, now_ns = io_now_ns(transfer->job.client->loop);
    if (!repeatable(&transfer->job.fetch->request) || (transfer->object.told && !transfer->object.resumable))
        return false;
    retry_progress(&transfer->retry, transfer->attempt.object ? transfer->attempt.got : 0, now_ns);
    if (!retry_again(&transfer->retry, &origin->retry, now_ns, retry_after_ns(transfer),
            &transfer->job.client->random, &wait_ns)) {
        counter_add(&origin->stats.retries_exhausted, 1);
        return false;
    }
    back_off(transfer, wait_ns);
    return true;
}

static void attempt_over(struct attempt *attempt, int error)
{
    struct transfer *transfer = CONTAINER_OF(attempt, struct transfer, attempt);
    struct origin_stats *stats = &transfer->job.origin->stats;
    if (transfer->job.fetch->first_byte_ns == 0)
        transfer->job.fetch->first_byte_ns = attempt->first_byte_ns;
    if (error == E_UNREACHABLE || error == E_TLS || (error == E_TIMEOUT && attempt->sent_ns == 0))
        counter_add(&stats->connect_errors, 1);
    attempt->fresh = error != 0; /* what broke one kept connection may have broken others */
    if (error == 0 && attempt->object) {
        transfer->job.fetch->trailers = response_trailers(&attempt->response);
        transfer->job.fetch->trailer_count = attempt->response.trailer_count;
        transfer_finish(transfer, 0);
    } else if (error == 0) {
        if (!s3_error_retryable(attempt->response.status) || !again(transfer))
            s3_finish_by_status(transfer);
    } else if (!attempt->may_retry || !again(transfer)) {
        if (error == E_TLS)
            log_tls(transfer);
        if (error == -ERANGE && attempt->response.unsatisfied)
            transfer->job.fetch->total = attempt->response.total;
        transfer_finish(transfer, error);
    }
}

static void attempt_idle(struct attempt *attempt)
{
    transfer_free(CONTAINER_OF(attempt, struct transfer, attempt));
}

/* ---- head and body ---- */

/* The rest of the same bytes? */
static int check_resumed(const struct transfer *transfer, const struct origin_head *head)
{
    if (head->status != 206)
        return E_TRUNCATED; /* it does not do ranges with If-Match */
    bool same = bytes_equal(head->etag, object_etag(transfer)) && head->total == transfer->object.total;
    return same ? 0 : E_CHANGED;
}

static void note_object(struct transfer *transfer, const struct origin_head *head)
{
    bool has_body = head->status != 304 && !transfer->attempt.request.head_only;
    transfer->object.told = true;
    transfer->object.first = head->status == 206 ? head->first : 0;
    transfer->object.total = head->total;
    transfer->object.resumable = has_body && head->total != UINT64_MAX && response_tag_strong(head->etag) &&
                                 head->etag.len <= TRANSFER_TAG_MAX && !transfer->job.fetch->request.verbatim;
    if (!transfer->object.resumable)
        return;
    transfer->object.last = head->status == 206 ? head->last : head->total - 1; /* not used for total 0 */
    transfer->object.etag_len = head->etag.len;
    memcpy(transfer->object.etag, head->etag.ptr, head->etag.len);
}

static int attempt_head(struct attempt *attempt, const struct origin_head *head)
{
    struct transfer *transfer = CONTAINER_OF(attempt, struct transfer, attempt);
    if (transfer->object.told)
        return check_resumed(transfer, head);
    note_object(transfer, head);
    transfer->job.fetch->first_byte_ns = attempt->first_byte_ns;
    transfer->job.fetch->head(transfer->job.fetch, head);
    return 0;
}

static size_t attempt_body(struct attempt *attempt, struct bytes bytes)
{
    struct transfer *transfer = CONTAINER_OF(attempt, struct transfer, attempt);
    if (transfer->job.wake & JOB_CANCEL)
        return 0; /* it ends in the next turn */
    size_t taken = transfer->job.fetch->body(transfer->job.fetch, bytes);
    transfer->taken += taken;
    return taken;
}

static void attempt_interim(struct attempt *attempt, const struct origin_head *head)
{
    struct origin_fetch *fetch = CONTAINER_OF(attempt, struct transfer, attempt)->job.fetch;
    if (fetch->interim != NULL)
        fetch->interim(fetch, head);
}

static ssize_t attempt_upload(struct attempt *attempt, void *to, size_t capacity)
{
    struct transfer *transfer = CONTAINER_OF(attempt, struct transfer, attempt);
    struct origin_fetch *fetch = transfer->job.fetch;
    if (transfer->job.wake & JOB_CANCEL)
        return ORIGIN_UPLOAD_BROKEN;
    return fetch->request.upload->read(fetch, to, capacity);
}

/* ---- attempts ---- */

static void set_request(struct transfer *transfer)
{
    struct origin_request *request = &transfer->attempt.request;
    *request = transfer->job.fetch->request;
    if (!transfer->object.told)
        return;
    CHECK(transfer->object.resumable);
    request->ranged = true;
    request->first = transfer->object.first + transfer->taken;
    request->last = transfer->object.last;
    request->if_match = object_etag(transfer);
    request->if_none_match = request->if_modified_since = (struct bytes){0};
    counter_add(&transfer->job.origin->stats.resumed, 1);
}

static void transfer_attempt(struct transfer *transfer)
{
    transfer->state = TRANSFER_ATTEMPTING;
    alarm_clear(&transfer->alarm);
    set_request(transfer);
    retry_attempt(&transfer->retry, io_now_ns(transfer->job.client->loop));
    transfer->job.fetch->attempts++;
    int error = attempt_start(&transfer->attempt);
    if (error != 0)
        transfer_finish(transfer, error);
}

/* As soon as there is a place. */
static void transfer_try(struct transfer *transfer)
{
    struct origin *origin = transfer->job.origin;
    int entered = lane_enter(transfer->job.client, origin, &transfer->place);
    if (entered < 0) {
        transfer_finish(transfer, E_EXHAUSTED);
    } else if (entered > 0) {
        transfer_attempt(transfer);
    } else {
        transfer->state = TRANSFER_WAITING;
        alarm_set(&transfer->alarm, io_now_ns(transfer->job.client->loop) + origin->connect_timeout_ns +
                                        origin->first_byte_timeout_ns);
    }
}

static void transfer_rang(struct alarm *alarm)
{
    struct transfer *transfer = CONTAINER_OF(alarm, struct transfer, alarm);
    switch (transfer->state) {
    case TRANSFER_BACKING_OFF:
        transfer_try(transfer);
        break;
    case TRANSFER_WAITING:
        transfer_finish(transfer, E_TIMEOUT);
        break;
    case TRANSFER_ATTEMPTING:
        break;
    case TRANSFER_ENDED:
        transfer_free(transfer);
        break;
    }
}

static void transfer_idle(struct alarm *alarm)
{
    transfer_free(CONTAINER_OF(alarm, struct transfer, alarm));
}

static void transfer_start(struct transfer *transfer)
{
    struct origin_client *client = transfer->job.client;
    alarm_init(&transfer->alarm, client->loop, transfer_rang, transfer_idle);
    attempt_init(&transfer->attempt, client->loop);
    transfer->attempt.origin = transfer->job.origin;
    transfer->attempt.head = attempt_head;
    transfer->attempt.body = attempt_body;
    transfer->attempt.interim = attempt_interim;
    transfer->attempt.upload = attempt_upload;
    transfer->attempt.over = attempt_over;
    transfer->attempt.idle = attempt_idle;
}

static void transfer_go(struct transfer *transfer)
{
    struct origin_client *client = transfer->job.client;
    if (client->curl == NULL)
        client->curl = attempt_curl(client->loop);
    if (client->curl == NULL) {
        transfer_finish(transfer, E_EXHAUSTED);
        return;
    }
    curl_loop_keep(client->curl, 4 * transfer->job.origin->pool_size);
    transfer->attempt.curl = client->curl;
    transfer_try(transfer);
}

struct job *transfer_job_create(void)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    return transfer == NULL ? NULL : &transfer->job;
}

void transfer_job_woken(struct job *job, unsigned wake)
{
    struct transfer *transfer = CONTAINER_OF(job, struct transfer, job);
    if (wake & JOB_START)
        transfer_start(transfer);
    if (wake & JOB_CANCEL)
        transfer_finish(transfer, E_CANCELED);
    else if (wake & JOB_START)
        transfer_go(transfer);
    else if (wake & JOB_PLACE)
        transfer_attempt(transfer);
    else
        attempt_resume(&transfer->attempt, wake & JOB_RESUME, wake & JOB_FEED);
}

/* ---- the client's part ---- */

static void curl_idle(void *context)
{
    struct origin_client *client = context;
    client->curl_stopped = true;
    client_nudge(client);
}

bool transfer_client_stop(struct origin_client *client)
{
    CHECK(list_empty(&client->lanes));
    if (client->curl == NULL || client->curl_stopped)
        return true;
    if (client->curl_stopping)
        return false;
    client->curl_stopping = true;
    client->curl_stopped = curl_loop_stop(client->curl, curl_idle, client);
    return client->curl_stopped;
}

void transfer_client_free(struct origin_client *client)
{
    if (client->curl != NULL)
        curl_loop_destroy(client->curl);
}
