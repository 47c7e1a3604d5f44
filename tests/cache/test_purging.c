/*
 * Purges through both tiers: what was purged is not found again, neither at once, nor after a clean stop, a
 * crash, or turns of the log.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "disk_stage.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)
#define BOTH (CACHE_PUT_MEMORY | CACHE_PUT_DISK)

/* Keys are written with '|' for NUL: bucket/name| and bucket/name|version. Values begin with a tag and '.'.
 */
struct key {
    uint8_t buf[200];
    struct bytes bytes;
};

static struct key key_of(const char *text)
{
    struct key key;
    size_t len = strlen(text);
    assert_true(len < sizeof key.buf);
    for (size_t i = 0; i < len; i++)
        key.buf[i] = text[i] == '|' ? 0 : (uint8_t)text[i];
    key.bytes = bytes_of(NULL, len);
    return key;
}

static struct bytes text_of(struct key *key)
{
    return bytes_of(key->buf, key->bytes.len);
}

static size_t object_len(struct bytes key)
{
    const uint8_t *end = memchr(key.ptr, 0, key.len);
    return end != NULL ? (size_t)(end - key.ptr) + 1 : key.len;
}

static bool has_tag(const struct item *item, struct bytes tag)
{
    uint8_t first[64];
    uint32_t len = item_value_len(item) < sizeof first ? item_value_len(item) : sizeof first;
    item_copy(item, 0, len, first);
    return tag.len < len && memcmp(first, tag.ptr, tag.len) == 0 && first[tag.len] == '.';
}

static const struct purge_view view = {.object_len = object_len, .has_tag = has_tag};

static void put_as_of(
    struct stage *stage, const char *text, const char *tag, uint32_t len, unsigned where, uint64_t clear_of)
{
    struct key key = key_of(text);
    struct item *item;
    uint8_t *value = malloc(len);
    memset(value, '.', len);
    memcpy(value, tag, strlen(tag));
    int result;
    while ((result = cache_take(stage->cache, (struct item_key){ITEM_HEAD, text_of(&key)}, len, &item)) ==
           E_EXHAUSTED)
        stage_turn(stage);
    assert_int_equal(result, 0);
    item_append(item, bytes_of(value, len));
    item_complete(item);
    item_clear_of_set(item, clear_of);
    cache_put(stage->cache, stage->loop, item, where, 0);
    item_unref(&item);
    free(value);
}

static void put(struct stage *stage, const char *text, const char *tag, unsigned where)
{
    put_as_of(stage, text, tag, 1000, where, 0);
}

struct answer {
    struct cache_get get;
    bool done;
    int result;
    struct item *item;
};

static void answered(void *context, int result)
{
    struct answer *answer = context;
    answer->done = true;
    answer->result = result;
}

static void left(void *context)
{
    answered(context, 0);
}

static void got(struct cache_get *get, int result, struct item *item)
{
    struct answer *answer = CONTAINER_OF(get, struct answer, get);
    answer->item = item;
    answered(answer, result);
}

static int await(struct stage *stage, struct answer *answer)
{
    while (!answer->done)
        stage_turn(stage);
    return answer->result;
}

enum found { NOWHERE, FRESH, STALE };

static enum found look(struct stage *stage, const char *text)
{
    struct key key = key_of(text);
    struct item_key head = {ITEM_HEAD, text_of(&key)};
    struct answer answer = {.get = {.done = got}};
    cache_get_start(stage->cache, stage->loop, &answer.get, head, 0, UINT32_MAX, false);
    if (await(stage, &answer) < 0) {
        assert_int_equal(answer.result, E_MISSING);
        return NOWHERE;
    }
    bool stale = cache_is_stale(stage->cache, answer.item);
    item_unref(&answer.item);
    return stale ? STALE : FRESH;
}

