#include "proxy/head.h"

#include "base/error.h"
#include "base/random.h"
#include "http/date.h"
#include "http/etag.h"
#include "http/freshness.h"
#include "http/storable.h"
#include "proxy/tags.h"

#define HEAD_VERSION 2
#define HEAD_FIXED_BYTES 96
#define NO_WINDOW UINT32_MAX

enum {
    FLAG_INLINE = 1,
    FLAG_STRONG = 2,
    FLAG_NO_CACHE = 4,
    FLAG_LAST_MODIFIED = 8,
    FLAG_MUST_REVALIDATE = 16,
    FLAG_S_MAXAGE = 32,
    FLAG_IMMUTABLE = 64,
    FLAG_FOR_AUTHORIZED = 128
};

static bool is_among(const struct bytes *names, size_t count, struct bytes name)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal_nocase(name, names[i]))
            return true;
    return false;
}

/* Of any server's: framing, what each reply has anew, and what would be said twice. */
static bool generic_is_dropped(struct bytes name)
{
    static const struct bytes dropped[] = {BYTES("content-length"), BYTES("content-range"), BYTES("date"),
        BYTES("age"), BYTES("x-cache"), BYTES("x-request-id")};
    return is_among(dropped, sizeof dropped / sizeof *dropped, name);
}

/* Field lines that belong to one transfer or one hop, are made anew for each reply, or say nothing to a
 * client. */
static bool field_is_dropped(struct bytes name, const struct caching *caching)
{
    static const struct bytes dropped[] = {
        BYTES("connection"),
        BYTES("keep-alive"),
        BYTES("transfer-encoding"),
        BYTES("content-length"),
        BYTES("content-range"),
        BYTES("date"),
        BYTES("age"),
        BYTES("server"),
        BYTES("accept-ranges"),
        BYTES("x-amz-request-id"),
        BYTES("x-amz-id-2"),
        BYTES("proxy-authenticate"),
        BYTES("trailer"),
        BYTES("upgrade"),
        BYTES("te"),
        BYTES("via"),
        BYTES("x-cache"),
        BYTES("cache-status"),
        BYTES("x-request-id"),
        BYTES("proxy-connection"),
    };
    if (caching->generic ? generic_is_dropped(name)
                         : is_among(dropped, sizeof dropped / sizeof *dropped, name))
        return true;
    return caching->set_cookie == SET_COOKIE_STRIP && bytes_equal_nocase(name, BYTES("set-cookie"));
}

static bool field_is_checksum(struct bytes name)
{
    static const char prefix[] = "x-amz-checksum-";
    return name.len >= sizeof prefix - 1 &&
           bytes_equal_nocase(bytes_of(name.ptr, sizeof prefix - 1), BYTES("x-amz-checksum-"));
}

static void write_line(struct writer *w, struct origin_field field)
{
    write_bytes(w, field.name);
    write_bytes(w, BYTES(": "));
    write_bytes(w, field.value);
    write_bytes(w, BYTES("\r\n"));
}

static struct bytes find(const struct origin_head *answer, struct bytes name)
{
    for (unsigned i = 0; i < answer->field_count; i++)
        if (bytes_equal_nocase(answer->fields[i].name, name))
            return answer->fields[i].value;
    return (struct bytes){0};
}

static void read_times(struct head *head, const struct origin_head *answer, struct head_asked asked)
{
    struct bytes date = find(answer, BYTES("date"));
    if (!date.ptr || !date_parse(date, asked.response_s, &head->date_s))
        head->date_s = asked.response_s;
    struct bytes age = find(answer, BYTES("age"));
    head->response_s = asked.response_s;
    head->initial_age_s = age_initial(&(struct age_input){
        .age_value_s = age.ptr ? age_parse(age) : 0,
        .date_s = head->date_s,
        .request_time_s = asked.request_s,
        .response_time_s = asked.response_s,
    });
}

/* RFC 9111 5.2.2.4 and 5.2.2.7: fields that no-cache and private name are not kept. The directives borrow
 * from the lines, so these are copied, not moved. */
