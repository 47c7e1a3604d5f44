/* The table of purges: what it hides, when it gives records up, what it does when it is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/memory.h"
#include "cache/purges.h"

static _Atomic uint64_t clock;
static struct purges *purges;
static struct memory *memory;

/* Keys are bucket '/' name NUL variant; the value is one tag. */
static size_t object_len(struct bytes key)
{
    const uint8_t *end = memchr(key.ptr, 0, key.len);
    return end != NULL ? (size_t)(end - key.ptr) + 1 : key.len;
}

static size_t bucket_len(struct bytes prefix)
{
    const uint8_t *end = prefix.len > 0 ? memchr(prefix.ptr, '/', prefix.len) : NULL;
    return end != NULL ? (size_t)(end - prefix.ptr) + 1 : 0;
}

static bool has_tag(const struct item *item, struct bytes tag)
{
    return bytes_equal(item_front(item), tag);
}

static const struct purge_view view = {object_len, bucket_len, has_tag};

static int set_up(void **state)
{
    (void)state;
    clock = 1000;
    assert_int_equal(purges_create(&purges), 0);
    purges_view(purges, &view);
    return memory_create(&memory, &(struct memory_config){.budget_bytes = 8u << 20});
}

static int tear_down(void **state)
{
    (void)state;
    purges_destroy(purges);
    memory_destroy(memory);
    return 0;
}

static struct item *item_of(enum item_kind kind, struct bytes key, const char *tag, uint64_t clear_of)
{
    struct item *item;
    uint32_t len = (uint32_t)strlen(tag);
    struct item_shape shape = {.value_len = len, .held_len = len};
    assert_int_equal(memory_take(memory, (struct item_key){kind, key}, shape, &item), 0);
    item_append(item, bytes_of(tag, len));
    item_complete(item);
    item_clear_of_set(item, clear_of);
    return item;
}

static enum purge_verdict judge_at(
    enum item_kind kind, struct bytes key, const char *tag, uint64_t clear_of, enum purge_where where)
{
    struct item *item = item_of(kind, key, tag, clear_of);
    enum purge_verdict verdict = purges_judge(purges, item, where);
    if (verdict == PURGE_CLEAR && kind != ITEM_CHUNK)
        assert_true(item_clear_of(item) >= clear_of);
    else
        assert_int_equal(item_clear_of(item), clear_of);
    item_unref(&item);
    return verdict;
}

static enum purge_verdict judge(const char *key, const char *tag, uint64_t clear_of)
{
    return judge_at(ITEM_HEAD, bytes_of_string(key), tag, clear_of, PURGE_IN_MEMORY);
}

static uint64_t add(const char *prefix, const char *tag, bool soft)
{
    struct purge purge = {bytes_of_string(prefix), bytes_of_string(tag), soft};
    uint64_t sequence;
    purges_add(purges, &purge, &clock, &sequence);
    return sequence;
}

static uint64_t records(void)
{
    struct purges_stats stats;
    purges_stats(purges, &stats);
    return stats.records;
}

static void what_a_purge_hides(void **state)
{
    (void)state;
    assert_int_equal(judge("a/x", "red", 5), PURGE_CLEAR);
    uint64_t at = add("a/", "red", false);
    assert_int_equal(judge("a/x", "red", at - 1), PURGE_GONE);
    assert_int_equal(judge("a/x", "red", at), PURGE_CLEAR);
    assert_int_equal(judge("a/x", "blue", at - 1), PURGE_CLEAR);
    assert_int_equal(judge("b/x", "red", at - 1), PURGE_CLEAR);
    uint64_t soft = add("b/", "", true);
    assert_int_equal(judge("b/x", "", soft - 1), PURGE_STALE);
    assert_int_equal(judge("b/x", "", soft + 1), PURGE_CLEAR);
    add("", "", false);
    assert_int_equal(judge("c", "", 7), PURGE_GONE);
    assert_int_equal(judge_at(ITEM_VARY, BYTES("c"), "", 7, PURGE_IN_MEMORY), PURGE_GONE);
    assert_int_equal(judge_at(ITEM_CHUNK, BYTES("c"), "", 7, PURGE_IN_MEMORY), PURGE_CLEAR);
}

static void the_harder_of_two_counts(void **state)
{
    (void)state;
    uint64_t soft = add("a/", "", true), hard = add("a/b", "", false);
    assert_int_equal(judge("a/b", "", soft - 1), PURGE_GONE);
    assert_int_equal(judge("a/c", "", soft - 1), PURGE_STALE);
    uint64_t later = add("a/b", "", true);
    assert_int_equal(judge("a/b", "", hard - 1), PURGE_GONE);
    assert_int_equal(judge("a/b", "", hard), PURGE_STALE);
    assert_int_equal(judge("a/b", "", later), PURGE_CLEAR);
}

