#include "app/admin_prewarm.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "http/response.h"

/* ---- the request ---- */

static const char *wrong(struct admin_prewarm *asked, const char *name, const char *what)
{
    (void)snprintf(asked->message, sizeof asked->message, "\"%.60s\": %s", name, what);
    return asked->message;
}

static const char *take_text(struct admin_prewarm *asked, const char *name, const json_t *value, uint8_t *to,
    size_t room, struct bytes *text)
{
    if (!json_is_string(value))
        return wrong(asked, name, "expected a text");
    if (json_string_length(value) > room)
        return wrong(asked, name, "too long");
    memcpy(to, json_string_value(value), json_string_length(value));
    *text = bytes_of(to, json_string_length(value));
    return NULL;
}

/* Each is shorter than the JSON that it came from, so they all fit. */
static const char *take_keys(struct admin_prewarm *asked, const json_t *value, struct writer *w)
{
    size_t i;
    json_t *key;
    if (!json_is_array(value) || json_array_size(value) == 0)
        return wrong(asked, "keys", "expected an array of texts, not empty");
    json_array_foreach(value, i, key)
    {
        if (!json_is_string(key) || json_string_length(key) == 0)
            return wrong(asked, "keys", "expected texts that are not empty");
        write_bytes(w, bytes_of(json_string_value(key), json_string_length(key)));
        write_u8(w, 0);
    }
    CHECK(!w->failed);
    asked->order.keys = writer_bytes(w);
    asked->order.key_count = (unsigned)json_array_size(value);
    return NULL;
}

static const char *take_number(
    struct admin_prewarm *asked, const char *name, const json_t *value, unsigned max, unsigned *number)
{
    char what[60];
    (void)snprintf(what, sizeof what, "expected a whole number from 1 to %u", max);
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > max)
        return wrong(asked, name, what);
    *number = (unsigned)json_integer_value(value);
    return NULL;
}

static const char *take_host(struct admin_prewarm *asked, const char *name, const json_t *value)
{
    const char *why = take_text(asked, name, value, asked->host, sizeof asked->host, &asked->order.host);
    return why == NULL && asked->order.host.len == 0 ? wrong(asked, name, "empty") : why;
}

static const char *take_member(
    struct admin_prewarm *asked, const char *name, const json_t *value, struct writer *keys)
{
    struct prewarm_order *order = &asked->order;
    if (strcmp(name, "bucket") == 0)
        return take_text(asked, name, value, asked->bucket, sizeof asked->bucket, &order->bucket);
    if (strcmp(name, "keys") == 0)
        return take_keys(asked, value, keys);
    if (strcmp(name, "concurrency") == 0)
        return take_number(asked, name, value, PREWARM_CONCURRENCY_MAX, &order->concurrency);
    if (strcmp(name, "rate") == 0)
        return take_number(asked, name, value, PREWARM_RATE_MAX, &order->rate);
    if (strcmp(name, "host") == 0)
        return take_host(asked, name, value);
    if (strcmp(name, "prefix") != 0)
        return wrong(asked, name, "unknown; the members are bucket, keys or prefix, host, concurrency, rate");
    order->listed = true;
    return take_text(asked, name, value, asked->prefix, sizeof asked->prefix, &order->prefix);
}

static const char *check_order(struct admin_prewarm *asked)
{
    const struct prewarm_order *order = &asked->order;
    if (order->bucket.len == 0)
        return wrong(asked, "bucket", "expected the configured name of one");
    if (order->listed == (order->key_count > 0))
        return wrong(asked, "keys", "expected either this or \"prefix\"");
    return NULL;
}

const char *admin_prewarm_parse(struct admin_prewarm *asked, uint8_t *body, size_t len)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, &error), *value;
    struct writer keys = writer_of(body, len);
    asked->order =
        (struct prewarm_order){.concurrency = PREWARM_CONCURRENCY_DEFAULT, .rate = PREWARM_RATE_DEFAULT};
    const char *why = json_is_object(json) ? NULL : "the body is not a JSON object", *name;
    if (why == NULL)
        json_object_foreach(json, name, value)
        {
            if (why == NULL)
                why = take_member(asked, name, value, &keys);
        }
    json_decref(json);
    return why ? why : check_order(asked);
}

