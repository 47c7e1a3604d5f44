/* Memory and disk as one store; joined reads; several loops in threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)

struct answer {
    struct cache_get get;
    bool done;
    int result;
    struct item *item;
};

static void answered(struct cache_get *get, int result, struct item *item)
{
    struct answer *answer = CONTAINER_OF(get, struct answer, get);
    answer->done = true;
    answer->result = result;
    answer->item = item;
}

static void start(struct stage *stage, struct answer *answer, uint64_t key, bool keep)
{
    uint8_t buf[64];
    *answer = (struct answer){.get = {.done = answered}};
    cache_get_start(stage->cache, stage->loop, &answer->get, stage_key(key, buf), 0, UINT32_MAX, keep);
    assert_false(answer->done);
}

static int wait_for(struct stage *stage, struct answer *answer)
{
    while (!answer->done)
        stage_turn(stage);
    if (answer->item != NULL)
        item_unref(&answer->item);
    return answer->result;
}

static void put(struct stage *stage, uint64_t key, uint64_t version, uint32_t len, unsigned where)
{
    uint8_t buf[64], *value = malloc(len);
    struct item *item;
    stage_value(key, version, len, value);
    int result = cache_take(stage->cache, stage_key(key, buf), len, &item);
    assert_int_equal(result, 0);
    item_append(item, bytes_of(value, len));
    item_complete(item);
    result = cache_put(stage->cache, stage->loop, item, where, 0);
    assert_true(result == 0 || (result == E_REFUSED && stage->config.admission != DISK_ADMIT_ALWAYS));
    assert_true(item_sequence(item) > 0);
    item_unref(&item);
    free(value);
}

static struct item_key key_of(uint64_t key)
{
    static uint8_t buf[64];
    return stage_key(key, buf);
}

static void begin(struct stage *stage)
{
    stage_init(stage, 40 * MIB);
    assert_int_equal(stage_open(stage), 0);
}

static void end(struct stage *stage)
{
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(io_destroy(stage->io), 0);
    unlink(stage->config.devices[0].path);
}

static bool in_memory(struct stage *stage, uint64_t key)
{
    return memory_has(stage->memory, key_of(key));
}

static void both_tiers(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    put(&stage, 1, 1, 100000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    put(&stage, 2, 1, 1000, CACHE_PUT_DISK);
    put(&stage, 3, 1, 1000, CACHE_PUT_MEMORY);
    struct item *item = cache_find(stage.cache, key_of(1));
    assert_non_null(item);
    item_unref(&item);
    assert_null(cache_find(stage.cache, key_of(2)));
    assert_true(cache_may_have(stage.cache, key_of(2)));
    assert_false(cache_may_have(stage.cache, key_of(9)));
    stage_settle(&stage);
    memory_remove(stage.memory, key_of(1), UINT64_MAX);
    memory_remove(stage.memory, key_of(3), UINT64_MAX);
    struct answer answer;
    start(&stage, &answer, 1, false);
    assert_int_equal(wait_for(&stage, &answer), 0);
    assert_false(in_memory(&stage, 1));
    start(&stage, &answer, 1, true);
    assert_int_equal(wait_for(&stage, &answer), 0);
    assert_true(in_memory(&stage, 1));
    start(&stage, &answer, 3, true);
    assert_int_equal(wait_for(&stage, &answer), E_MISSING);
    /* A put to memory alone hides what lies on disk. */
    put(&stage, 2, 2, 1000, CACHE_PUT_MEMORY);
    memory_remove(stage.memory, key_of(2), UINT64_MAX);
    start(&stage, &answer, 2, true);
    assert_int_equal(wait_for(&stage, &answer), E_MISSING);
    end(&stage);
}

static void joined_reads(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    put(&stage, 1, 1, 200000, CACHE_PUT_DISK);
    stage_settle(&stage);
    uint64_t before = stage_stats(&stage).reads;
    struct answer answers[10];
    for (unsigned i = 0; i < 10; i++)
        start(&stage, &answers[i], 1, i == 7);
    cache_get_abandon(&answers[0].get); /* the first asker goes */
    cache_get_abandon(&answers[4].get);
    for (unsigned i = 0; i < 10; i++)
        if (i != 0 && i != 4)
            assert_int_equal(wait_for(&stage, &answers[i]), 0);
    assert_false(answers[0].done || answers[4].done);
    assert_int_equal(stage_stats(&stage).reads - before, 1);
    assert_true(in_memory(&stage, 1));
    /* Let go of between answer and delivery. */
    start(&stage, &answers[0], 1, true);
    cache_get_abandon(&answers[0].get);
    end(&stage);
}

