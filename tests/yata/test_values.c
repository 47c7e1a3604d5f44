/* What is put is got: every length around the bounds, ranges, views, streams, from memory, from disk, after
 * an open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rig.h"
#include "yata/layout.h"

#define CHUNK LAYOUT_CHUNK_BYTES

static const size_t lens[] = {0, 1, 15, 16, 4080, 4096, 16384, 65520, 100000, CHUNK - 16, CHUNK - 1, CHUNK,
    CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 1000000, 5 * CHUNK + 77};
#define LENS (sizeof lens / sizeof *lens)

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

static const char *name_of(size_t i)
{
    static char key[40];
    (void)snprintf(key, sizeof key, "value %zu", i);
    return key;
}

static void every_length(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_put(&rig, name_of(i), i, lens[i]), 0);
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_get(&rig, name_of(i), i, lens[i]), 0);
    rig_forget_memory(&rig);
    uint64_t read_before = rig_stats(&rig).disk_read_bytes;
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_get(&rig, name_of(i), i, lens[i]), 0);
    assert_true(rig_stats(&rig).disk_read_bytes > read_before);
    assert_int_equal(yata_flush_wait(rig.yata), 0);
    rig_reopen(&rig);
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_get(&rig, name_of(i), i, lens[i]), 0);
    assert_int_equal(rig_get(&rig, "another", 0, 10), YATA_MISSING);
    end(&rig);
}

static void ranges(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    static const uint64_t froms[] = {
        0, 1, 4095, CHUNK - 1, CHUNK, CHUNK + 5, 3 * CHUNK - 7, 1000000, 2000000};
    static const uint64_t wanted[] = {0, 1, 10, 4096, CHUNK, 2 * CHUNK, YATA_TO_END};
    uint8_t *bytes = malloc(5 * CHUNK + 100);
    for (unsigned disk = 0; disk < 2; disk++) {
        for (size_t i = 0; disk == 0 && i < LENS; i++)
            assert_int_equal(rig_put(&rig, name_of(i), i, lens[i]), 0);
        for (size_t i = 0; i < LENS; i++)
            for (unsigned f = 0; f < 9; f++)
                for (unsigned w = 0; w < 7; w++) {
                    if (disk != 0 && w == 3 && f % 4 == 0)
                        rig_forget_memory(&rig);
                    uint64_t from = froms[f] < lens[i] ? froms[f] : lens[i], left = lens[i] - from;
                    uint64_t expect = wanted[w] < left ? wanted[w] : left, len;
                    size_t to_len = wanted[w] == YATA_TO_END ? 5 * CHUNK + 100 : (size_t)wanted[w];
                    const char *key = name_of(i);
                    int64_t copied =
                        yata_get_copy_wait(rig.yata, key, strlen(key), froms[f], bytes, to_len, &len);
                    assert_int_equal(copied, expect);
                    assert_int_equal(len, lens[i]);
                    assert_true(rig_bytes_are(i, from, bytes, expect));
                    struct yata_view *view;
                    assert_int_equal(
                        yata_get_wait(rig.yata, key, strlen(key), froms[f], wanted[w], &view), 0);
                    assert_int_equal(yata_view_from(view), from);
                    assert_int_equal(yata_view_len(view), expect < YATA_VIEW_MAX ? expect : YATA_VIEW_MAX);
                    assert_int_equal(yata_view_value_len(view), lens[i]);
                    rig_check_view(view, i);
                    yata_view_release(&view);
                    assert_null(view);
                }
    }
    free(bytes);
    end(&rig);
}

/* Only the chunks that a range touches are read. */
static void a_range_reads_what_it_touches(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    assert_int_equal(rig_put(&rig, "large", 1, 10 * RIG_MIB), 0);
    rig_forget_memory(&rig);
    uint8_t bytes[100];
    uint64_t before = rig_stats(&rig).disk_read_bytes;
    assert_int_equal(yata_get_copy_wait(rig.yata, "large", 5, 7 * RIG_MIB + 3, bytes, 100, NULL), 100);
    assert_true(rig_bytes_are(1, 7 * RIG_MIB + 3, bytes, 100));
    uint64_t read = rig_stats(&rig).disk_read_bytes - before;
    assert_true(read > 0 && read <= 64 << 10);
    before += read;
    struct yata_view *view;
    assert_int_equal(yata_get_wait(rig.yata, "large", 5, 3 * RIG_MIB, CHUNK, &view), 0);
    rig_check_view(view, 1);
    yata_view_release(&view);
    assert_true(rig_stats(&rig).disk_read_bytes - before <= CHUNK + 16384);
    end(&rig);
}