static void a_judged_item_is_clear_of_all(void **state)
{
    (void)state;
    add("b/", "", false);
    struct item *item = item_of(ITEM_HEAD, BYTES("a/x"), "", 1);
    assert_int_equal(purges_judge(purges, item, PURGE_IN_MEMORY), PURGE_CLEAR);
    uint64_t clear = item_clear_of(item);
    assert_int_equal(clear, clock);
    add("a/", "", false);
    assert_int_equal(purges_judge(purges, item, PURGE_IN_MEMORY), PURGE_GONE);
    item_unref(&item);
}

static void never_clear(void **state)
{
    (void)state;
    assert_int_equal(judge("a/x", "", 0), PURGE_GONE);
}

static void an_object_with_its_variants(void **state)
{
    (void)state;
    struct bytes plain = BYTES("a/x\0"), version = BYTES("a/x\0v1");
    uint64_t at = purges_add_object(purges, plain, &clock);
    assert_int_equal(judge_at(ITEM_HEAD, version, "", at - 1, PURGE_ON_DISK), PURGE_GONE);
    assert_int_equal(judge_at(ITEM_HEAD, version, "", at, PURGE_ON_DISK), PURGE_CLEAR);
    assert_int_equal(judge_at(ITEM_HEAD, plain, "", at - 1, PURGE_IN_MEMORY), PURGE_GONE);
    /* Its record in the log hides that one; here it would suffer from others in its slot. */
    assert_int_equal(judge_at(ITEM_HEAD, plain, "", at - 1, PURGE_ON_DISK), PURGE_CLEAR);
    assert_int_equal(judge_at(ITEM_VARY, plain, "", at - 1, PURGE_ON_DISK), PURGE_GONE);
    assert_int_equal(purges_since(purges, version, at - 1), PURGE_GONE);
    assert_int_equal(purges_since(purges, version, at), PURGE_CLEAR);
}

static void unknown_tags_may_match(void **state)
{
    (void)state;
    uint64_t at = add("a/", "red", true);
    assert_int_equal(purges_since(purges, BYTES("a/x"), at - 1), PURGE_STALE);
    assert_int_equal(purges_since(purges, BYTES("b/x"), at - 1), PURGE_CLEAR);
}

static void a_later_purge_takes_the_place_of_what_it_covers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * PURGES_MAX; i++)
        add("a/", i % 2 ? "red" : "blue", false);
    assert_int_equal(records(), 2);
    add("a/", "", false);
    assert_int_equal(records(), 1);
    add("a/", "", true);
    assert_int_equal(records(), 2);
}

/* Until all devices have passed it and memory has been swept. */
static void a_record_goes(void **state)
{
    (void)state;
    uint64_t first = add("a/", "", false);
    purges_placed(purges, 0, first, 10);
    purges_placed(purges, 3, first, 20);
    purges_passed(purges, 0, 11);
    purges_swept(purges, first);
    add("b/", "", false);
    assert_int_equal(records(), 2);
    purges_passed(purges, 3, 20);
    add("c/", "", false);
    assert_int_equal(records(), 3);
    purges_passed(purges, 3, 21);
    add("d/", "", false);
    assert_int_equal(records(), 3);
    assert_int_equal(judge("z", "", first - 1), PURGE_GONE); /* it could have been hidden */
    assert_int_equal(judge("z", "", first), PURGE_CLEAR);
}

static void a_record_that_was_not_swept_stays(void **state)
{
    (void)state;
    uint64_t first = add("a/", "", false);
    purges_placed(purges, 0, first, 10);
    purges_left(purges, 0);
    add("b/", "", false);
    assert_int_equal(records(), 2);
    purges_swept(purges, first);
    add("c/", "", false);
    assert_int_equal(records(), 2);
}

static void a_full_table_widens_to_the_bucket(void **state)
{
    (void)state;
    char prefix[64];
    uint64_t at = 0, lone = add("lone/x", "", false);
    for (unsigned i = 1; i < PURGES_MAX; i++) {
        snprintf(prefix, sizeof prefix, "a/%05u", i);
        at = add(prefix, "", true);
    }
    struct purges_stats stats;
    purges_stats(purges, &stats);
    assert_int_equal(stats.records, PURGES_MAX);
    assert_int_equal(stats.widened, 0);
    assert_int_equal(judge("a/other", "", lone), PURGE_CLEAR);
    /* The oldest is alone in its bucket: the older half becomes one record for everything. */
    struct purge more = {.prefix = BYTES("a/more")};
    uint64_t sequence;
    assert_true(purges_add(purges, &more, &clock, &sequence));
    purges_stats(purges, &stats);
    assert_int_equal(stats.widened, 1);
    assert_int_equal(stats.records, PURGES_MAX / 2 + 2);
    assert_int_equal(judge("z", "", lone - 1), PURGE_GONE);
    assert_int_equal(judge("z", "", at), PURGE_CLEAR);
    snprintf(prefix, sizeof prefix, "a/%05u", PURGES_MAX - 1);
    assert_int_equal(judge(prefix, "", at - 1), PURGE_STALE);
}

