#include "origin/attempt.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/http_request.h"
#include "origin/s3_request.h"

#define RECEIVE_BUFFER_BYTES (256L * 1024)
#define ERROR_BODY_DRAIN_MAX (256 * 1024)

/* ---- what libcurl hands over (inside of curl: no call of curl from here) ---- */

static uint64_t now_ns(const struct attempt *attempt)
{
    return io_now_ns(attempt->loop);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t deadline_ns(const struct attempt *attempt)
{
    const struct origin *origin = attempt->origin;
    uint64_t sent_ns = later(attempt->sent_ns, attempt->uploaded_ns);
    if (attempt->paused || attempt->upload_state == UPLOAD_PAUSED)
        return ALARM_NEVER;
    if (attempt->first_byte_ns != 0)
        return later(attempt->last_byte_ns, attempt->uploaded_ns) + origin->stall_timeout_ns;
    if (attempt->sent_ns == 0)
        return attempt->begun_ns + origin->connect_timeout_ns + origin->first_byte_timeout_ns;
    if (attempt->upload_state == UPLOAD_RUNNING && attempt->uploaded_ns != 0)
        return sent_ns + origin->stall_timeout_ns;
    return sent_ns + origin->first_byte_timeout_ns;
}

static void watch(struct attempt *attempt)
{
    uint64_t deadline = deadline_ns(attempt);
    if (deadline == ALARM_NEVER)
        alarm_clear(&attempt->alarm);
    else
        alarm_set(&attempt->alarm, deadline);
}

static size_t reject(struct attempt *attempt, int verdict)
{
    attempt->verdict = verdict;
    return 0; /* ends the transfer with CURLE_WRITE_ERROR */
}

static void count_status(struct origin_stats *stats, unsigned status)
{
    struct counter *counters[] = {
        &stats->status_2xx, &stats->status_3xx, &stats->status_4xx, &stats->status_5xx};
    CHECK(status >= 200 && status <= 599);
    counter_add(counters[status / 100 - 2], 1);
}

static bool is_s3(const struct attempt *attempt)
{
    return attempt->origin->kind == ORIGIN_S3;
}

static int judge(const struct attempt *attempt, struct origin_head *head)
{
    return is_s3(attempt) ? response_judge(&attempt->response, &attempt->request, head)
                          : response_judge_any(&attempt->response, &attempt->request, head);
}

static int on_head_complete(struct attempt *attempt)
{
    unsigned status = attempt->response.status;
    count_status(&attempt->origin->stats, status);
    if (is_s3(attempt) && status >= 300 && status != 304)
        return 0;
    struct origin_head head;
    int error = judge(attempt, &head);
    if (error != 0)
        return error;
    /* libcurl would send it all again without the expectation. The caller has what counts. */
    attempt->answered = status == 417 && attempt->request.upload != NULL;
    if (attempt->answered)
        head.content_length = 0;
    bool bodiless = attempt->request.head_only || status == 204 || status == 304;
    attempt->length = bodiless ? 0 : head.content_length;
    attempt->object = true;
    error = attempt->head(attempt, &head);
    return error == 0 && attempt->answered ? E_CANCELED : error;
}

static int on_interim_complete(struct attempt *attempt)
{
    struct origin_head head;
    response_interim(&attempt->response, &head);
    if (attempt->response.status != 100)
        attempt->interim(attempt, &head);
    return 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct attempt *attempt = context;
    size_t len = size * count;
    if (attempt->first_byte_ns == 0) {
        attempt->first_byte_ns = now_ns(attempt);
        histogram_add(&attempt->origin->stats.first_byte, attempt->first_byte_ns - attempt->begun_ns);
    }
    attempt->last_byte_ns = now_ns(attempt);
    int result = response_line(&attempt->response, bytes_of(line, len));
    if (result == RESPONSE_FINAL)
        result = on_head_complete(attempt);
    else if (result == RESPONSE_INTERIM)
        result = on_interim_complete(attempt);
    if (result < 0)
        return reject(attempt, result);
    watch(attempt);
    return len;
}

static size_t keep_error_body(struct attempt *attempt, struct bytes bytes)
{
    size_t room = sizeof attempt->error_body - attempt->error_len;
    size_t kept = bytes.len < room ? bytes.len : room;
    memcpy(attempt->error_body + attempt->error_len, bytes.ptr, kept);
    attempt->error_len += kept;
    attempt->dropped += bytes.len - kept;
    return attempt->dropped > ERROR_BODY_DRAIN_MAX ? 0 : bytes.len;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct attempt *attempt = context;
    size_t len = size * count;
    attempt->last_byte_ns = now_ns(attempt);
    if (!attempt->response.complete)
        return reject(attempt, E_PROTOCOL);
    if (!attempt->object)
        return keep_error_body(attempt, bytes_of(data, len));
    CHECK(attempt->skip <= len);
    struct bytes rest = bytes_from(bytes_of(data, len), attempt->skip);
    if (attempt->length != UINT64_MAX && rest.len > attempt->length - attempt->got)
        return reject(attempt, E_PROTOCOL);
    size_t taken = rest.len == 0 ? 0 : attempt->body(attempt, rest);
    CHECK(taken <= rest.len);
    attempt->got += taken;
    counter_add(&attempt->origin->stats.bytes_received, taken);
    if (taken < rest.len) {
        attempt->skip += taken;
        attempt->paused = true;
        watch(attempt);
        return CURL_WRITEFUNC_PAUSE;
    }
    attempt->skip = 0;
    return len;
}

static size_t on_read(char *to, size_t size, size_t count, void *context)
{
    struct attempt *attempt = context;
    /* libcurl asks also while this direction is paused, when the other is taken up: it would send what it
     * got, and stay paused. */
    if (attempt->upload_state == UPLOAD_PAUSED)
        return CURL_READFUNC_PAUSE;
    ssize_t result = attempt->upload(attempt, to, size * count);
    CHECK(result <= (ssize_t)(size * count));
    if (result == ORIGIN_UPLOAD_BROKEN) {
        attempt->verdict = E_CANCELED;
        return CURL_READFUNC_ABORT;
    }
    attempt->upload_state = result > 0 ? UPLOAD_RUNNING : result == 0 ? UPLOAD_PAUSED : UPLOAD_NONE;
    attempt->uploaded_ns = now_ns(attempt);
    watch(attempt);
    return result > 0 ? (size_t)result : result == 0 ? CURL_READFUNC_PAUSE : 0;
}

/* Behind the last chunk of the upload. */
static int on_trailer(struct curl_slist **lines, void *context)
{
    struct attempt *attempt = context;
    const struct origin_upload *upload = attempt->request.upload;
    struct outgoing trailers = {.lines = NULL};
    for (unsigned i = 0; i < upload->trailer_count; i++) {
        if (outgoing_add(&trailers, upload->trailers[i].name, upload->trailers[i].value) < 0) {
            curl_slist_free_all(trailers.lines);
            return CURL_TRAILERFUNC_ABORT;
        }
    }
    *lines = trailers.lines; /* libcurl's from now on */
    return CURL_TRAILERFUNC_OK;
}

/* Connected; the request goes out now. */
static int on_connected(void *context, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    struct attempt *attempt = context;
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    attempt->sent_ns = now_ns(attempt);
    watch(attempt);
    return CURL_PREREQFUNC_OK;
}

/* ---- the end ---- */

static long connections_opened(const struct attempt *attempt)
{
    long opened = 0;
    curl_easy_getinfo(attempt->easy, CURLINFO_NUM_CONNECTS, &opened);
    return opened;
}

static void release(struct attempt *attempt)
{
    curl_loop_remove(attempt->curl, attempt->easy);
    counter_add(&attempt->origin->stats.connections_opened, (uint64_t)connections_opened(attempt));
    curl_easy_cleanup(attempt->easy);
    attempt->easy = NULL;
    outgoing_free(&attempt->built);
    alarm_clear(&attempt->alarm);
}

/* What libcurl's result means, where the answer itself does not say. */
static int translate(struct attempt *attempt, CURLcode code)
{
    attempt->may_retry = true;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return E_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return E_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
        return E_TLS;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return E_TRUNCATED;
    default:
        break;
    }
    attempt->may_retry = false;
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
        return E_TLS;
    case CURLE_OUT_OF_MEMORY:
        return E_EXHAUSTED;
    default:
        return E_PROTOCOL;
    }
}

