/*
 * Churn: several loops get, put, replace, remove, forget, flush and let go of the same keys at full speed,
 * with a working set of three times the disk's capacity, so that segments are reclaimed under the readers all
 * the time. Every byte of every answer is checked against churn_truth.h. Again and again everything is closed
 * with operations in flight and opened anew; what was replaced or removed must not come back by that.
 *
 * Memory is flat: what the process holds in the last third, by the median of many looks, is at most 2 % and 2
 * MiB above the third before, or 10 %, 4 MiB and the memory of a device's batches in runs of less than five
 * minutes, where pools are still being filled, and where each third was seen at all (not under sanitizers,
 * which keep what was freed). Peaks say nothing: a busy machine makes more wait, up to the bounds that
 * test_footprint.c holds the tier to.
 *
 * `test_churn [SECONDS [SEED]]`, the driver by YATA_IO; 77 where the machine has no such driver.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/cache.h"
#include "cache/device.h"
#include "churn_truth.h"

#define MIB (UINT64_C(1) << 20)
#define LOOPS 3
#define GETS 24 /* in flight, of each loop */
#define MEMORY_BYTES (48 * MIB)
#define DISK_BYTES (192 * MIB)
#define ITEM_BYTES (96u << 10) /* on average */
#define KEYS (unsigned)(3 * DISK_BYTES / ITEM_BYTES)
#define LOOK_UNIT (256u << 10)
#define LOOK_UNITS 8192
#define LIVES 4 /* at least so many times opened and closed */
#define LIFE_SECONDS_MAX 60

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

struct tally {
    uint64_t gets, hits, parts, let_go, puts, no_room, removes, forgets, flushes, checked_bytes;
};

struct churner;

struct asking {
    struct cache_get get;
    struct churner *churner;
    unsigned key;
    uint64_t floor;
    uint32_t from, len;
    bool busy;
};

struct churner {
    unsigned number;
    pthread_t thread;
    struct io_loop *loop;
    struct random random;
    struct asking asking[GETS];
    unsigned answers_due; /* of removes and flushes */
    bool left;
    struct tally tally;
    uint8_t expected[TRUTH_VALUE_MAX], found[TRUTH_VALUE_MAX];
};

static struct truth truth;
static struct churner churners[LOOPS];
static struct io *io;
static struct memory *memory;
static struct disk *disk;
static struct cache *cache;
static char path[200];
static _Atomic bool stopping;
static _Atomic unsigned living; /* threads besides the home loop's */
static enum io_choice driver;

/* ---- one operation ---- */

static bool chance(struct churner *me, unsigned percent)
{
    return random_below(&me->random, 100) < percent;
}

/* Half of what is asked for is among a tenth of the keys. */
static unsigned any_key(struct churner *me)
{
    return (unsigned)random_below(&me->random, chance(me, 50) ? KEYS / 10 : KEYS);
}

static void put(struct churner *me, unsigned key)
{
    uint64_t low, version = truth_begin(&truth, me->number, key, &low);
    uint32_t len = truth_len(key, version);
    uint8_t buf[TRUTH_KEY_BYTES];
    struct item *item;
    if (cache_take(cache, truth_key(key, buf), len, &item) == 0) {
        truth_value(key, version, 0, len, me->expected);
        item_append(item, bytes_of(me->expected, len));
        item_complete(item);
        cache_put(cache, me->loop, item, CACHE_PUT_DISK | (chance(me, 50) ? CACHE_PUT_MEMORY : 0), 0);
        item_unref(&item);
        truth_end(&truth, me->number, key, low);
        me->tally.puts++;
    } else {
        truth_end(&truth, me->number, key, 0); /* nothing happened */
        me->tally.no_room++;
    }
}

static void answered(void *context, int result)
{
    struct churner *me = context;
    CHECK(result == 0);
    me->answers_due--;
}

