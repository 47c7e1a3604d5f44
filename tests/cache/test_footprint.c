/*
 * The tier holds no more memory than the sum that it prints at open (cache/footprint.h), and no more disk
 * than it was given. What it really holds is what the allocator has given out (mallinfo2). To fill every
 * bound, reads and writes of the device are held back: this program's preadv and pwritev stand before the C
 * library's, for the pool threads of the portable driver; the engine above is the same for both.
 */
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "cache/footprint.h"
#include "cache/tier.h"
#include "disk_stage.h"

#define MIB (UINT64_C(1) << 20)

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#ifndef SANITIZED /* they have allocators and interceptors of their own */

/* ---- the gate ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_shut;

static void pass(void)
{
    pthread_mutex_lock(&gate_lock);
    while (gate_shut)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static void gate(bool shut)
{
    pthread_mutex_lock(&gate_lock);
    gate_shut = shut;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    pass();
    return syscall(SYS_preadv, fd, iov, (long)count, (long)offset, 0L);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    pass();
    return syscall(SYS_pwritev, fd, iov, (long)count, (long)offset, 0L);
}

/* ---- what is held ---- */

static _Atomic int64_t mapped; /* by calls of the engine's own; the allocator's don't come by here */

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    void *got = (void *)syscall(SYS_mmap, at, len, (long)protection, (long)flags, (long)fd, (long)offset);
    if (got != MAP_FAILED && (flags & MAP_ANONYMOUS))
        atomic_fetch_add(&mapped, (int64_t)len);
    return got;
}

int munmap(void *at, size_t len)
{
    atomic_fetch_sub(&mapped, (int64_t)len);
    return (int)syscall(SYS_munmap, at, len);
}

static uint64_t held(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd + (uint64_t)atomic_load(&mapped);
}

static void begin(struct stage *stage, uint64_t size_bytes, uint64_t item_bytes)
{
    stage_init(stage, size_bytes);
    stage->config.expected_item_bytes = item_bytes;
    assert_int_equal(stage_open(stage), 0);
    stage_settle(stage);
}

static void end(struct stage *stage)
{
    assert_int_equal(stage_close(stage), 0);
    assert_int_equal(io_destroy(stage->io), 0);
    unlink(stage->config.devices[0].path);
}

static struct footprint footprint(const struct stage *stage)
{
    return footprint_of(stage->disk->devices[0]);
}

/* Two tiers that differ in nothing but the geometry differ by what the sums say. */
static void the_fixed_part(void **state)
{
    (void)state;
    struct stage large, small;
    begin(&large, 1024 * MIB, 4096);
    uint64_t with_large = held(), large_sum = footprint(&large).fixed;
    assert_int_equal(stage_stats(&large).memory_bytes, large_sum);
    end(&large);
    begin(&small, 40 * MIB, 65536);
    uint64_t with_small = held(), small_sum = footprint(&small).fixed;
    end(&small);
    double really = (double)(with_large - with_small), by_sum = (double)(large_sum - small_sum);
    print_message("%.0f KiB more, %.0f by the sum\n", really / 1024, by_sum / 1024);
    assert_true(really < 1.02 * by_sum && really > 0.98 * by_sum);
}

/* ---- every bound filled ---- */

struct asked {
    unsigned due, exhausted;
};

static void answered(void *context, int result, struct item *item)
{
    struct asked *asked = context;
    asked->due--;
    asked->exhausted += result == E_EXHAUSTED;
    if (item != NULL)
        item_unref(&item);
}

static int put(struct stage *stage, uint64_t key, uint32_t len)
{
    static uint8_t value[2 << 20];
    uint8_t buf[64];
    struct item *item;
    struct item_shape shape = {.value_len = len, .held_len = len};
    int result = memory_take(stage->memory, stage_key(key, buf), shape, &item);
    if (result < 0)
        return result;
    item_append(item, bytes_of(value, len));
    item_complete(item);
    item_sequence_set(item, disk_next_sequence(stage->disk));
    result = disk_put(stage->disk, stage->loop, item, 0);
    item_unref(&item);
    return result;
}

static unsigned put_all_it_takes(struct stage *stage, uint32_t len)
{
    unsigned taken = 0;
    while (put(stage, 1000 + taken, len) == 0) {
        taken++;
        io_loop_turn(stage->loop, 0);
    }
    struct disk_stats stats = stage_stats(stage);
    assert_true(stats.waiting_bytes <= stats.waiting_limit_bytes);
    return taken;
}

