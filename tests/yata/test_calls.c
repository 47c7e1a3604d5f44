/* The contract of the calls: arguments, configurations, files that are not ours, callbacks, the program's own
 * loop, stalls, and a close with everything under way. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/fake.h"
#include "rig.h"

static void begin(struct rig *rig)
{
    rig_init(rig);
    assert_int_equal(rig_open(rig), 0);
}

static void end(struct rig *rig)
{
    rig_close(rig);
    rig_deinit(rig);
}

static void bad_arguments(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    struct yata *yata = rig.yata;
    struct yata_view *view;
    struct yata_value *value;
    struct yata_put *put;
    uint8_t bytes[8], long_key[YATA_KEY_MAX + 1] = {1};
    assert_int_equal(yata_peek(NULL, "k", 1, 0, 1, &view), -EINVAL);
    assert_int_equal(yata_peek(yata, NULL, 1, 0, 1, &view), -EINVAL);
    assert_int_equal(yata_peek(yata, "k", 0, 0, 1, &view), -EINVAL);
    assert_int_equal(yata_peek(yata, "k", 1, 0, 1, NULL), -EINVAL);
    assert_int_equal(yata_peek(yata, long_key, sizeof long_key, 0, 1, &view), YATA_TOO_LARGE);
    assert_int_equal(yata_peek(yata, long_key, YATA_KEY_MAX, 0, 1, &view), YATA_MISSING);
    assert_int_equal(yata_peek_copy(yata, "k", 1, 0, NULL, 1, NULL), -EINVAL);
    assert_int_equal(yata_get(yata, "k", 1, 0, 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_get(yata, "k", 0, 0, 1, on_view, NULL), -EINVAL);
    assert_int_equal(yata_get_copy(yata, "k", 1, 0, NULL, 1, on_copy, NULL), -EINVAL);
    assert_int_equal(yata_get_copy(yata, "k", 1, 0, bytes, 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_get_wait(yata, "k", 1, 0, 1, NULL), -EINVAL);
    assert_int_equal(yata_get_copy_wait(NULL, "k", 1, 0, bytes, 1, NULL), -EINVAL);
    assert_int_equal(yata_value_open(yata, "k", 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_value_open_wait(yata, "k", 1, NULL), -EINVAL);
    assert_int_equal(yata_value_open_wait(yata, "k", 1, &value), YATA_MISSING);
    assert_null(value);
    assert_int_equal(yata_value_read(NULL, 0, 1, on_view, NULL), -EINVAL);
    assert_int_equal(yata_value_copy(NULL, 0, bytes, 1, on_copy, NULL), -EINVAL);
    assert_int_equal(yata_value_read_wait(NULL, 0, 1, &view), -EINVAL);
    assert_int_equal(yata_value_copy_wait(NULL, 0, bytes, 1), -EINVAL);
    assert_int_equal(yata_put(yata, "k", 1, NULL, 1, on_done, NULL), -EINVAL);
    assert_int_equal(yata_put(yata, "k", 1, bytes, 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_put(yata, long_key, sizeof long_key, bytes, 1, on_done, NULL), YATA_TOO_LARGE);
    assert_int_equal(yata_put_wait(NULL, "k", 1, bytes, 1), -EINVAL);
    assert_int_equal(yata_put_begin(yata, "k", 1, 8, NULL), -EINVAL);
    assert_int_equal(yata_put_begin(yata, "k", 1, 8, &put), 0);
    assert_int_equal(yata_put_write(put, NULL, 1, on_done, NULL), -EINVAL);
    assert_int_equal(yata_put_write(put, bytes, 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_put_end(put, NULL, NULL), -EINVAL);
    yata_put_abort(&put);
    assert_int_equal(yata_put_write(NULL, bytes, 1, on_done, NULL), -EINVAL);
    assert_int_equal(yata_put_end_wait(NULL), -EINVAL);
    assert_int_equal(yata_remove(yata, "k", 1, NULL, NULL), -EINVAL);
    assert_int_equal(yata_remove_wait(yata, NULL, 1), -EINVAL);
    assert_int_equal(yata_flush(yata, NULL, NULL), -EINVAL);
    assert_int_equal(yata_flush_wait(NULL), -EINVAL);
    assert_int_equal(yata_stats(yata, NULL), -EINVAL);
    assert_int_equal(yata_turn(NULL, 0), -EINVAL);
    if (!rig.config.driven)
        assert_int_equal(yata_turn(yata, 0), -EINVAL);
    assert_int_equal(yata_close(NULL, 0), 0);
    yata_view_release(NULL);
    yata_value_close(NULL);
    yata_put_abort(NULL);
    assert_string_equal(yata_strerror(YATA_MISSING), "not there");
    assert_string_equal(yata_strerror(-ENOSPC), "No space left on device");
    assert_int_equal(yata_version(), YATA_VERSION);
    assert_string_equal(yata_driver_name(yata), rig_is_fake() ? "fake" : getenv("YATA_IO"));
    end(&rig);
}

static void configurations(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.device.size_bytes = 1 << 20;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.device.reserved[1] = 1;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.device_count = YATA_DEVICES_MAX + 1;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.memory_bytes = 1 << 20;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.write_buffer_bytes = 1000;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.threads = YATA_THREADS_MAX + 1;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.driven = 1;
    rig.config.threads = 2;
    assert_int_equal(rig_open(&rig), -EINVAL);
    rig_init(&rig);
    rig.config.struct_bytes = 0;
    assert_int_equal(rig_open(&rig), -EINVAL);
    assert_int_equal(yata_open(&rig.yata, NULL), -EINVAL);

    /* A program that was compiled against a later header. */
    struct {
        struct yata_config config;
        uint64_t later;
    } larger = {.later = 1};
    rig_init(&rig);
    rig.config.device_count = 0;
    larger.config = rig.config;
    larger.config.struct_bytes = sizeof larger;
    assert_int_equal(store_open(&rig.yata, &larger.config, &rig.driver), -E2BIG);
    larger.later = 0;
    int result = store_open(&rig.yata, &larger.config, &rig.driver);
    if (result == E_UNSUPPORTED)
        skip();
    assert_int_equal(result, 0);
    /* And one of an earlier, which knows the first two counters. */
    struct yata_stats stats;
    memset(&stats, 0x5a, sizeof stats);
    stats.struct_bytes = offsetof(struct yata_stats, memory_pinned_bytes);
    assert_int_equal(yata_stats(rig.yata, &stats), 0);
    assert_int_equal(stats.memory_budget_bytes, rig.config.memory_bytes);
    assert_int_equal(stats.memory_pinned_bytes, UINT64_C(0x5a5a5a5a5a5a5a5a));
    assert_int_equal(yata_close(rig.yata, 1000), 0);
    rig_deinit(&rig);
}

