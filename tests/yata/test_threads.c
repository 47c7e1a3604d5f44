/*
 * Several threads put, get and remove the same few keys by the blocking calls, at more than the memory tier
 * and the device hold. Whatever is got is one version as a whole, and not one whose put had ended before
 * another began that ended before the get.
 *
 * Of puts at a time the one that ends later wins, and a thread may be off its processor for as long as it
 * likes, so numbers alone, drawn as puts begin, say nothing about which version is the newer: hence the time
 * of each put's end, in numbers drawn until then.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "rig.h"

enum { THREADS = 4, KEYS = 12, LEN_MAX = 900000, SECONDS = 3, PUTS_MAX = 1 << 20 };

struct actor {
    pthread_t thread;
    struct rig *rig;
    unsigned number;
    _Atomic uint64_t hits, puts;
    uint8_t *bytes;
};

static _Atomic uint64_t next_number = 1;
static _Atomic uint64_t newest[KEYS]; /* the highest number of which a put has ended */
static _Atomic uint64_t
    ends[PUTS_MAX]; /* of each put: no number below was drawn after its end; 0: under way */
static _Atomic bool stop;
static _Atomic unsigned ended;

/* A value: its number, its length, then bytes of the number. */
static size_t make(uint64_t number, uint8_t *to)
{
    struct random random;
    random_init(&random, number);
    uint64_t len = 16 + random_below(&random, number % 3 == 0 ? LEN_MAX : 20000);
    memcpy(to, &number, 8);
    memcpy(to + 8, &len, 8);
    rig_bytes(number, 16, to + 16, len - 16);
    return len;
}

static void check(const uint8_t *bytes, uint64_t from, size_t len, uint64_t value_len, uint64_t number)
{
    if (!rig_bytes_are(number, from, bytes, len))
        fail_msg("wrong bytes of %llu", (unsigned long long)number);
    assert_true(from + len <= value_len);
}

/* Whether, when `newest_ended` was, the put of this number had been replaced by one that began after it. */
static bool is_stale(uint64_t number, uint64_t newest_ended)
{
    uint64_t end = atomic_load(&ends[number]);
    return end != 0 && end <= newest_ended;
}

static void get(struct actor *actor, unsigned key_number, const char *key)
{
    struct yata_value *value;
    uint64_t newest_ended = atomic_load(&newest[key_number]), number, len;
    int result = yata_value_open_wait(actor->rig->yata, key, strlen(key), &value);
    if (result < 0) {
        assert_true(result == YATA_MISSING || result == YATA_EXHAUSTED);
        return;
    }
    size_t value_len = yata_value_len(value);
    int64_t copied = yata_value_copy_wait(value, 0, actor->bytes, value_len);
    if (copied >= 0) {
        assert_int_equal(copied, value_len);
        memcpy(&number, actor->bytes, 8);
        memcpy(&len, actor->bytes + 8, 8);
        assert_int_equal(len, value_len);
        assert_in_range(number, 1, PUTS_MAX - 1);
        if (is_stale(number, newest_ended))
            fail_msg("put %llu, ended at %llu, was got after the end of put %llu", (unsigned long long)number,
                (unsigned long long)ends[number], (unsigned long long)newest_ended);
        check(actor->bytes + 16, 16, value_len - 16, value_len, number);
        struct yata_view *view;
        result = yata_value_read_wait(value, value_len / 2, 70000, &view);
        if (result == 0) {
            uint64_t from = yata_view_from(view);
            size_t n = yata_view_copy(view, 0, actor->bytes, LEN_MAX);
            if (from >= 16)
                check(actor->bytes, from, n, value_len, number);
            yata_view_release(&view);
        }
        actor->hits++;
    } else {
        assert_true(copied == YATA_LOST || copied == YATA_EXHAUSTED);
    }
    yata_value_close(&value);
}

static void put_ended(unsigned key_number, uint64_t number)
{
    atomic_store(&ends[number], atomic_load(&next_number));
    uint64_t newest_ended = atomic_load(&newest[key_number]);
    while (newest_ended < number && !atomic_compare_exchange_weak(&newest[key_number], &newest_ended, number))
        ;
}

static void put(struct actor *actor, unsigned key_number, const char *key)
{
    uint64_t number = atomic_fetch_add(&next_number, 1);
    assert_true(number < PUTS_MAX);
    size_t len = make(number, actor->bytes);
    int result = yata_put_wait(actor->rig->yata, key, strlen(key), actor->bytes, len);
    assert_true(result >= 0 || result == YATA_EXHAUSTED);
    if (result >= 0) {
        put_ended(key_number, number);
        actor->puts++;
    }
}

static void *act(void *context)
{
    struct actor *actor = context;
    struct random random;
    random_init(&random, 1000 + actor->number);
    while (!atomic_load(&stop)) {
        unsigned key_number = (unsigned)random_below(&random, KEYS),
                 what = (unsigned)random_below(&random, 20);
        char key[20];
        (void)snprintf(key, sizeof key, "key %u", key_number);
        if (what < 6)
            put(actor, key_number, key);
        else if (what == 6)
            assert_int_equal(yata_remove_wait(actor->rig->yata, key, strlen(key)), 0);
        else
            get(actor, key_number, key);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static bool enough(struct actor *actors)
{
    uint64_t hits = 0, puts = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        hits += atomic_load(&actors[i].hits);
        puts += atomic_load(&actors[i].puts);
    }
    return hits > 50 && puts > 20;
}

/* For some seconds; longer only where machine or disk stand still. */
static bool time_over(struct actor *actors, uint64_t begin_ns)
{
    uint64_t passed_ns = clock_monotonic_ns() - begin_ns;
    return passed_ns > 120 * NS_PER_S || (passed_ns > SECONDS * NS_PER_S && enough(actors));
}

static void many_threads_with(enum yata_admission admission)
{
    struct rig rig;
    rig_init(&rig);
    rig.config.admission = admission;
    atomic_store(&stop, false);
    atomic_store(&ended, 0);
    assert_false(rig_is_fake()); /* one thread turns the fake, and its time jumps */
    rig.device.size_bytes = 40 * RIG_MIB;
    rig.config.threads = rig.config.driven ? 1 : 2;
    assert_int_equal(rig_open(&rig), 0);
    struct actor actors[THREADS];
    uint64_t begin_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.rig = &rig, .number = i, .bytes = malloc(LEN_MAX + 16)};
        assert_int_equal(pthread_create(&actors[i].thread, NULL, act, &actors[i]), 0);
    }
    while (!time_over(actors, begin_ns))
        rig_pause(&rig);
    atomic_store(&stop, true);
    while (ended < THREADS)
        rig_pause(&rig);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(actors[i].thread, NULL);
        free(actors[i].bytes);
    }
    assert_true(enough(actors));
    rig_close(&rig);
    rig_deinit(&rig);
}

static void many_threads(void **state)
{
    (void)state;
    many_threads_with(YATA_ADMIT_ALWAYS);
}

/* What reads find in memory is written while it is replaced and removed. */
static void many_threads_second(void **state)
{
    (void)state;
    many_threads_with(YATA_ADMIT_SECOND);
}

int main(void)
{
    /* What fails in a thread that cmocka did not start exits with 255 and without a word, unless it aborts.
     */
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_threads), cmocka_unit_test(many_threads_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
