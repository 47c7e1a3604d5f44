/*
 * Crashes, by seeds: lives of the tier over the fake driver, each a random run of puts, replacements, gets,
 * removes, purges, flushes and, where admission waits for the second request, hits, which ends by a clean
 * stop, the death of the process or a loss of power: after any operation of the disk, those of opening,
 * recovering and closing included. Writes fail now and then, and reads while a device is opened; devices are
 * away for a life, sizes change. A model knows what may be found: no version that was older than one reported
 * durable or than a remove or purge that was answered, no wrong byte ever, and within a life nothing but the
 * latest. What was durable and left alone must be there after a death of the process, unless the device has
 * gone round since.
 *
 * test_crash_sim [first seed] [count]. What fails prints the command that replays it, also when it ends by a
 * CHECK, a fault or a loop. tests/mutations shows what it finds.
 */
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/purge.h"
#include "disk_stage.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)
enum { KEYS = 60, HOT = 20, PENDING = 64, SEED_SECONDS_MAX = 120 };

struct model {
    int64_t put[KEYS];   /* the latest version put well in this life; 0: none; -1: unknown since a crash */
    int64_t floor[KEYS]; /* nothing older may be found, in any life */
    bool must[KEYS];     /* it is durable, and was left alone since */
};

enum ending { END_CLEAN, END_KILL, END_POWER };

struct pending {
    bool busy, done, flush;
    int result;
    uint64_t hides; /* remove, purge: a bit for each key */
    int64_t clock;
    int64_t put[KEYS]; /* flush: what it covers */
};

struct sim {
    struct stage stage;
    struct random random;
    struct model model;
    struct pending pending[PENDING];
    int64_t clock;   /* also the version of the next put */
    bool heavy;      /* this life goes round the device several times */
    bool second;     /* what admission refuses lies in memory until it is hit */
    bool unreadable; /* reads fail now and then, from an open on */
    bool whole;      /* nothing may have been lost yet: no fault, no segment reclaimed */
    unsigned gets;   /* in flight */
    uint64_t found, asked, recovered, lives, reclaimed, carried, cuts, demanded, hits;
};

static struct random ids;

/* In place of the kernel's (base/random_os.c): ids and hash seeds are part of what a seed replays. */
void random_os(void *buf, size_t len)
{
    for (uint8_t *at = buf; len > 0; len--)
        *at++ = (uint8_t)random_next(&ids);
}

static void raise_to(int64_t *floor, int64_t to)
{
    if (to > *floor)
        *floor = to;
}

static_assert(KEYS <= 64, "a set of keys is a word");

static void flushed(struct sim *sim, const struct pending *pending)
{
    struct model *model = &sim->model;
    for (unsigned key = 0; key < KEYS; key++) {
        raise_to(&model->floor[key], pending->put[key]);
        if (pending->put[key] > 0 && model->put[key] == pending->put[key])
            model->must[key] = true;
    }
}

static void settle_pending(struct sim *sim)
{
    for (unsigned i = 0; i < PENDING; i++) {
        struct pending *pending = &sim->pending[i];
        if (!pending->busy || !pending->done)
            continue;
        pending->busy = false;
        if (pending->result < 0)
            continue;
        if (pending->flush)
            flushed(sim, pending);
        for (unsigned key = 0; key < KEYS; key++)
            if (pending->hides >> key & 1)
                raise_to(&sim->model.floor[key], pending->clock);
    }
}

static void answered(void *context, int result)
{
    struct pending *pending = context;
    pending->result = result;
    pending->done = true;
}

static struct pending *pending_take(struct sim *sim)
{
    for (unsigned i = 0; i < PENDING; i++)
        if (!sim->pending[i].busy) {
            sim->pending[i] = (struct pending){.busy = true, .clock = ++sim->clock};
            return &sim->pending[i];
        }
    return NULL;
}

static uint32_t some_len(struct sim *sim)
{
    if (sim->heavy && random_below(&sim->random, 4) != 0)
        return 60000 + (uint32_t)random_below(&sim->random, 200000);
    static const uint32_t edges[] = {8, 100, 4000, 16384, 65535, 65536, 65537, 200000, 262144};
    if (random_below(&sim->random, 2) == 0)
        return edges[random_below(&sim->random, sizeof edges / sizeof edges[0])];
    return 8 + (uint32_t)random_below(&sim->random, random_below(&sim->random, 3) == 0 ? 300000 : 3000);
}

