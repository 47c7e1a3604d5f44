/* The value of a head item: what goes in comes out, damage is noticed, a 304 replaces what it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cache/memory.h"
#include "proxy/head.h"

struct stage {
    struct memory *memory;
    struct arena arena;
    _Alignas(16) unsigned char first[8192];
};

static int setup(void **state)
{
    static struct stage stage;
    struct memory_config config = {.budget_bytes = 8u << 20};
    arena_init(&stage.arena, stage.first, sizeof stage.first, 1u << 20);
    *state = &stage;
    return memory_create(&stage.memory, &config);
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    arena_reset(&stage->arena);
    memory_destroy(stage->memory);
    return 0;
}

static const struct caching s3 = {.enabled = true, .ttl_s = 3600};

#define FIELD(n, v)                                                                                          \
    {                                                                                                        \
        BYTES(n), BYTES(v)                                                                                   \
    }

static struct origin_head answer_of(const struct origin_field *fields, unsigned count)
{
    return (struct origin_head){.status = 200,
        .content_length = 5,
        .total = UINT64_MAX,
        .etag = BYTES("\"abc\""),
        .last_modified = BYTES("Sun, 06 Nov 1994 08:49:37 GMT"),
        .fields = fields,
        .field_count = count};
}

static const struct origin_field some_fields[] = {
    FIELD("Content-Type", "text/plain"),
    FIELD("ETag", "\"abc\""),
    FIELD("Content-Length", "5"),
    FIELD("x-amz-request-id", "123"),
    FIELD("x-amz-meta-Name", "v"),
    FIELD("x-amz-checksum-crc32", "AAAAAA=="),
    FIELD("Cache-Control", "max-age=60"),
    FIELD("Age", "7"),
};

static struct head made(struct stage *stage)
{
    struct head head;
    struct origin_head answer = answer_of(some_fields, 8);
    struct head_asked times = {.request_s = 1000, .response_s = 1000};
    assert_int_equal(head_from_origin(&head, &answer, &s3, times, 65536, &stage->arena), 0);
    return head;
}

static struct item *encoded(struct stage *stage, const struct head *head, struct bytes body)
{
    struct item *item;
    struct item_key key = {.kind = ITEM_HEAD, .bytes = BYTES("key")};
    uint32_t len = head_encoded_bytes(head);
    uint8_t *text = arena_take(&stage->arena, len);
    struct writer w = writer_of(text, len);
    head_encode(head, &w);
    assert_false(w.failed);
    struct item_shape shape = {.value_len = len + (uint32_t)body.len, .held_len = len + (uint32_t)body.len};
    assert_int_equal(memory_take(stage->memory, key, shape, &item), 0);
    item_append(item, writer_bytes(&w));
    item_append(item, body);
    item_complete(item);
    return item;
}

static void keeps_what_belongs_to_the_object(void **state)
{
    struct head head = made(*state);
    assert_true(
        bytes_equal(head.fields, BYTES("Content-Type: text/plain\r\nETag: \"abc\"\r\nx-amz-meta-Name: "
                                       "v\r\nCache-Control: max-age=60\r\n")));
    assert_true(bytes_equal(head.checksum_fields, BYTES("x-amz-checksum-crc32: AAAAAA==\r\n")));
    assert_true(head.strong);
    assert_int_equal(head.lifetime_s, 60);
    assert_int_equal(head.initial_age_s, 7);
    assert_int_equal(head_fresh_for(&head, &s3, 1010), 60 - 7 - 10);
    assert_int_equal(head.last_modified_s, 784111777);
}

/* RFC 9111 5.2.2.4, 5.2.2.7: and a 304 that names a field takes it from what is stored. */
static void named_fields_are_not_kept(void **state)
{
    struct stage *stage = *state;
    static const struct origin_field fields[] = {
        FIELD("X-One", "1"),
        FIELD("X-Two", "2"),
        FIELD("X-Three", "3"),
        FIELD("Cache-Control", "max-age=60, private=\"x-one\", no-cache=\"X-Two\""),
    };
    static const struct origin_field later[] = {FIELD("Cache-Control", "private=\"X-Three\", max-age=5")};
    struct head_asked times = {.request_s = 1000, .response_s = 1000};
    struct origin_head answer = answer_of(fields, 4);
    struct head head, fresh;
    assert_int_equal(head_from_origin(&head, &answer, &s3, times, 65536, &stage->arena), 0);
    assert_true(bytes_equal(head.fields,
        BYTES("X-Three: 3\r\nCache-Control: max-age=60, private=\"x-one\", no-cache=\"X-Two\"\r\n")));
    assert_true(!head.no_store && !head.no_cache && head.lifetime_s == 60);
    answer = answer_of(later, 1);
    assert_int_equal(head_freshen(&fresh, &head, &answer, &s3, times, &stage->arena), 0);
    assert_true(bytes_equal(fresh.fields, BYTES("Cache-Control: private=\"X-Three\", max-age=5\r\n")));
}