static void change(struct churner *me, unsigned key)
{
    uint8_t buf[TRUTH_KEY_BYTES];
    struct item_key name = truth_key(key, buf);
    unsigned dice = (unsigned)random_below(&me->random, 20);
    if (dice > 4) {
        put(me, key);
        return;
    }
    if (dice == 4) {
        me->answers_due++;
        me->tally.flushes++;
        CHECK(disk_flush(disk, me->loop, answered, me) == 0);
        return;
    }
    uint64_t low;
    (void)truth_begin(&truth, me->number, key, &low);
    if (dice == 3) {
        me->tally.forgets++;
        cache_forget(cache, name);
    } else {
        me->tally.removes++;
        me->answers_due++;
        CHECK(cache_remove(cache, me->loop, name, answered, me) == 0);
    }
    truth_end(&truth, me->number, key, low);
}

/* ---- gets ---- */

static _Noreturn void wrong(const struct asking *asking, uint64_t version, const char *what)
{
    fprintf(stderr, "key %u, version %llu, asked for %u+%u at floor %llu: %s\n", asking->key,
        (unsigned long long)version, asking->from, asking->len, (unsigned long long)asking->floor, what);
    abort();
}

/* What is held is of one version, and not of one that had gone when the get began. */
static void check(struct asking *asking, const struct item *item)
{
    struct churner *me = asking->churner;
    uint32_t from = item_value_from(item), held = item_held_len(item), len = item_value_len(item);
    uint64_t version = 0;
    if (item_filled(item) != held || len > TRUTH_VALUE_MAX || from > len || held > len - from)
        wrong(asking, 0, "not filled");
    uint32_t first = asking->from < len ? asking->from : 0; /* past the end: what is there */
    uint32_t want = asking->len < len - first ? asking->len : len - first;
    if (first < from || (asking->from < len && first + want > from + held))
        wrong(asking, 0, "does not hold what was asked for");
    item_copy(item, 0, held, me->found);
    memcpy(&version, me->found, held < 8 ? held : 8);
    if (held < 8 && from > 0)
        return; /* the rest of a version's number is all there is */
    if (version < asking->floor || version >= atomic_load(&truth.clock))
        wrong(asking, version, "out of its time");
    if (len != truth_len(asking->key, version))
        wrong(asking, version, "wrong length");
    truth_value(asking->key, version, from, held, me->expected);
    if (memcmp(me->expected, me->found, held) != 0)
        wrong(asking, version, "wrong bytes");
    me->tally.checked_bytes += held;
}

static void got(struct cache_get *get, int result, struct item *item)
{
    struct asking *asking = CONTAINER_OF(get, struct asking, get);
    struct churner *me = asking->churner;
    asking->busy = false;
    CHECK((result == 0) == (item != NULL));
    CHECK(result == 0 || result == E_MISSING || result == E_EXHAUSTED);
    if (item == NULL) {
        if (result == E_MISSING && !atomic_load(&stopping) && chance(me, 40))
            put(me, asking->key);
        return;
    }
    check(asking, item);
    me->tally.hits++;
    item_unref(&item);
}

static void ask(struct churner *me, struct asking *asking)
{
    uint8_t buf[TRUTH_KEY_BYTES];
    bool part = chance(me, 20), keep = chance(me, 50);
    asking->churner = me;
    asking->get.done = got;
    asking->key = any_key(me);
    asking->floor = truth_floor(&truth, asking->key);
    asking->from = part ? (uint32_t)random_below(&me->random, 200000) : 0;
    asking->len = part ? 1 + (uint32_t)random_below(&me->random, 100000) : UINT32_MAX;
    asking->busy = true;
    me->tally.gets++;
    me->tally.parts += part;
    cache_get_start(
        cache, me->loop, &asking->get, truth_key(asking->key, buf), asking->from, asking->len, keep);
}

static void let_go(struct asking *asking)
{
    cache_get_abandon(&asking->get);
    asking->busy = false;
    asking->churner->tally.let_go++;
}