/* While the log goes round, some keys are written seldom and read often: those are carried. */
static unsigned some_key(struct sim *sim, bool hot)
{
    if (sim->heavy && random_below(&sim->random, 8) != 0)
        return hot ? (unsigned)random_below(&sim->random, HOT)
                   : HOT + (unsigned)random_below(&sim->random, KEYS - HOT);
    return (unsigned)random_below(&sim->random, KEYS);
}

static void do_put(struct sim *sim)
{
    unsigned key = some_key(sim, false);
    int64_t version = ++sim->clock;
    struct item *item = stage_item(&sim->stage, key, (uint64_t)version, some_len(sim));
    if (sim->second)
        memory_insert(sim->stage.memory, item, item_sequence(item));
    int result = disk_put(sim->stage.disk, sim->stage.loop, item, 0);
    item_unref(&item);
    sim->model.put[key] = result == 0 ? version : 0;
    sim->model.must[key] = false;
}

/* From now on those keys have nothing, nor has memory. */
static void hide(struct sim *sim, struct pending *pending, uint64_t keys)
{
    pending->hides = keys;
    for (unsigned key = 0; key < KEYS; key++)
        if (keys >> key & 1) {
            sim->model.put[key] = 0;
            sim->model.must[key] = false;
            uint8_t buf[64];
            memory_remove(sim->stage.memory, stage_key(key, buf), UINT64_MAX);
        }
}

static void do_hit(struct sim *sim)
{
    uint8_t buf[64];
    unsigned key = some_key(sim, false);
    struct item *item = memory_find(sim->stage.memory, stage_key(key, buf));
    if (item == NULL)
        return;
    if (item_take_hit(item) && disk_put_hit(sim->stage.disk, sim->stage.loop, item) == 0) {
        sim->model.put[key] = stage_item_version(item, key);
        sim->hits++;
    }
    item_unref(&item);
}

static void do_remove(struct sim *sim)
{
    struct pending *pending = pending_take(sim);
    if (pending == NULL)
        return;
    uint8_t buf[64];
    unsigned key = (unsigned)random_below(&sim->random, KEYS);
    hide(sim, pending, UINT64_C(1) << key);
    assert_int_equal(
        disk_remove(sim->stage.disk, sim->stage.loop, stage_key(key, buf), answered, pending), 0);
}

/* The heads whose key begins so: only those are purged. */
static uint64_t heads_under(struct bytes prefix)
{
    uint64_t keys = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        uint8_t buf[64];
        struct item_key one = stage_key(key, buf);
        bool under = one.bytes.len >= prefix.len && memcmp(one.bytes.ptr, prefix.ptr, prefix.len) == 0;
        if (one.kind == ITEM_HEAD && under)
            keys |= UINT64_C(1) << key;
    }
    return keys;
}

/* Of one object, of a prefix, or of everything. */
static void do_purge(struct sim *sim)
{
    struct pending *pending = pending_take(sim);
    if (pending == NULL)
        return;
    struct stage *stage = &sim->stage;
    uint8_t buf[64];
    unsigned key = (unsigned)random_below(&sim->random, KEYS);
    struct item_key one = stage_key(key, buf);
    uint64_t dice = random_below(&sim->random, 10);
    bool widened;
    if (dice < 4 && one.kind == ITEM_HEAD) {
        hide(sim, pending, UINT64_C(1) << key);
        assert_true(disk_purge_object(stage->disk, stage->loop, one.bytes, answered, pending) > 0);
        return;
    }
    struct purge purge = {.prefix = bytes_of(one.bytes.ptr, dice < 9 ? 5 : 0)};
    hide(sim, pending, heads_under(purge.prefix));
    assert_true(disk_purge(stage->disk, stage->loop, &purge, &widened, answered, pending) > 0);
}

static void do_flush(struct sim *sim)
{
    struct pending *pending = pending_take(sim);
    if (pending == NULL)
        return;
    pending->flush = true;
    memcpy(pending->put, sim->model.put, sizeof pending->put);
    assert_int_equal(disk_flush(sim->stage.disk, sim->stage.loop, answered, pending), 0);
}

static void do_get(struct sim *sim, unsigned key)
{
    struct model *model = &sim->model;
    int64_t version = stage_version(&sim->stage, key);
    sim->asked++;
    if (version < 0)
        return;
    sim->found++;
    if (version < model->floor[key])
        fail_msg("key %u: version %lld came back, floor %lld", key, (long long)version,
            (long long)model->floor[key]);
    if (model->put[key] == -1) { /* the first sight after a crash: from now on this one only */
        model->put[key] = version;
        sim->recovered++;
    } else if (version != model->put[key]) {
        fail_msg("key %u: version %lld, not %lld", key, (long long)version, (long long)model->put[key]);
    }
}