static int purge(struct stage *stage, const char *prefix, const char *tag, bool soft)
{
    struct key key = key_of(prefix);
    struct answer answer = {0};
    bool widened;
    struct purge what = {text_of(&key), bytes_of_string(tag), soft};
    assert_true(cache_purge(stage->cache, stage->loop, &what, &widened, answered, &answer) > 0);
    assert_false(answer.done);
    return await(stage, &answer);
}

static int purge_object(struct stage *stage, const char *text)
{
    struct key key = key_of(text);
    struct answer answer = {0};
    assert_true(cache_purge_object(stage->cache, stage->loop, text_of(&key), answered, &answer) > 0);
    return await(stage, &answer);
}

static void open_stage(struct stage *stage)
{
    assert_int_equal(stage_open(stage), 0);
    cache_view(stage->cache, &view);
}

static void begin(struct stage *stage, unsigned devices)
{
    stage_init(stage, 40 * MIB);
    stage->config.device_count = devices;
    for (unsigned i = 1; i < devices; i++)
        stage->config.devices[i] = (struct disk_device_config){stage_path(i), 40 * MIB};
    open_stage(stage);
}

static void end(struct stage *stage)
{
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(io_destroy(stage->io), 0);
    for (unsigned i = 0; i < stage->config.device_count; i++)
        unlink(stage->config.devices[i].path);
}

enum again { CLEAN_STOP, CRASH };

static void again(struct stage *stage, enum again how)
{
    if (how == CLEAN_STOP)
        assert_int_equal(stage_close(stage), 0);
    else
        stage_crash(stage);
    open_stage(stage);
    stage_settle(stage);
}

/* In memory only, on disk only, in both. */
static void put_three(struct stage *stage, const char *name, const char *tag)
{
    char text[100];
    for (unsigned where = CACHE_PUT_MEMORY; where <= BOTH; where++) {
        snprintf(text, sizeof text, "%s%u|", name, where);
        put(stage, text, tag, where);
    }
}

static void expect_three(struct stage *stage, const char *name, enum found found)
{
    char text[100];
    for (unsigned where = CACHE_PUT_MEMORY; where <= BOTH; where++) {
        snprintf(text, sizeof text, "%s%u|", name, where);
        enum found got_it = look(stage, text);
        if (got_it != found)
            fail_msg("%s: %d, not %d", text, got_it, found);
    }
}

static void expect_on_disk(struct stage *stage, const char *name, enum found found)
{
    char text[100];
    for (unsigned where = CACHE_PUT_DISK; where <= BOTH; where++) {
        snprintf(text, sizeof text, "%s%u|", name, where);
        enum found got_it = look(stage, text);
        if (got_it != found)
            fail_msg("%s: %d, not %d", text, got_it, found);
    }
}

static void put_all(struct stage *stage)
{
    put_three(stage, "a/x", "red");
    put_three(stage, "a/y", "blue");
    put_three(stage, "b/x", "red");
}

static void a_prefix(void **state)
{
    (void)state;
    for (unsigned devices = 1; devices <= 3; devices += 2)
        for (enum again how = CLEAN_STOP; how <= CRASH; how++) {
            struct stage stage;
            begin(&stage, devices);
            put_all(&stage);
            expect_three(&stage, "a/x", FRESH);
            if (devices == 1)
                stage_settle(&stage);
            assert_int_equal(purge(&stage, "a/", "", false), 0);
            expect_three(&stage, "a/x", NOWHERE);
            expect_three(&stage, "a/y", NOWHERE);
            expect_three(&stage, "b/x", FRESH);
            put(&stage, "a/x3|", "new", BOTH);
            assert_int_equal(look(&stage, "a/x3|"), FRESH);
            assert_int_equal(stage_flush(&stage), 0);
            for (unsigned turns = 0; turns < 2; turns++) {
                again(&stage, how);
                assert_int_equal(look(&stage, "a/x2|"), NOWHERE);
                assert_int_equal(look(&stage, "a/x3|"), FRESH);
                expect_on_disk(&stage, "a/y", NOWHERE);
                expect_on_disk(&stage, "b/x", FRESH);
            }
            end(&stage);
        }
}