static void round_of(struct churner *me)
{
    for (unsigned i = 0; i < GETS; i++) {
        struct asking *asking = &me->asking[i];
        if (!asking->busy)
            ask(me, asking);
        if (chance(me, 1) && asking->busy)
            let_go(asking);
    }
    if (chance(me, 60) && me->answers_due < 64)
        change(me, any_key(me));
    io_loop_turn(me->loop, NS_PER_MS);
}

/* ---- a life: from open to close ---- */

static void left(void *context)
{
    ((struct churner *)context)->left = true;
}

/* Lets go of the gets and leaves, with all else still in flight. */
static void leave(struct churner *me)
{
    for (unsigned i = 0; i < GETS; i++)
        if (me->asking[i].busy)
            let_go(&me->asking[i]);
    me->left = false;
    cache_leave(cache, me->loop, left, me);
}

static void *churn(void *argument)
{
    struct churner *me = argument;
    CHECK(io_loop_create(io, &me->loop) == 0);
    CHECK(cache_join(cache, me->loop) == 0);
    while (!atomic_load(&stopping))
        round_of(me);
    for (leave(me); !me->left;)
        io_loop_turn(me->loop, NS_PER_MS);
    CHECK(me->answers_due == 0);
    CHECK(io_loop_destroy(me->loop, 20 * NS_PER_S) == 0);
    atomic_fetch_sub(&living, 1);
    return NULL;
}

struct turn {
    bool done;
    int result;
};

static void turned(void *context, int result)
{
    *(struct turn *)context = (struct turn){true, result};
}

static void on_event(void *context, const struct disk_event *event)
{
    (void)context;
    if (event->kind != DISK_EVENT_OPENED && event->kind != DISK_EVENT_RECOVERED)
        fprintf(stderr, "%s: %s (%d)\n", event->device, event->text, event->error);
}

/* All of the memory tier is used at once: how soon a life comes to that is the machine's affair, not growth.
 */
static void touch_memory(void)
{
    static const uint8_t block[65536];
    struct memory_stats stats;
    uint64_t number = 0;
    do {
        struct item *item;
        struct item_key key = {ITEM_VARY, bytes_of(&number, sizeof number)};
        struct item_shape shape = {.value_len = sizeof block, .held_len = sizeof block};
        CHECK(memory_take(memory, key, shape, &item) == 0);
        item_append(item, bytes_of(block, sizeof block));
        item_complete(item);
        memory_insert(memory, item, 1);
        item_unref(&item);
        number++;
        memory_stats(memory, &stats);
    } while (stats.evictions == 0);
}

static void open_all(void)
{
    struct io_report report;
    int result = io_create(&io, &(struct io_config){.choice = driver}, &report);
    if (result < 0) {
        fprintf(stderr, "no such driver here: %s\n", report.reason);
        exit(77);
    }
    CHECK(memory_create(&memory, &(struct memory_config){.budget_bytes = MEMORY_BYTES}) == 0);
    touch_memory();
    struct disk_config config = {.devices = {{path, DISK_BYTES}},
        .device_count = 1,
        .expected_item_bytes = ITEM_BYTES / 2,
        .memory = memory,
        .event = on_event};
    CHECK(disk_create(&disk, io, &config) == 0 && cache_create(&cache, memory, disk) == 0);
    struct churner *home = &churners[0];
    struct turn turn = {0};
    CHECK(io_loop_create(io, &home->loop) == 0 && cache_join(cache, home->loop) == 0);
    disk_attach(disk, home->loop, turned, &turn);
    while (!turn.done)
        io_loop_turn(home->loop, NS_PER_MS);
    CHECK(turn.result == 0);
}