/* A get that is not waited for: writes, removes and reclaiming go on meanwhile. */
struct asked {
    struct sim *sim;
    unsigned key;
    int64_t at_least;
};

static void got(void *context, int result, struct item *item)
{
    struct asked *asked = context;
    asked->sim->gets--;
    if (result == 0) {
        int64_t version = stage_item_version(item, asked->key);
        if (version < asked->at_least)
            fail_msg("key %u: version %lld, asked when it was %lld", asked->key, (long long)version,
                (long long)asked->at_least);
        item_unref(&item);
    }
    free(asked);
}

static void do_ask(struct sim *sim)
{
    struct asked *asked = malloc(sizeof *asked);
    unsigned key = some_key(sim, true);
    int64_t put = sim->model.put[key];
    *asked = (struct asked){.sim = sim,
        .key = key,
        .at_least = put > 0    ? put
                    : put == 0 ? sim->clock + 1
                               : 0};
    raise_to(&asked->at_least, sim->model.floor[key]);
    sim->gets++;
    uint8_t buf[64];
    disk_get(sim->stage.disk, sim->stage.loop, stage_key(key, buf), 0, UINT32_MAX, got, asked);
}

static void some_fault(struct sim *sim)
{
    struct fake_fault fault = {.kinds = random_below(&sim->random, 3) == 0 ? FAKE_SYNC : FAKE_WRITE,
        .error = -5,
        .skip = (unsigned)random_below(&sim->random, 20),
        .count = 1 + (unsigned)random_below(&sim->random, random_below(&sim->random, 4) == 0 ? 6 : 1),
        .torn = true};
    fake_disk_fail(sim->stage.io, &fault);
    sim->whole = false;
}

static bool is_over(const struct sim *sim)
{
    return fake_disk_is_cut(sim->stage.io);
}

static void one_op(struct sim *sim)
{
    uint64_t dice = random_below(&sim->random, 100);
    if (sim->heavy)
        io_loop_turn(sim->stage.loop, NS_PER_MS);
    if (dice < 20 && sim->second)
        do_hit(sim);
    else if (dice < 50)
        do_put(sim);
    else if (dice < 65)
        do_ask(sim);
    else if (dice < 75)
        do_get(sim, some_key(sim, true));
    else if (dice < 82)
        do_remove(sim);
    else if (dice < 83)
        do_purge(sim);
    else if (dice < 87)
        do_flush(sim);
    else
        for (uint64_t turns = random_below(&sim->random, 30); turns > 0 && !is_over(sim); turns--)
            io_loop_turn(sim->stage.loop, NS_PER_MS);
    settle_pending(sim);
}

static void some_ops(struct sim *sim)
{
    sim->heavy = random_below(&sim->random, 6) == 0;
    uint64_t count =
        sim->heavy ? 600 : 10 + random_below(&sim->random, random_below(&sim->random, 3) == 0 ? 400 : 80);
    for (uint64_t i = 0; i < count && !is_over(sim); i++)
        one_op(sim);
}

/* The disk passes to the next life. */
static void new_io(struct sim *sim, struct fake_disk *disk)
{
    struct io_config config = {.choice = IO_FAKE, .fake_seed = random_next(&sim->random)};
    struct io_report report;
    io_destroy(sim->stage.io);
    assert_int_equal(io_create(&sim->stage.io, &config, &report), 0);
    fake_disk_attach(sim->stage.io, disk);
}

/* The cut comes by itself, after an operation that nobody chose. */
static void arm(struct sim *sim, enum ending ending, unsigned within)
{
    if (ending != END_CLEAN)
        fake_disk_cut_after(sim->stage.io, 1 + (unsigned)random_below(&sim->random, within),
            ending == END_KILL ? FAKE_KILL : FAKE_POWER);
}

/* Until tables are read and nothing waits, or the end. */
static void settle(struct sim *sim)
{
    for (unsigned turns = 0; turns < 20000 && !is_over(sim); turns++) {
        struct disk_stats stats = stage_stats(&sim->stage);
        if (stats.waiting_bytes == 0 && stats.recovering == 0)
            break;
        stage_turn(&sim->stage);
    }
}

