/*
 * Every allocation of the engine is made to fail once, and then some in a row: the same story of open, put,
 * get, remove, purge, flush, the death of the process, a recovery, a clean stop and a snapshot is told again
 * and again, with the first allocation failing, the second, and so on until the story ends before its turn
 * comes. What can't be done is refused or missed: no abort, no wrong byte, nothing that was removed and
 * answered comes back, and nothing is left (the leak checker of a sanitizer's build sees to that). The engine
 * is compiled for this test with failing_malloc() and its kin in place of the C library's (failing.h); driver
 * and test allocate as ever.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "cache/purge.h"
#include "disk_stage.h"
#include "failing.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)
enum { KEYS = 12, LIVES = 4, HIDDEN = -1 };

/* ---- the story ---- */

struct story {
    struct stage stage;
    int64_t clock, put[KEYS]; /* the latest version put well; 0: none that must be found */
    int64_t floor[KEYS];      /* nothing older may be found */
    unsigned found;
};

struct answer {
    bool done;
    int result;
};

static void answered(void *context, int result)
{
    struct answer *answer = context;
    *answer = (struct answer){true, result};
}

static int await(struct stage *stage, struct answer *answer)
{
    for (unsigned turns = 0; !answer->done; turns++) {
        assert_true(turns < 100000);
        stage_turn(stage);
    }
    return answer->result;
}

static void left(void *context)
{
    answered(context, 0);
}

static void leave(struct stage *stage)
{
    struct answer answer = {0};
    cache_leave(stage->cache, stage->loop, left, &answer);
    await(stage, &answer);
}

static void drop(struct stage *stage)
{
    cache_destroy(stage->cache);
    disk_destroy(stage->disk);
    if (stage->memory != NULL)
        memory_destroy(stage->memory);
    stage->cache = NULL;
    stage->disk = NULL;
    stage->memory = NULL;
}

/* 0, or why there is no tier; then all is as before. */
static int open(struct stage *stage)
{
    struct memory_config memory = {.budget_bytes = 8 * MIB};
    int result = memory_create(&stage->memory, &memory);
    stage->config.memory = stage->memory;
    if (result == 0)
        result = disk_create(&stage->disk, stage->io, &stage->config);
    if (result == 0)
        result = cache_create(&stage->cache, stage->memory, stage->disk);
    if (result == 0)
        result = cache_join(stage->cache, stage->loop);
    if (result < 0) {
        drop(stage);
        return result;
    }
    struct answer answer = {0};
    disk_attach(stage->disk, stage->loop, answered, &answer);
    result = await(stage, &answer);
    if (result < 0) {
        leave(stage);
        drop(stage);
    }
    return result;
}

/* The engine goes on with what is left of the disk when the process has died. */
static void shut(struct stage *stage, bool dies)
{
    struct fake_disk *disk = dies ? fake_disk_cut(stage->io, FAKE_KILL) : NULL;
    (void)stage_detach(stage, 20 * NS_PER_S);
    leave(stage);
    drop(stage);
    assert_int_equal(io_loop_destroy(stage->loop, 20 * NS_PER_S), 0);
    if (disk == NULL)
        disk = fake_disk_cut(stage->io, FAKE_KILL);
    io_destroy(stage->io);
    struct io_config config = {.choice = IO_FAKE, .fake_seed = ++stage->seed};
    struct io_report report;
    assert_int_equal(io_create(&stage->io, &config, &report), 0);
    fake_disk_attach(stage->io, disk);
    assert_int_equal(io_loop_create(stage->io, &stage->loop), 0);
}

static void look(struct story *story, unsigned key)
{
    int64_t version = stage_version(&story->stage, key);
    if (version < 0)
        return;
    story->found++;
    if (version < story->floor[key])
        fail_msg("key %u: version %lld came back", key, (long long)version);
    if (story->put[key] > 0)
        assert_int_equal(version, story->put[key]);
}

static void put(struct story *story, unsigned key)
{
    int64_t version = ++story->clock;
    uint32_t len = key % 4 == 0 ? 200000 : 1000 + key;
    int result = stage_put(&story->stage, key, (uint64_t)version, len);
    story->put[key] = result == 0 ? version : 0;
}

static void hidden(struct story *story, unsigned key, int result)
{
    if (result < 0)
        return;
    story->put[key] = 0;
    story->floor[key] = ++story->clock;
}

static void purge(struct story *story, unsigned key)
{
    struct stage *stage = &story->stage;
    uint8_t buf[64];
    struct answer answer = {0};
    bool widened;
    struct purge what = {.prefix = stage_key(key, buf).bytes};
    assert_int_equal(stage_key(key, buf).kind, ITEM_HEAD);
    uint64_t sequence = key % 2 == 0
                            ? cache_purge(stage->cache, stage->loop, &what, &widened, answered, &answer)
                            : cache_purge_object(stage->cache, stage->loop, what.prefix, answered, &answer);
    hidden(story, key, sequence != 0 ? await(stage, &answer) : -ENOMEM);
}

