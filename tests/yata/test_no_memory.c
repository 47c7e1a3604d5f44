/*
 * Every allocation of the library is made to fail once, and then all from there on: a story of open, puts
 * whole and in pieces, gets, views, values and their ranges, removes, flush and close is told again and
 * again, with the first allocation failing, the second, and so on until the story ends before its turn comes.
 * A call reports what yata.h says that it may, once; what is got is one version as a whole; nothing that was
 * removed or replaced comes back; a close ends all. The library is compiled for this test down to its I/O
 * layer (tests/io/failing.h); driver and loop are those of rig.h.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "failing.h"
#include "rig.h"

enum { SMALL, INLINE, CHUNKED, ANNOUNCED, UNKNOWN, REMOVED, KEYS };
enum { LEN_MAX = 700000, LIVES = 2 };

static const char *const names[KEYS] = {"small", "inline", "chunked", "announced", "unknown", "removed"};
static const size_t lens[KEYS] = {1000, 200000, 600000, 400000, LEN_MAX, 3000};

struct story {
    struct rig rig;
    uint64_t clock;
    uint64_t floor[KEYS]; /* nothing older may be found */
    uint64_t put[KEYS];   /* the latest put began with it */
    unsigned found;
};

static uint8_t given[LEN_MAX], got[LEN_MAX];

/* Whether it went well; else it is something that want of memory may lead to. */
static bool went_well(int64_t result)
{
    if (result >= 0)
        return true;
    bool may_be = result == -ENOMEM || result == YATA_EXHAUSTED || result == YATA_TIMEOUT ||
                  result == YATA_MISSING || result == YATA_LOST || result == YATA_UNSUPPORTED;
    if (!may_be)
        fail_msg("%s", yata_strerror((int)result));
    return false;
}

/* ---- what was found ---- */

/* Bytes of the key, of which the first is at `from`: all of one version, and not of one that is gone. */
static void check(struct story *story, unsigned key, uint64_t from, const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return;
    uint64_t version = story->put[key];
    while (version > 0 && !rig_bytes_are(version, from, bytes, len))
        version--;
    if (version == 0 || version < story->floor[key])
        fail_msg("%s: version %u, not before %u", names[key], (unsigned)version, (unsigned)story->floor[key]);
    story->found++;
}

static void check_view(struct story *story, unsigned key, struct yata_view *view)
{
    static uint8_t bytes[YATA_VIEW_MAX];
    uint64_t len = yata_view_len(view);
    assert_int_equal(yata_view_value_len(view), lens[key]);
    assert_int_equal(yata_view_copy(view, 0, bytes, len), len);
    check(story, key, yata_view_from(view), bytes, len);
    yata_view_release(&view);
}

/* ---- gets ---- */

static void get_copy(struct story *story, unsigned key)
{
    uint64_t value_len;
    int64_t result =
        yata_get_copy_wait(story->rig.yata, names[key], strlen(names[key]), 0, got, sizeof got, &value_len);
    if (!went_well(result))
        return;
    assert_int_equal(result, lens[key]);
    assert_int_equal(value_len, lens[key]);
    check(story, key, 0, got, lens[key]);
}

static void get_view(struct story *story, unsigned key, uint64_t from, uint64_t len)
{
    struct yata_view *view = NULL;
    if (went_well(yata_get_wait(story->rig.yata, names[key], strlen(names[key]), from, len, &view)))
        check_view(story, key, view);
    if (went_well(yata_peek(story->rig.yata, names[key], strlen(names[key]), from, len, &view)))
        check_view(story, key, view);
}

/* Two ranges of one version. */
static void get_value(struct story *story, unsigned key)
{
    struct yata_value *value = NULL;
    struct yata_view *view = NULL;
    if (!went_well(yata_value_open_wait(story->rig.yata, names[key], strlen(names[key]), &value)))
        return;
    assert_int_equal(yata_value_len(value), lens[key]);
    size_t half = lens[key] / 2;
    int64_t first = yata_value_copy_wait(value, 0, got, half);
    int64_t rest = yata_value_copy_wait(value, half, got + half, lens[key] - half);
    if (went_well(first) && went_well(rest))
        check(story, key, 0, got, lens[key]);
    if (went_well(yata_value_read_wait(value, half, 5000, &view)))
        check_view(story, key, view);
    yata_value_close(&value);
}

static void get_all(struct story *story)
{
    for (unsigned key = 0; key < KEYS; key++) {
        get_value(story, key);
        get_view(story, key, 100, 50);
        get_view(story, key, 0, YATA_TO_END);
        get_copy(story, key);
    }
}

/* ---- puts ---- */

static const uint8_t *next_version(struct story *story, unsigned key)
{
    story->put[key] = ++story->clock;
    rig_bytes(story->clock, 0, given, lens[key]);
    return given;
}

static void has_ended(struct story *story, unsigned key, int result)
{
    if (went_well(result))
        story->floor[key] = story->put[key];
}

static void put_whole(struct story *story, unsigned key)
{
    const uint8_t *bytes = next_version(story, key);
    has_ended(story, key, yata_put_wait(story->rig.yata, names[key], strlen(names[key]), bytes, lens[key]));
}

static void put_in_pieces(struct story *story, unsigned key, uint64_t len)
{
    const uint8_t *bytes = next_version(story, key);
    struct yata_put *put;
    if (!went_well(yata_put_begin(story->rig.yata, names[key], strlen(names[key]), len, &put)))
        return;
    for (size_t at = 0; at < lens[key]; at += 150000) {
        size_t piece = lens[key] - at < 150000 ? lens[key] - at : 150000;
        if (!went_well(yata_put_write_wait(put, bytes + at, piece))) {
            yata_put_abort(&put);
            return;
        }
    }
    has_ended(story, key, yata_put_end_wait(put));
}