static unsigned ask_all_it_takes(struct stage *stage, struct asked *asked, unsigned keys)
{
    unsigned started = 0;
    uint8_t buf[64];
    for (; asked->exhausted == 0; started++) {
        asked->due++;
        disk_get(stage->disk, stage->loop, stage_key(started % keys, buf), 0, UINT32_MAX, answered, asked);
        io_loop_turn(stage->loop, 0);
        assert_true(started < 2 * DEVICE_READS_MAX);
    }
    return started;
}

static void full(uint32_t len)
{
    enum { KEYS = 20 };
    struct stage stage;
    begin(&stage, 256 * MIB, 16384);
    for (unsigned i = 0; i < KEYS; i++)
        while (put(&stage, i, len) == E_EXHAUSTED)
            stage_turn(&stage);
    stage_settle(&stage);
    uint64_t before = held();
    struct footprint sum = footprint(&stage);
    struct asked asked = {0};
    gate(true);
    unsigned puts = put_all_it_takes(&stage, len), gets = ask_all_it_takes(&stage, &asked, KEYS);
    uint64_t more = held() - before, most = sum.writing + sum.reading + sum.tier + sum.loop;
    print_message("%u bytes: %u gets and %u puts wait: %llu KiB more of %llu\n", len, gets, puts,
        (unsigned long long)more / 1024, (unsigned long long)most / 1024);
    gate(false);
    assert_true((double)more <= 1.02 * (double)most);
    while (asked.due > 0)
        stage_turn(&stage);
    stage_settle(&stage);
    assert_int_equal(stage_stats(&stage).waiting_bytes, 0);
    assert_int_equal(stage_stats(&stage).io_errors, 0);
    end(&stage);
}

static void every_bound(void **state)
{
    (void)state;
    static const uint32_t lens[] = {100, 4000, 50000, 65536, 1 << 20};
    for (unsigned i = 0; i < sizeof lens / sizeof lens[0]; i++)
        full(lens[i]);
}

/* ---- exactly so much ---- */

static void within_two_percent(const char *what, uint64_t really, uint64_t by_sum)
{
    print_message("%s: %llu KiB, %llu by the sum\n", what, (unsigned long long)really / 1024,
        (unsigned long long)by_sum / 1024);
    assert_true((double)really < 1.02 * (double)by_sum && (double)really > 0.98 * (double)by_sum);
}

/* Items have been written, so that there are buffers. */
static void begin_wide(struct stage *stage, uint32_t len)
{
    stage_init(stage, 1024 * MIB);
    stage->config.expected_item_bytes = 16384;
    stage->config.write_buffer_bytes = 8 * MIB;
    assert_int_equal(stage_open(stage), 0);
    for (unsigned i = 0; i < 200; i++)
        while (put(stage, i, len) == E_EXHAUSTED)
            stage_turn(stage);
    stage_settle(stage);
}

static uint64_t rows_bytes(const struct stage *stage)
{
    const struct filling *open = stage->disk->devices[0]->open;
    return open != NULL ? open->row_capacity * (uint64_t)SEGMENT_ROW_BYTES : 0;
}

/* What rows have taken since `open` was open and had `rows` bytes of them: it keeps them while its table
 * waits, and the next segment has its own. */
static uint64_t rows_taken(const struct stage *stage, const struct filling *open, uint64_t rows)
{
    return rows_bytes(stage) - (stage->disk->devices[0]->open == open ? rows : 0);
}

/* As many as may wait: their number is bounded for small ones, their bytes for large ones. */
static void waiting(uint32_t len)
{
    struct stage stage;
    begin_wide(&stage, len);
    struct footprint sum = footprint(&stage);
    const struct filling *open = stage.disk->devices[0]->open;
    uint64_t limit = stage.disk->waiting_limit_bytes, rows = rows_bytes(&stage), before = held();
    gate(true);
    unsigned puts = put_all_it_takes(&stage, len);
    uint64_t really = held() - before - rows_taken(&stage, open, rows);
    bool large = len >= SEGMENT_LARGE_BYTES;
    uint64_t bound = large ? limit / (len + SEGMENT_BLOCK) : limit / FOOTPRINT_WAITING_SHARE;
    assert_true(puts <= bound && puts >= bound * 98 / 100);
    uint64_t batches = stage.disk->devices[0]->batches_used * sizeof(struct write);
    gate(false);
    within_two_percent("waiting", really, bound * (sum.entry + (large ? sum.large : 0)) + batches);
    stage_settle(&stage);
    end(&stage);
}