static void a_tag(void **state)
{
    (void)state;
    for (enum again how = CLEAN_STOP; how <= CRASH; how++) {
        struct stage stage;
        begin(&stage, 1);
        put_all(&stage);
        assert_int_equal(purge(&stage, "", "red", false), 0);
        expect_three(&stage, "a/x", NOWHERE);
        expect_three(&stage, "a/y", FRESH);
        expect_three(&stage, "b/x", NOWHERE);
        assert_int_equal(purge(&stage, "a/", "blue", true), 0);
        expect_three(&stage, "a/y", STALE);
        again(&stage, how);
        expect_on_disk(&stage, "a/x", NOWHERE);
        expect_on_disk(&stage, "a/y", STALE);
        expect_on_disk(&stage, "b/x", NOWHERE);
        end(&stage);
    }
}

static void everything(void **state)
{
    (void)state;
    for (enum again how = CLEAN_STOP; how <= CRASH; how++) {
        struct stage stage;
        begin(&stage, 2);
        put_all(&stage);
        assert_int_equal(purge(&stage, "", "", false), 0);
        expect_three(&stage, "a/x", NOWHERE);
        again(&stage, how);
        expect_on_disk(&stage, "a/y", NOWHERE);
        expect_on_disk(&stage, "b/x", NOWHERE);
        end(&stage);
    }
}

static void an_object_with_its_versions(void **state)
{
    (void)state;
    for (enum again how = CLEAN_STOP; how <= CRASH; how++) {
        struct stage stage;
        begin(&stage, 3);
        static const char *const own[] = {"a/x|", "a/x|v1", "a/x|v2", "a/x|v3", "a/x|v4"};
        static const char *const others[] = {"a/xx|", "a/xx|v1", "a/|", "a|"};
        for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
            put(&stage, own[i], "red", i % 2 ? BOTH : CACHE_PUT_DISK);
        for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
            put(&stage, others[i], "red", BOTH);
        assert_int_equal(purge_object(&stage, "a/x|"), 0);
        for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
            assert_int_equal(look(&stage, own[i]), NOWHERE);
        put(&stage, "a/x|v2", "new", BOTH);
        assert_int_equal(stage_flush(&stage), 0);
        again(&stage, how);
        for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
            assert_int_equal(look(&stage, own[i]), i == 2 ? FRESH : NOWHERE);
        for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
            assert_int_equal(look(&stage, others[i]), FRESH);
        end(&stage);
    }
}

static void expect_staying(struct stage *stage)
{
    for (unsigned i = 0; i < 10; i++) {
        char text[40];
        snprintf(text, sizeof text, "a/stays%u|", i);
        assert_int_equal(look(stage, text), FRESH);
    }
    assert_int_equal(look(stage, "a/gone|"), NOWHERE);
}

/* However many objects are purged, other heads under their own names stay on disk. */
static void many_objects(void **state)
{
    (void)state;
    if (stage_driver() != IO_FAKE) {
        skip();
        return;
    }
    struct stage stage;
    stage_init(&stage, 80 * MIB);
    open_stage(&stage);
    char text[40];
    for (unsigned i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "a/stays%u|", i);
        put(&stage, text, "red", CACHE_PUT_DISK);
    }
    put(&stage, "a/gone|", "red", CACHE_PUT_DISK);
    struct answer *answers = calloc(PURGE_SLOTS, sizeof *answers);
    for (unsigned i = 0; i < PURGE_SLOTS; i++) {
        snprintf(text, sizeof text, "b/%u|", i);
        struct key key = key_of(text);
        assert_true(cache_purge_object(stage.cache, stage.loop, text_of(&key), answered, &answers[i]) > 0);
        if (i % 256 == 255)
            assert_int_equal(await(&stage, &answers[i]), 0);
    }
    assert_int_equal(purge_object(&stage, "a/gone|"), 0);
    expect_staying(&stage);
    again(&stage, CRASH);
    expect_staying(&stage);
    again(&stage, CLEAN_STOP);
    expect_staying(&stage);
    free(answers);
    end(&stage);
}

