/*
 * A fetch from S3: attempts in a row until one says how it is, the budget is spent, or the caller has enough.
 *
 * The states: waiting for a place in the lane, attempting, backing off. Once a head was told to the caller, a
 * broken body is taken up again at the byte reached, by a range with If-Match, and only where a strong entity
 * tag and the length are known; what comes then must be the rest of the same bytes (first, total and tag are
 * compared), else it is E_CHANGED.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/lane.h"
#include "origin/s3_attempt.h"
#include "origin/s3_error.h"

#define TAG_MAX 256

enum s3_state { S3_WAITING, S3_ATTEMPTING, S3_BACKING_OFF, S3_ENDED };

struct s3_job {
    struct job job;
    enum s3_state state;
    struct alarm alarm; /* waiting, backing off */
    struct lane_place place;
    struct retry retry;
    struct {
        bool told; /* the caller has its head */
        bool resumable;
        uint64_t first, total; /* where the body begins in the object; the object's length */
        uint64_t last;
        size_t etag_len;
        char etag[TAG_MAX];
    } object;
    uint64_t taken; /* bytes of the body that the caller has */
    struct s3_attempt attempt;
};

static void s3_try(struct s3_job *sj);

static struct bytes object_etag(const struct s3_job *sj)
{
    return bytes_of(sj->object.etag, sj->object.etag_len);
}

/* ---- the end ---- */

static void s3_free(struct s3_job *sj)
{
    if (sj->job.fetch != NULL || alarm_busy(&sj->alarm) || s3_attempt_busy(&sj->attempt))
        return;
    job_drop(&sj->job);
    free(sj);
}

static void leave_lane(struct s3_job *sj)
{
    struct lane_place *next = lane_leave(&sj->place);
    if (next != NULL)
        job_wake(&CONTAINER_OF(next, struct s3_job, place)->job, JOB_PLACE);
}

static void s3_finish(struct s3_job *sj, int error)
{
    CHECK(sj->state != S3_ENDED);
    sj->state = S3_ENDED;
    s3_attempt_stop(&sj->attempt);
    leave_lane(sj);
    alarm_clear(&sj->alarm);
    job_finish(&sj->job, error);
    s3_free(sj);
}

/* ---- S3's errors ---- */

/* Text from the network, made fit for one line of our log. */
static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

static void copy_text(char *to, size_t capacity, struct bytes from)
{
    size_t len = from.len < capacity - 1 ? from.len : capacity - 1;
    memcpy(to, from.ptr, len);
    to[len] = '\0';
}

static void log_misconfigured(struct s3_job *sj, struct s3_error *said)
{
    const struct origin *origin = sj->job.origin;
    const struct response *response = &sj->attempt.response;
    struct bytes id = sj->job.fetch->request.request_id;
    if (said->region[0] == '\0' && response->bucket_region.len > 0)
        copy_text(said->region, sizeof said->region, response->bucket_region);
    if (said->request_id[0] == '\0' && response->request_id.len > 0)
        copy_text(said->request_id, sizeof said->request_id, response->request_id);
    clean(said->code);
    clean(said->message);
    clean(said->region);
    clean(said->request_id);
    log_text(sj->job.client->log, LOG_ERROR, "origin",
        "bucket %s: %s answers %u %s: %s (S3 bucket %s, our region %s, its region %s, S3's request %s, "
        "request %.*s)",
        origin->name == NULL ? "" : origin->name, origin->identity, response->status,
        said->code[0] == '\0' ? "without a code" : said->code, said->message, origin->bucket,
        origin->region == NULL ? "-" : origin->region, said->region[0] == '\0' ? "-" : said->region,
        said->request_id[0] == '\0' ? "-" : said->request_id, (int)id.len, (const char *)id.ptr);
}

static void log_tls(struct s3_job *sj)
{
    const struct origin *origin = sj->job.origin;
    clean(sj->attempt.tls_text);
    log_text(sj->job.client->log, LOG_ERROR, "origin", "bucket %s: %s: TLS: %s",
        origin->name == NULL ? "" : origin->name, origin->identity, sj->attempt.tls_text);
}

static uint64_t retry_after_ns(const struct s3_job *sj)
{
    return retry_after_parse(sj->attempt.response.retry_after);
}