/* 0: the head said how it is, and all that it promised has come. */
static int outcome(struct attempt *attempt, CURLcode code)
{
    bool complete = attempt->response.complete;
    attempt->may_retry = false;
    if (attempt->answered)
        return 0;
    /* On a kept connection, nonsense may be left over from the answer before (a body longer than promised).
     */
    bool may_be_stale = !complete && connections_opened(attempt) == 0;
    if (attempt->verdict != 0) {
        attempt->may_retry = attempt->verdict == E_TIMEOUT || may_be_stale;
        return attempt->verdict;
    }
    if (complete && !attempt->object)
        return 0;
    if (complete && attempt->length != UINT64_MAX && attempt->got == attempt->length)
        return 0; /* also where the connection broke after the last byte */
    if (code != CURLE_OK) {
        int error = translate(attempt, code);
        attempt->may_retry = attempt->may_retry || (error == E_PROTOCOL && may_be_stale);
        return error;
    }
    if (!complete)
        return E_PROTOCOL;
    if (attempt->length == UINT64_MAX)
        return 0;
    attempt->may_retry = true;
    return E_TRUNCATED;
}

static void end(struct attempt *attempt, CURLcode code)
{
    int error = outcome(attempt, code);
    release(attempt);
    attempt->over(attempt, error);
}