/* What was asked for before the purge and put after it is hidden too, after a restart as well. */
static void a_fetch_under_way(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *tag;
        bool soft, object;
    } purges[] = {{"a/", "", false, false}, {"", "red", false, false}, {"a/", "", true, false},
        {"a/x|", "", false, true}};
    for (unsigned i = 0; i < sizeof purges / sizeof *purges; i++)
        for (unsigned where = CACHE_PUT_MEMORY; where <= BOTH; where++) {
            struct stage stage;
            begin(&stage, 1);
            put(&stage, "a/x|", "old", BOTH);
            uint64_t asked = cache_now(stage.cache);
            int result = purges[i].object ? purge_object(&stage, purges[i].prefix)
                                          : purge(&stage, purges[i].prefix, purges[i].tag, purges[i].soft);
            assert_int_equal(result, 0);
            put_as_of(&stage, "a/x|", "red", 1000, where, asked);
            assert_int_equal(look(&stage, "a/x|"), NOWHERE);
            put_as_of(&stage, "a/x|", "red", 1000, where, cache_now(stage.cache));
            assert_int_equal(look(&stage, "a/x|"), FRESH);
            again(&stage, CLEAN_STOP);
            assert_int_equal(look(&stage, "a/x|"), where & CACHE_PUT_DISK ? FRESH : NOWHERE);
            end(&stage);
        }
}

/* The disk's own door: a put that was handed over late is written, and never found. */
static void put_on_disk_after_the_purge(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage, 1);
    struct key key = key_of("a/x|");
    struct item *item;
    assert_int_equal(cache_take(stage.cache, (struct item_key){ITEM_HEAD, text_of(&key)}, 4, &item), 0);
    item_append(item, BYTES("red."));
    item_complete(item);
    item_clear_of_set(item, cache_now(stage.cache));
    item_sequence_set(item, cache_now(stage.cache));
    assert_int_equal(purge(&stage, "", "red", false), 0);
    disk_put(stage.disk, stage.loop, item, 0);
    item_unref(&item);
    assert_int_equal(look(&stage, "a/x|"), NOWHERE);
    again(&stage, CRASH);
    assert_int_equal(look(&stage, "a/x|"), NOWHERE);
    end(&stage);
}

static void turn_the_log(struct stage *stage, unsigned round)
{
    char text[40];
    for (unsigned i = 0; i < 44; i++) {
        snprintf(text, sizeof text, "fill/%u-%u|", round, i);
        put_as_of(stage, text, "fill", (uint32_t)MIB - 65536, CACHE_PUT_DISK, 0);
        assert_int_equal(stage_flush(stage), 0);
        look(stage, "hot/x2|"); /* used, so it is carried forward */
        look(stage, "hot/y2|");
    }
}

/* Items that are carried forward past the record stay what they were; the record's end brings nothing back.
 */
static void turns_of_the_log(void **state)
{
    (void)state;
    for (enum again how = CLEAN_STOP; how <= CRASH; how++) {
        struct stage stage;
        begin(&stage, 1);
        put_three(&stage, "hot/x", "red");
        put_three(&stage, "hot/y", "blue");
        assert_int_equal(purge(&stage, "", "red", false), 0);
        assert_int_equal(purge(&stage, "nothing/", "", true), 0);
        for (unsigned round = 0; round < 3; round++) {
            turn_the_log(&stage, round);
            assert_int_equal(look(&stage, "hot/x2|"), NOWHERE);
            assert_int_equal(look(&stage, "hot/y2|"), FRESH);
            again(&stage, how);
        }
        assert_true(stage_stats(&stage).reclaimed_segments < 200); /* of this life only */
        assert_int_equal(look(&stage, "hot/x2|"), NOWHERE);
        assert_int_equal(look(&stage, "hot/y2|"), FRESH);
        struct purges_stats stats;
        cache_purge_stats(stage.cache, &stats);
        assert_int_equal(stats.records, 0); /* they went with their segment */
        end(&stage);
    }
}