/* All that must be there is. */
static void demand(struct sim *sim)
{
    struct disk_stats stats = stage_stats(&sim->stage);
    for (unsigned key = 0; key < KEYS; key++) {
        do_get(sim, key);
        if (!sim->whole || !sim->model.must[key] || is_over(sim) || stats.dropped_index > 0)
            continue;
        sim->demanded++;
        if (sim->model.put[key] <= 0)
            fail_msg("key %u: version %lld is durable and not there", key, (long long)sim->model.floor[key]);
    }
}

static void ended(struct sim *sim, enum ending ending)
{
    struct model *model = &sim->model;
    for (unsigned key = 0; key < KEYS; key++) {
        if (ending == END_CLEAN)
            raise_to(&model->floor[key], model->put[key]);
        model->must[key] = model->put[key] > 0 && (ending == END_CLEAN || model->must[key]);
        model->put[key] = -1;
    }
    if (ending == END_POWER) /* a table without its items: what is older is not trusted */
        sim->whole = false;
}

static void end_of_life(struct sim *sim, enum ending ending)
{
    struct fake_disk *disk = NULL;
    fake_disk_heal(sim->stage.io);
    struct disk_stats stats = stage_stats(&sim->stage);
    sim->reclaimed += stats.reclaimed_segments;
    sim->carried += stats.carried;
    sim->cuts += is_over(sim);
    if (sim->heavy || stats.reclaimed_segments + stats.dropped_index > 0)
        sim->whole = false; /* a heavy life reclaims while it closes, too */
    if (ending != END_CLEAN && !is_over(sim) && random_below(&sim->random, 2) == 0) {
        arm(sim, ending, 60); /* while it is closing */
    } else if (ending != END_CLEAN) {
        for (uint64_t turns = random_below(&sim->random, 20); turns > 0; turns--)
            io_loop_turn(sim->stage.loop, 0);
        settle_pending(sim);
        disk = fake_disk_cut(sim->stage.io, ending == END_KILL ? FAKE_KILL : FAKE_POWER);
    }
    int result = stage_close(&sim->stage);
    settle_pending(sim);
    assert_int_equal(sim->gets, 0);
    for (unsigned i = 0; i < PENDING; i++)
        assert_false(sim->pending[i].busy);
    if (disk == NULL) {
        bool clean = result == 0 && !is_over(sim);
        disk = fake_disk_cut(sim->stage.io, FAKE_POWER);
        ending = clean ? END_CLEAN : END_POWER;
    }
    ended(sim, ending);
    new_io(sim, disk);
    sim->lives++;
}

/* Now and then a device is away for a life, or the configured size is another one. */
static void some_change(struct sim *sim)
{
    struct stage *stage = &sim->stage;
    if (stage->config.device_count > 1 && random_below(&sim->random, 10) == 0) {
        unsigned away = (unsigned)random_below(&sim->random, stage->config.device_count);
        struct fake_fault fault = {
            .path = stage->config.devices[away].path, .kinds = FAKE_OPEN, .error = -5, .count = 1};
        fake_disk_fail(stage->io, &fault);
        sim->whole = false;
    }
    if (random_below(&sim->random, 12) == 0) {
        stage->config.devices[0].size_bytes = 34 * MIB + random_below(&sim->random, 8) * MIB;
        sim->whole = false; /* a smaller one starts empty */
    }
}

/* Reads that fail from before the open on: a few, somewhere, or all of a place. */
static void some_read_fault(struct sim *sim)
{
    struct fake_fault fault = {.kinds = FAKE_READ, .error = -5};
    if (random_below(&sim->random, 2) == 0) {
        fault.skip = (unsigned)random_below(&sim->random, random_below(&sim->random, 2) == 0 ? 4 : 80);
        fault.count = 1 + (unsigned)random_below(&sim->random, random_below(&sim->random, 3) == 0 ? 60 : 4);
    } else {
        fault.offset = MIB + random_below(&sim->random, 40 * MIB);
        fault.len = 1 + random_below(&sim->random, MIB);
    }
    fake_disk_fail(sim->stage.io, &fault);
    sim->whole = false;
}

static void live(struct sim *sim)
{
    static const unsigned within[] = {12, 100, 1000};
    struct stage *stage = &sim->stage;
    uint64_t dice = random_below(&sim->random, 10);
    enum ending ending = dice < 3 ? END_CLEAN : dice < 6 ? END_KILL : END_POWER;
    some_change(sim);
    if (random_below(&sim->random, 3) != 0)
        arm(sim, ending, within[random_below(&sim->random, 3)]);
    bool unreadable = sim->unreadable && random_below(&sim->random, 2) == 0;
    if (unreadable)
        some_read_fault(sim);
    int result = stage_open(stage);
    assert_true(result == 0 || is_over(sim) || unreadable);
    if (is_over(sim) && stage->config.device_count > 1)
        sim->whole = false; /* one may be behind the others: it starts empty */
    if (random_below(&sim->random, 4) == 0)
        some_fault(sim);
    if (random_below(&sim->random, 2) == 0) {
        settle(sim);
        if (random_below(&sim->random, 4) == 0)
            demand(sim);
    }
    some_ops(sim);
    end_of_life(sim, ending);
}

