/*
 * Death of the process, on a real file: a child puts, replaces, removes and flushes at full speed until it is
 * killed (SIGKILL) at a random moment; the next one recovers, checks every key against the floors that its
 * predecessors left in shared memory, and goes on. The driver alternates where both are to be had. test_kill
 * [rounds]; 12 by default.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)
enum { KEYS = 200, NO_DRIVER = 7, WRONG = 8 };

/* Survives the children. */
struct shared {
    int64_t clock, floor[KEYS]; /* nothing older than the floor may be found */
    uint64_t found, checked, removes, flushes;
    bool ready;
};

struct child {
    struct stage stage;
    struct shared *shared;
    int64_t put[KEYS];
    struct random random;
};

struct pending {
    struct child *child;
    unsigned key;
    int64_t floor, put[KEYS];
    bool flush;
};

static void raise_to(int64_t *floor, int64_t to)
{
    if (to > *floor)
        *floor = to;
}

static void answered(void *context, int result)
{
    struct pending *pending = context;
    struct shared *shared = pending->child->shared;
    if (result == 0 && !pending->flush) {
        raise_to(&shared->floor[pending->key], pending->floor);
        shared->removes++;
    }
    for (unsigned i = 0; result == 0 && pending->flush && i < KEYS; i++)
        raise_to(&shared->floor[i], pending->put[i]);
    shared->flushes += result == 0 && pending->flush;
    free(pending);
}

static void check_all(struct child *child)
{
    struct shared *shared = child->shared;
    for (unsigned key = 0; key < KEYS; key++) {
        int64_t version = stage_version(&child->stage, key);
        shared->checked++;
        if (version < 0)
            continue;
        shared->found++;
        if (version < shared->floor[key] || version > shared->clock) {
            fprintf(stderr, "key %u: version %lld, floor %lld\n", key, (long long)version,
                (long long)shared->floor[key]);
            _exit(WRONG);
        }
        child->put[key] = version;
    }
}

static void one_op(struct child *child)
{
    static const uint32_t lens[] = {100, 5000, 65535, 65536, 262144};
    struct stage *stage = &child->stage;
    unsigned key = (unsigned)random_below(&child->random, KEYS);
    uint64_t dice = random_below(&child->random, 40);
    uint8_t buf[64];
    int64_t version = ++child->shared->clock;
    if (dice > 2) {
        int result = stage_put(stage, key, (uint64_t)version, lens[random_below(&child->random, 5)]);
        child->put[key] = result == 0 ? version : 0;
    } else {
        struct pending *pending = malloc(sizeof *pending);
        *pending = (struct pending){.child = child, .key = key, .floor = version, .flush = dice == 0};
        memcpy(pending->put, child->put, sizeof pending->put);
        if (pending->flush) {
            assert_int_equal(disk_flush(stage->disk, stage->loop, answered, pending), 0);
        } else {
            child->put[key] = 0;
            assert_int_equal(
                disk_remove(stage->disk, stage->loop, stage_key(key, buf), answered, pending), 0);
        }
    }
    io_loop_turn(stage->loop, 0);
}

static void live(struct shared *shared, const struct stage *stage, uint64_t seed, bool last)
{
    static struct child child;
    child.stage = *stage;
    child.stage.config.event_context = &child.stage;
    child.shared = shared;
    random_init(&child.random, seed);
    struct io_config config = {.choice = child.stage.driver};
    struct io_report report;
    if (io_create(&child.stage.io, &config, &report) < 0)
        _exit(NO_DRIVER);
    if (stage_open(&child.stage) < 0)
        _exit(WRONG);
    stage_settle(&child.stage);
    check_all(&child);
    shared->ready = true;
    if (last)
        _exit(stage_close(&child.stage) == 0 ? 0 : WRONG);
    for (;;)
        one_op(&child);
}

static int round_of(struct shared *shared, struct stage *stage, uint64_t seed, bool last)
{
    shared->ready = false;
    pid_t pid = fork();
    if (pid == 0)
        live(shared, stage, seed, last);
    struct random random;
    random_init(&random, seed);
    int status = 0;
    while (!*(volatile bool *)&shared->ready && waitpid(pid, &status, WNOHANG) == 0)
        usleep(1000);
    if (shared->ready && !last) {
        usleep((unsigned)random_below(&random, 300000));
        kill(pid, SIGKILL);
    }
    if (shared->ready)
        waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGKILL ? 0 : WRONG;
    return WEXITSTATUS(status);
}

static unsigned rounds = 12;

static void killed(void **state)
{
    (void)state;
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    struct stage stage;
    stage_init(&stage, 40 * MIB);
    for (unsigned i = 0; i < rounds; i++) {
        stage.driver = i % 2 == 0 ? IO_PORTABLE : IO_URING;
        int result = round_of(shared, &stage, i + 1, i + 1 == rounds);
        if (result == NO_DRIVER)
            continue;
        assert_int_equal(result, 0);
    }
    print_message("%llu of %llu found, %llu removes and %llu flushes answered\n",
        (unsigned long long)shared->found, (unsigned long long)shared->checked,
        (unsigned long long)shared->removes, (unsigned long long)shared->flushes);
    assert_true(shared->found > 0 && shared->flushes > 0 && shared->removes > 0);
    unlink(stage.config.devices[0].path);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
