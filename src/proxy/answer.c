/*
 * Step 3, its second half: a head that may be used is known. Preconditions in the order of RFC 9110 13.2.2,
 * then ranges; what is left is a list of parts for deliver. An If-Match that a stored head fails is answered
 * 412 only after the origin was asked: the client may know a newer version.
 *
 * Ranges of a body whose length is not known yet are ignored (RFC 9110 14.2 allows it): 200 as it comes beats
 * a 206 that waits for the end.
 */
#include "base/clock.h"
#include "base/random.h"
#include "http/content_range.h"
#include "http/multipart.h"
#include "proxy/request.h"

#define SURVEY_CHUNKS_MAX (1u << 16)

static void note_chunk(struct reply_facts *facts, bool memory, bool disk, bool *absent)
{
    facts->in_memory |= memory;
    facts->on_disk |= !memory && disk;
    *absent |= !memory && !disk;
}

/* Of one part, until it is clear that only some is stored. Beyond `left` chunks it is too many to tell, and
 * not called a hit. */
static void survey_part(const struct request *request, const struct part *part, struct reply_facts *facts,
    bool *absent, unsigned *left)
{
    struct cache *cache = request->worker->proxy->cache;
    struct memory *memory = cache_memory(cache);
    const struct head *head = &request->head;
    for (uint64_t at = part->first; at < part->end; at = (at / head->chunk_bytes + 1) * head->chunk_bytes) {
        if (*left == 0) {
            *absent = true;
            return;
        }
        (*left)--;
        uint8_t buf[CHUNK_KEY_LEN];
        struct item_key key = identity_chunk_key(buf, head->body_id, at / head->chunk_bytes);
        bool in_memory = memory_has(memory, key);
        note_chunk(facts, in_memory, !in_memory && cache_may_have(cache, key), absent);
        if (*absent && (facts->in_memory || facts->on_disk))
            return;
    }
}

/* What of the reply is stored? Decides X-Cache before the first byte leaves. */
static void survey(struct request *request, struct reply_facts *facts)
{
    bool absent = false;
    unsigned left = SURVEY_CHUNKS_MAX;
    facts->presence = PRESENT_NONE;
    if (request->head_missed)
        return;
    bool head_is_all = request->head.inline_body || request->http->method == HTTP_HEAD;
    facts->in_memory = request->head_tier == CACHE_MEMORY && head_is_all;
    facts->on_disk = request->head_tier == CACHE_DISK && head_is_all;
    for (unsigned i = 0; i < request->part_count && !head_is_all; i++)
        survey_part(request, &request->parts[i], facts, &absent, &left);
    bool some = facts->in_memory || facts->on_disk;
    facts->presence = !absent ? PRESENT_ALL : some ? PRESENT_SOME : PRESENT_NONE;
}

static void reply_not_modified(struct request *request)
{
    struct reply_facts facts = {.presence = request->head_missed ? PRESENT_NONE : PRESENT_ALL,
        .in_memory = request->head_tier == CACHE_MEMORY,
        .on_disk = request->head_tier == CACHE_DISK,
        .not_modified = true};
    reply_head_only(request, 304, reply_lines(request, &facts), 0);
}

static void reply_unsatisfiable(struct request *request)
{
    uint8_t text[CONTENT_RANGE_MAX + 32];
    struct writer w = writer_of(text, sizeof text);
    write_bytes(&w, BYTES("Content-Range: "));
    content_range_write(&w, &(struct content_range){.has_length = true, .length = request->head.body_len});
    write_bytes(&w, BYTES("\r\n"));
    reply_error(request, 416, "the range is not satisfiable", writer_bytes(&w));
}

static struct bytes stored_content_type(const struct head *head)
{
    struct bytes rest = head->fields;
    struct head_line line;
    while (head_next_line(&rest, &line)) {
        if (bytes_equal_nocase(line.name, BYTES("content-type")))
            return line.value;
    }
    return (struct bytes){0};
}

/* Several ranges: text and bytes in alternation. False: the arena is exhausted. */
static bool plan_multipart(struct request *request, const struct range_list *list, struct reply_facts *facts)
{
    struct multipart multipart = {
        .list = list, .length = request->head.body_len, .content_type = stored_content_type(&request->head)};
    uint8_t random[16];
    random_os(random, sizeof random);
    multipart_boundary(&multipart, random);
    size_t room = multipart_head_max(&multipart) * list->count + MULTIPART_END_LEN + 128;
    struct part *parts = arena_take(&request->arena, sizeof *parts * (list->count + 1));
    uint8_t *text = arena_take(&request->arena, room);
    if (!parts || !text)
        return false;
    struct writer w = writer_of(text, room);
    for (unsigned i = 0; i <= list->count; i++) {
        uint8_t *start = w.at;
        if (i < list->count)
            multipart_write_head(&multipart, i, &w);
        else
            multipart_write_end(&multipart, &w);
        parts[i] = (struct part){.text = bytes_of(start, (size_t)(w.at - start))};
        if (i < list->count) {
            parts[i].first = list->ranges[i].first;
            parts[i].end = list->ranges[i].last + 1;
        }
    }
    uint8_t *type = w.at;
    multipart_write_content_type(&multipart, &w);
    if (w.failed)
        return false;
    facts->content_type = bytes_of(type, (size_t)(w.at - type));
    request->parts = parts;
    request->part_count = list->count + 1;
    request->reply_len = multipart_length(&multipart);
    return true;
}