static void run(struct sim *sim, uint64_t seed)
{
    random_init(&sim->random, seed);
    random_init(&ids, ~seed);
    struct stage *stage = &sim->stage;
    stage_init(stage, 34 * MIB + random_below(&sim->random, 8) * MIB);
    stage->driver = IO_FAKE;
    stage->seed = seed;
    stage->config.device_count =
        random_below(&sim->random, 4) == 0 ? 1 + (unsigned)random_below(&sim->random, 3) : 1;
    for (unsigned i = 1; i < stage->config.device_count; i++)
        stage->config.devices[i] = (struct disk_device_config){stage_path(i), 36 * MIB};
    stage->config.write_buffer_bytes = random_below(&sim->random, 2) == 0 ? 2 * MIB : 0;
    sim->second = random_below(&sim->random, 4) == 0;
    stage->config.admission = sim->second ? DISK_ADMIT_SECOND_REQUEST : DISK_ADMIT_ALWAYS;
    sim->whole = true;
    sim->unreadable = random_below(&sim->random, 3) == 0;
    struct io_config config = {.choice = IO_FAKE, .fake_seed = seed};
    struct io_report report;
    assert_int_equal(io_create(&stage->io, &config, &report), 0);
    for (uint64_t lives = 2 + random_below(&sim->random, 5); lives > 0; lives--)
        live(sim);
    assert_int_equal(stage_open(stage), 0);
    settle(sim);
    demand(sim);
    assert_int_equal(stage_close(stage), 0);
    fake_disk_destroy(fake_disk_cut(stage->io, FAKE_KILL));
    io_destroy(stage->io);
}

static uint64_t first_seed = 1, seed_count = 120, current_seed;
static const char *program;

static void seeds(void **state)
{
    (void)state;
    static struct sim sim;
    uint64_t found = 0, asked = 0, recovered = 0, lives = 0, reclaimed = 0, carried = 0, cuts = 0,
             demanded = 0, hits = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++) {
        sim = (struct sim){0};
        if (getenv("YATA_VERBOSE") != NULL)
            print_message("seed %llu\n", (unsigned long long)seed);
        current_seed = seed;
        alarm(SEED_SECONDS_MAX);
        run(&sim, seed);
        found += sim.found;
        asked += sim.asked;
        recovered += sim.recovered;
        lives += sim.lives;
        reclaimed += sim.reclaimed;
        carried += sim.carried;
        cuts += sim.cuts;
        demanded += sim.demanded;
        hits += sim.hits;
    }
    alarm(0);
    print_message("%llu seeds, %llu lives, %llu of them cut at work; %llu gets, %llu found, %llu of them "
                  "from an earlier life; %llu had to be there; %llu segments reclaimed, %llu items carried, "
                  "%llu written after a hit\n",
        (unsigned long long)seed_count, (unsigned long long)lives, (unsigned long long)cuts,
        (unsigned long long)asked, (unsigned long long)found, (unsigned long long)recovered,
        (unsigned long long)demanded, (unsigned long long)reclaimed, (unsigned long long)carried,
        (unsigned long long)hits);
    assert_true(seed_count < 100 || (recovered > 0 && demanded > 0 && hits > 0));
}

static void tell(int signal_number)
{
    char text[300];
    int len = snprintf(text, sizeof text, "replay: %s %llu 1\n", program, (unsigned long long)current_seed);
    signal(signal_number, SIG_DFL);
    if (write(STDERR_FILENO, text, (size_t)len) == len)
        raise(signal_number);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        seed_count = strtoull(argv[2], NULL, 10);
    signal(SIGABRT, tell);
    signal(SIGALRM, tell);
    mallopt(M_MMAP_THRESHOLD, 8 << 20); /* thousands of lives reuse their memory */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    const struct CMUnitTest tests[] = {cmocka_unit_test(seeds)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed != 0)
        print_message("replay: %s %llu 1\n", program, (unsigned long long)current_seed);
    return failed;
}