static void put_all(struct story *story)
{
    for (unsigned key = 0; key < KEYS; key++) {
        if (key == ANNOUNCED || key == UNKNOWN)
            put_in_pieces(story, key, key == ANNOUNCED ? lens[key] : YATA_LEN_UNKNOWN);
        else
            put_whole(story, key);
    }
}

/* ---- removes ---- */

/* Once it is called back it is gone; for good, if that went well. */
static void remove_one(struct story *story, unsigned key)
{
    struct answer answer = {0};
    uint64_t before = story->floor[key];
    int result = yata_remove(story->rig.yata, names[key], strlen(names[key]), on_done, &answer);
    if (!went_well(result))
        return;
    result = (int)rig_await(&story->rig, &answer);
    story->floor[key] = story->put[key] + 1;
    get_value(story, key);
    get_copy(story, key);
    if (!went_well(result))
        story->floor[key] = before; /* at the next open */
}

/* ---- a life ---- */

/* Ends with calls under way, each of which is answered once. */
static void close_in_the_middle(struct story *story)
{
    struct answer puts[KEYS] = {0}, gets[KEYS] = {0}, flushed = {0};
    bool began[KEYS], asked[KEYS];
    struct yata *yata = story->rig.yata;
    for (unsigned key = 0; key < KEYS; key++) {
        began[key] = yata_put(yata, names[key], strlen(names[key]), given, 0, on_done, &puts[key]) == 0;
        asked[key] = yata_get(yata, names[key], strlen(names[key]), 0, 1000, on_view, &gets[key]) == 0;
    }
    bool flushes = yata_flush(yata, on_done, &flushed) == 0;
    (void)went_well(yata_close(yata, 120000));
    assert_int_equal(flushed.count, flushes);
    for (unsigned key = 0; key < KEYS; key++) {
        assert_int_equal(puts[key].count, began[key]);
        assert_int_equal(gets[key].count, asked[key]);
        yata_view_release(&gets[key].view);
        story->floor[key] = 0; /* what was put is empty now, or not */
    }
}

static void live(struct story *story, unsigned life)
{
    get_all(story);
    put_all(story);
    get_all(story);
    remove_one(story, REMOVED);
    (void)went_well(yata_flush_wait(story->rig.yata));
    (void)rig_stats(&story->rig);
    if (life < LIVES - 1)
        (void)went_well(yata_close(story->rig.yata, 120000));
    else
        close_in_the_middle(story);
}

static bool open_it(struct story *story)
{
    struct rig *rig = &story->rig;
    rig->config.devices = &rig->device;
    return went_well(yata_open(&rig->yata, &rig->config));
}

/* How many allocations it took. */
static uint64_t tell(uint64_t first, uint64_t count, unsigned timeout_ms, bool disk, unsigned *found)
{
    static struct story story;
    story = (struct story){0};
    struct rig *rig = &story.rig;
    rig_init(rig);
    rig->device.size_bytes = 40 * RIG_MIB;
    rig->config.driver = rig->driver.choice == IO_URING ? YATA_DRIVER_URING : YATA_DRIVER_PORTABLE;
    rig->config.device_count = disk;
    rig->config.threads = rig->config.driven ? 1 : 2;
    rig->config.memory_bytes = 8 * RIG_MIB;
    rig->config.timeout_ms = timeout_ms;
    failing_arm(first, count);
    for (unsigned life = 0; life < LIVES; life++)
        if (open_it(&story))
            live(&story, life);
    uint64_t calls = failing_disarm();
    *found = story.found;
    assert_true(open_it(&story)); /* there is memory again */
    rig->config.timeout_ms = 20000;
    put_whole(&story, CHUNKED);
    assert_int_equal(story.floor[CHUNKED], story.put[CHUNKED]);
    get_copy(&story, CHUNKED);
    assert_int_equal(yata_close(rig->yata, 120000), 0);
    rig_deinit(rig);
    return calls;
}

static void in_turn(uint64_t count, unsigned step, unsigned timeout_ms, bool disk)
{
    unsigned most, found;
    uint64_t all = tell(UINT64_MAX, 0, 20000, disk, &most);
    print_message("%u allocations, %u times found\n", (unsigned)all, most);
    assert_true(all > 100 && most > 6 * KEYS);
    for (uint64_t first = 1, used = all; first <= used; first += step)
        used = tell(first, count, timeout_ms, disk, &found);
}

static void one_fails(void **state)
{
    (void)state;
    in_turn(1, 1, 20000, true);
}

static void some_in_a_row_fail(void **state)
{
    (void)state;
    in_turn(5, 3, 20000, true);
}

static void all_fail_from_there_on(void **state)
{
    (void)state;
    in_turn(UINT64_MAX, 3, 20, true);
}

static void in_memory_only(void **state)
{
    (void)state;
    in_turn(1, 1, 20000, false);
    in_turn(UINT64_MAX, 3, 20, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_fails), cmocka_unit_test(some_in_a_row_fail),
        cmocka_unit_test(all_fail_from_there_on), cmocka_unit_test(in_memory_only)};
    struct rig rig;
    rig_init(&rig);
    struct io *io;
    if (io_create(&io, &(struct io_config){.choice = rig.driver.choice}, NULL) < 0)
        return 77;
    (void)io_destroy(io);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
