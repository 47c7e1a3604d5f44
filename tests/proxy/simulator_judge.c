/* Is this answer right? What is known: all versions of the object, when each was replaced, what was asked. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/date.h"
#include "simulator.h"

#define SLACK_NS (12 * NS_PER_S) /* a fetch that another asked for may be joined until its body has come */
#define PATIENCE_NS (DEADLINE_NS + 5 * NS_PER_S)

static struct ask *ask_of(struct client *client)
{
    CHECK(client->ask_at < client->ask_count);
    return &client->asks[client->ask_at];
}

void judge_fail(struct client *client, const char *what)
{
    const struct answer *answer = &client->answer;
    const struct ask *ask = client->ask_at < client->ask_count ? ask_of(client) : &client->asks[0];
    printf("seed %llu, life %u: client %u: %s: version %d, status %u, offset %llu, %llu left\n%.*s\n%.*s",
        (unsigned long long)client->world->seed, client->world->life, client->number, what, answer->version,
        answer->status, (unsigned long long)answer->at, (unsigned long long)answer->left,
        (int)answer->head_len, (const char *)answer->head, (int)ask->text_len, ask->text);
    exit(1);
}

/* ---- what may be ---- */

static bool is_strong(const struct object *object)
{
    return object->kind != OBJECT_WEAK && object->kind != OBJECT_UNTAGGED;
}

static bool is_faulty(const struct client *client, const struct ask *ask)
{
    /* What the origin said to be missing is remembered for so long, in whole seconds. */
    uint64_t remembered_ns = (client->world->plan.missing_s + 1) * NS_PER_S;
    uint64_t until_ns = ask->object->faulty_until_ns;
    return client->world->dying || until_ns >= ask->asked_ns || ask->asked_ns - until_ns <= remembered_ns;
}

static uint64_t ttl_ns(const struct world *world, const struct object *object, unsigned version)
{
    if (!world->plan.cached || object->kind == OBJECT_NO_CACHE || object->kind == OBJECT_NO_STORE)
        return 0;
    uint64_t age_s = object->max_age_s[version];
    return (age_s != UINT32_MAX ? age_s : world->plan.ttl_s) * NS_PER_S + world->plan.stale_s * NS_PER_S;
}

/* May it be answered with this version? Those without a strong tag may be joined as long as a client reads.
 */
static bool may_be(const struct client *client, const struct ask *ask, unsigned version)
{
    uint64_t replaced_ns = ask->object->replaced_ns[version];
    if (!replaced_ns || !is_strong(ask->object) || is_faulty(client, ask))
        return true;
    return ask->asked_ns <= replaced_ns + ttl_ns(client->world, ask->object, version) + SLACK_NS;
}

static bool names_version(const char *tags, const struct object *object, unsigned version, bool strongly)
{
    const char *etag = object->etags[version];
    if (strcmp(tags, "*") == 0)
        return true;
    if (*etag == '\0' || (strongly && !is_strong(object)))
        return false;
    const char *found = strstr(tags, etag);
    return found != NULL;
}

enum precondition { PASSES, NOT_MODIFIED, FAILED };

static enum precondition precondition(const struct ask *ask, unsigned version)
{
    int64_t modified_s = object_modified_s(version);
    if (*ask->if_match && !names_version(ask->if_match, ask->object, version, true))
        return FAILED;
    if (ask->unmodified_since_s && modified_s > ask->unmodified_since_s)
        return FAILED;
    if (*ask->if_none_match && names_version(ask->if_none_match, ask->object, version, false))
        return NOT_MODIFIED;
    if (ask->modified_since_s && modified_s <= ask->modified_since_s)
        return NOT_MODIFIED;
    return PASSES;
}

/* ---- ranges ---- */

struct wanted {
    unsigned count; /* satisfiable; 0 with `ranged`: 416 */
    bool ranged;
    uint64_t first[RANGES], end[RANGES];
};

static bool is_absurd(const struct wanted *wanted)
{
    for (unsigned i = 0; i < wanted->count; i++) {
        unsigned deep = 0;
        for (unsigned j = 0; j < wanted->count; j++)
            deep += wanted->first[j] <= wanted->first[i] && wanted->first[i] < wanted->end[j];
        if (deep > 2)
            return true;
    }
    return false;
}