static void write_file(const char *path, const void *bytes, size_t len, off_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void files_that_are_not_ours(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    if (rig_is_fake())
        skip();
    static const char text[] = "somebody's diary, and no cache";
    write_file(rig.device.path, text, sizeof text, 100000);
    assert_int_equal(rig_open(&rig), YATA_FOREIGN);
    assert_int_equal(rig.events[YATA_EVENT_REFUSED], 1);
    char back[sizeof text];
    int fd = open(rig.device.path, O_RDONLY);
    assert_int_equal(read(fd, back, sizeof back), sizeof back);
    assert_memory_equal(back, text, sizeof text);
    close(fd);
    const char *path = rig.device.path;
    rig.device.path = "/nonexistent/yata";
    assert_int_equal(rig_open(&rig), -ENOENT);
    rig.device.path = "/dev/null";
    assert_int_equal(rig_open(&rig), YATA_REFUSED);
    unlink(path);
    rig.device.path = path;
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(rig_open(&rig), -ELOOP);
    unlink(path);
}

static void one_at_a_time(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    if (rig_is_fake()) {
        end(&rig);
        skip();
    }
    struct yata *second;
    assert_int_equal(store_open(&second, &rig.config, &rig.driver), -EBUSY);
    assert_null(second);
    assert_int_equal(rig_put(&rig, "key", 1, 1000), 0);
    end(&rig);
}

/* ---- callbacks ---- */

struct chain {
    struct rig *rig;
    struct answer answer;
    unsigned steps;
    bool calling;
    uint8_t bytes[5000];
};

static void chain_got(void *context, int64_t result, uint64_t value_len);

static void chain_put(void *context, int result)
{
    struct chain *chain = context;
    assert_false(chain->calling);
    assert_int_equal(result, 0);
    /* What waits is refused here, and what ends. */
    assert_int_equal(yata_put_wait(chain->rig->yata, "key", 3, "x", 1), -EDEADLK);
    assert_int_equal(yata_flush_wait(chain->rig->yata), -EDEADLK);
    assert_int_equal(yata_close(chain->rig->yata, 1000), -EDEADLK);
    if (chain->rig->config.driven)
        assert_int_equal(yata_turn(chain->rig->yata, 0), -EDEADLK);
    chain->calling = true;
    result =
        yata_get_copy(chain->rig->yata, "key", 3, 0, chain->bytes, sizeof chain->bytes, chain_got, chain);
    assert_int_equal(result, 0);
    chain->calling = false;
}

static void chain_got(void *context, int64_t result, uint64_t value_len)
{
    struct chain *chain = context;
    assert_false(chain->calling);
    assert_int_equal(result, sizeof chain->bytes);
    assert_int_equal(value_len, sizeof chain->bytes);
    assert_true(rig_bytes_are(chain->steps, 0, chain->bytes, sizeof chain->bytes));
    if (++chain->steps == 200) {
        on_done(&chain->answer, 0);
        return;
    }
    rig_bytes(chain->steps, 0, chain->bytes, sizeof chain->bytes);
    chain->calling = true;
    assert_int_equal(
        yata_put(chain->rig->yata, "key", 3, chain->bytes, sizeof chain->bytes, chain_put, chain), 0);
    chain->calling = false;
}

static void callbacks_call(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    struct chain chain = {.rig = &rig};
    rig_bytes(0, 0, chain.bytes, sizeof chain.bytes);
    assert_int_equal(yata_put(rig.yata, "key", 3, chain.bytes, sizeof chain.bytes, chain_put, &chain), 0);
    assert_int_equal(rig_await(&rig, &chain.answer), 0);
    end(&rig);
}

/* ---- the program's own loop ---- */

static void *put_from_elsewhere(void *context)
{
    struct rig *rig = context;
    assert_int_equal(yata_turn(rig->yata, 0), -EDEADLK);
    assert_int_equal(yata_close(rig->yata, 0), -EDEADLK);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(rig_put(rig, "key", i, 10000 * i), 0);
        assert_int_equal(rig_get(rig, "key", i, 10000 * i), 0);
    }
    assert_int_equal(yata_flush_wait(rig->yata), 0);
    struct answer *last = rig->config.event_context;
    on_done(last, 0);
    return NULL;
}