static void comes_back_as_it_was(void **state)
{
    struct stage *stage = *state;
    struct head head = made(stage), back;
    head.inline_body = true;
    struct item *item = encoded(stage, &head, BYTES("hello"));
    assert_int_equal(head_decode(&back, item, &stage->arena), 0);
    assert_true(bytes_equal(back.fields, head.fields));
    assert_true(bytes_equal(back.checksum_fields, head.checksum_fields));
    assert_true(bytes_equal(back.etag, head.etag));
    assert_memory_equal(back.body_id, head.body_id, BODY_ID_LEN);
    assert_int_equal(back.body_len, 5);
    assert_true(back.inline_body && back.strong && back.has_last_modified);
    assert_int_equal(back.lifetime_s, 60);
    uint8_t body[5];
    item_copy(item, back.encoded_bytes, 5, body);
    assert_memory_equal(body, "hello", 5);
    item_unref(&item);
}

/* Every prefix is refused, and no flipped byte makes the decoder read out of bounds (run under ASan). */
static void refuses_damage(void **state)
{
    struct stage *stage = *state;
    struct head head = made(stage), back;
    struct item *item = encoded(stage, &head, (struct bytes){0});
    uint32_t len = item_held_len(item);
    uint8_t text[1024];
    item_copy(item, 0, len, text);
    item_unref(&item);
    struct item_key key = {.kind = ITEM_HEAD, .bytes = BYTES("key")};
    for (uint32_t cut = 1; cut < len; cut++) {
        struct item_shape shape = {.value_len = cut, .held_len = cut};
        assert_int_equal(memory_take(stage->memory, key, shape, &item), 0);
        item_append(item, bytes_of(text, cut));
        item_complete(item);
        assert_int_equal(head_decode(&back, item, &stage->arena), E_CORRUPT);
        item_unref(&item);
    }
    for (uint32_t at = 0; at < len * 8; at++) {
        struct item_shape shape = {.value_len = len, .held_len = len};
        assert_int_equal(memory_take(stage->memory, key, shape, &item), 0);
        text[at / 8] ^= (uint8_t)(1u << at % 8);
        item_append(item, bytes_of(text, len));
        text[at / 8] ^= (uint8_t)(1u << at % 8);
        item_complete(item);
        int result = head_decode(&back, item, &stage->arena);
        assert_true(result == 0 || result == E_CORRUPT);
        item_unref(&item);
        arena_reset(&stage->arena);
    }
}

static void larger_than_one_extent(void **state)
{
    struct stage *stage = *state;
    static uint8_t value[30000];
    memset(value, 'x', sizeof value);
    struct origin_field field = {BYTES("x-amz-meta-large"), bytes_of(value, sizeof value)};
    struct origin_head answer = answer_of(&field, 1);
    struct head head, back;
    assert_int_equal(head_from_origin(&head, &answer, &s3, (struct head_asked){0}, 65536, &stage->arena), 0);
    struct item *item = encoded(stage, &head, (struct bytes){0});
    assert_int_equal(head_decode(&back, item, &stage->arena), 0);
    assert_true(bytes_equal(back.fields, head.fields));
    item_unref(&item);
}

static void a_304_replaces_what_it_names(void **state)
{
    struct stage *stage = *state;
    struct head head = made(stage), fresh;
    static const struct origin_field news[] = {
        FIELD("cache-control", "max-age=10"), FIELD("x-new", "1"), FIELD("Content-Length", "0")};
    struct origin_head answer = {.status = 304, .fields = news, .field_count = 3};
    struct head_asked times = {.request_s = 2000, .response_s = 2001};
    assert_int_equal(head_freshen(&fresh, &head, &answer, &s3, times, &stage->arena), 0);
    assert_true(bytes_equal(fresh.fields,
        BYTES(
            "Content-Type: text/plain\r\nETag: \"abc\"\r\nx-amz-meta-Name: v\r\ncache-control: max-age=10\r\n"
            "x-new: 1\r\n")));
    assert_memory_equal(fresh.body_id, head.body_id, BODY_ID_LEN);
    assert_int_equal(fresh.lifetime_s, 10);
    assert_int_equal(fresh.response_s, 2001);
    assert_int_equal(fresh.body_len, 5);
}