static struct wanted wanted_of(const struct ask *ask, unsigned version)
{
    struct wanted wanted = {0};
    uint64_t len = ask->object->lens[version];
    bool holds = *ask->if_range == '\0' ||
                 (is_strong(ask->object) && strcmp(ask->if_range, ask->object->etags[version]) == 0);
    if (ask->head || !ask->range_count || !holds)
        return wanted;
    wanted.ranged = true;
    for (unsigned i = 0; i < ask->range_count; i++) {
        const struct ask_range *range = &ask->ranges[i];
        uint64_t first = range->first, end = range->kind == RANGE_OF_FIRST ? len : range->last + 1;
        if (range->kind == RANGE_OF_SUFFIX) {
            first = range->last < len ? len - range->last : 0;
            end = len;
        }
        if (first >= len)
            continue;
        wanted.first[wanted.count] = first;
        wanted.end[wanted.count++] = end < len ? end : len;
    }
    if (is_absurd(&wanted))
        wanted.count = 0;
    if (wanted.count > 1 && !is_strong(ask->object))
        wanted = (struct wanted){0};
    return wanted;
}

static void check_content_range(struct client *client, struct bytes text, uint64_t first, uint64_t end)
{
    const struct object *object = ask_of(client)->object;
    char expected[96];
    int n = snprintf(expected, sizeof expected, "bytes %llu-%llu/%llu", (unsigned long long)first,
        (unsigned long long)end - 1, (unsigned long long)object->lens[client->answer.version]);
    if (!bytes_equal(text, bytes_of(expected, (size_t)n)))
        judge_fail(client, "wrong Content-Range");
}

static void check_ranges(struct client *client)
{
    struct answer *answer = &client->answer;
    const struct ask *ask = ask_of(client);
    struct wanted wanted = wanted_of(ask, (unsigned)answer->version);
    /* Without a length from the origin ranges are ignored. */
    if (is_faulty(client, ask) && answer->status == 200)
        wanted = (struct wanted){0};
    if (wanted.ranged && wanted.count == 0)
        judge_fail(client, "not satisfiable, but answered");
    if (answer->status != (wanted.ranged ? 206 : 200))
        judge_fail(client, "200 and 206 confused");
    answer->multipart = wanted.count > 1;
    if (answer->multipart) {
        client->world->tally.multipart++;
        return;
    }
    uint64_t first = wanted.ranged ? wanted.first[0] : 0,
             end = wanted.ranged ? wanted.end[0] : ask->object->lens[answer->version];
    if (answer->has_length && answer->length != end - first)
        judge_fail(client, "wrong length");
    answer->at = first;
    client->world->tally.ranges += wanted.ranged;
    if (wanted.ranged)
        check_content_range(client, answer_field(answer, "Content-Range"), first, end);
}

/* ---- heads ---- */

static int version_of(struct client *client)
{
    const struct object *object = ask_of(client)->object;
    struct bytes etag = answer_field(&client->answer, "ETag");
    int version = object->kind == OBJECT_UNTAGGED ? 0 : object_version(object, etag);
    if (version < 0)
        judge_fail(client, "an unknown version");
    if (!may_be(client, ask_of(client), (unsigned)version))
        judge_fail(client, "a version that was replaced too long ago");
    return version;
}

static void judge_representation(struct client *client)
{
    struct answer *answer = &client->answer;
    answer->version = version_of(client);
    if (precondition(ask_of(client), (unsigned)answer->version) != PASSES)
        judge_fail(client, "a precondition was ignored");
    check_ranges(client);
}

static void judge_not_modified(struct client *client)
{
    client->answer.version = version_of(client);
    client->world->tally.not_modified++;
    if (precondition(ask_of(client), (unsigned)client->answer.version) != NOT_MODIFIED)
        judge_fail(client, "304 without cause");
}