static int drop_named(struct head *head, const struct cache_control *control, struct arena *arena)
{
    struct bytes rest = head->fields;
    struct head_line line;
    if (control->no_cache_fields.count + control->private_fields.count == 0)
        return 0;
    uint8_t *kept = arena_take(arena, rest.len);
    if (!kept)
        return E_TOO_LARGE;
    struct writer w = writer_of(kept, rest.len);
    while (head_next_line(&rest, &line)) {
        if (!named_fields_have(&control->no_cache_fields, line.name) &&
            !named_fields_have(&control->private_fields, line.name))
            write_bytes(&w, line.text);
    }
    head->fields = writer_bytes(&w);
    return 0;
}

bool head_has_line(struct bytes fields, struct bytes wanted)
{
    struct head_line line;
    while (head_next_line(&fields, &line))
        if (bytes_equal_nocase(line.name, wanted))
            return true;
    return false;
}

/* A targeted field (RFC 9213 2.2): 1 where it is there and valid, 0, or E_TOO_LARGE of the arena. */
static int read_targeted(
    struct bytes fields, struct bytes wanted, struct cache_control *control, struct arena *arena)
{
    struct head_line line;
    if (!head_has_line(fields, wanted))
        return 0;
    uint8_t *joined = arena_take(arena, fields.len);
    if (!joined)
        return E_TOO_LARGE;
    struct writer w = writer_of(joined, fields.len);
    while (head_next_line(&fields, &line)) {
        if (!bytes_equal_nocase(line.name, wanted))
            continue;
        if (w.at > joined)
            write_bytes(&w, BYTES(", "));
        write_bytes(&w, line.value);
    }
    CHECK(!w.failed);
    return cache_control_targeted(control, writer_bytes(&w));
}

/* What the answer says about caching, from the fields that count: ours, that for CDNs, or else Cache-Control
 * and Expires. */
static int read_directives(struct bytes fields, const struct caching *caching, struct cache_control *control,
    struct bytes *expires, struct arena *arena)
{
    struct head_line line;
    int targeted = 0;
    cache_control_init(control);
    *expires = (struct bytes){0};
    if (!(caching->ignored & CACHING_IGNORE_TARGETED)) {
        targeted = read_targeted(fields, BYTES("yatagarasu-cache-control"), control, arena);
        if (targeted == 0)
            targeted = read_targeted(fields, BYTES("cdn-cache-control"), control, arena);
    }
    if (targeted != 0)
        return targeted < 0 ? targeted : 0;
    while (head_next_line(&fields, &line)) {
        if (bytes_equal_nocase(line.name, BYTES("cache-control")) &&
            !(caching->ignored & CACHING_IGNORE_CACHE_CONTROL))
            cache_control_add(control, line.value);
        else if (bytes_equal_nocase(line.name, BYTES("expires")) &&
                 !(caching->ignored & CACHING_IGNORE_EXPIRES))
            *expires = expires->ptr ? BYTES("0") : line.value;
    }
    return 0;
}

static bool has_configured_ttl(const struct head *head, const struct caching *caching)
{
    return caching_status_ttl(caching, head->status) > 0 ||
           (head->status == 200 && caching->ttl_s != DELTA_SECONDS_NONE);
}