/* ---- the answer ---- */

static_assert(PREWARM_RUNNING == 4, "as is told");

static unsigned write_error(struct writer *w, unsigned status, const char *message)
{
    http_write_error_body(w, status, bytes_of_string(message));
    return status;
}

unsigned admin_prewarm_write_refusal(struct writer *w, int result)
{
    switch (result) {
    case E_MISSING:
        return write_error(w, 400, "\"bucket\": no bucket is configured under this name");
    case E_UNSUPPORTED:
        return write_error(w, 400, "\"prefix\": a generic HTTP origin has no list; expected \"keys\"");
    case E_REFUSED:
        return write_error(
            w, 400, "\"host\": what is stored of this bucket depends on the host that clients name");
    case E_SYNTAX:
        return write_error(w, 400, "\"host\": expected a host name, of a bucket with a generic HTTP origin");
    case E_TOO_LARGE:
        return write_error(w, 400, "\"prefix\": longer than a key");
    case E_EXHAUSTED:
        return write_error(w, 503, "4 jobs are under way; cancel one, or wait for it");
    case E_CANCELED:
        return write_error(w, 503, "the server is stopping");
    default:
        return write_error(w, 503, "out of memory");
    }
}

static void write_failures(struct json *json, const struct prewarm_job *job)
{
    json_open_array(json, "failures");
    for (unsigned i = 0; i < PREWARM_FAILURES && i < job->failed; i++) {
        const struct prewarm_failure *failure = &job->failures[i];
        json_open_object(json, NULL);
        json_put_string(json, "key", bytes_of(failure->key, failure->key_len));
        json_put_number(json, "status", failure->status);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_error_of(struct json *json, const struct prewarm_job *job)
{
    if (job->error == 0)
        return;
    json_put_string(json, "error", bytes_of_string(error_text(job->error)));
    if (job->code[0])
        json_put_string(json, "code", bytes_of_string(job->code));
}

static void put_job(struct json *json, const struct prewarm_job *job)
{
    static const char *const states[] = {[PREWARM_WORKING] = "working",
        [PREWARM_CANCELING] = "canceling",
        [PREWARM_DONE] = "done",
        [PREWARM_CANCELED] = "canceled",
        [PREWARM_FAILED] = "failed"};
    char started[LOG_TIME_TEXT];
    json_open_object(json, NULL);
    json_put_number(json, "id", job->id);
    json_put_string(json, "state", bytes_of_string(states[job->state]));
    json_put_string(json, "bucket", bytes_of_string(job->bucket));
    if (job->listed)
        json_put_string(json, "prefix", job->prefix);
    if (job->host.len > 0)
        json_put_string(json, "host", job->host);
    json_put_number(json, "concurrency", job->concurrency);
    json_put_number(json, "rate", job->rate);
    json_put_string(json, "started", bytes_of(started, log_time(started, job->started_wall_ns)));
    json_put_ms(json, "duration_ms", job->duration_ns);
    json_put_number(json, "keys", job->known);
    json_put_bool(json, "keys_complete", job->all_known);
    json_put_number(json, "under_way", job->under_way);
    json_put_number(json, "fetched", job->fetched);
    json_put_number(json, "fetched_bytes", job->fetched_bytes);
    json_put_number(json, "stored_before", job->stored);
    json_put_number(json, "not_stored", job->unstored);
    json_put_number(json, "failed", job->failed);
    write_failures(json, job);
    write_error_of(json, job);
    json_close_object(json);
}

void admin_prewarm_write_job(struct writer *w, const struct prewarm_job *job)
{
    struct json json = json_of(w);
    put_job(&json, job);
    write_u8(w, '\n');
}

void admin_prewarm_write_jobs(struct writer *w, struct prewarm *prewarm)
{
    struct json json = json_of(w);
    json_open_object(&json, NULL);
    json_open_array(&json, "jobs");
    for (const struct prewarm_job *job = NULL; (job = prewarm_next(prewarm, job)) != NULL;)
        put_job(&json, job);
    json_close_array(&json);
    json_close_object(&json);
    write_u8(w, '\n');
}