/* By number, or by their bytes, which then are the sum's. */
static void reading(uint32_t len)
{
    struct stage stage;
    begin_wide(&stage, len);
    uint64_t before = held(), most = footprint(&stage).reading;
    struct asked asked = {0};
    gate(true);
    unsigned gets = ask_all_it_takes(&stage, &asked, 200);
    uint64_t really = held() - before, charged = atomic_load(&stage.disk->devices[0]->read_bytes);
    gate(false);
    within_two_percent("reading", really, gets < DEVICE_READS_MAX ? most : charged);
    while (asked.due > 0)
        stage_turn(&stage);
    end(&stage);
}

static void full_queues(void **state)
{
    (void)state;
    waiting(100);
    waiting(65536);
    waiting(1 << 20);
    reading(100);
    reading(50000);
}

/* It takes what it took when it was empty. */
static void a_full_index(void **state)
{
    (void)state;
    struct stage stage;
    begin_wide(&stage, 100);
    uint64_t before = held(), rows = rows_bytes(&stage), fixed = footprint(&stage).fixed;
    for (unsigned i = 0; i < 60000; i++)
        while (put(&stage, i, 100) == E_EXHAUSTED)
            stage_turn(&stage);
    stage_settle(&stage);
    assert_true(stage_stats(&stage).items > 50000);
    within_two_percent("index", fixed + held() - before - (rows_bytes(&stage) - rows), fixed);
    end(&stage);
}

/* ---- while tables are read ---- */

/* Full tables, more than are read at a time, and as many hashes to forget as are kept. */
static void recovering(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage, 256 * MIB, 16384);
    for (unsigned i = 0; i < 60000; i++)
        while (put(&stage, i, 100) == E_EXHAUSTED)
            stage_turn(&stage);
    assert_int_equal(stage_flush(&stage), 0);
    stage_settle(&stage);
    stage_crash(&stage);
    assert_int_equal(stage_open(&stage), 0);
    gate(true);
    assert_int_equal(stage_stats(&stage).recovering, 1);
    uint64_t limit = stage_stats(&stage).memory_limit_bytes, most = 0, sum = footprint(&stage).recovering;
    uint8_t buf[64];
    for (unsigned i = 0; i < DEVICE_FORGOTTEN_MAX; i++)
        disk_forget(stage.disk, stage_key(1000000 + i, buf), disk_next_sequence(stage.disk));
    gate(false);
    while (stage_stats(&stage).recovering > 0) {
        most = held() > most ? held() : most;
        io_loop_turn(stage.loop, NS_PER_MS);
    }
    stage_settle(&stage);
    uint64_t more = most - held();
    print_message("recovering: %llu KiB more of %llu\n", (unsigned long long)more / 1024,
        (unsigned long long)sum / 1024);
    assert_true(more > sum / 4 && (double)more <= 1.02 * (double)sum);
    assert_int_equal(limit - stage_stats(&stage).memory_limit_bytes, sum);
    end(&stage);
}

/* ---- disk ---- */

static void the_disk(void **state)
{
    (void)state;
    struct stage stage;
    begin(&stage, 40 * MIB, 65536);
    for (unsigned i = 0; i < 500; i++) {
        while (put(&stage, i, 262144) == E_EXHAUSTED)
            stage_turn(&stage);
    }
    stage_settle(&stage);
    assert_true(stage_stats(&stage).written_bytes > 100 * MIB);
    struct stat status;
    assert_int_equal(stat(stage.config.devices[0].path, &status), 0);
    assert_true((uint64_t)status.st_size <= 40 * MIB);
    assert_true((uint64_t)status.st_blocks * 512 <= 40 * MIB + 4096 * 16); /* and the file system's own */
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_fixed_part), cmocka_unit_test(every_bound),
        cmocka_unit_test(full_queues), cmocka_unit_test(a_full_index), cmocka_unit_test(recovering),
        cmocka_unit_test(the_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 77;
}
#endif