static int read_freshness(
    struct head *head, const struct caching *caching, struct head_asked asked, struct arena *arena)
{
    struct cache_control control;
    struct bytes expires;
    int result = read_directives(head->fields, caching, &control, &expires, arena);
    if (result < 0)
        return result;
    /* RFC 9111 5.2.2.3 */
    control.no_store &= !(control.must_understand && status_is_understood(head->status));
    struct freshness freshness = freshness_of(&(struct freshness_input){
        .control = &control,
        .expires = expires,
        .date_s = head->date_s,
        .bucket_ttl_s = DELTA_SECONDS_NONE,
        .now_s = asked.response_s,
    });
    struct storable_input storable = {
        .control = &control,
        .status = head->status,
        .reads = true,
        .authorization = asked.authorized,
        .has_expires = expires.ptr != NULL,
        .has_ttl = has_configured_ttl(head, caching),
        .heuristics = caching->heuristic_max_s > 0 && !asked.cookie,
    };
    bool cookie = caching->set_cookie == SET_COOKIE_PASS && head_has_line(head->fields, BYTES("set-cookie"));
    bool speaks = freshness.source != FRESHNESS_DEFAULT && freshness.source != FRESHNESS_NO_STORE;
    /* What can neither be used nor be asked about is not worth its place. */
    bool useless =
        caching->generic && !speaks && !storable.has_ttl && head->etag.len == 0 && !head->has_last_modified;
    /* A date is no proof that what one client got is what another would get. */
    bool doubtful =
        asked.cookie && head->etag.len == 0 && (control.no_cache || (speaks && freshness.lifetime_s <= 0));
    head->no_store =
        cookie || useless || (caching->generic && doubtful) || storable_judge(&storable) != STORABLE;
    head->no_cache = control.no_cache;
    head->lifetime_s = speaks ? freshness.lifetime_s : DELTA_SECONDS_NONE;
    head->must_revalidate = control.must_revalidate || control.proxy_revalidate;
    head->has_s_maxage = control.s_maxage_s != DELTA_SECONDS_NONE;
    head->immutable = control.immutable;
    head->for_authorized = storable_by_authorized(&control);
    head->stale_while_revalidate_s = control.stale_while_revalidate_s;
    head->stale_if_error_s = control.stale_if_error_s;
    /* Who gets a generic origin's answer alone gets all of it. */
    return caching->generic && head->no_store ? 0 : drop_named(head, &control, arena);
}

static void read_validators(struct head *head, struct bytes etag, struct bytes last_modified, int64_t now_s)
{
    struct etag tag;
    head->etag = etag;
    head->strong = etag.len > 0 && etag_parse(etag, &tag) && !tag.weak;
    head->has_last_modified =
        last_modified.len > 0 && date_parse(last_modified, now_s, &head->last_modified_s);
}

int head_from_origin(struct head *head, const struct origin_head *answer, const struct caching *caching,
    struct head_asked asked, uint32_t chunk_bytes, struct arena *arena)
{
    uint64_t body_len = answer->status == 206 ? answer->total : answer->content_length;
    if (answer->status == 204 || answer->status == 304)
        body_len = 0;
    if (body_len == UINT64_MAX && answer->status == 206)
        return E_PROTOCOL;
    size_t room = 0;
    for (unsigned i = 0; i < answer->field_count; i++)
        room += answer->fields[i].name.len + answer->fields[i].value.len + 4;
    if (room > HEAD_FIELDS_MAX)
        return E_TOO_LARGE;
    uint8_t *lines = arena_take(arena, room), *sums = arena_take(arena, room);
    struct bytes etag = arena_copy(arena, answer->etag);
    if (!lines || !sums || !etag.ptr || etag.len > UINT16_MAX)
        return E_TOO_LARGE;
    struct writer w = writer_of(lines, room), s = writer_of(sums, room);
    for (unsigned i = 0; i < answer->field_count; i++)
        if (!caching->generic && field_is_checksum(answer->fields[i].name))
            write_line(&s, answer->fields[i]);
        else if (!field_is_dropped(answer->fields[i].name, caching))
            write_line(&w, answer->fields[i]);
    *head = (struct head){
        .status = answer->status == 206 ? 200 : (uint16_t)answer->status,
        .chunk_bytes = chunk_bytes,
        .body_len = body_len,
        .fields = writer_bytes(&w),
        .checksum_fields = answer->status == 200 ? writer_bytes(&s) : (struct bytes){0},
    };
    random_os(head->body_id, sizeof head->body_id);
    read_times(head, answer, asked);
    read_validators(head, etag, answer->last_modified, asked.response_s);
    head->strong &= head->status == 200; /* parts of anything else are not asked for */
    return read_freshness(head, caching, asked, arena);
}

/* What a 304 can't change: it names the representation we hold, the stored bytes are as encoded as they are,
 * and a Content-Type in an answer without a body is some servers' default for any answer (versitygw's:
 * application/xml), not the object's. RFC 9111 3.2 lets a cache leave them out. */
static bool field_is_fixed(struct bytes name)
{
    return bytes_equal_nocase(name, BYTES("content-type")) || bytes_equal_nocase(name, BYTES("etag")) ||
           bytes_equal_nocase(name, BYTES("content-encoding"));
}