static int error_of_verdict(struct s3_job *sj, enum s3_verdict verdict)
{
    switch (verdict) {
    case S3_NOT_FOUND:
        return E_MISSING;
    case S3_FORBIDDEN:
        return E_REFUSED;
    case S3_BAD_REQUEST:
        return E_SYNTAX;
    case S3_FAILED:
        return E_CHANGED;
    case S3_UNSATISFIABLE:
        if (sj->object.told)
            return E_CHANGED;
        if (sj->attempt.response.unsatisfied)
            sj->job.fetch->total = sj->attempt.response.total;
        return sj->attempt.request.ranged ? -ERANGE : E_PROTOCOL;
    case S3_UNAVAILABLE:
        sj->job.fetch->retry_after_s = (unsigned)(retry_after_ns(sj) / NS_PER_S);
        return E_EXHAUSTED;
    case S3_TIMEOUT:
        return E_TIMEOUT;
    case S3_MISCONFIGURED:
    case S3_BROKEN:
        return E_PROTOCOL;
    }
    UNREACHABLE();
}

/* The answer is final, and not the object. */
static void finish_by_status(struct s3_job *sj)
{
    struct s3_error said;
    unsigned status = sj->attempt.response.status;
    s3_error_parse(bytes_of(sj->attempt.error_body, sj->attempt.error_len), &said);
    enum s3_verdict verdict = s3_error_verdict(status, &said);
    if (verdict == S3_MISCONFIGURED)
        log_misconfigured(sj, &said);
    clean(said.code);
    static_assert(sizeof sj->job.fetch->code >= sizeof said.code, "the code fits");
    memcpy(sj->job.fetch->code, said.code, sizeof said.code);
    int error = error_of_verdict(sj, verdict);
    if (error == E_PROTOCOL || verdict == S3_UNAVAILABLE)
        sj->job.fetch->status = s3_verdict_status(verdict);
    s3_finish(sj, error);
}

/* ---- again? ---- */

static void back_off(struct s3_job *sj, uint64_t wait_ns)
{
    counter_add(&sj->job.origin->stats.retries, 1);
    leave_lane(sj);
    sj->state = S3_BACKING_OFF;
    alarm_set(&sj->alarm, io_now_ns(sj->job.client->loop) + wait_ns);
}

static bool again(struct s3_job *sj)
{
    struct origin *origin = sj->job.origin;
    uint64_t wait_ns, now_ns = io_now_ns(sj->job.client->loop);
    if (sj->object.told && !sj->object.resumable)
        return false;
    retry_progress(&sj->retry, sj->attempt.object ? sj->attempt.got : 0, now_ns);
    if (!retry_again(
            &sj->retry, &origin->retry, now_ns, retry_after_ns(sj), &sj->job.client->random, &wait_ns)) {
        counter_add(&origin->stats.retries_exhausted, 1);
        return false;
    }
    back_off(sj, wait_ns);
    return true;
}

static void attempt_over(struct s3_attempt *attempt, int error)
{
    struct s3_job *sj = CONTAINER_OF(attempt, struct s3_job, attempt);
    struct origin_stats *stats = &sj->job.origin->stats;
    if (sj->job.fetch->first_byte_ns == 0)
        sj->job.fetch->first_byte_ns = attempt->first_byte_ns;
    if (error == E_UNREACHABLE || error == E_TLS || (error == E_TIMEOUT && attempt->sent_ns == 0))
        counter_add(&stats->connect_errors, 1);
    attempt->fresh = error != 0; /* what broke one kept connection may have broken others */
    if (error == 0 && attempt->object) {
        s3_finish(sj, 0);
    } else if (error == 0) {
        if (!s3_error_retryable(attempt->response.status) || !again(sj))
            finish_by_status(sj);
    } else if (!attempt->may_retry || !again(sj)) {
        if (error == E_TLS)
            log_tls(sj);
        s3_finish(sj, error);
    }
}

static void attempt_idle(struct s3_attempt *attempt)
{
    s3_free(CONTAINER_OF(attempt, struct s3_job, attempt));
}

/* ---- head and body ---- */

/* The rest of the same bytes? */
static int check_resumed(const struct s3_job *sj, const struct origin_head *head)
{
    if (head->status != 206)
        return E_TRUNCATED; /* it does not do ranges with If-Match */
    bool same = bytes_equal(head->etag, object_etag(sj)) && head->total == sj->object.total;
    return same ? 0 : E_CHANGED;
}

static void note_object(struct s3_job *sj, const struct origin_head *head)
{
    bool has_body = head->status != 304 && !sj->attempt.request.head_only;
    sj->object.told = true;
    sj->object.first = head->status == 206 ? head->first : 0;
    sj->object.total = head->total;
    sj->object.resumable =
        has_body && head->total != UINT64_MAX && response_tag_strong(head->etag) && head->etag.len <= TAG_MAX;
    if (!sj->object.resumable)
        return;
    sj->object.last = head->status == 206 ? head->last : head->total - 1; /* not used for total 0 */
    sj->object.etag_len = head->etag.len;
    memcpy(sj->object.etag, head->etag.ptr, head->etag.len);
}