/* What is softly purged is not carried forward: it would look fresh once the record is gone. */
static void stale_is_not_carried(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage, 1);
    put(&stage, "hot/x2|", "red", CACHE_PUT_DISK);
    put(&stage, "hot/y2|", "blue", CACHE_PUT_DISK);
    assert_int_equal(purge(&stage, "", "red", true), 0);
    assert_int_equal(look(&stage, "hot/x2|"), STALE);
    turn_the_log(&stage, 0);
    turn_the_log(&stage, 1);
    assert_int_equal(look(&stage, "hot/x2|"), NOWHERE);
    assert_int_equal(look(&stage, "hot/y2|"), FRESH);
    end(&stage);
}

/* More records than the table holds, none of which the log has passed. */
static void the_table_stays_bounded(void **state)
{
    (void)state;
    if (stage_driver() != IO_FAKE) {
        skip();
        return;
    }
    struct stage stage;
    begin(&stage, 1);
    put(&stage, "old/x|", "red", CACHE_PUT_DISK);
    char text[40];
    enum { COUNT = PURGES_MAX + 1 };
    struct answer *answers = calloc(COUNT, sizeof *answers);
    for (unsigned i = 0; i < COUNT; i++) {
        bool widened;
        snprintf(text, sizeof text, "p%u/", i);
        struct key key = key_of(text);
        struct purge what = {.prefix = text_of(&key)};
        assert_true(cache_purge(stage.cache, stage.loop, &what, &widened, answered, &answers[i]) > 0);
        assert_int_equal(widened, i == PURGES_MAX);
        if (i % 256 == 255 || i == PURGES_MAX)
            assert_int_equal(await(&stage, &answers[i]), 0);
    }
    for (unsigned i = 0; i < COUNT; i++) /* they come in any order */
        assert_int_equal(await(&stage, &answers[i]), 0);
    free(answers);
    struct purges_stats stats;
    cache_purge_stats(stage.cache, &stats);
    assert_true(stats.records <= PURGES_MAX && stats.widened == 1);
    assert_int_equal(look(&stage, "old/x|"), NOWHERE); /* widened: more is hidden than was asked for */
    again(&stage, CRASH);
    cache_purge_stats(stage.cache, &stats);
    assert_true(stats.records <= PURGES_MAX);
    end(&stage);
}

/* The same loop and memory as `stage` has, and no disk. */
static struct stage bare_of(struct stage *stage)
{
    struct stage bare = *stage;
    assert_int_equal(cache_create(&bare.cache, stage->memory, NULL), 0);
    assert_int_equal(cache_join(bare.cache, stage->loop), 0);
    cache_view(bare.cache, &view);
    return bare;
}

static void bare_end(struct stage *bare)
{
    struct answer has_left = {0};
    cache_leave(bare->cache, bare->loop, left, &has_left);
    await(bare, &has_left);
    cache_destroy(bare->cache);
}

/* Of nothing that is there. */
static void purge_others(struct stage *stage, unsigned count)
{
    char text[40];
    for (unsigned i = 0; i < count; i++) {
        snprintf(text, sizeof text, "p%u/", i);
        assert_int_equal(purge(stage, text, "", false), 0);
    }
}