/* Copies the stored lines whose names the answer does not repeat. */
static void write_kept(struct writer *w, struct bytes stored, const struct origin_head *answer)
{
    struct head_line line;
    while (head_next_line(&stored, &line)) {
        if (field_is_fixed(line.name) || !find(answer, line.name).ptr)
            write_bytes(w, line.text);
    }
}

int head_freshen(struct head *head, const struct head *stored, const struct origin_head *answer,
    const struct caching *caching, struct head_asked asked, struct arena *arena)
{
    size_t room = stored->fields.len;
    for (unsigned i = 0; i < answer->field_count; i++)
        room += answer->fields[i].name.len + answer->fields[i].value.len + 4;
    uint8_t *lines = room > HEAD_FIELDS_MAX ? NULL : arena_take(arena, room);
    if (!lines)
        return E_TOO_LARGE;
    struct writer w = writer_of(lines, room);
    write_kept(&w, stored->fields, answer);
    for (unsigned i = 0; i < answer->field_count; i++)
        if (!field_is_checksum(answer->fields[i].name) &&
            !field_is_dropped(answer->fields[i].name, caching) && !field_is_fixed(answer->fields[i].name))
            write_line(&w, answer->fields[i]);
    CHECK(!w.failed);
    *head = *stored;
    head->fields = writer_bytes(&w);
    read_times(head, answer, asked);
    if (answer->last_modified.len)
        read_validators(head, stored->etag, answer->last_modified, asked.response_s);
    asked.authorized = asked.cookie = false; /* what is stored could be */
    return read_freshness(head, caching, asked, arena);
}

uint32_t head_encoded_bytes(const struct head *head)
{
    return (uint32_t)(HEAD_FIXED_BYTES + head->etag.len + head->tags.len + head->fields.len +
                      head->checksum_fields.len);
}

static uint32_t encode_window(int64_t seconds)
{
    static_assert(DELTA_SECONDS_MAX < NO_WINDOW, "a window fits");
    return seconds == DELTA_SECONDS_NONE ? NO_WINDOW : (uint32_t)seconds;
}

/* What was not written by us is at most what could have been. */
static int64_t decode_window(uint32_t seconds)
{
    if (seconds == NO_WINDOW)
        return DELTA_SECONDS_NONE;
    return seconds < DELTA_SECONDS_MAX ? seconds : DELTA_SECONDS_MAX;
}

void head_encode(const struct head *head, struct writer *w)
{
    const uint8_t *start = w->at;
    CHECK(head_has_length(head));
    write_u8(w, HEAD_VERSION);
    write_u8(w,
        (uint8_t)((head->inline_body ? FLAG_INLINE : 0) | (head->strong ? FLAG_STRONG : 0) |
                  (head->no_cache ? FLAG_NO_CACHE : 0) | (head->has_last_modified ? FLAG_LAST_MODIFIED : 0) |
                  (head->must_revalidate ? FLAG_MUST_REVALIDATE : 0) |
                  (head->has_s_maxage ? FLAG_S_MAXAGE : 0) | (head->immutable ? FLAG_IMMUTABLE : 0) |
                  (head->for_authorized ? FLAG_FOR_AUTHORIZED : 0)));
    write_u16(w, head->status);
    write_u32(w, head->chunk_bytes);
    write_u64(w, head->body_len);
    write_bytes(w, bytes_of(head->body_id, BODY_ID_LEN));
    write_u64(w, (uint64_t)head->response_s);
    write_u64(w, (uint64_t)head->date_s);
    write_u64(w, (uint64_t)head->initial_age_s);
    write_u64(w, (uint64_t)head->lifetime_s);
    write_u64(w, (uint64_t)head->last_modified_s);
    write_u32(w, encode_window(head->stale_while_revalidate_s));
    write_u32(w, encode_window(head->stale_if_error_s));
    write_u16(w, (uint16_t)head->etag.len);
    write_u16(w, (uint16_t)head->tags.len);
    write_u32(w, (uint32_t)head->fields.len);
    write_u32(w, (uint32_t)head->checksum_fields.len);
    write_u32(w, 0); /* reserved */
    write_bytes(w, head->etag);
    write_bytes(w, head->tags);
    write_bytes(w, head->fields);
    write_bytes(w, head->checksum_fields);
    CHECK(w->failed || (uint32_t)(w->at - start) == head_encoded_bytes(head));
}

