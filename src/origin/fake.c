/*
 * The fake origin. A job is an alarm and a few numbers; each ring of the alarm is one step: head, piece,
 * piece, end. The object is looked up once, at the head, and its content is kept by reference count through
 * changes, as a real store would send the version it began with.
 */
#include "origin/fake.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "origin/answer.h"
#include "origin/backend.h"

#define FIELDS_MAX 24

struct object {
    struct list_node node;
    char *key, *etag, *extra;
    struct bytes content; /* ptr NULL: a pattern */
    uint64_t len, seed;
    unsigned refs;
    struct fake_script script;
    struct fake_counts counts;
};

struct fake {
    struct fake_options options;
    struct list_node objects;
    struct fake_counts counts;
};

enum fake_state { FAKE_HEAD, FAKE_BODY };

struct fake_job {
    struct job job;
    struct alarm alarm;
    struct object *object; /* counted */
    struct fake_script script;
    enum fake_state state;
    bool paused, canceled;
    uint64_t at, end; /* of the object */
    uint64_t delivered;
    uint8_t *piece; /* of patterns */
};

/* ---- objects ---- */

static void *must(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

static void object_unref(struct object **object_at)
{
    struct object *object = *object_at;
    *object_at = NULL;
    if (object == NULL || --object->refs > 0)
        return;
    free(object->key);
    free(object->etag);
    free(object->extra);
    free(object);
}

static struct object *object_find(const struct fake *fake, struct bytes key)
{
    for (struct list_node *node = fake->objects.next; node != &fake->objects; node = node->next) {
        struct object *object = CONTAINER_OF(node, struct object, node);
        if (bytes_equal(bytes_of_string(object->key), key))
            return object;
    }
    return NULL;
}

/* Script and counts of a key survive a new version. */
static struct object *object_put(struct origin *origin, const char *key, const char *etag, const char *extra)
{
    struct fake *fake = origin->fake;
    struct object *old = object_find(fake, bytes_of_string(key));
    struct object *object = must(calloc(1, sizeof *object));
    if (old != NULL) {
        object->script = old->script;
        object->counts = old->counts;
        list_remove(&old->node);
        object_unref(&old);
    }
    object->refs = 1;
    object->key = must(strdup(key));
    object->etag = must(strdup(etag));
    object->extra = must(strdup(extra == NULL ? "" : extra));
    list_push_back(&fake->objects, &object->node);
    return object;
}

void fake_put(
    struct origin *origin, const char *key, struct bytes content, const char *etag, const char *extra)
{
    struct object *object = object_put(origin, key, etag, extra);
    object->content = bytes_of(content.len == 0 ? (const void *)"" : content.ptr, content.len);
    object->len = content.len;
}

void fake_put_pattern(
    struct origin *origin, const char *key, uint64_t len, uint64_t seed, const char *etag, const char *extra)
{
    struct object *object = object_put(origin, key, etag, extra);
    object->len = len;
    object->seed = seed;
}

uint8_t fake_byte(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + at / 8 * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 29;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 32;
    return (uint8_t)(x >> at % 8 * 8);
}

void fake_remove(struct origin *origin, const char *key)
{
    struct object *object = object_find(origin->fake, bytes_of_string(key));
    CHECK(object != NULL);
    list_remove(&object->node);
    object_unref(&object);
}

void fake_script(struct origin *origin, const char *key, const struct fake_script *script)
{
    struct object *object = object_find(origin->fake, bytes_of_string(key));
    CHECK(object != NULL);
    object->script = *script;
}

struct fake_counts fake_counts(const struct origin *origin, const char *key)
{
    if (key == NULL)
        return origin->fake->counts;
    const struct object *object = object_find(origin->fake, bytes_of_string(key));
    return object == NULL ? (struct fake_counts){0} : object->counts;
}

int origin_create_fake(struct origin **origin_out, const char *bucket, const struct fake_options *options)
{
    struct origin *origin = must(calloc(1, sizeof *origin));
    origin->kind = ORIGIN_FAKE;
    origin->name = must(strdup(bucket));
    origin->bucket = must(strdup(bucket));
    memcpy(origin->identity, "fake", sizeof "fake");
    origin->fake = must(calloc(1, sizeof *origin->fake));
    list_init(&origin->fake->objects);
    if (options != NULL)
        origin->fake->options = *options;
    if (origin->fake->options.piece_bytes == 0)
        origin->fake->options.piece_bytes = 64 * 1024;
    *origin_out = origin;
    return 0;
}

void fake_destroy(struct fake *fake)
{
    if (fake == NULL)
        return;
    for (struct list_node *node; (node = list_pop_front(&fake->objects)) != NULL;) {
        struct object *object = CONTAINER_OF(node, struct object, node);
        object_unref(&object);
    }
    free(fake);
}

/* ---- a fetch ---- */

static void running(struct fake_counts *counts, int step)
{
    counts->running += (unsigned)step;
    if (counts->running > counts->running_max)
        counts->running_max = counts->running;
}

static void fake_free(struct fake_job *fj)
{
    if (fj->job.fetch != NULL || alarm_busy(&fj->alarm))
        return;
    job_drop(&fj->job);
    free(fj->piece);
    free(fj);
}

static void fake_finish(struct fake_job *fj, int error)
{
    running(&fj->job.origin->fake->counts, -1);
    if (fj->object != NULL)
        running(&fj->object->counts, -1);
    object_unref(&fj->object);
    alarm_clear(&fj->alarm);
    if (error != 0 && error == fj->script.error) {
        fj->job.fetch->status = fj->script.status;
        fj->job.fetch->retry_after_s = fj->script.retry_after_s;
    }
    job_finish(&fj->job, error);
    fake_free(fj);
}

static void add_field(
    struct origin_head *head, struct origin_field *fields, struct bytes name, struct bytes value)
{
    CHECK(head->field_count < FIELDS_MAX);
    fields[head->field_count++] = (struct origin_field){name, value};
}

static void add_extra(struct origin_head *head, struct origin_field *fields, const char *extra)
{
    while (*extra != '\0') {
        const char *colon = strchr(extra, ':'), *end = strstr(extra, "\r\n");
        CHECK(colon != NULL && end != NULL && colon < end);
        struct bytes name = bytes_of(extra, (size_t)(colon - extra));
        struct bytes value = bytes_trim(bytes_of(colon + 1, (size_t)(end - colon - 1)));
        if (bytes_equal_nocase(name, BYTES("last-modified")))
            head->last_modified = value;
        add_field(head, fields, name, value);
        extra = end + 2;
    }
}

static void tell_head(struct fake_job *fj, struct origin_head *head)
{
    struct origin_field fields[FIELDS_MAX];
    char text[128];
    struct writer w = writer_of(text, sizeof text);
    head->fields = fields;
    if (fj->script.no_length)
        head->content_length = UINT64_MAX;
    if (head->content_length != UINT64_MAX) {
        write_decimal(&w, head->content_length);
        add_field(head, fields, BYTES("Content-Length"), writer_bytes(&w));
    }
    if (head->status == 206) {
        size_t from = (size_t)(w.at - w.start);
        answer_write_content_range(head, &w);
        add_field(head, fields, BYTES("Content-Range"), bytes_from(writer_bytes(&w), from));
    }
    if (head->etag.len > 0)
        add_field(head, fields, BYTES("ETag"), head->etag);
    add_extra(head, fields, fj->object->extra);
    fj->job.fetch->head(fj->job.fetch, head);
}

static void next_step(struct fake_job *fj, uint64_t delay_ns)
{
    alarm_set(&fj->alarm, io_now_ns(fj->job.client->loop) + delay_ns);
}

static void take_script(struct fake_job *fj, struct object *object)
{
    fj->script = object->script;
    if (object->script.fetches > 0 && --object->script.fetches == 0)
        object->script = (struct fake_script){0};
}

static void fake_head(struct fake_job *fj)
{
    struct fake *fake = fj->job.origin->fake;
    struct origin_fetch *fetch = fj->job.fetch;
    struct object *object = object_find(fake, fetch->request.key);
    if (object == NULL) {
        fake_finish(fj, E_MISSING);
        return;
    }
    fj->object = object;
    object->refs++;
    object->counts.fetches++;
    object->counts.heads += fetch->request.head_only;
    running(&object->counts, 1);
    take_script(fj, object);
    if (fj->script.hang && !fj->script.after_head)
        return;
    if (fj->script.error != 0 && !fj->script.after_head) {
        fake_finish(fj, fj->script.error);
        return;
    }
    struct origin_request request = fetch->request;
    request.ranged = request.ranged && !fj->script.ignore_range;
    if (fj->script.ignore_if_match)
        request.if_match = (struct bytes){0};
    struct origin_head head;
    int error = answer_decide(&request, bytes_of_string(object->etag), object->len, &head);
    if (error != 0) {
        fetch->total = object->len;
        fake_finish(fj, error);
        return;
    }
    fj->at = head.status == 206 ? head.first : 0;
    fj->end = head.status == 206 ? head.last + 1 : object->len;
    if (head.status == 304 || request.head_only)
        fj->at = fj->end;
    if (head.status == 304) {
        fake->counts.not_modified++;
        object->counts.not_modified++;
    }
    fetch->first_byte_ns = io_now_ns(fj->job.client->loop);
    fj->state = FAKE_BODY;
    tell_head(fj, &head);
    next_step(fj, fake->options.interval_ns);
}

static struct bytes piece_at(struct fake_job *fj, size_t len)
{
    struct object *object = fj->object;
    if (object->content.ptr != NULL)
        return bytes_of(object->content.ptr + fj->at, len);
    if (fj->piece == NULL)
        fj->piece = must(malloc(fj->job.origin->fake->options.piece_bytes));
    for (size_t i = 0; i < len; i++)
        fj->piece[i] = fake_byte(object->seed, fj->at + i);
    return bytes_of(fj->piece, len);
}

static void fake_body(struct fake_job *fj)
{
    struct fake *fake = fj->job.origin->fake;
    uint64_t left = fj->end - fj->at;
    bool breaks = fj->script.after_head && fj->script.error != 0;
    if (breaks && left > fj->script.break_after - fj->delivered)
        left = fj->script.break_after - fj->delivered;
    if (fj->script.hang)
        return;
    if (left == 0) {
        fake_finish(fj, breaks ? fj->script.error : 0);
        return;
    }
    size_t len = left < fake->options.piece_bytes ? (size_t)left : fake->options.piece_bytes;
    size_t taken = fj->job.fetch->body(fj->job.fetch, piece_at(fj, len));
    CHECK(taken <= len);
    fj->at += taken;
    fj->delivered += taken;
    fake->counts.bytes += taken;
    fj->object->counts.bytes += taken;
    fj->paused = taken < len;
    if (!fj->paused)
        next_step(fj, fake->options.interval_ns);
}

static void fake_rang(struct alarm *alarm)
{
    struct fake_job *fj = CONTAINER_OF(alarm, struct fake_job, alarm);
    if (fj->job.fetch == NULL)
        fake_free(fj);
    else if (fj->state == FAKE_HEAD)
        fake_head(fj);
    else
        fake_body(fj);
}

static void fake_idle(struct alarm *alarm)
{
    fake_free(CONTAINER_OF(alarm, struct fake_job, alarm));
}

struct job *fake_job_create(void)
{
    struct fake_job *fj = calloc(1, sizeof *fj);
    return fj == NULL ? NULL : &fj->job;
}

void fake_job_woken(struct job *job, unsigned wake)
{
    struct fake_job *fj = CONTAINER_OF(job, struct fake_job, job);
    struct fake *fake = job->origin->fake;
    if (wake & JOB_START) {
        alarm_init(&fj->alarm, job->client->loop, fake_rang, fake_idle);
        fake->counts.fetches++;
        fake->counts.heads += job->fetch->request.head_only;
        running(&fake->counts, 1);
        job->fetch->attempts = 1;
    }
    if (wake & JOB_CANCEL) {
        fake_finish(fj, E_CANCELED);
        return;
    }
    if (wake & JOB_START)
        next_step(fj, fake->options.latency_ns);
    if ((wake & JOB_RESUME) && fj->paused) {
        fj->paused = false;
        next_step(fj, 0);
    }
}
