/* What the admin listener tells of the cache, and of one object in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/cache_page.h"
#include "base/error.h"

static struct proxy_look look;
static uint8_t buf[4096];

static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *bucket, *key, *host, *raw;
    } cases[] = {
        {"key=b:k", "b", "k"},
        {"key=b:a%20b/c", "b", "a b/c"},
        {"key=b%3Ak", "b", "k"},
        {"key=b:k:l", "b", "k:l"},
        {"key=b::", "b", ":"},
        {"key=b:a+b", "b", "a+b"},
        {"key=b:a=b", "b", "a=b"},
        {"&key=b:%c3%a9&", "b", "\xc3\xa9"},
        {"query=a%3D1%26b=%2526&host=h:1&key=b:k", "b", "k", "h:1", "a=1&b=%26"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = cache_info_parse(bytes_of_string(cases[i].query), buf, &look);
        if (why)
            fail_msg("%s: %s", cases[i].query, why);
        assert_true(bytes_equal(look.bucket, bytes_of_string(cases[i].bucket)));
        assert_true(bytes_equal(look.key, bytes_of_string(cases[i].key)));
        assert_true(bytes_equal(look.host, bytes_of_string(cases[i].host ? cases[i].host : "")));
        assert_true(bytes_equal(look.query, bytes_of_string(cases[i].raw ? cases[i].raw : "")));
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "key", "key=", "key=b", "key=b:", "key=:k",
        "key=:", "key=b:k&key=b:l", "key=b:k&x=1", "x=1&key=b:k", "host=h", "key=b:k&host=", "key=b:k&query",
        "key=b:k&host=a&host=a", "Key=b:k", "key=b:%zz", "key=b:%00", "key=b:%ff"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!cache_info_parse(bytes_of_string(cases[i]), buf, &look))
            fail_msg("taken: %s", cases[i]);
    assert_non_null(cache_info_parse((struct bytes){0}, buf, &look));
}

static void expect_info(int result, unsigned status, const char *text)
{
    char answer[4096] = {0};
    struct writer w = writer_of(answer, sizeof answer - 1);
    assert_int_equal(cache_info_write(&w, &look, result), status);
    assert_false(w.failed);
    assert_string_equal(answer, text);
}

static void info(void **state)
{
    (void)state;
    look = (struct proxy_look){.bucket = BYTES("b"), .key = BYTES("k")};
    expect_info(0, 200, "{\"bucket\":\"b\",\"key\":\"k\",\"stored\":false}\n");
    (void)vary_add(&look.vary, BYTES("X-A"));
    expect_info(0, 200, "{\"bucket\":\"b\",\"key\":\"k\",\"stored\":false,\"vary\":\"x-a\"}\n");
    vary_init(&look.vary);
    look.was_stored = true;
    look.tier = CACHE_DISK;
    look.status = 200;
    look.length = 700000;
    look.age_s = 7;
    look.fresh_for_s = -3;
    look.chunks = 3;
    look.chunks_stored = 2;
    expect_info(0, 200,
        "{\"bucket\":\"b\",\"key\":\"k\",\"stored\":true,\"head_in\":\"disk\",\"status\":200,\"length\":"
        "700000,"
        "\"fresh\":false,\"fresh_for_seconds\":-3,\"age_seconds\":7,\"softly_purged\":false,\"chunks\":3,"
        "\"chunks_stored\":2}\n");
    look.tier = CACHE_MEMORY;
    look.fresh = look.softly_purged = true;
    look.chunks = look.chunks_stored = 0;
    memcpy(look.etag, "\"a\"", look.etag_len = 3);
    memcpy(look.tags, "red green", look.tags_len = 9);
    expect_info(0, 200,
        "{\"bucket\":\"b\",\"key\":\"k\",\"stored\":true,\"head_in\":\"memory\",\"status\":200,\"length\":"
        "700000,"
        "\"etag\":\"\\\"a\\\"\",\"tags\":\"red "
        "green\",\"fresh\":true,\"fresh_for_seconds\":-3,\"age_seconds\":7,"
        "\"softly_purged\":true,\"chunks\":0,\"chunks_stored\":0}\n");
    expect_info(E_MISSING, 404,
        "{\"error\":\"Not Found\",\"message\":\"no bucket is configured under this name\",\"status\":404}\n");
    expect_info(E_EXHAUSTED, 503,
        "{\"error\":\"Service Unavailable\",\"message\":\"the disk does not answer in "
        "time\",\"status\":503}\n");
    expect_info(E_TOO_LARGE, 400,
        "{\"error\":\"Bad Request\",\"message\":\"the key or query is too long\",\"status\":400}\n");
}

static void expect_stats(
    const struct metrics_source *source, const char *bucket, unsigned status, const char *text)
{
    static const struct purges_stats purges = {.records = 2, .added = 3, .added_objects = 4, .widened = 1};
    char answer[4096] = {0};
    struct writer w = writer_of(answer, sizeof answer - 1);
    assert_int_equal(cache_stats_write(&w, source, &purges, bytes_of_string(bucket)), status);
    assert_false(w.failed);
    assert_string_equal(answer, text);
}

#define EMPTY_RESULTS "{\"HIT\":0,\"MISS\":0,\"PARTIAL\":0,\"REVALIDATED\":0,\"BYPASS\":0,\"NONE\":0}"
#define BUCKET_A                                                                                             \
    "{\"bucket\":\"a\",\"requests\":3,\"results\":{\"HIT\":2,\"MISS\":1,\"PARTIAL\":0,\"REVALIDATED\":0,"    \
    "\"BYPASS\":0,"                                                                                          \
    "\"NONE\":0},\"hits_memory\":2,\"hits_disk\":0,\"bytes_sent\":30,\"bytes_saved\":20}"
#define BUCKET_B                                                                                             \
    "{\"bucket\":\"b\",\"requests\":0,\"results\":" EMPTY_RESULTS                                            \
    ",\"hits_memory\":0,\"hits_disk\":0,\"bytes_sent\":0,\"bytes_saved\":0}"

static void stats(void **state)
{
    (void)state;
    static struct bucket_stats a, b;
    counter_add(&a.requests, 3);
    counter_add(&a.results[RESULT_HIT], 2);
    counter_add(&a.results[RESULT_MISS], 1);
    counter_add(&a.hits_memory, 2);
    counter_add(&a.bytes_sent, 30);
    counter_add(&a.bytes_saved, 20);
    const struct metrics_bucket buckets[] = {{.name = "a", .stats = &a}, {.name = "b", .stats = &b}};
    const struct memory_stats memory = {.budget_bytes = 9,
        .used_bytes = 8,
        .pinned_bytes = 7,
        .items = 6,
        .hits = 5,
        .misses = 4,
        .evictions = 3};
    const struct disk_stats disk = {.capacity_bytes = 19,
        .items = 18,
        .index_bytes = 17,
        .waiting_bytes = 16,
        .hits = 15,
        .misses = 14,
        .evicted = 13,
        .corrupt = 12,
        .written_bytes = 11,
        .devices = 2,
        .devices_out = 1,
        .recovering = 1};
    struct metrics_source source = {.memory = &memory, .buckets = buckets, .bucket_count = 2};
    expect_stats(&source, "a", 200, BUCKET_A "\n");
    expect_stats(&source, "b", 200, BUCKET_B "\n");
    expect_stats(&source, "c", 404,
        "{\"error\":\"Not Found\",\"message\":\"no bucket is configured under this name\",\"status\":404}\n");
    expect_stats(&source, "", 200,
        "{\"memory\":{\"budget_bytes\":9,\"used_bytes\":8,\"pinned_bytes\":7,\"items\":6,\"hits\":5,"
        "\"misses\":4,"
        "\"evictions\":3},\"disk\":null,\"purges\":{\"records\":2,\"records_max\":2048,\"purges\":3,"
        "\"objects\":4,"
        "\"widened\":1},\"buckets\":[" BUCKET_A "," BUCKET_B "]}\n");
    source.disk = &disk;
    source.bucket_count = 0;
    expect_stats(&source, "", 200,
        "{\"memory\":{\"budget_bytes\":9,\"used_bytes\":8,\"pinned_bytes\":7,\"items\":6,\"hits\":5,"
        "\"misses\":4,"
        "\"evictions\":3},\"disk\":{\"capacity_bytes\":19,\"items\":18,\"index_bytes\":17,\"waiting_bytes\":"
        "16,"
        "\"hits\":15,\"misses\":14,\"evictions\":13,\"corrupt\":12,\"written_bytes\":11,\"devices\":2,"
        "\"devices_out\":1,\"recovering\":1},\"purges\":{\"records\":2,\"records_max\":2048,\"purges\":3,"
        "\"objects\":4,\"widened\":1},\"buckets\":[]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries),
        cmocka_unit_test(refused),
        cmocka_unit_test(info),
        cmocka_unit_test(stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