static int decode_fixed(struct head *head, struct reader *r, uint32_t lens[4])
{
    uint8_t version = read_u8(r), flags = read_u8(r);
    *head = (struct head){
        .inline_body = flags & FLAG_INLINE,
        .strong = flags & FLAG_STRONG,
        .no_cache = flags & FLAG_NO_CACHE,
        .has_last_modified = flags & FLAG_LAST_MODIFIED,
        .must_revalidate = flags & FLAG_MUST_REVALIDATE,
        .has_s_maxage = flags & FLAG_S_MAXAGE,
        .immutable = flags & FLAG_IMMUTABLE,
        .for_authorized = flags & FLAG_FOR_AUTHORIZED,
        .status = read_u16(r),
        .chunk_bytes = read_u32(r),
        .body_len = read_u64(r),
    };
    struct bytes id = read_bytes(r, BODY_ID_LEN);
    memcpy(head->body_id, id.ptr, id.len);
    head->response_s = (int64_t)read_u64(r);
    head->date_s = (int64_t)read_u64(r);
    head->initial_age_s = (int64_t)read_u64(r);
    head->lifetime_s = (int64_t)read_u64(r);
    head->last_modified_s = (int64_t)read_u64(r);
    head->stale_while_revalidate_s = decode_window(read_u32(r));
    head->stale_if_error_s = decode_window(read_u32(r));
    lens[0] = read_u16(r);
    lens[1] = read_u16(r);
    lens[2] = read_u32(r);
    lens[3] = read_u32(r);
    (void)read_u32(r);
    bool power_of_two = head->chunk_bytes && (head->chunk_bytes & (head->chunk_bytes - 1)) == 0;
    if (r->failed || version != HEAD_VERSION || !power_of_two || head->chunk_bytes > ITEM_VALUE_MAX ||
        head->body_len > ORIGIN_LENGTH_MAX || lens[2] > HEAD_FIELDS_MAX || lens[3] > HEAD_FIELDS_MAX ||
        (head->lifetime_s != DELTA_SECONDS_NONE &&
            (head->lifetime_s < 0 || head->lifetime_s > DELTA_SECONDS_MAX)))
        return E_CORRUPT;
    return 0;
}

static bool ends_its_lines(struct bytes fields)
{
    return fields.len == 0 || fields.ptr[fields.len - 1] == '\n';
}

bool head_read_tags(struct head *head, struct bytes field, struct arena *arena)
{
    head->tags = tags_of_lines(head->fields, field, arena);
    return head->tags.ptr != NULL;
}

bool head_item_has_tag(const struct item *item, struct bytes tag)
{
    uint8_t fixed[HEAD_FIXED_BYTES], tags[TAGS_MAX];
    uint32_t held = item_held_len(item), lens[4];
    struct head head;
    if (held < HEAD_FIXED_BYTES)
        return false;
    item_copy(item, 0, HEAD_FIXED_BYTES, fixed);
    struct reader r = reader_of(bytes_of(fixed, sizeof fixed));
    if (decode_fixed(&head, &r, lens) < 0 || (uint64_t)HEAD_FIXED_BYTES + lens[0] + lens[1] > held)
        return false;
    item_copy(item, HEAD_FIXED_BYTES + lens[0], lens[1], tags);
    return tags_have(bytes_of(tags, lens[1]), tag);
}

