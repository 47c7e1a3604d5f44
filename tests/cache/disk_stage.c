#include "disk_stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "io/fake.h"

enum io_choice stage_driver(void)
{
    const char *name = getenv("YATA_IO");
    if (name != NULL && strcmp(name, "uring") == 0)
        return IO_URING;
    if (name != NULL && strcmp(name, "fake") == 0)
        return IO_FAKE;
    return IO_PORTABLE;
}

const char *stage_path(unsigned number)
{
    static char paths[4][200];
    const char *folder = getenv("TMPDIR");
    snprintf(paths[number], sizeof paths[number], "%s/yata-disk-%d-%u", folder != NULL ? folder : "/var/tmp",
        (int)getpid(), number);
    unlink(paths[number]);
    return paths[number];
}

static void on_event(void *context, const struct disk_event *event)
{
    struct stage *stage = context;
    stage->events[event->kind]++;
    snprintf(stage->last_event, sizeof stage->last_event, "%s: %s", event->device, event->text);
    if (getenv("YATA_VERBOSE") != NULL)
        print_message("event %d: %s (%d)\n", event->kind, stage->last_event, event->error);
}

void stage_init(struct stage *stage, uint64_t size_bytes)
{
    *stage = (struct stage){.driver = stage_driver(), .seed = 1};
    stage->config = (struct disk_config){.device_count = 1, .event = on_event, .event_context = stage};
    stage->config.devices[0] = (struct disk_device_config){stage_path(0), size_bytes};
}

void stage_turn(struct stage *stage)
{
    io_loop_turn(stage->loop, 20 * NS_PER_MS);
}

struct answer {
    bool done;
    int result;
    struct item *item;
};

static void answered(void *context, int result)
{
    struct answer *answer = context;
    answer->result = result;
    answer->done = true;
}

static void answered_item(void *context, int result, struct item *item)
{
    struct answer *answer = context;
    answer->item = item;
    answered(context, result);
}

static void answered_left(void *context)
{
    answered(context, 0);
}

static int await(struct stage *stage, struct answer *answer)
{
    for (unsigned turns = 0; !answer->done; turns++) {
        assert_true(turns < 2000000);
        stage_turn(stage);
    }
    return answer->result;
}

int stage_open(struct stage *stage)
{
    if (stage->io == NULL) {
        struct io_config config = {.choice = stage->driver, .fake_seed = stage->seed};
        struct io_report report;
        int result = io_create(&stage->io, &config, &report);
        if (result < 0) {
            print_message("no such driver here: %s\n", report.reason);
            skip();
        }
    }
    assert_int_equal(io_loop_create(stage->io, &stage->loop), 0);
    struct memory_config memory = {.budget_bytes = UINT64_C(32) << 20};
    assert_int_equal(memory_create(&stage->memory, &memory), 0);
    stage->config.memory = stage->memory;
    assert_int_equal(disk_create(&stage->disk, stage->io, &stage->config), 0);
    assert_int_equal(cache_create(&stage->cache, stage->memory, stage->disk), 0);
    assert_int_equal(cache_join(stage->cache, stage->loop), 0);
    struct answer answer = {0};
    disk_attach(stage->disk, stage->loop, answered, &answer);
    int result = await(stage, &answer);
    stage->attached = result == 0;
    return result;
}

int stage_detach(struct stage *stage, uint64_t within_ns)
{
    struct answer detached = {0};
    disk_detach(stage->disk, stage->loop, io_now_ns(stage->loop) + within_ns, answered, &detached);
    return await(stage, &detached);
}

int stage_close(struct stage *stage)
{
    struct answer left = {0};
    int result = stage_detach(stage, 120 * NS_PER_S);
    cache_leave(stage->cache, stage->loop, answered_left, &left);
    await(stage, &left);
    assert_int_equal(io_loop_destroy(stage->loop, 120 * NS_PER_S), 0);
    cache_destroy(stage->cache);
    disk_destroy(stage->disk);
    memory_destroy(stage->memory);
    stage->loop = NULL;
    return result;
}

/* A dead process frees nothing; kept, so that leak checkers don't mind. */
static void *dead[256];
static unsigned dead_count;

void stage_end_io(struct stage *stage)
{
    dead[dead_count++ % 256] = stage->disk;
    dead[dead_count++ % 256] = stage->cache;
    dead[dead_count++ % 256] = stage->memory;
    io_loop_destroy(stage->loop, 60 * NS_PER_S); /* what is in flight holds the file, and its lock */
    io_destroy(stage->io);
    stage->loop = NULL;
    stage->io = NULL;
}

void stage_crash(struct stage *stage)
{
    struct fake_disk *disk = stage->driver == IO_FAKE ? fake_disk_cut(stage->io, FAKE_KILL) : NULL;
    stage_end_io(stage);
    if (disk == NULL)
        return;
    struct io_config config = {.choice = IO_FAKE, .fake_seed = ++stage->seed};
    struct io_report report;
    assert_int_equal(io_create(&stage->io, &config, &report), 0);
    fake_disk_attach(stage->io, disk);
}

void stage_settle(struct stage *stage)
{
    for (unsigned turns = 0, idle = 0; idle < 3 && turns < 2000000; turns++) {
        struct disk_stats stats = stage_stats(stage);
        struct io_loop_stats loop; /* tables, reclaiming: an operation may take as long as it likes */
        io_loop_stats(stage->loop, &loop);
        bool rests = stats.waiting_bytes == 0 && stats.recovering == 0 && loop.disk_ops_in_flight == 0;
        bool turned = io_loop_turn(stage->loop, 10 * NS_PER_MS) > 0;
        idle = rests && !turned ? idle + 1 : 0;
    }
}