/* The home loop's own operations are still in flight when it detaches. */
static void close_all(void)
{
    struct churner *home = &churners[0];
    struct turn turn = {0};
    for (unsigned i = 0; i < 50; i++)
        change(home, any_key(home));
    disk_detach(disk, home->loop, io_now_ns(home->loop) + 180 * NS_PER_S, turned, &turn);
    while (!turn.done)
        io_loop_turn(home->loop, NS_PER_MS);
    CHECK(turn.result == 0);
    for (leave(home); !home->left;)
        io_loop_turn(home->loop, NS_PER_MS);
    CHECK(home->answers_due == 0);
    CHECK(io_loop_destroy(home->loop, 20 * NS_PER_S) == 0);
    cache_destroy(cache);
    disk_destroy(disk);
    memory_destroy(memory);
    CHECK(io_destroy(io) == 0);
}

/* ---- what the process holds ---- */

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0, ignored;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%llu %llu", &ignored, &pages) == 2);
    fclose(statm);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct course {
    uint64_t begin_ns, end_ns, shown_ns, peaks[3]; /* of each third */
    uint32_t looks[3][LOOK_UNITS];                 /* by size, in units of LOOK_UNIT */
    uint64_t reclaimed, carried, written_bytes;    /* of the lives that are over */
};

static struct tally sum(void)
{
    struct tally sum = {0};
    for (unsigned i = 0; i < LOOPS; i++)
        for (size_t j = 0; j < sizeof sum / 8; j++)
            ((uint64_t *)&sum)[j] += ((const uint64_t *)&churners[i].tally)[j];
    return sum;
}

static void show(const struct course *course, uint64_t now_ns)
{
    struct tally tally = sum();
    printf(
        "%4llu s: %llu gets, %llu hits, %llu parts, %llu let go, %llu puts, %llu without room, %llu removes, "
        "%llu forgets, %llu flushes, %llu MiB checked; resident %llu KiB\n",
        (unsigned long long)((now_ns - course->begin_ns) / NS_PER_S), (unsigned long long)tally.gets,
        (unsigned long long)tally.hits, (unsigned long long)tally.parts, (unsigned long long)tally.let_go,
        (unsigned long long)tally.puts, (unsigned long long)tally.no_room, (unsigned long long)tally.removes,
        (unsigned long long)tally.forgets, (unsigned long long)tally.flushes,
        (unsigned long long)(tally.checked_bytes / MIB), (unsigned long long)(resident_bytes() / 1024));
    fflush(stdout);
}

/* How much may wait: what is admitted at the same moment by each loop, what is carried forward and records of
 * removal are past the limit that puts see. */
static void check_waiting(void)
{
    struct disk_stats stats;
    disk_stats(disk, &stats);
    CHECK(stats.waiting_bytes <=
          stats.waiting_limit_bytes + LOOPS * (TRUTH_VALUE_MAX + 65536) + stats.segment_bytes / 4);
}

static void look(struct course *course)
{
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t third = (now_ns - course->begin_ns) * 3 / (course->end_ns - course->begin_ns + 1);
    uint64_t bytes = resident_bytes();
    if (third < 3) {
        course->peaks[third] = bytes > course->peaks[third] ? bytes : course->peaks[third];
        course->looks[third][bytes / LOOK_UNIT < LOOK_UNITS ? bytes / LOOK_UNIT : LOOK_UNITS - 1]++;
    }
    check_waiting();
    if (now_ns < course->shown_ns + 60 * NS_PER_S)
        return;
    course->shown_ns = now_ns;
    show(course, now_ns);
}