static void many_of_one_bucket_become_one(void **state)
{
    (void)state;
    char prefix[64];
    for (unsigned i = 0; i < PURGES_MAX; i++) {
        snprintf(prefix, sizeof prefix, "%s/%05u", i % 4 == 3 ? "b" : "a", i);
        add(prefix, "", true);
    }
    add("a/last", "", false);
    uint64_t early = 1000 + 10;
    assert_int_equal(judge("a/other", "", early), PURGE_STALE);
    assert_int_equal(judge("b/other", "", early), PURGE_CLEAR);
    assert_int_equal(judge("b/00003", "", 1000), PURGE_STALE);
}

static void long_texts_are_bounded_too(void **state)
{
    (void)state;
    static char prefix[PURGE_PREFIX_MAX + 1];
    for (unsigned i = 0; i < 1000; i++) {
        memset(prefix, 'p', PURGE_PREFIX_MAX);
        snprintf(prefix, 16, "a/%05u", i);
        prefix[7] = 'p';
        add(prefix, "", false);
        struct purges_stats stats;
        purges_stats(purges, &stats);
        assert_true(stats.records <= PURGES_MAX);
    }
    assert_int_equal(judge("a/x", "", 1000), PURGE_GONE);
}

/* Random purges, judged against a list that never forgets. */
static void against_a_model(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", "a/", "a/x", "b/", "b/y", "b/yy"};
    static const char *const tags[] = {"", "red", "blue"};
    static const char *const keys[] = {"a/", "a/x1", "a/z", "b/y", "b/yyy", "c"};
    struct purge list[200];
    uint64_t at[200];
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct random random;
        random_init(&random, seed);
        for (unsigned n = 0; n < 20; n++) {
            const char *prefix = prefixes[1 + random_below(&random, 5)];
            list[n] = (struct purge){bytes_of_string(prefix), bytes_of_string(tags[random_below(&random, 3)]),
                random_below(&random, 2)};
            purges_add(purges, &list[n], &clock, &at[n]);
            const char *key = keys[random_below(&random, 6)], *tag = tags[random_below(&random, 3)];
            uint64_t since = at[0] + random_below(&random, n + 1) - (n > 0);
            enum purge_verdict expect = PURGE_CLEAR;
            for (unsigned i = 0; i <= n; i++)
                if (at[i] > since && bytes_start_with(bytes_of_string(key), list[i].prefix) &&
                    (list[i].tag.len == 0 || bytes_equal(list[i].tag, bytes_of_string(tag))) &&
                    expect != PURGE_GONE)
                    expect = list[i].soft ? PURGE_STALE : PURGE_GONE;
            if (judge(key, tag, since) != expect)
                fail_msg("seed %llu step %u", (unsigned long long)seed, n);
        }
    }
}

static void a_snapshot_brings_back_what_lies_on_the_device(void **state)
{
    (void)state;
    static uint8_t buf[PURGES_ENCODED_MAX];
    uint64_t first = add("a/", "red", true), second = add("b/", "", false), third = add("c/", "", false);
    purges_placed(purges, 0, first, 7);
    purges_placed(purges, 1, second, 8);
    purges_placed(purges, 0, third, 9);
    uint64_t object = purges_add_object(purges, BYTES("d/x\0"), &clock);
    size_t len = purges_encode(purges, 0, buf);
    purges_destroy(purges);
    assert_int_equal(purges_create(&purges), 0);
    purges_view(purges, &view);
    for (size_t cut = 0; cut < len; cut += cut < len - 200 ? 997 : 1)
        assert_int_equal(purges_decode(purges, 2, bytes_of(buf, cut)), E_CORRUPT);
    assert_int_equal(purges_decode(purges, 2, bytes_of(buf, len)), 0);
    assert_int_equal(records(), 2);
    assert_int_equal(judge("a/x", "red", first - 1), PURGE_STALE);
    assert_int_equal(judge("a/x", "red", first), PURGE_CLEAR);
    assert_int_equal(judge("b/x", "", second - 1), PURGE_CLEAR);
    assert_int_equal(judge("c/x", "", second), PURGE_GONE);
    assert_int_equal(judge_at(ITEM_HEAD, BYTES("d/x\0v"), "", object - 1, PURGE_ON_DISK), PURGE_GONE);
    /* The same record found on another device is the same record. */
    struct purge purge = {.prefix = BYTES("c/")};
    purges_found(purges, 5, third, 3, &purge);
    assert_int_equal(records(), 2);
    purges_swept(purges, clock);
    purges_left(purges, 2);
    add("e/", "", false);
    assert_int_equal(records(), 2); /* the one on device 5, and the new one */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_purge_hides),
        TEST(the_harder_of_two_counts),
        TEST(a_judged_item_is_clear_of_all),
        TEST(never_clear),
        TEST(an_object_with_its_variants),
        TEST(unknown_tags_may_match),
        TEST(a_later_purge_takes_the_place_of_what_it_covers),
        TEST(a_record_goes),
        TEST(a_record_that_was_not_swept_stays),
        TEST(a_full_table_widens_to_the_bucket),
        TEST(many_of_one_bucket_become_one),
        TEST(long_texts_are_bounded_too),
        TEST(against_a_model),
        TEST(a_snapshot_brings_back_what_lies_on_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