static int stream(
    struct rig *rig, const char *key, uint64_t number, size_t len, uint64_t announced, size_t step)
{
    struct yata_put *put;
    assert_int_equal(yata_put_begin(rig->yata, key, strlen(key), announced, &put), 0);
    uint8_t *bytes = malloc(step);
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        rig_bytes(number, at, bytes, n);
        int result = yata_put_write_wait(put, bytes, n);
        if (result < 0) {
            yata_put_abort(&put);
            free(bytes);
            return result;
        }
    }
    free(bytes);
    return yata_put_end_wait(put);
}

static void streams(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    static const size_t steps[] = {1000, CHUNK, CHUNK + 1, 3 * CHUNK};
    for (unsigned s = 0; s < 4; s++)
        for (unsigned known = 0; known < 2; known++) {
            for (size_t i = 0; i < LENS; i++)
                assert_int_equal(stream(&rig, name_of(i), 100 * s + i, lens[i],
                                     known != 0 ? lens[i] : YATA_LEN_UNKNOWN, steps[s]),
                    0);
            for (size_t i = 0; i < LENS; i++)
                assert_int_equal(rig_get(&rig, name_of(i), 100 * s + i, lens[i]), 0);
            rig_forget_memory(&rig);
            for (size_t i = 0; i < LENS; i++)
                assert_int_equal(rig_get(&rig, name_of(i), 100 * s + i, lens[i]), 0);
        }
    /* More than the memory tier and the write buffer hold: writes wait for room. */
    assert_int_equal(stream(&rig, "large", 9, 40 * RIG_MIB, YATA_LEN_UNKNOWN, RIG_MIB), 0);
    assert_int_equal(rig_get(&rig, "large", 9, 40 * RIG_MIB), 0);
    assert_int_equal(rig_stats(&rig).dropped_full, 0);
    end(&rig);
}

static void broken_streams(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    assert_int_equal(rig_put(&rig, "key", 1, 300000), 0);
    uint8_t bytes[1000] = {0};
    struct yata_put *put;
    assert_int_equal(stream(&rig, "key", 2, 999, 1000, 100), YATA_TRUNCATED);
    assert_int_equal(stream(&rig, "key", 2, 500000, 500001, 100000), YATA_TRUNCATED);
    assert_int_equal(stream(&rig, "key", 2, 1001, 1000, 100), YATA_TOO_LARGE);
    assert_int_equal(yata_put_begin(rig.yata, "key", 3, YATA_LEN_UNKNOWN, &put), 0);
    assert_int_equal(yata_put_write_wait(put, bytes, sizeof bytes), 0);
    yata_put_abort(&put);
    assert_null(put);
    yata_put_abort(&put);
    assert_int_equal(rig_get(&rig, "key", 1, 300000), 0);
    end(&rig);
}

static void versions(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    for (unsigned round = 1; round < 12; round++) {
        size_t len = lens[(round * 5) % LENS] + 1, old_len = lens[((round - 1) * 5) % LENS] + 1;
        struct yata_value *old = NULL;
        if (round > 1)
            assert_int_equal(yata_value_open_wait(rig.yata, "key", 3, &old), 0);
        assert_int_equal(rig_put(&rig, "key", round, len), 0);
        assert_int_equal(rig_get(&rig, "key", round, len), 0);
        if (old == NULL)
            continue;
        /* The version that was opened stays what it was. */
        assert_int_equal(yata_value_len(old), old_len);
        if (round % 2 == 0)
            rig_forget_memory(&rig);
        uint8_t *bytes = malloc(old_len);
        assert_int_equal(yata_value_copy_wait(old, 0, bytes, old_len), old_len);
        assert_true(rig_bytes_are(round - 1, 0, bytes, old_len));
        free(bytes);
        struct yata_view *view;
        assert_int_equal(yata_value_read_wait(old, old_len - 1, 5, &view), 0);
        assert_int_equal(yata_view_len(view), 1);
        rig_check_view(view, round - 1);
        yata_view_release(&view);
        yata_value_close(&old);
        assert_null(old);
    }
    end(&rig);
}

/* An old version whose chunks have been evicted: a clear word, never bytes of the new one. */
static void lost_versions(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    assert_int_equal(rig_put(&rig, "key", 1, 2 * RIG_MIB), 0);
    struct yata_value *old;
    assert_int_equal(yata_value_open_wait(rig.yata, "key", 3, &old), 0);
    for (unsigned i = 0; i < 120; i++) /* three times around the device */
        assert_int_equal(rig_put(&rig, "key", 2 + i, 2 * RIG_MIB), 0);
    rig_forget_memory(&rig);
    uint8_t *bytes = malloc(2 * RIG_MIB);
    int64_t result = yata_value_copy_wait(old, 0, bytes, 2 * RIG_MIB);
    assert_int_equal(result, YATA_LOST);
    free(bytes);
    yata_value_close(&old);
    assert_int_equal(rig_get(&rig, "key", 121, 2 * RIG_MIB), 0);
    end(&rig);
}