/* Some version that may be answered must be one that these requests fail by. */
static void judge_refusal(struct client *client)
{
    const struct ask *ask = ask_of(client);
    uint64_t total = UINT64_MAX;
    struct bytes range = answer_field(&client->answer, "Content-Range");
    bool unsatisfiable = client->answer.status == 416;
    if (unsatisfiable &&
        (!bytes_start_with(range, BYTES("bytes */")) || !bytes_to_u64(bytes_from(range, 8), &total)))
        judge_fail(client, "416 without a length");
    client->world->tally.failed_conditions += !unsatisfiable;
    client->world->tally.unsatisfiable += unsatisfiable;
    for (unsigned v = 0; v < ask->object->versions; v++) {
        struct wanted wanted = wanted_of(ask, v);
        if (!may_be(client, ask, v))
            continue;
        if (unsatisfiable && wanted.ranged && wanted.count == 0 && total == ask->object->lens[v])
            return;
        /* The origin was asked: it must be of now. */
        bool current = !ask->object->replaced_ns[v] ||
                       ask->object->replaced_ns[v] + SLACK_NS >= ask->asked_ns || is_faulty(client, ask);
        if (!unsatisfiable && current && precondition(ask, v) == FAILED)
            return;
    }
    judge_fail(client, unsatisfiable ? "416 without cause" : "412 without cause");
}

static void judge_error(struct client *client)
{
    struct world *world = client->world;
    unsigned status = client->answer.status;
    world->tally.errors++;
    world->tally.timeouts += status == 504;
    if (status == 503 && world->plan.max_concurrent < 100)
        return;
    if (!is_faulty(client, ask_of(client)))
        judge_fail(client, "an error without a cause");
}

static void count_cached(struct client *client)
{
    struct bytes x_cache = answer_field(&client->answer, "X-Cache");
    client->world->tally.hits += bytes_equal(x_cache, BYTES("HIT"));
    client->world->tally.partial += bytes_equal(x_cache, BYTES("PARTIAL"));
    bool never = !client->world->plan.cached || ask_of(client)->object->kind == OBJECT_NO_STORE;
    if (never && !bytes_equal(x_cache, BYTES("BYPASS")) && client->answer.status < 400)
        judge_fail(client, "stored what may not be");
}

void judge_head(struct client *client)
{
    struct answer *answer = &client->answer;
    uint64_t status = 0, length = 0;
    if (answer->head_len < 12 || !bytes_to_u64(bytes_of(answer->head + 9, 3), &status))
        judge_fail(client, "no status");
    answer->status = (unsigned)status;
    answer->version = -1;
    struct bytes text = answer_field(answer, "Content-Length");
    bool bodiless = status == 304 || ask_of(client)->head;
    answer->chunked = bytes_equal(answer_field(answer, "Transfer-Encoding"), BYTES("chunked"));
    /* Only where the origin said none: nor has a HEAD one then. */
    bool may_lack = is_faulty(client, ask_of(client)) && (answer->chunked || ask_of(client)->head);
    answer->has_length = text.ptr && bytes_to_u64(text, &length);
    if (status != 304 && !answer->has_length && !may_lack)
        judge_fail(client, "no length");
    if (answer->chunked && (answer->has_length || bodiless))
        judge_fail(client, "chunked and not");
    answer->length = length;
    answer->left = bodiless ? 0 : length;
    answer->closes = bytes_equal_nocase(answer_field(answer, "Connection"), BYTES("close"));
    count_cached(client);
    if (status == 200 || status == 206)
        judge_representation(client);
    else if (status == 304)
        judge_not_modified(client);
    else if (status == 412 || status == 416)
        judge_refusal(client);
    else
        judge_error(client);
}

/* ---- bodies ---- */

static void check_bytes(struct client *client, struct bytes bytes, uint64_t at)
{
    uint64_t seed = ask_of(client)->object->seeds[client->answer.version];
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.ptr[i] != fake_byte(seed, at + i))
            judge_fail(client, "a wrong byte");
}

void judge_body(struct client *client, struct bytes bytes)
{
    struct answer *answer = &client->answer;
    CHECK(bytes.len <= answer->left);
    if (answer->multipart) {
        if (answer->kept_len + bytes.len > BODY_KEPT)
            judge_fail(client, "parts longer than what was asked for");
        memcpy(answer->kept + answer->kept_len, bytes.ptr, bytes.len);
        answer->kept_len += bytes.len;
    } else if (answer->version >= 0) {
        check_bytes(client, bytes, answer->at);
    }
    answer->at += bytes.len;
    answer->left -= bytes.len;
}