static void live(struct course *course, uint64_t until_ns)
{
    open_all();
    atomic_store(&stopping, false);
    atomic_store(&living, LOOPS - 1);
    for (unsigned i = 1; i < LOOPS; i++)
        CHECK(pthread_create(&churners[i].thread, NULL, churn, &churners[i]) == 0);
    for (uint64_t looked_ns = 0; clock_monotonic_ns() < until_ns;) {
        round_of(&churners[0]);
        if (clock_monotonic_ns() < looked_ns + 50 * NS_PER_MS)
            continue;
        look(course);
        looked_ns = clock_monotonic_ns();
    }
    atomic_store(&stopping, true);
    while (atomic_load(&living) > 0) /* what they wait for may be this loop's to do */
        io_loop_turn(churners[0].loop, NS_PER_MS);
    for (unsigned i = 1; i < LOOPS; i++)
        CHECK(pthread_join(churners[i].thread, NULL) == 0);
    struct disk_stats stats;
    disk_stats(disk, &stats);
    course->reclaimed += stats.reclaimed_segments;
    course->carried += stats.carried;
    course->written_bytes += stats.written_bytes;
    CHECK(stats.corrupt == 0 && stats.io_errors == 0 && stats.devices_out == 0);
    close_all();
}

static uint64_t looks_of(const uint32_t *looks)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < LOOK_UNITS; i++)
        all += looks[i];
    return all;
}

static uint64_t median(const uint32_t *looks)
{
    uint64_t all = looks_of(looks), below = 0;
    for (unsigned i = 0; i < LOOK_UNITS; i++)
        if ((below += looks[i]) * 2 >= all)
            return (uint64_t)i * LOOK_UNIT;
    return 0;
}

static int verdict(const struct course *course)
{
    struct tally tally = sum();
    printf("%llu segments reclaimed, %llu items carried, %llu MiB written: the disk %llu times over\n",
        (unsigned long long)course->reclaimed, (unsigned long long)course->carried,
        (unsigned long long)(course->written_bytes / MIB),
        (unsigned long long)(course->written_bytes / DISK_BYTES));
    uint64_t usual[3];
    for (unsigned i = 0; i < 3; i++) {
        usual[i] = median(course->looks[i]);
        printf("%s third: resident %llu KiB by the median, at most %llu\n",
            i == 0   ? "first"
            : i == 1 ? "second"
                     : "last",
            (unsigned long long)usual[i] / 1024, (unsigned long long)course->peaks[i] / 1024);
    }
    CHECK(tally.hits > 0 && tally.puts > 0 && tally.removes > 0 && tally.let_go > 0);
#ifndef SANITIZED
    bool settled = course->end_ns - course->begin_ns >= 300 * NS_PER_S;
    uint64_t more = settled ? usual[1] / 50 + 2 * MIB : usual[1] / 10 + 4 * MIB + DEVICE_BATCH_MEMORY;
    bool seen = looks_of(course->looks[1]) >= 5 && looks_of(course->looks[2]) >= 5;
    if (seen && usual[2] > usual[1] + more) {
        fprintf(stderr, "memory grows\n");
        return 1;
    }
#endif
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 5,
             seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const char *name = getenv("YATA_IO"), *folder = getenv("TMPDIR");
    driver = name != NULL && strcmp(name, "uring") == 0 ? IO_URING : IO_PORTABLE;
    snprintf(path, sizeof path, "%s/yata-churn-%d", folder != NULL ? folder : "/var/tmp", (int)getpid());
    truth.key_count = KEYS;
    truth.clock = 1;
    truth.floors = calloc(KEYS, sizeof *truth.floors);
    CHECK(truth.floors != NULL);
    for (unsigned i = 0; i < LOOPS; i++) {
        churners[i].number = i;
        random_init(&churners[i].random, seed * LOOPS + i);
    }
    static struct course course; /* large */
    course = (struct course){.begin_ns = clock_monotonic_ns()};
    course.end_ns = course.begin_ns + seconds * NS_PER_S;
    course.shown_ns = course.begin_ns;
    uint64_t life_ns =
        seconds / LIVES < LIFE_SECONDS_MAX ? seconds * NS_PER_S / LIVES : LIFE_SECONDS_MAX * NS_PER_S;
    for (uint64_t now_ns; (now_ns = clock_monotonic_ns()) < course.end_ns;)
        live(&course, now_ns + life_ns);
    show(&course, clock_monotonic_ns());
    int result = verdict(&course);
    free(truth.floors);
    unlink(path);
    return result;
}