static void a_loop_of_the_program(void **state)
{
    (void)state;
    struct rig rig;
    struct answer last = {0};
    rig_init(&rig);
    if (!rig.config.driven || rig_is_fake())
        skip();
    rig.config.event = NULL;
    rig.config.event_context = &last;
    assert_int_equal(rig_open(&rig), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_from_elsewhere, &rig), 0);
    int fd = -1, first_fd = -1;
    while (last.count == 0) {
        int wait_ms = yata_prepare(rig.yata, &fd);
        assert_true(wait_ms >= -1 && fd >= 0);
        first_fd = first_fd < 0 ? fd : first_fd;
        assert_int_equal(fd, first_fd);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_true(poll(&ready, 1, wait_ms >= 0 && wait_ms < 1000 ? wait_ms : 1000) >= 0);
        assert_true(yata_turn(rig.yata, 0) >= 0);
    }
    pthread_join(thread, NULL);
    end(&rig);
}

/* ---- close with everything under way ---- */

#define CALLS 60

static void close_with_all_under_way(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct rig rig;
        rig_init(&rig);
        rig.config.threads = rig.config.driven ? 1 : 1 + round % 3;
        assert_int_equal(rig_open(&rig), 0);
        static uint8_t bytes[2 << 20], to[CALLS][1000];
        struct answer answers[CALLS] = {0}, written = {0};
        assert_int_equal(rig_put(&rig, "large", 1, 8 * RIG_MIB), 0);
        assert_int_equal(rig_put(&rig, "small", 2, 3000), 0);
        if (round % 2 == 0)
            rig_forget_memory(&rig);
        struct yata_value *value = NULL;
        struct yata_view *held = NULL;
        assert_int_equal(yata_value_open_wait(rig.yata, "large", 5, &value), 0);
        assert_int_equal(yata_get_wait(rig.yata, "small", 5, 0, YATA_TO_END, &held), 0);
        struct yata_put *put, *idle;
        assert_int_equal(yata_put_begin(rig.yata, "streamed", 8, YATA_LEN_UNKNOWN, &put), 0);
        assert_int_equal(yata_put_begin(rig.yata, "idle", 4, YATA_LEN_UNKNOWN, &idle), 0);
        assert_int_equal(yata_put_write_wait(idle, bytes, 300000), 0);
        for (unsigned i = 0; i < CALLS; i++) {
            char key[20];
            int len = snprintf(key, sizeof key, "key %u", i);
            int result =
                i % 6 == 0   ? yata_put(rig.yata, key, (size_t)len, bytes, sizeof bytes, on_done, &answers[i])
                : i % 6 == 1 ? yata_get(rig.yata, "large", 5, i * 100000, 600000, on_view, &answers[i])
                : i % 6 == 2
                    ? yata_get_copy(rig.yata, "large", 5, i * 100000, to[i], 1000, on_copy, &answers[i])
                : i % 6 == 3 ? yata_value_read(value, i * 100000, 300000, on_view, &answers[i])
                : i % 6 == 4 ? yata_remove(rig.yata, key, (size_t)len, on_done, &answers[i])
                             : yata_flush(rig.yata, on_done, &answers[i]);
            assert_int_equal(result, 0);
        }
        assert_int_equal(yata_put_write(put, bytes, sizeof bytes, on_done, &written), 0);
        struct answer again = {0};
        int busy = yata_put_write(put, bytes, 1, on_done, &again);
        assert_true(busy == -EBUSY || (busy == 0 && !rig.config.driven)); /* a loop of its own may be quick */
        if (rig.config.driven)
            assert_int_equal(yata_put_end(put, on_done, &written), -EBUSY);
        if (round % 3 == 1)
            rig_pause(&rig);
        assert_int_equal(yata_close(rig.yata, 120000), 0);
        for (unsigned i = 0; i < CALLS; i++) {
            assert_int_equal(answers[i].count, 1);
            assert_true(answers[i].result >= 0 || answers[i].result == YATA_CANCELED ||
                        (i % 6 == 1 && answers[i].result == YATA_EXHAUSTED) ||
                        (i % 6 == 3 && answers[i].result == YATA_EXHAUSTED));
            if (answers[i].view != NULL)
                rig_check_view(answers[i].view, 1);
            yata_view_release(&answers[i].view);
        }
        assert_int_equal(written.count, 1);
        assert_int_equal(again.count, busy == 0);
        /* What is held is good after the close; more can't be had. */
        rig_check_view(held, 2);
        yata_view_release(&held);
        struct answer more = {0};
        assert_int_equal(yata_value_read(value, 0, 1, on_view, &more), YATA_CANCELED);
        assert_int_equal(yata_put_write(idle, bytes, 1, on_done, &more), YATA_CANCELED);
        assert_int_equal(more.count, 0);
        yata_put_abort(&put);
        yata_put_abort(&idle);
        yata_value_close(&value);
        rig_deinit(&rig);
    }
}