static void expect_text(struct client *client, struct bytes *rest, struct bytes text)
{
    if (!bytes_start_with(*rest, text))
        judge_fail(client, "not what separates parts");
    *rest = bytes_from(*rest, text.len);
}

static void judge_multipart(struct client *client)
{
    struct answer *answer = &client->answer;
    struct wanted wanted = wanted_of(ask_of(client), (unsigned)answer->version);
    struct bytes type = answer_field(answer, "Content-Type"),
                 start = BYTES("multipart/byteranges; boundary=");
    if (!bytes_start_with(type, start))
        judge_fail(client, "several ranges without a boundary");
    struct bytes boundary = bytes_from(type, start.len), rest = bytes_of(answer->kept, answer->kept_len);
    for (unsigned i = 0; i < wanted.count; i++) {
        expect_text(client, &rest, i == 0 && rest.ptr[0] == '-' ? BYTES("--") : BYTES("\r\n--"));
        expect_text(client, &rest, boundary);
        const uint8_t *end = memmem(rest.ptr, rest.len, "\r\n\r\n", 4);
        const uint8_t *range = memmem(rest.ptr, rest.len, "Content-Range: ", 15);
        if (!end || !range || range > end)
            judge_fail(client, "a part without its head");
        const uint8_t *line_end = memchr(range, '\r', (size_t)(end + 1 - range));
        check_content_range(
            client, bytes_of(range + 15, (size_t)(line_end - range) - 15), wanted.first[i], wanted.end[i]);
        rest = bytes_from(rest, (size_t)(end + 4 - rest.ptr));
        size_t len = (size_t)(wanted.end[i] - wanted.first[i]);
        if (rest.len < len)
            judge_fail(client, "a part that is too short");
        check_bytes(client, bytes_of(rest.ptr, len), wanted.first[i]);
        rest = bytes_from(rest, len);
    }
    expect_text(client, &rest, BYTES("\r\n--"));
    expect_text(client, &rest, boundary);
    expect_text(client, &rest, BYTES("--"));
}

static void check_patience(struct client *client)
{
    if (world_now_ns(client->world) > client->progress_ns + PATIENCE_NS)
        judge_fail(client, "nothing came for too long");
}

void judge_whole(struct client *client)
{
    const struct answer *answer = &client->answer;
    client->world->tally.whole++;
    if (answer->multipart)
        judge_multipart(client);
    client->world->tally.chunked += answer->chunked;
    if (answer->chunked && answer->at != ask_of(client)->object->lens[answer->version])
        judge_fail(client, "an end before the end");
    struct bytes x_cache = answer_field(answer, "X-Cache");
    world_trace(client->world, "client %u has %u, %llu bytes of version %d, %.*s", client->number,
        answer->status, (unsigned long long)answer->length, answer->version, (int)x_cache.len,
        (const char *)x_cache.ptr);
}

/* A body without a strong tag can't be gone on with when parts of it have left the cache. */
static bool may_fall_apart(const struct world *world, const struct object *object)
{
    const struct plan *plan = &world->plan;
    return !is_strong(object) && (plan->memory_is_small || !plan->memory || plan->disk_faults ||
                                     plan->memory_item_bytes != UINT64_MAX);
}

static bool may_be_cut(const struct client *client, const struct ask *ask)
{
    const struct world *world = client->world;
    uint64_t kept_ns = (world->plan.ttl_s + 60) * NS_PER_S;
    bool changed = ask->object->changed_ns && ask->asked_ns <= ask->object->changed_ns + kept_ns;
    return changed || is_faulty(client, ask) || may_fall_apart(world, ask->object);
}

void judge_cut(struct client *client)
{
    struct world *world = client->world;
    world_trace(world, "client %u is cut at %llu of %llu", client->number,
        (unsigned long long)client->answer.at, (unsigned long long)client->answer.length);
    if (world->dying)
        return;
    check_patience(client);
    if (world->draining && client->answer.head_len == 0)
        return; /* it was not read any more */
    world->tally.cut++;
    /* Where requests are pipelined, a later answer that is cut takes unread ones before it along. */
    bool excused = false;
    for (unsigned i = client->ask_at; i < client->ask_sent; i++)
        excused |= may_be_cut(client, &client->asks[i]);
    if (!excused)
        judge_fail(client, client->answer.in_body ? "cut without a cause" : "no answer");
}