static void done_int(void *context, int result)
{
    *(int *)context = result == 0 ? 1 : result;
}

static void remove_while_reading(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    for (unsigned round = 0; round < 20; round++) {
        put(&stage, 1, round + 1, 100000, CACHE_PUT_DISK);
        stage_settle(&stage);
        struct answer answer;
        int removed = 0;
        start(&stage, &answer, 1, true);
        for (unsigned i = 0; i < round % 4; i++)
            io_loop_turn(stage.loop, 0);
        assert_int_equal(cache_remove(stage.cache, stage.loop, key_of(1), done_int, &removed), 0);
        wait_for(&stage, &answer);
        while (removed == 0)
            stage_turn(&stage);
        assert_int_equal(removed, 1);
        assert_false(in_memory(&stage, 1));
        assert_false(cache_may_have(stage.cache, key_of(1)));
    }
    put(&stage, 2, 1, 1000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    cache_forget(stage.cache, key_of(2));
    assert_false(cache_may_have(stage.cache, key_of(2)));
    end(&stage);
}

static void set(void *context)
{
    *(bool *)context = true;
}

static void without_a_disk(void **state)
{
    (void)state;
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    struct io_config config = {.choice = stage.driver};
    struct io_report report;
    if (io_create(&stage.io, &config, &report) < 0)
        skip();
    assert_int_equal(io_loop_create(stage.io, &stage.loop), 0);
    struct memory_config memory = {.budget_bytes = 16 * MIB};
    assert_int_equal(memory_create(&stage.memory, &memory), 0);
    assert_int_equal(cache_create(&stage.cache, stage.memory, NULL), 0);
    assert_int_equal(cache_join(stage.cache, stage.loop), 0);
    put(&stage, 1, 1, 1000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    struct answer answer;
    start(&stage, &answer, 1, true);
    assert_int_equal(wait_for(&stage, &answer), 0);
    int removed = 0;
    bool left = false;
    assert_int_equal(cache_remove(stage.cache, stage.loop, key_of(1), done_int, &removed), 0);
    while (removed == 0)
        stage_turn(&stage);
    start(&stage, &answer, 1, true);
    assert_int_equal(wait_for(&stage, &answer), E_MISSING);
    cache_leave(stage.cache, stage.loop, set, &left);
    while (!left)
        stage_turn(&stage);
    assert_int_equal(io_loop_destroy(stage.loop, 20 * NS_PER_S), 0);
    cache_destroy(stage.cache);
    memory_destroy(stage.memory);
    assert_int_equal(io_destroy(stage.io), 0);
}

/* ---- a hit as the second request ---- */

static void begin_second_request(struct stage *stage)
{
    stage_init(stage, 40 * MIB);
    stage->config.admission = DISK_ADMIT_SECOND_REQUEST;
    assert_int_equal(stage_open(stage), 0);
}

static void hit(struct stage *stage, struct io_loop *loop, uint64_t key)
{
    struct item *item = cache_find(stage->cache, key_of(key));
    assert_non_null(item);
    cache_hit(stage->cache, loop, item);
    item_unref(&item);
}

static void a_hit_is_a_second_request(void **state)
{
    (void)state;
    struct stage stage;
    begin_second_request(&stage);
    for (unsigned key = 0; key < 4; key++)
        put(&stage, key, 1, key % 2 == 0 ? 1000 : 300000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    put(&stage, 4, 1, 1000, CACHE_PUT_MEMORY); /* never meant for it */
    for (unsigned i = 0; i < 3; i++)
        for (unsigned key = 2; key < 5; key++)
            hit(&stage, stage.loop, key);
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).puts, 2);
    assert_int_equal(stage_stats(&stage).dropped_admission, 4);
    hit(&stage, stage.loop, 2); /* it is there: not once more */
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).puts, 2);
    assert_int_equal(stage_flush(&stage), 0);
    if (stage.driver == IO_URING) /* a ring's file stays locked for as long as the kernel likes */
        assert_int_equal(stage_close(&stage), 0);
    else
        stage_crash(&stage);
    assert_int_equal(stage_open(&stage), 0);
    stage_settle(&stage);
    for (unsigned key = 0; key < 5; key++)
        assert_int_equal(stage_version(&stage, key), key == 2 || key == 3 ? 1 : E_MISSING);
    end(&stage);
}