void stage_value(uint64_t key, uint64_t version, uint32_t len, uint8_t *value)
{
    struct random random;
    random_init(&random, key * 1000003 + version);
    uint64_t base = random_next(&random);
    for (uint32_t i = 0; i < len / 8; i++) {
        uint64_t word = base * (2 * (uint64_t)i + 1);
        memcpy(value + (size_t)i * 8, &word, 8);
    }
    memcpy(value + len / 8 * 8, &base, len % 8);
    memcpy(value, &version, len < 8 ? len : 8);
}

struct item_key stage_key(uint64_t key, uint8_t *buf)
{
    /* Lengths differ, so that headers do. */
    int len = snprintf(
        (char *)buf, 64, "key-%llu-%.*s", (unsigned long long)key, (int)(key % 20), "abcdefghijklmnopqrst");
    return (struct item_key){key % 3 == 0 ? ITEM_HEAD : ITEM_CHUNK, bytes_of(buf, (size_t)len)};
}

struct item *stage_item(struct stage *stage, uint64_t key, uint64_t version, uint32_t len)
{
    uint8_t buf[64], *value = malloc(len + 1);
    struct item *item;
    stage_value(key, version, len, value);
    struct item_shape shape = {.value_len = len, .held_len = len};
    int result = memory_take(stage->memory, stage_key(key, buf), shape, &item);
    for (unsigned turns = 0; result == E_EXHAUSTED && turns < 100000; turns++) {
        stage_turn(stage);
        result = memory_take(stage->memory, stage_key(key, buf), shape, &item);
    }
    assert_int_equal(result, 0);
    item_append(item, bytes_of(value, len));
    item_complete(item);
    item_sequence_set(item, disk_next_sequence(stage->disk));
    free(value);
    return item;
}

int stage_put(struct stage *stage, uint64_t key, uint64_t version, uint32_t len)
{
    struct item *item = stage_item(stage, key, version, len);
    int result = disk_put(stage->disk, stage->loop, item, 0);
    item_unref(&item);
    return result;
}

/* The bytes held by the item are those of the version. */
static void check_bytes(const struct item *item, uint64_t key, uint64_t version)
{
    uint32_t value_len = item_value_len(item), from = item_value_from(item), held = item_held_len(item);
    uint8_t *expect = malloc(value_len + 1), *got = malloc(held + 1);
    stage_value(key, version, value_len, expect);
    assert_int_equal(item_filled(item), held);
    item_copy(item, 0, held, got);
    if (memcmp(got, expect + from, held) != 0)
        fail_msg(
            "wrong bytes of key %llu version %llu", (unsigned long long)key, (unsigned long long)version);
    free(expect);
    free(got);
}

static int get(struct stage *stage, uint64_t key, uint32_t from, uint32_t len, struct item **item)
{
    uint8_t buf[64];
    struct answer answer = {0};
    *item = NULL;
    if (disk_get(stage->disk, stage->loop, stage_key(key, buf), from, len, answered_item, &answer) == NULL)
        return -ENOMEM;
    assert_false(answer.done);
    int result = await(stage, &answer);
    *item = answer.item;
    assert_true((result == 0) == (answer.item != NULL));
    return result;
}

int stage_get_part(
    struct stage *stage, uint64_t key, uint64_t version, uint32_t value_len, uint32_t from, uint32_t len)
{
    struct item *item;
    int result = get(stage, key, from, len, &item);
    if (result < 0)
        return result;
    assert_int_equal(item_value_len(item), value_len);
    uint32_t end = len > value_len - from ? value_len : from + len;
    assert_true(item_value_from(item) <= from && item_value_from(item) + item_held_len(item) >= end);
    check_bytes(item, key, version);
    item_unref(&item);
    return 0;
}

int stage_get(struct stage *stage, uint64_t key, uint64_t version, uint32_t value_len)
{
    return stage_get_part(stage, key, version, value_len, 0, UINT32_MAX);
}

int64_t stage_item_version(const struct item *item, uint64_t key)
{
    uint64_t version = 0;
    assert_true(item_held_len(item) >= 8 && item_value_from(item) == 0);
    item_copy(item, 0, 8, &version);
    check_bytes(item, key, version);
    return (int64_t)version;
}

int64_t stage_version(struct stage *stage, uint64_t key)
{
    struct item *item;
    int result = get(stage, key, 0, UINT32_MAX, &item);
    if (result < 0)
        return result;
    int64_t version = stage_item_version(item, key);
    item_unref(&item);
    return version;
}

int stage_remove(struct stage *stage, uint64_t key)
{
    uint8_t buf[64];
    struct answer answer = {0};
    int result = disk_remove(stage->disk, stage->loop, stage_key(key, buf), answered, &answer);
    return result < 0 ? result : await(stage, &answer);
}

int stage_flush(struct stage *stage)
{
    struct answer answer = {0};
    int result = disk_flush(stage->disk, stage->loop, answered, &answer);
    return result < 0 ? result : await(stage, &answer);
}

struct disk_stats stage_stats(struct stage *stage)
{
    struct disk_stats stats;
    disk_stats(stage->disk, &stats);
    return stats;
}