/* ---- stalls and faults: the fake's ---- */

/* Its disk can be made to stall; "key" is stored. */
static void begin_with_fake(struct rig *rig, unsigned timeout_ms)
{
    rig_init(rig);
    if (!rig_is_fake())
        skip();
    rig->config.timeout_ms = timeout_ms;
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_put(rig, "key", 1, 1000000), 0);
}

static void stalled_disk(void **state)
{
    (void)state;
    struct rig rig;
    begin_with_fake(&rig, 500);
    assert_int_equal(rig_put(&rig, "small", 2, 1000), 0);
    rig_forget_memory(&rig);
    struct fake_fault fault = {.kinds = FAKE_READ, .error = -EIO, .count = 1};
    fake_disk_fail(rig.yata->io, &fault);
    assert_int_equal(rig_get(&rig, "small", 2, 1000), YATA_MISSING);
    fake_disk_heal(rig.yata->io);
    fake_disk_stall(rig.yata->io, NULL, true);
    struct io_loop *loop = rig.yata->loops[0].io_loop;
    uint64_t before = io_now_ns(loop);
    assert_int_equal(rig_get(&rig, "key", 1, 1000000), YATA_TIMEOUT);
    assert_in_range(io_now_ns(loop) - before, 500 * NS_PER_MS, 600 * NS_PER_MS);
    assert_true(rig_stats(&rig).timeouts > 0);
    /* Puts are taken while there is room, then wait, then give up; what they put stays out. */
    int result = 0;
    for (unsigned i = 0; i < 40 && result == 0; i++)
        result = rig_put(&rig, "other", i, RIG_MIB);
    assert_int_equal(result, YATA_EXHAUSTED);
    assert_int_equal(yata_remove_wait(rig.yata, "key", 3), YATA_TIMEOUT);
    assert_int_equal(rig_get(&rig, "key", 1, 1000000), YATA_MISSING);
    assert_int_equal(yata_flush_wait(rig.yata), YATA_TIMEOUT);
    fake_disk_stall(rig.yata->io, NULL, false);
    rig_settle(&rig);
    assert_int_equal(rig_put(&rig, "key", 3, 1000000), 0);
    rig_forget_memory(&rig);
    assert_int_equal(rig_get(&rig, "key", 3, 1000000), 0);
    end(&rig);
}