static void without_a_disk(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage, 1);
    struct stage bare = bare_of(&stage);
    put(&bare, "a/x|", "red", CACHE_PUT_MEMORY);
    put(&bare, "a/y|", "blue", CACHE_PUT_MEMORY);
    put(&bare, "a/y|v1", "blue", CACHE_PUT_MEMORY);
    assert_int_equal(look(&bare, "a/x|"), FRESH);
    assert_int_equal(purge(&bare, "", "red", false), 0);
    assert_int_equal(look(&bare, "a/x|"), NOWHERE);
    assert_int_equal(look(&bare, "a/y|"), FRESH);
    /* Never more records than what a round of sweeping leaves. */
    purge_others(&bare, 3000);
    struct purges_stats stats;
    cache_purge_stats(bare.cache, &stats);
    assert_true(stats.records <= 512 && stats.widened == 0);
    assert_int_equal(look(&bare, "a/y|"), FRESH);
    assert_int_equal(purge_object(&bare, "a/y|"), 0);
    assert_int_equal(look(&bare, "a/y|"), NOWHERE);
    assert_int_equal(look(&bare, "a/y|v1"), NOWHERE);
    bare_end(&bare);
    end(&stage);
}

static unsigned count_found(struct stage *stage, unsigned of, enum found found)
{
    char text[40];
    unsigned count = 0;
    for (unsigned i = 0; i < of; i++) {
        snprintf(text, sizeof text, "s/%u|", i);
        count += look(stage, text) == found;
    }
    return count;
}

/* What a soft purge made stale outlasts the round of sweeping that it came in, whatever share it lies in, and
 * is never fresh again. */
static void stale_in_memory(void **state)
{
    (void)state;
    for (unsigned before = 0; before <= 100; before += 100) {
        struct stage stage;
        begin(&stage, 1);
        struct stage bare = bare_of(&stage);
        char text[40];
        purge_others(&bare, before);
        for (unsigned i = 0; i < 200; i++) {
            snprintf(text, sizeof text, "s/%u|", i);
            put(&bare, text, "blue", CACHE_PUT_MEMORY);
        }
        assert_int_equal(purge(&bare, "s/", "", true), 0);
        purge_others(&bare, 255 - before); /* to the end of the round */
        assert_int_equal(count_found(&bare, 200, STALE), 200);
        purge_others(&bare, 600);
        assert_int_equal(count_found(&bare, 200, FRESH), 0);
        bare_end(&bare);
        end(&stage);
    }
}

/* A device that can't take the record: the answer says that it is not durable, and nothing it holds is
 * found. */
static void a_device_that_fails(void **state)
{
    (void)state;
    if (stage_driver() != IO_FAKE) {
        skip();
        return;
    }
    struct stage stage;
    begin(&stage, 2);
    for (unsigned i = 0; i < 20; i++) {
        char text[40];
        snprintf(text, sizeof text, "a/%u|", i);
        put(&stage, text, "red", CACHE_PUT_DISK);
    }
    put(&stage, "b/x|", "red", CACHE_PUT_MEMORY);
    assert_int_equal(stage_flush(&stage), 0);
    struct fake_fault fault = {
        .path = stage.config.devices[1].path, .kinds = FAKE_WRITE | FAKE_SYNC, .error = -EIO};
    fake_disk_fail(stage.io, &fault);
    assert_true(purge(&stage, "a/", "", false) < 0);
    for (unsigned i = 0; i < 20; i++) {
        char text[40];
        snprintf(text, sizeof text, "a/%u|", i);
        assert_int_equal(look(&stage, text), NOWHERE);
    }
    assert_int_equal(look(&stage, "b/x|"), FRESH);
    fake_disk_heal(stage.io);
    while (stage_stats(&stage).devices_out > 0) /* it went out, and comes back empty */
        stage_turn(&stage);
    assert_int_equal(look(&stage, "b/x|"), FRESH);
    end(&stage);
}