static void removed(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_put(&rig, name_of(i), i, lens[i]), 0);
    assert_int_equal(yata_flush_wait(rig.yata), 0);
    struct yata_value *value;
    const char *last = name_of(LENS - 1);
    assert_int_equal(yata_value_open_wait(rig.yata, last, strlen(last), &value), 0);
    for (size_t i = 0; i < LENS; i++) {
        const char *key = name_of(i);
        assert_int_equal(yata_remove_wait(rig.yata, key, strlen(key)), 0);
        assert_int_equal(rig_get(&rig, key, i, lens[i]), YATA_MISSING);
    }
    assert_int_equal(yata_remove_wait(rig.yata, "never", 5), 0);
    /* Who has it open reads on. */
    uint8_t *bytes = malloc(lens[LENS - 1]);
    assert_int_equal(yata_value_copy_wait(value, 0, bytes, lens[LENS - 1]), lens[LENS - 1]);
    assert_true(rig_bytes_are(LENS - 1, 0, bytes, lens[LENS - 1]));
    free(bytes);
    yata_value_close(&value);
    rig_reopen(&rig);
    for (size_t i = 0; i < LENS; i++)
        assert_int_equal(rig_get(&rig, name_of(i), i, lens[i]), YATA_MISSING);
    end(&rig);
}

static void peeks(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    struct yata_view *view = NULL;
    uint8_t bytes[5000];
    uint64_t len = 0;
    assert_int_equal(yata_peek(rig.yata, "key", 3, 0, YATA_TO_END, &view), YATA_MISSING);
    assert_int_equal(rig_put(&rig, "key", 1, 600000), 0);
    assert_int_equal(rig_put(&rig, "small", 2, 4096), 0);
    assert_int_equal(yata_peek(rig.yata, "key", 3, 100, YATA_TO_END, &view), 0);
    assert_int_equal(yata_view_len(view), 600000 - 100);
    rig_check_view(view, 1);
    assert_int_equal(yata_view_copy(view, 599000, bytes, sizeof bytes), 900);
    assert_true(rig_bytes_are(1, 599100, bytes, 900));
    assert_int_equal(yata_view_copy(view, 599900, bytes, sizeof bytes), 0);
    yata_view_release(&view);
    assert_int_equal(yata_peek(rig.yata, "small", 5, 0, YATA_TO_END, &view), 0);
    unsigned count;
    assert_int_equal((uintptr_t)yata_view_parts(view, &count)[0].iov_base % 16, 0);
    yata_view_release(&view);
    assert_int_equal(yata_peek_copy(rig.yata, "key", 3, CHUNK - 10, bytes, 20, &len), 20);
    assert_int_equal(len, 600000);
    assert_true(rig_bytes_are(1, CHUNK - 10, bytes, 20));
    assert_int_equal(yata_peek_copy(rig.yata, "small", 5, 4000, bytes, 5000, NULL), 96);
    rig_forget_memory(&rig);
    assert_int_equal(yata_peek_copy(rig.yata, "key", 3, 0, bytes, 20, NULL), YATA_MISSING);
    end(&rig);
}

/* Views beyond a quarter of the memory tier are copies, beyond another quarter refused; copying out goes on.
 */
static void pins_are_bounded(void **state)
{
    (void)state;
    struct rig rig;
    begin(&rig);
    assert_int_equal(rig_put(&rig, "key", 1, 20 * RIG_MIB), 0);
    rig_settle(&rig);
    struct yata_view *views[32];
    unsigned count = 0;
    int result = 0;
    while (count < 32 && result == 0) {
        result = yata_get_wait(rig.yata, "key", 3, count % 20 * RIG_MIB, RIG_MIB, &views[count]);
        count += result == 0;
    }
    assert_int_equal(result, YATA_EXHAUSTED);
    assert_in_range(count, 7, 10);
    assert_int_equal(rig_get(&rig, "key", 1, 20 * RIG_MIB), 0);
    for (unsigned i = 0; i < count; i++) {
        rig_check_view(views[i], 1);
        yata_view_release(&views[i]);
    }
    assert_int_equal(yata_get_wait(rig.yata, "key", 3, 0, RIG_MIB, &views[0]), 0);
    yata_view_release(&views[0]);
    end(&rig);
}