/* The time of a call counts from the call, not from the last turn. */
static void a_program_that_waited_elsewhere(void **state)
{
    (void)state;
    struct rig rig;
    begin_with_fake(&rig, 500);
    rig_forget_memory(&rig);
    fake_clock_advance(rig.yata->io, 60 * NS_PER_S);
    assert_int_equal(rig_get(&rig, "key", 1, 1000000), 0);
    end(&rig);
}

/* Closing does not wait for ever; what is stalled is left to the process. */
static struct yata *abandoned[2];

static void close_within(unsigned timeout_ms, struct yata **left)
{
    struct rig rig;
    begin_with_fake(&rig, 2000);
    rig_forget_memory(&rig);
    fake_disk_stall(rig.yata->io, NULL, true);
    struct answer got = {0}, flushed = {0};
    assert_int_equal(yata_get(rig.yata, "key", 3, 0, YATA_TO_END, on_view, &got), 0);
    assert_int_equal(rig_put(&rig, "key", 2, 1000), 0);
    assert_int_equal(yata_flush(rig.yata, on_done, &flushed), 0);
    if (timeout_ms > 0)
        rig_pause(&rig);
    *left = rig.yata;
    assert_int_equal(yata_close(rig.yata, timeout_ms), YATA_TIMEOUT);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.result, YATA_CANCELED);
    assert_int_equal(flushed.count, 1);
}

static void close_while_stalled(void **state)
{
    (void)state;
    close_within(300, &abandoned[0]);
}

static void close_at_once(void **state)
{
    (void)state;
    close_within(0, &abandoned[1]);
}

int main(void)
{
    /* What fails in a thread that cmocka did not start exits with 255 and without a word, unless it aborts.
     */
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_arguments), cmocka_unit_test(configurations),
        cmocka_unit_test(files_that_are_not_ours), cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(callbacks_call), cmocka_unit_test(a_loop_of_the_program),
        cmocka_unit_test(close_with_all_under_way), cmocka_unit_test(stalled_disk),
        cmocka_unit_test(a_program_that_waited_elsewhere), cmocka_unit_test(close_while_stalled),
        cmocka_unit_test(close_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