/* A record whose bytes were damaged might have hidden anything: all that is older goes. */
static void a_damaged_record(void **state)
{
    (void)state;
    if (stage_driver() != IO_FAKE) {
        skip();
        return;
    }
    struct stage stage;
    begin(&stage, 1);
    put(&stage, "a/x|", "red", CACHE_PUT_DISK);
    put(&stage, "b/x|", "red", CACHE_PUT_DISK);
    assert_int_equal(purge(&stage, "a/find-me-here", "", false), 0);
    put(&stage, "c/x|", "red", CACHE_PUT_DISK);
    char text[40];
    for (unsigned i = 0; i < 3; i++) { /* the segment is sealed and has its table */
        snprintf(text, sizeof text, "fill/%u|", i);
        put_as_of(&stage, text, "fill", (uint32_t)MIB / 2, CACHE_PUT_DISK, 0);
    }
    stage_settle(&stage);
    uint64_t len;
    uint8_t *bytes = fake_disk_bytes(stage.io, stage.config.devices[0].path, &len);
    unsigned changed = 0;
    for (uint64_t i = 0; i + 7 < len; i++)
        if (memcmp(bytes + i, "find-me", 7) == 0 && ++changed > 0)
            bytes[i] ^= 1;
    assert_int_equal(changed, 1);
    fake_disk_settle(stage.io, stage.config.devices[0].path);
    again(&stage, CRASH);
    assert_int_equal(look(&stage, "a/x|"), NOWHERE);
    assert_int_equal(look(&stage, "b/x|"), NOWHERE);
    assert_int_equal(look(&stage, "c/x|"), FRESH);
    assert_true(stage_stats(&stage).corrupt > 0);
    end(&stage);
}

/* ---- threads ---- */

enum { THREADS = 4, OPS = 2500, OBJECTS = 40 };

struct worker {
    struct stage stage;
    uint64_t seed;
    unsigned pending, found;
    bool left;
};

/* Of the purges that have been in force: what is found must not be older. */
static _Atomic uint64_t floors[OBJECTS];

static void worker_left(void *context)
{
    struct worker *worker = context;
    worker->left = true;
}

static void worker_answered(void *context, int result)
{
    struct worker *worker = context;
    CHECK(result == 0);
    worker->pending--;
}

static const char *object_text(unsigned object, char *text, size_t len)
{
    snprintf(text, len, "%c/%u|%s", 'a' + object % 4, object, object % 5 == 0 ? "v1" : "");
    return text;
}

/* Fetched as of now, stored some turns later. */
static void fetch(struct worker *worker, struct random *random, unsigned object)
{
    char text[40];
    struct key key = key_of(object_text(object, text, sizeof text));
    uint64_t asked = cache_now(worker->stage.cache);
    for (uint64_t n = random_below(random, 4); n > 0; n--)
        io_loop_turn(worker->stage.loop, 0);
    struct item *item;
    if (cache_take(worker->stage.cache, (struct item_key){ITEM_HEAD, text_of(&key)}, 1000, &item) < 0)
        return;
    uint8_t value[1000] = "red.";
    memcpy(value + 8, &asked, 8);
    item_append(item, bytes_of(value, sizeof value));
    item_complete(item);
    item_clear_of_set(item, asked);
    cache_put(worker->stage.cache, worker->stage.loop, item, 1 + (unsigned)random_below(random, 3), 0);
    item_unref(&item);
}

struct asked {
    struct cache_get get;
    struct worker *worker;
    uint64_t floor;
};

static void check_age(const struct item *item, uint64_t floor)
{
    uint64_t asked;
    item_copy(item, 8, 8, &asked);
    CHECK(asked > floor);
}

static void asked_done(struct cache_get *get, int result, struct item *item)
{
    struct asked *asked = CONTAINER_OF(get, struct asked, get);
    asked->worker->pending--;
    if (result == 0) {
        check_age(item, asked->floor);
        asked->worker->found++;
        item_unref(&item);
    }
    free(asked);
}

static void ask(struct worker *worker, unsigned object, bool keep)
{
    char text[40];
    struct key key = key_of(object_text(object, text, sizeof text));
    struct item_key head = {ITEM_HEAD, text_of(&key)};
    struct asked *asked = malloc(sizeof *asked);
    *asked = (struct asked){{.done = asked_done}, worker, atomic_load(&floors[object])};
    worker->pending++;
    cache_get_start(worker->stage.cache, worker->stage.loop, &asked->get, head, 0, UINT32_MAX, keep);
    uint64_t floor = atomic_load(&floors[object]);
    struct item *item = cache_find(worker->stage.cache, head);
    if (item == NULL)
        return;
    check_age(item, floor);
    item_unref(&item);
}