static void plan_single(struct request *request, uint64_t first, uint64_t end)
{
    request->single = (struct part){.first = first, .end = end};
    request->parts = &request->single;
    request->part_count = 1;
    request->reply_len = end - first;
}

static bool plan_ranges(struct request *request, const struct range_list *list, struct reply_facts *facts)
{
    request->status = 206;
    if (list->count > 1)
        return plan_multipart(request, list, facts);
    uint8_t text[CONTENT_RANGE_MAX];
    struct writer w = writer_of(text, sizeof text);
    content_range_write(&w, &(struct content_range){.has_range = true,
                                .first = list->ranges[0].first,
                                .last = list->ranges[0].last,
                                .has_length = true,
                                .length = request->head.body_len});
    facts->content_range = arena_copy(&request->arena, writer_bytes(&w));
    plan_single(request, list->ranges[0].first, list->ranges[0].last + 1);
    return facts->content_range.ptr != NULL;
}

static bool head_is_whole_here(const struct request *request, const struct reply_facts *facts)
{
    return request->head.strong || request->head.inline_body || request->head_missed ||
           facts->presence == PRESENT_ALL;
}

static void start_reply(struct request *request, struct reply_facts *facts)
{
    if (request->warm && request->pass) {
        warm_pass(request);
        return;
    }
    survey(request, facts);
    if (request->control.only_if_cached && facts->presence != PRESENT_ALL) {
        reply_error(request, 504, "not all of it is stored", (struct bytes){0});
        return;
    }
    facts->checksums = request->wants_checksum && request->status == 200;
    request->lines = reply_lines(request, facts);
    if (!request->lines.ptr) {
        reply_error(request, 500, "the reply's head is too large", (struct bytes){0});
        return;
    }
    if (request->http->method == HTTP_HEAD) {
        reply_head_only(request, request->status, request->lines, request->reply_len);
        return;
    }
    request->step = STEP_DELIVER;
    request->part_at = 0;
    request->text_done = false;
    request->at = request->parts[0].first;
    request->skip_disk_chunk = request->looked_again = UINT64_MAX;
    /* Without a strong validator what is missing can't be fetched later: then all comes anew, now. */
    if (!head_is_whole_here(request, facts))
        request_fetch_whole(request);
    else
        request_deliver(request);
}

static void answer_get(struct request *request, bool range_applies)
{
    struct reply_facts facts = {0};
    const struct head *head = &request->head;
    struct range_list *list = NULL;
    enum range_verdict verdict = range_applies ? request->range_verdict : RANGE_NONE;
    if (verdict == RANGE_OK) {
        list = arena_take(&request->arena, sizeof *list);
        verdict = list ? range_resolve(request->range_set, head->body_len, list) : RANGE_NONE;
    }
    if (verdict == RANGE_UNSATISFIABLE || verdict == RANGE_REFUSED) {
        reply_unsatisfiable(request);
        return;
    }
    /* Without a strong validator bytes come once, in order: several ranges are then the whole object. */
    if (verdict == RANGE_OK && list->count > 1 && !head->strong)
        verdict = RANGE_NONE;
    request->status = 200;
    bool planned = true;
    if (verdict == RANGE_OK)
        planned = plan_ranges(request, list, &facts);
    else
        plan_single(request, 0, head->body_len);
    if (!planned)
        reply_error(request, 431, "the request needs too much memory", (struct bytes){0});
    else
        start_reply(request, &facts);
}

/* A generic origin's answer that is no representation to choose from: as it is. */
static void answer_as_it_is(struct request *request)
{
    struct reply_facts facts = {0};
    request->status = request->head.status;
    plan_single(request, 0, request->head.body_len);
    start_reply(request, &facts);
}

void request_answer(struct request *request)
{
    const struct head *head = &request->head;
    if (head->status != 200) {
        answer_as_it_is(request);
        return;
    }
    bool has_range = request->range_verdict != RANGE_NONE;
    struct validators validators = {
        .etag = head->etag,
        .has_last_modified = head->has_last_modified,
        .last_modified_s = head->last_modified_s,
        .date_s = head->date_s,
    };
    struct conditional conditional = conditional_evaluate(&request->conditions, &validators,
        request->http->method == HTTP_HEAD ? CONDITIONAL_HEAD : CONDITIONAL_GET, has_range,
        (int64_t)(io_wall_ns(request->worker->loop) / NS_PER_S));
    bool may_ask = !request->validated && !request->served_stale && !request->control.only_if_cached;
    if (conditional.verdict == CONDITIONAL_FAILED && may_ask)
        request_fetch(request);
    else if (conditional.verdict == CONDITIONAL_FAILED)
        reply_error(request, 412, "a precondition failed", (struct bytes){0});
    else if (conditional.verdict == CONDITIONAL_NOT_MODIFIED)
        reply_not_modified(request);
    else
        answer_get(request, conditional.range_applies && head_has_length(head));
}