static int attempt_head(struct s3_attempt *attempt, const struct origin_head *head)
{
    struct s3_job *sj = CONTAINER_OF(attempt, struct s3_job, attempt);
    if (sj->object.told)
        return check_resumed(sj, head);
    note_object(sj, head);
    sj->job.fetch->first_byte_ns = attempt->first_byte_ns;
    sj->job.fetch->head(sj->job.fetch, head);
    return 0;
}

static size_t attempt_body(struct s3_attempt *attempt, struct bytes bytes)
{
    struct s3_job *sj = CONTAINER_OF(attempt, struct s3_job, attempt);
    if (sj->job.wake & JOB_CANCEL)
        return 0; /* it ends in the next turn */
    size_t taken = sj->job.fetch->body(sj->job.fetch, bytes);
    sj->taken += taken;
    return taken;
}

/* ---- attempts ---- */

static void set_request(struct s3_job *sj)
{
    struct origin_request *request = &sj->attempt.request;
    *request = sj->job.fetch->request;
    if (!sj->object.told)
        return;
    CHECK(sj->object.resumable);
    request->ranged = true;
    request->first = sj->object.first + sj->taken;
    request->last = sj->object.last;
    request->if_match = object_etag(sj);
    request->if_none_match = (struct bytes){0};
    counter_add(&sj->job.origin->stats.resumed, 1);
}

static void s3_attempt(struct s3_job *sj)
{
    sj->state = S3_ATTEMPTING;
    alarm_clear(&sj->alarm);
    set_request(sj);
    retry_attempt(&sj->retry, io_now_ns(sj->job.client->loop));
    sj->job.fetch->attempts++;
    int error = s3_attempt_start(&sj->attempt);
    if (error != 0)
        s3_finish(sj, error);
}

/* As soon as there is a place. */
static void s3_try(struct s3_job *sj)
{
    struct origin *origin = sj->job.origin;
    int entered = lane_enter(sj->job.client, origin, &sj->place);
    if (entered < 0) {
        s3_finish(sj, E_EXHAUSTED);
    } else if (entered > 0) {
        s3_attempt(sj);
    } else {
        sj->state = S3_WAITING;
        alarm_set(&sj->alarm,
            io_now_ns(sj->job.client->loop) + origin->connect_timeout_ns + origin->first_byte_timeout_ns);
    }
}

static void s3_rang(struct alarm *alarm)
{
    struct s3_job *sj = CONTAINER_OF(alarm, struct s3_job, alarm);
    switch (sj->state) {
    case S3_BACKING_OFF:
        s3_try(sj);
        break;
    case S3_WAITING:
        s3_finish(sj, E_TIMEOUT);
        break;
    case S3_ATTEMPTING:
        break;
    case S3_ENDED:
        s3_free(sj);
        break;
    }
}

static void s3_idle(struct alarm *alarm)
{
    s3_free(CONTAINER_OF(alarm, struct s3_job, alarm));
}

static void s3_start(struct s3_job *sj)
{
    struct origin_client *client = sj->job.client;
    alarm_init(&sj->alarm, client->loop, s3_rang, s3_idle);
    s3_attempt_init(&sj->attempt, client->loop);
    sj->attempt.origin = sj->job.origin;
    sj->attempt.head = attempt_head;
    sj->attempt.body = attempt_body;
    sj->attempt.over = attempt_over;
    sj->attempt.idle = attempt_idle;
}

static void s3_go(struct s3_job *sj)
{
    struct origin_client *client = sj->job.client;
    if (client->curl == NULL)
        client->curl = s3_attempt_curl(client->loop);
    if (client->curl == NULL) {
        s3_finish(sj, E_EXHAUSTED);
        return;
    }
    curl_loop_keep(client->curl, 4 * sj->job.origin->pool_size);
    sj->attempt.curl = client->curl;
    s3_try(sj);
}

struct job *s3_job_create(void)
{
    struct s3_job *sj = calloc(1, sizeof *sj);
    return sj == NULL ? NULL : &sj->job;
}

void s3_job_woken(struct job *job, unsigned wake)
{
    struct s3_job *sj = CONTAINER_OF(job, struct s3_job, job);
    if (wake & JOB_START)
        s3_start(sj);
    if (wake & JOB_CANCEL)
        s3_finish(sj, E_CANCELED);
    else if (wake & JOB_START)
        s3_go(sj);
    else if (wake & JOB_PLACE)
        s3_attempt(sj);
    else if (wake & JOB_RESUME)
        s3_attempt_resume(&sj->attempt);
}

/* ---- the client's part ---- */

static void curl_idle(void *context)
{
    struct origin_client *client = context;
    client->curl_stopped = true;
    client_nudge(client);
}

bool s3_client_stop(struct origin_client *client)
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

void s3_client_free(struct origin_client *client)
{
    if (client->curl != NULL)
        curl_loop_destroy(client->curl);
}