static void raise_floor(unsigned object, uint64_t sequence)
{
    uint64_t now = atomic_load(&floors[object]);
    while (now < sequence && !atomic_compare_exchange_weak(&floors[object], &now, sequence))
        continue;
}

static void purge_some(struct worker *worker, struct random *random, unsigned object)
{
    struct stage *stage = &worker->stage;
    char text[40];
    struct key key = key_of(object_text(object, text, sizeof text));
    worker->pending++;
    if (random_below(random, 2)) {
        struct bytes name = bytes_of(key.buf, object_len(text_of(&key)));
        raise_floor(object, cache_purge_object(stage->cache, stage->loop, name, worker_answered, worker));
        return;
    }
    bool widened;
    struct purge what = {.prefix = bytes_of(key.buf, 2)};
    if (random_below(random, 2))
        what.tag = BYTES("red");
    uint64_t sequence = cache_purge(stage->cache, stage->loop, &what, &widened, worker_answered, worker);
    for (unsigned other = object % 4; other < OBJECTS; other += 4)
        raise_floor(other, sequence);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct random random;
    random_init(&random, worker->seed);
    for (unsigned i = 0; i < OPS; i++) {
        unsigned object = (unsigned)random_below(&random, OBJECTS),
                 dice = (unsigned)random_below(&random, 40);
        if (dice == 0)
            purge_some(worker, &random, object);
        else if (dice < 14)
            fetch(worker, &random, object);
        else
            ask(worker, object, dice % 2);
        io_loop_turn(worker->stage.loop, 0);
    }
    while (worker->pending > 0)
        io_loop_turn(worker->stage.loop, NS_PER_MS);
    cache_leave(worker->stage.cache, worker->stage.loop, worker_left, worker);
    while (!worker->left)
        io_loop_turn(worker->stage.loop, NS_PER_MS);
    return NULL;
}

/* From the moment the call returns, nobody finds what was fetched before it. */
static void many_threads(void **state)
{
    (void)state;
    if (stage_driver() == IO_FAKE) {
        skip();
        return;
    }
    struct stage stage;
    begin(&stage, 2);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    unsigned found = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.stage = stage, .seed = i + 1};
        assert_int_equal(io_loop_create(stage.io, &workers[i].stage.loop), 0);
        assert_int_equal(cache_join(stage.cache, workers[i].stage.loop), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        while (pthread_tryjoin_np(threads[i], NULL) != 0)
            io_loop_turn(stage.loop, NS_PER_MS);
        assert_int_equal(io_loop_destroy(workers[i].stage.loop, 20 * NS_PER_S), 0);
        found += workers[i].found;
    }
    assert_true(found > 500);
    /* And not after a restart either. */
    again(&stage, CRASH);
    struct worker alone = {.stage = stage};
    for (unsigned object = 0; object < OBJECTS; object++)
        ask(&alone, object, true);
    while (alone.pending > 0)
        io_loop_turn(stage.loop, NS_PER_MS);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix),
        cmocka_unit_test(a_tag),
        cmocka_unit_test(everything),
        cmocka_unit_test(an_object_with_its_versions),
        cmocka_unit_test(many_objects),
        cmocka_unit_test(a_fetch_under_way),
        cmocka_unit_test(put_on_disk_after_the_purge),
        cmocka_unit_test(turns_of_the_log),
        cmocka_unit_test(stale_is_not_carried),
        cmocka_unit_test(the_table_stays_bounded),
        cmocka_unit_test(without_a_disk),
        cmocka_unit_test(stale_in_memory),
        cmocka_unit_test(a_device_that_fails),
        cmocka_unit_test(a_damaged_record),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