static void memory_only(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.device_count = 0;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_put(&rig, "key", 1, 1000000), 0);
    assert_int_equal(rig_get(&rig, "key", 1, 1000000), 0);
    assert_int_equal(yata_flush_wait(rig.yata), 0);
    assert_int_equal(yata_remove_wait(rig.yata, "key", 3), 0);
    assert_int_equal(rig_get(&rig, "key", 1, 1000000), YATA_MISSING);
    assert_int_equal(rig_stats(&rig).devices, 0);
    assert_int_equal(yata_close(rig.yata, 1000), 0);
    rig_deinit(&rig);
}

static void admitted_the_second_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.admission = YATA_ADMIT_SECOND;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_put(&rig, "key", 1, 600000), YATA_MEMORY_ONLY);
    assert_int_equal(rig_stats(&rig).dropped_admission, 1);
    rig_settle(&rig);
    assert_int_equal(rig_stats(&rig).disk_items, 0);
    assert_int_equal(rig_put(&rig, "key", 2, 600000), 0);
    rig_forget_memory(&rig);
    assert_int_equal(rig_get(&rig, "key", 2, 600000), 0);
    end(&rig);
}

/* The disk holds so many items, soon. */
static void await_disk_items(struct rig *rig, uint64_t count)
{
    for (unsigned i = 0; rig_stats(rig).disk_items < count; i++) {
        assert_true(i < 30000);
        rig_pause(rig);
    }
    rig_settle(rig);
    assert_int_equal(rig_stats(rig).disk_items, count);
}

static void admitted_by_a_read(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.admission = YATA_ADMIT_SECOND;
    assert_int_equal(rig_open(&rig), 0);
    for (unsigned i = 0; i < 4; i++) {
        char key[] = {'k', (char)('0' + i), 0};
        assert_int_equal(rig_put(&rig, key, i, 600000), YATA_MEMORY_ONLY);
    }
    assert_int_equal(rig_put(&rig, "small", 4, 1000), YATA_MEMORY_ONLY);
    /* A get of the whole, a copy from this thread, a range of the second chunk by a held version. */
    struct yata_view *view;
    struct answer answer = {0};
    uint8_t bytes[1000];
    assert_int_equal(yata_get(rig.yata, "k1", 2, 0, YATA_TO_END, on_view, &answer), 0);
    assert_int_equal(rig_await(&rig, &answer), 0);
    yata_view_release(&answer.view);
    await_disk_items(&rig, 4);
    assert_int_equal(yata_peek_copy(rig.yata, "small", 5, 0, bytes, sizeof bytes, NULL), 1000);
    await_disk_items(&rig, 5);
    /* A hit may be lost while the loop takes others. */
    for (unsigned i = 0; rig_stats(&rig).disk_items < 7; i++) {
        assert_true(i < 30000);
        assert_int_equal(yata_peek(rig.yata, "k2", 2, 0, 10, &view), 0);
        yata_view_release(&view);
        rig_pause(&rig);
    }
    await_disk_items(&rig, 7);
    answer = (struct answer){0};
    assert_int_equal(yata_value_open(rig.yata, "k3", 2, on_value, &answer), 0);
    assert_int_equal(rig_await(&rig, &answer), 0);
    await_disk_items(&rig, 8);
    assert_int_equal(yata_value_read_wait(answer.value, CHUNK, 10, &view), 0);
    yata_view_release(&view);
    yata_value_close(&answer.value);
    await_disk_items(&rig, 9);
    assert_int_equal(yata_flush_wait(rig.yata), 0);
    rig_reopen(&rig);
    assert_int_equal(rig_get(&rig, "k0", 0, 600000), YATA_MISSING);
    assert_int_equal(rig_get(&rig, "k1", 1, 600000), 0);
    assert_int_equal(rig_get(&rig, "small", 4, 1000), 0);
    assert_int_equal(yata_get_wait(rig.yata, "k2", 2, 0, 10, &view), 0);
    yata_view_release(&view);
    assert_int_equal(yata_get_wait(rig.yata, "k2", 2, CHUNK, 10, &view), YATA_MISSING);
    assert_int_equal(yata_get_wait(rig.yata, "k3", 2, CHUNK, 10, &view), 0);
    yata_view_release(&view);
    end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_length), cmocka_unit_test(ranges),
        cmocka_unit_test(a_range_reads_what_it_touches), cmocka_unit_test(streams),
        cmocka_unit_test(broken_streams), cmocka_unit_test(versions), cmocka_unit_test(lost_versions),
        cmocka_unit_test(removed), cmocka_unit_test(peeks), cmocka_unit_test(pins_are_bounded),
        cmocka_unit_test(memory_only), cmocka_unit_test(admitted_the_second_time),
        cmocka_unit_test(admitted_by_a_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