static void on_finished(CURL *easy, CURLcode code)
{
    struct attempt *attempt = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&attempt);
    CHECK(attempt != NULL && attempt->easy == easy);
    end(attempt, code);
}

struct curl_loop *attempt_curl(struct io_loop *loop)
{
    return curl_loop_create(loop, on_finished);
}

/* ---- deadlines ---- */

static void on_alarm(struct alarm *alarm)
{
    struct attempt *attempt = CONTAINER_OF(alarm, struct attempt, alarm);
    if (attempt->easy == NULL) {
        attempt->idle(attempt);
        return;
    }
    if (deadline_ns(attempt) > now_ns(attempt)) {
        watch(attempt);
        return;
    }
    attempt->verdict = E_TIMEOUT;
    end(attempt, CURLE_OPERATION_TIMEDOUT);
}

static void on_alarm_idle(struct alarm *alarm)
{
    struct attempt *attempt = CONTAINER_OF(alarm, struct attempt, alarm);
    if (attempt->easy == NULL)
        attempt->idle(attempt);
}

/* ---- the beginning ---- */

static void set_upload(struct attempt *attempt, CURL *easy)
{
    const struct origin_upload *upload = attempt->request.upload;
    attempt->upload_state = UPLOAD_RUNNING;
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
        upload->length == ORIGIN_UPLOAD_CHUNKED ? (curl_off_t)-1 : (curl_off_t)upload->length);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, attempt);
    if (upload->length != ORIGIN_UPLOAD_CHUNKED)
        return;
    curl_easy_setopt(easy, CURLOPT_TRAILERFUNCTION, on_trailer);
    curl_easy_setopt(easy, CURLOPT_TRAILERDATA, attempt);
}

bool attempt_is_safe(struct bytes method)
{
    static const struct bytes names[] = {BYTES("GET"), BYTES("HEAD"), BYTES("OPTIONS"), BYTES("TRACE")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (bytes_equal(method, names[i]))
            return true;
    }
    return method.len == 0;
}

static void set_method(struct attempt *attempt, CURL *easy)
{
    const struct origin_request *request = &attempt->request;
    char method[64];
    struct writer w = writer_of(method, sizeof method);
    curl_easy_setopt(easy, CURLOPT_NOBODY, request->head_only ? 1L : 0L);
    if (request->upload != NULL)
        set_upload(attempt, easy);
    bool silent = request->upload == NULL && request->method.len == 0; /* libcurl's own is GET then */
    if (!silent && !request->head_only) {
        write_bytes(&w, request->method.len > 0 ? request->method : BYTES("GET"));
        write_u8(&w, '\0');
        CHECK(!w.failed); /* http_request_build has judged it */
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
    bool alone = request->upload != NULL || !attempt_is_safe(request->method);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, attempt->fresh || alone ? 1L : 0L);
}