static void flush(struct story *story)
{
    int64_t covered[KEYS];
    memcpy(covered, story->put, sizeof covered);
    if (stage_flush(&story->stage) < 0)
        return;
    for (unsigned key = 0; key < KEYS; key++)
        story->floor[key] = covered[key] > story->floor[key] ? covered[key] : story->floor[key];
}

/* Through the cache: whole into memory, and a part. */
static void got(struct cache_get *get, int result, struct item *item)
{
    (void)result;
    if (item != NULL)
        item_unref(&item);
    get->done = NULL;
}

static void get(struct story *story, unsigned key, uint32_t from, uint32_t len)
{
    struct stage *stage = &story->stage;
    uint8_t buf[64];
    struct cache_get get = {.done = got};
    cache_get_start(stage->cache, stage->loop, &get, stage_key(key, buf), from, len, true);
    for (unsigned turns = 0; get.done != NULL; turns++) {
        assert_true(turns < 100000);
        stage_turn(stage);
    }
}

/* As the last life left it: what may be found, but need not. */
static void forget_puts(struct story *story)
{
    memset(story->put, 0, sizeof story->put);
}

static void live(struct story *story)
{
    struct stage *stage = &story->stage;
    for (unsigned key = 0; key < KEYS; key++)
        look(story, key);
    stage_settle(stage);
    for (unsigned key = 0; key < KEYS; key++)
        look(story, key);
    for (unsigned key = 0; key < KEYS; key++)
        put(story, key);
    flush(story);
    hidden(story, 1, stage_remove(stage, 1));
    purge(story, 3);
    purge(story, 6);
    for (unsigned key = 0; key < KEYS; key++)
        look(story, key);
    get(story, 2, 0, UINT32_MAX);
    get(story, 4, 70000, 1000);
    put(story, 5);
    flush(story);
    look(story, 5);
}

/* More than the device holds; some are used, and carried. */
static void go_round(struct story *story)
{
    for (unsigned i = 0; i < 160; i++) {
        int result = stage_put(&story->stage, 100 + i, 1, 262144);
        assert_true(result == 0 || result == E_EXHAUSTED);
        if (i % 8 == 0)
            stage_settle(&story->stage);
        get(story, 4, 0, UINT32_MAX);
    }
}

static uint64_t tell(uint64_t first, uint64_t many, bool heavy, unsigned *found)
{
    struct story story = {0};
    struct stage *stage = &story.stage;
    stage_init(stage, 34 * MIB);
    stage->driver = IO_FAKE;
    struct io_config config = {.choice = IO_FAKE, .fake_seed = 1};
    struct io_report report;
    assert_int_equal(io_create(&stage->io, &config, &report), 0);
    assert_int_equal(io_loop_create(stage->io, &stage->loop), 0);
    failing_arm(first, many);
    for (unsigned life = 0; life < LIVES; life++) {
        if (open(stage) < 0)
            continue; /* and once more */
        forget_puts(&story);
        live(&story);
        if (heavy && life == 0)
            go_round(&story);
        shut(stage, life % 2 == 0);
    }
    (void)failing_disarm();
    assert_int_equal(open(stage), 0); /* there is memory again */
    forget_puts(&story);
    stage_settle(stage);
    put(&story, 7);
    assert_true(story.put[7] > 0);
    look(&story, 7);
    shut(stage, false);
    assert_int_equal(io_loop_destroy(stage->loop, 20 * NS_PER_S), 0);
    io_destroy(stage->io);
    *found = story.found;
    return failing_disarm();
}

/* Each `step`th of them. */
static void in_turn(uint64_t many, bool heavy, unsigned step)
{
    unsigned found, most;
    uint64_t all = tell(UINT64_MAX, 0, heavy, &most);
    print_message("%llu allocations, %u items found\n", (unsigned long long)all, most);
    assert_true(all > 100 && most > 4 * KEYS);
    for (uint64_t first = 1, used = all; first <= used; first += step)
        used = tell(first, many, heavy, &found);
}

static void one_fails(void **state)
{
    (void)state;
    in_turn(1, false, 1);
}

static void some_in_a_row_fail(void **state)
{
    (void)state;
    in_turn(5, false, 3);
    in_turn(60, false, 20);
}

static void while_it_goes_round(void **state)
{
    (void)state;
    in_turn(1, true, 29);
    in_turn(20, true, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_fails), cmocka_unit_test(some_in_a_row_fail),
        cmocka_unit_test(while_it_goes_round)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