static void may_have_no_length_but_whole(void **state)
{
    struct stage *stage = *state;
    struct head head;
    struct origin_head answer = answer_of(NULL, 0);
    answer.content_length = UINT64_MAX;
    assert_int_equal(head_from_origin(&head, &answer, &s3, (struct head_asked){0}, 65536, &stage->arena), 0);
    assert_false(head_has_length(&head));
    assert_false(head_rest_fetchable(&head));
    answer.status = 206;
    answer.total = UINT64_MAX;
    assert_int_equal(
        head_from_origin(&head, &answer, &s3, (struct head_asked){0}, 65536, &stage->arena), E_PROTOCOL);
}

static void a_line_is_a_name_and_a_value(void **state)
{
    (void)state;
    static const struct {
        struct bytes text, name, value;
    } lines[] = {
        {BYTES("Name: a value \r\n"), BYTES("Name"), BYTES("a value")},
        {BYTES("A:b:c\r\n"), BYTES("A"), BYTES("b:c")},
        {BYTES("Empty:\r\n"), BYTES("Empty"), BYTES("")},
        {BYTES("no colon\r\n"), BYTES(""), BYTES("")},
        {BYTES("bare: end\n"), BYTES("bare"), BYTES("end")},
        {BYTES("\n"), BYTES(""), BYTES("")},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct bytes rest = lines[i].text;
        struct head_line line;
        assert_true(head_next_line(&rest, &line));
        assert_true(bytes_equal(line.text, lines[i].text));
        assert_true(bytes_equal(line.name, lines[i].name));
        assert_true(bytes_equal(line.value, lines[i].value));
        assert_false(head_next_line(&rest, &line));
    }
}

static struct head generic_head(
    struct stage *stage, const struct origin_field *fields, unsigned count, struct head_asked asked)
{
    static const struct caching generic = {.enabled = true,
        .generic = true,
        .ttl_s = DELTA_SECONDS_NONE,
        .heuristic_max_s = 86400,
        .set_cookie = SET_COOKIE_PASS};
    struct origin_head answer = answer_of(fields, count);
    struct head head;
    assert_int_equal(head_from_origin(&head, &answer, &generic, asked, 65536, &stage->arena), 0);
    return head;
}

/* Of any HTTP server: who asked with what decides what may be stored; who gets it alone gets all of it. */
static void of_any_http_server(void **state)
{
    struct stage *stage = *state;
    static const struct origin_field silent[] = {FIELD("x-amz-request-id", "1"), FIELD("Set-Cookie2", "a")};
    static const struct origin_field timed[] = {FIELD("Cache-Control", "max-age=60")};
    static const struct origin_field open[] = {FIELD("Cache-Control", "max-age=60, public")};
    static const struct origin_field cookie[] = {
        FIELD("Cache-Control", "max-age=60, private=\"Set-Cookie\""), FIELD("Set-Cookie", "a=1")};
    struct head_asked plain = {.request_s = 1000, .response_s = 1000}, authorized = plain, known = plain;
    authorized.authorized = known.cookie = true;
    struct head head = generic_head(stage, silent, 2, plain);
    assert_false(head.no_store || head.for_authorized);
    assert_true(head_has_line(head.fields, BYTES("x-amz-request-id")));
    assert_true(generic_head(stage, silent, 2, known).no_store);
    assert_false(generic_head(stage, timed, 1, known).no_store);
    static const struct origin_field stale[] = {FIELD("Cache-Control", "max-age=0")};
    assert_false(generic_head(stage, stale, 1, known).no_store);
    assert_true(generic_head(stage, timed, 1, authorized).no_store);
    head = generic_head(stage, open, 1, authorized);
    assert_true(!head.no_store && head.for_authorized);
    head = generic_head(stage, cookie, 2, plain);
    assert_true(head.no_store && head_has_line(head.fields, BYTES("set-cookie")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_belongs_to_the_object, setup, teardown),
        cmocka_unit_test_setup_teardown(named_fields_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(larger_than_one_extent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_304_replaces_what_it_names, setup, teardown),
        cmocka_unit_test_setup_teardown(may_have_no_length_but_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(of_any_http_server, setup, teardown),
        cmocka_unit_test(a_line_is_a_name_and_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