static void set_options(struct attempt *attempt, CURL *easy)
{
    const struct origin *origin = attempt->origin;
    bool head_only = attempt->request.head_only;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, attempt);
    curl_easy_setopt(easy, CURLOPT_URL, attempt->built.url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, attempt->built.lines);
    if (attempt->built.target != NULL)
        curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, attempt->built.target);
    set_method(attempt, easy);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(origin->connect_timeout_ns / NS_PER_MS));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, head_only ? 16L * 1024 : RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, attempt);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, attempt);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, attempt);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, attempt->tls_text);
    if (origin->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, origin->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

static void forget_answer(struct attempt *attempt)
{
    response_reset(&attempt->response);
    attempt->object = attempt->may_retry = attempt->paused = false;
    attempt->response.any_server = !is_s3(attempt);
    attempt->answered = false;
    attempt->upload_state = UPLOAD_NONE;
    attempt->got = attempt->first_byte_ns = attempt->sent_ns = attempt->last_byte_ns = attempt->dropped = 0;
    attempt->uploaded_ns = 0;
    attempt->length = UINT64_MAX;
    attempt->error_len = attempt->skip = 0;
    attempt->tls_text[0] = '\0';
    attempt->verdict = 0;
    attempt->begun_ns = now_ns(attempt);
}

void attempt_init(struct attempt *attempt, struct io_loop *loop)
{
    attempt->loop = loop;
    alarm_init(&attempt->alarm, loop, on_alarm, on_alarm_idle);
}

static int build(struct attempt *attempt)
{
    int64_t wall_s = (int64_t)(io_wall_ns(attempt->loop) / NS_PER_S);
    return is_s3(attempt) ? s3_request_build(attempt->origin, &attempt->request, wall_s, &attempt->built)
                          : http_request_build(attempt->origin, &attempt->request, &attempt->built);
}

int attempt_start(struct attempt *attempt)
{
    CHECK(attempt->easy == NULL);
    forget_answer(attempt);
    int error = build(attempt);
    if (error != 0)
        return error == -ENOMEM ? E_EXHAUSTED : error;
    attempt->easy = curl_loop_easy(attempt->curl);
    if (attempt->easy == NULL) {
        outgoing_free(&attempt->built);
        return E_EXHAUSTED;
    }
    set_options(attempt, attempt->easy);
    error = curl_loop_add(attempt->curl, attempt->easy);
    if (error != 0) {
        curl_easy_cleanup(attempt->easy);
        attempt->easy = NULL;
        outgoing_free(&attempt->built);
        return error;
    }
    counter_add(&attempt->origin->stats.requests, 1);
    if (attempt->request.head_only)
        counter_add(&attempt->origin->stats.head_requests, 1);
    alarm_set(&attempt->alarm, deadline_ns(attempt));
    return 0;
}

void attempt_resume(struct attempt *attempt, bool reader, bool writer)
{
    bool reads = reader && attempt->paused, writes = writer && attempt->upload_state == UPLOAD_PAUSED;
    if (attempt->easy == NULL || (!reads && !writes))
        return;
    if (reads) {
        attempt->paused = false;
        attempt->last_byte_ns = now_ns(attempt);
    }
    if (writes) {
        attempt->upload_state = UPLOAD_RUNNING;
        attempt->uploaded_ns = now_ns(attempt);
    }
    watch(attempt);
    CURLcode code = curl_loop_pause(attempt->curl, attempt->easy, attempt->paused,
        attempt->upload_state == UPLOAD_PAUSED); /* calls body */
    if (code != CURLE_OK)
        end(attempt, code);
}

void attempt_stop(struct attempt *attempt)
{
    if (attempt->easy != NULL)
        release(attempt);
}

bool attempt_busy(const struct attempt *attempt)
{
    return attempt->easy != NULL || alarm_busy(&attempt->alarm);
}