int head_decode(struct head *head, const struct item *item, struct arena *arena)
{
    uint8_t fixed[HEAD_FIXED_BYTES];
    uint32_t held = item_held_len(item), lens[4];
    if (held < HEAD_FIXED_BYTES || item_filled(item) < HEAD_FIXED_BYTES)
        return E_CORRUPT;
    item_copy(item, 0, HEAD_FIXED_BYTES, fixed);
    struct reader r = reader_of(bytes_of(fixed, sizeof fixed));
    int result = decode_fixed(head, &r, lens);
    uint64_t whole = (uint64_t)HEAD_FIXED_BYTES + lens[0] + lens[1] + lens[2] + lens[3];
    if (result < 0 || whole > item_filled(item) ||
        (head->inline_body && (head->body_len > HEAD_INLINE_MAX || whole + head->body_len != held)))
        return E_CORRUPT;
    struct bytes front = item_front(item);
    if (front.len < whole) {
        uint8_t *copy = arena_take(arena, whole);
        if (!copy)
            return E_EXHAUSTED;
        item_copy(item, 0, (uint32_t)whole, copy);
        front = bytes_of(copy, whole);
    }
    r = reader_of(bytes_of(front.ptr + HEAD_FIXED_BYTES, whole - HEAD_FIXED_BYTES));
    head->etag = read_bytes(&r, lens[0]);
    head->tags = read_bytes(&r, lens[1]);
    head->fields = read_bytes(&r, lens[2]);
    head->checksum_fields = read_bytes(&r, lens[3]);
    CHECK(!r.failed);
    if (!ends_its_lines(head->fields) || !ends_its_lines(head->checksum_fields))
        return E_CORRUPT;
    head->encoded_bytes = (uint32_t)whole;
    return 0;
}

bool head_copy(struct head *to, const struct head *from, struct arena *arena)
{
    *to = *from;
    to->etag = arena_copy(arena, from->etag);
    to->tags = arena_copy(arena, from->tags);
    to->fields = arena_copy(arena, from->fields);
    to->checksum_fields = arena_copy(arena, from->checksum_fields);
    return to->etag.ptr && to->tags.ptr && to->fields.ptr && to->checksum_fields.ptr;
}

int64_t head_age(const struct head *head, int64_t now_s)
{
    return age_current(head->initial_age_s, head->response_s, now_s);
}

/* The configured time for this status. */
static int64_t configured_ttl(const struct head *head, const struct caching *caching)
{
    return head->status == 200 ? caching->ttl_s : caching_status_ttl(caching, head->status);
}

static int64_t lifetime(const struct head *head, const struct caching *caching)
{
    int64_t ttl_s = configured_ttl(head, caching);
    if (head->lifetime_s != DELTA_SECONDS_NONE && !(caching->ttl_overrides && ttl_s != DELTA_SECONDS_NONE))
        return head->lifetime_s;
    if (ttl_s != DELTA_SECONDS_NONE)
        return ttl_s;
    if (caching->heuristic_max_s > 0 && head->has_last_modified && status_is_heuristic(head->status))
        return freshness_heuristic(head->date_s, head->last_modified_s, caching->heuristic_max_s);
    return 0;
}

int64_t head_fresh_for(const struct head *head, const struct caching *caching, int64_t now_s)
{
    return lifetime(head, caching) - head_age(head, now_s);
}

/* RFC 9111 4.2.4. A window that stands beside s-maxage in the answer is meant for shared caches; a configured
 * one would be against it. */
static int64_t window(const struct head *head, int64_t stated_s, int64_t configured_s)
{
    if (head->no_cache || head->must_revalidate)
        return 0;
    if (stated_s != DELTA_SECONDS_NONE)
        return stated_s;
    return head->has_s_maxage ? 0 : configured_s;
}

int64_t head_stale_while_revalidate(const struct head *head, const struct caching *caching)
{
    return window(head, head->stale_while_revalidate_s, caching->stale_while_revalidate_s);
}

int64_t head_stale_if_error(const struct head *head, const struct caching *caching)
{
    return window(head, head->stale_if_error_s, caching->stale_if_error_s);
}

bool head_next_line(struct bytes *rest, struct head_line *line)
{
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->ptr, '\n', rest->len);
    CHECK(end);
    struct bytes text = bytes_of(rest->ptr, (size_t)(end - rest->ptr) + 1), value = {0};
    size_t name_len = 0, len = text.len - (text.len > 1 && end[-1] == '\r' ? 2 : 1);
    const uint8_t *colon = memchr(text.ptr, ':', len);
    if (colon) {
        name_len = (size_t)(colon - text.ptr);
        value = bytes_trim(bytes_of(colon + 1, len - name_len - 1));
    }
    *line = (struct head_line){.text = text, .name = bytes_of(text.ptr, name_len), .value = value};
    *rest = bytes_from(*rest, text.len);
    return true;
}