static void too_many_hits_wait_for_the_next(void **state)
{
    (void)state;
    enum { COUNT = 100, AT_ONCE = 64 };
    struct stage stage;
    begin_second_request(&stage);
    for (unsigned key = 0; key < COUNT; key++)
        put(&stage, key, 1, 1000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    for (unsigned key = 0; key < COUNT; key++)
        hit(&stage, stage.loop, key);
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).puts, AT_ONCE);
    for (unsigned key = 0; key < COUNT; key++)
        hit(&stage, stage.loop, key);
    stage_settle(&stage);
    for (unsigned key = 0; key < COUNT; key++)
        assert_int_equal(stage_version(&stage, key), 1);
    end(&stage);
}

static void a_leaving_loop_writes_its_hits(void **state)
{
    (void)state;
    struct stage stage;
    begin_second_request(&stage);
    struct io_loop *loop;
    assert_int_equal(io_loop_create(stage.io, &loop), 0);
    assert_int_equal(cache_join(stage.cache, loop), 0);
    for (unsigned key = 0; key < 3; key++) {
        put(&stage, key, 1, 100000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
        hit(&stage, loop, key);
    }
    bool left = false;
    cache_leave(stage.cache, loop, set, &left);
    while (!left)
        io_loop_turn(loop, NS_PER_MS);
    assert_int_equal(io_loop_destroy(loop, 20 * NS_PER_S), 0);
    stage_settle(&stage);
    for (unsigned key = 0; key < 3; key++)
        assert_int_equal(stage_version(&stage, key), 1);
    end(&stage);
}

/* What may happen to an item between its hit and its write; the version on disk afterwards. */
enum meanwhile { REPLACED, REPLACED_IN_MEMORY, REPLACED_ON_DISK, REMOVED, FORGOTTEN, PURGED, STALE, OBJECT };

static void happens(struct stage *stage, enum meanwhile what, uint64_t key)
{
    int done = 0;
    bool widened;
    struct purge purge = {.prefix = key_of(key).bytes, .soft = what == STALE};
    switch (what) {
    case REPLACED:
        put(stage, key, 2, 2000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
        return;
    case REPLACED_IN_MEMORY:
        put(stage, key, 2, 2000, CACHE_PUT_MEMORY);
        return;
    case REPLACED_ON_DISK:
        put(stage, key, 2, 2000, CACHE_PUT_DISK);
        return;
    case FORGOTTEN:
        cache_forget(stage->cache, key_of(key));
        return;
    case REMOVED:
        assert_int_equal(cache_remove(stage->cache, stage->loop, key_of(key), done_int, &done), 0);
        break;
    case PURGED:
    case STALE:
        assert_true(cache_purge(stage->cache, stage->loop, &purge, &widened, done_int, &done) > 0);
        break;
    case OBJECT:
        assert_true(cache_purge_object(stage->cache, stage->loop, key_of(key).bytes, done_int, &done) > 0);
        break;
    }
    while (done == 0)
        stage_turn(stage);
    assert_int_equal(done, 1);
}

static void a_hit_is_overtaken(void **state)
{
    (void)state;
    for (unsigned crash = 0; crash < 2; crash++) {
        struct stage stage;
        begin_second_request(&stage);
        for (enum meanwhile what = REPLACED; what <= OBJECT; what++) {
            uint64_t key = 3 * (uint64_t)(what + 1); /* a head */
            put(&stage, key, 1, 1000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
            hit(&stage, stage.loop, key);
            happens(&stage, what, key);
        }
        stage_settle(&stage);
        assert_int_equal(stage_flush(&stage), 0);
        for (unsigned life = 0; life < 2; life++) {
            for (enum meanwhile what = REPLACED; what <= OBJECT; what++) {
                int64_t version = stage_version(&stage, 3 * (uint64_t)(what + 1));
                bool written = what == REPLACED || what == REPLACED_ON_DISK;
                assert_int_equal(version, written ? 2 : E_MISSING);
            }
            if (life == 1)
                break;
            if (crash == 1 && stage.driver != IO_URING)
                stage_crash(&stage);
            else
                assert_int_equal(stage_close(&stage), 0);
            assert_int_equal(stage_open(&stage), 0);
            stage_settle(&stage);
        }
        end(&stage);
    }
}

/* ---- threads ---- */

enum { THREADS = 3, KEYS = 300, OPS = 4000 };

struct worker {
    struct stage stage; /* shares all but the loop */
    uint64_t seed;
    unsigned found, pending;
    bool left;
};

struct asked {
    struct cache_get get;
    struct worker *worker;
    uint64_t key;
};

static void check(struct item *item, uint64_t key)
{
    uint32_t len = item_value_len(item);
    uint8_t *expect = malloc(len), *got = malloc(len);
    uint64_t version = 0;
    item_copy(item, 0, len, got);
    memcpy(&version, got, 8);
    stage_value(key, version, len, expect);
    if (memcmp(expect, got, len) != 0)
        abort();
    free(expect);
    free(got);
}

static void asked_done(struct cache_get *get, int result, struct item *item)
{
    struct asked *asked = CONTAINER_OF(get, struct asked, get);
    asked->worker->pending--;
    if (result == 0) {
        asked->worker->found++;
        check(item, asked->key);
        item_unref(&item);
    }
    free(asked);
}

static void removed_done(void *context, int result)
{
    (void)result;
    ((struct worker *)context)->pending--;
}

static void left_done(void *context)
{
    ((struct worker *)context)->left = true;
}

static void try_put(struct worker *worker, struct random *random, uint64_t key)
{
    static const uint32_t lens[] = {50, 3000, 20000, 65536, 150000};
    struct stage *stage = &worker->stage;
    uint32_t len = lens[random_below(random, 5)];
    uint8_t buf[64], *value = malloc(len);
    struct item *item;
    if (cache_take(stage->cache, stage_key(key, buf), len, &item) == 0) {
        stage_value(key, random_next(random), len, value);
        item_append(item, bytes_of(value, len));
        item_complete(item);
        cache_put(stage->cache, stage->loop, item, 1 + (unsigned)random_below(random, 3), 0);
        item_unref(&item);
    }
    free(value);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct stage *stage = &worker->stage;
    struct random random;
    uint8_t buf[64];
    random_init(&random, worker->seed);
    for (unsigned i = 0; i < OPS; i++) {
        uint64_t key = random_below(&random, KEYS), dice = random_below(&random, 20);
        if (dice < 6) {
            try_put(worker, &random, key);
        } else if (dice < 8) {
            struct item *item = cache_find(stage->cache, stage_key(key, buf));
            if (item != NULL) {
                cache_hit(stage->cache, stage->loop, item);
                check(item, key);
                item_unref(&item);
            }
        } else if (dice < 19) {
            struct asked *asked = malloc(sizeof *asked);
            *asked = (struct asked){.get.done = asked_done, .worker = worker, .key = key};
            worker->pending++;
            cache_get_start(
                stage->cache, stage->loop, &asked->get, stage_key(key, buf), 0, UINT32_MAX, dice % 2 == 0);
            if (dice == 18) {
                cache_get_abandon(&asked->get);
                worker->pending--;
                free(asked);
            }
        } else if (random_below(&random, 4) == 0) {
            worker->pending++;
            assert_int_equal(
                cache_remove(stage->cache, stage->loop, stage_key(key, buf), removed_done, worker), 0);
        }
        io_loop_turn(stage->loop, 0);
    }
    while (worker->pending > 0)
        io_loop_turn(stage->loop, NS_PER_MS);
    cache_leave(stage->cache, stage->loop, left_done, worker);
    while (!worker->left)
        io_loop_turn(stage->loop, NS_PER_MS);
    return NULL;
}

static void many_threads_with(enum disk_admission admission)
{
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    if (stage.driver == IO_FAKE)
        skip();
    stage.config.admission = admission;
    stage.config.write_buffer_bytes = 4 * MIB;
    assert_int_equal(stage_open(&stage), 0);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.stage = stage, .seed = i + 1};
        assert_int_equal(io_loop_create(stage.io, &workers[i].stage.loop), 0);
        assert_int_equal(cache_join(stage.cache, workers[i].stage.loop), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    unsigned found = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        while (pthread_tryjoin_np(threads[i], NULL) != 0)
            io_loop_turn(stage.loop, NS_PER_MS);
        assert_int_equal(io_loop_destroy(workers[i].stage.loop, 20 * NS_PER_S), 0);
        found += workers[i].found;
    }
    struct disk_stats stats = stage_stats(&stage);
    print_message("found %u, disk hits %lu, reclaimed %lu, carried %lu, corrupt %lu\n", found,
        (unsigned long)stats.hits, (unsigned long)stats.reclaimed_segments, (unsigned long)stats.carried,
        (unsigned long)stats.corrupt);
    assert_int_equal(stats.corrupt, 0);
    assert_true(stats.hits > 0 && found > 1000);
    end(&stage);
}

static void many_threads(void **state)
{
    (void)state;
    many_threads_with(DISK_ADMIT_ALWAYS);
}

static void many_threads_second_request(void **state)
{
    (void)state;
    many_threads_with(DISK_ADMIT_SECOND_REQUEST);
}

/* A read that finds an item in writing is overtaken by a replacement on disk only: what it read is not kept.
 */
static void a_replaced_item_is_not_kept(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    struct answer answer;
    put(&stage, 1, 1, 1000, CACHE_PUT_DISK);
    start(&stage, &answer, 1, true);
    put(&stage, 1, 2, 1000, CACHE_PUT_DISK);
    assert_int_equal(wait_for(&stage, &answer), 0);
    assert_false(in_memory(&stage, 1));
    end(&stage);
}

/* Two puts of one key: the one with the lower sequence comes to memory last. */
static void an_overtaken_put(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage);
    struct item *newer = stage_item(&stage, 1, 9, 1000);
    uint64_t sequence = item_sequence(newer) + 1000;
    memory_insert(stage.memory, newer, sequence);
    item_unref(&newer);
    put(&stage, 1, 1, 1000, CACHE_PUT_MEMORY | CACHE_PUT_DISK);
    struct item *found = cache_find(stage.cache, key_of(1));
    assert_int_equal(item_sequence(found), sequence);
    item_unref(&found);
    end(&stage);
}

/* ---- more loops than there are places ---- */

enum { PLACES = 256 };

static void count_left(void *context)
{
    ++*(unsigned *)context;
}

static void turn_until(struct io_loop *loop, const unsigned *count, unsigned wanted)
{
    for (unsigned turns = 0; *count < wanted; turns++) {
        assert_true(turns < 10000);
        io_loop_turn(loop, NS_PER_MS);
    }
}

/* A loop that finds no place has not joined the disk either: a place that is free there stays free. */
static void a_loop_too_many(void **state)
{
    (void)state;
    struct stage stage;
    struct io_loop *loops[PLACES];
    struct io_config config = {.choice = IO_FAKE, .fake_seed = 1, .socket_capacity = 1, .buffer_count = 1};
    if (stage_driver() != IO_FAKE)
        skip(); /* so many loops are cheap there, and the driver doesn't matter */
    stage_init(&stage, 40 * MIB);
    assert_int_equal(io_create(&stage.io, &config, NULL), 0);
    assert_int_equal(stage_open(&stage), 0);
    for (unsigned i = 0; i < PLACES; i++) {
        assert_int_equal(io_loop_create(stage.io, &loops[i]), 0);
        assert_int_equal(cache_join(stage.cache, loops[i]), i < PLACES - 1 ? 0 : E_EXHAUSTED);
    }
    unsigned left = 0;
    disk_leave(stage.disk, loops[0], count_left, &left);
    turn_until(loops[0], &left, 1);
    assert_int_equal(cache_join(stage.cache, loops[PLACES - 1]), E_EXHAUSTED);
    assert_int_equal(disk_join(stage.disk, loops[0]), 0);
    for (unsigned i = 0; i < PLACES - 1; i++) {
        cache_leave(stage.cache, loops[i], count_left, &left);
        turn_until(loops[i], &left, i + 2);
    }
    assert_int_equal(cache_join(stage.cache, loops[PLACES - 1]), 0);
    cache_leave(stage.cache, loops[PLACES - 1], count_left, &left);
    turn_until(loops[PLACES - 1], &left, PLACES + 1);
    for (unsigned i = 0; i < PLACES; i++)
        assert_int_equal(io_loop_destroy(loops[i], 20 * NS_PER_S), 0);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_tiers), cmocka_unit_test(joined_reads),
        cmocka_unit_test(remove_while_reading), cmocka_unit_test(a_replaced_item_is_not_kept),
        cmocka_unit_test(an_overtaken_put), cmocka_unit_test(without_a_disk),
        cmocka_unit_test(a_loop_too_many), cmocka_unit_test(a_hit_is_a_second_request),
        cmocka_unit_test(too_many_hits_wait_for_the_next), cmocka_unit_test(a_leaving_loop_writes_its_hits),
        cmocka_unit_test(a_hit_is_overtaken), cmocka_unit_test(many_threads),
        cmocka_unit_test(many_threads_second_request)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
