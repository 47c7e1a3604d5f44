#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/fake.h"

static const char *driver_name(void)
{
    const char *name = getenv("YATA_IO");
    return name != NULL ? name : "portable";
}

bool rig_is_fake(void)
{
    return strcmp(driver_name(), "fake") == 0;
}

static void on_event(void *context, const struct yata_event *event)
{
    struct rig *rig = context;
    assert_true(event->kind >= YATA_EVENT_OPENED && event->kind <= YATA_EVENT_REFUSED);
    rig->events[event->kind]++;
    if (getenv("YATA_VERBOSE") != NULL)
        print_message("event %d: %s: %s (%d)\n", (int)event->kind, event->device, event->text, event->error);
}

void rig_init(struct rig *rig)
{
    static char path[200];
    const char *folder = getenv("TMPDIR"), *loop = getenv("YATA_LOOP");
    (void)snprintf(path, sizeof path, "%s/yata-api-%d", folder != NULL ? folder : "/var/tmp", (int)getpid());
    unlink(path);
    *rig = (struct rig){.device = {.path = path, .size_bytes = 64 * RIG_MIB}};
    rig->driver.choice = rig_is_fake()                         ? IO_FAKE
                         : strcmp(driver_name(), "uring") == 0 ? IO_URING
                                                               : IO_PORTABLE;
    rig->driver.fake_seed = 1;
    rig->config = (struct yata_config){.struct_bytes = sizeof rig->config,
        .device_count = 1,
        .memory_bytes = 16 * RIG_MIB,
        .driven = rig_is_fake() || (loop != NULL && strcmp(loop, "driven") == 0),
        .timeout_ms = 120000,
        .event = on_event,
        .event_context = rig};
}

int rig_open(struct rig *rig)
{
    rig->config.devices = &rig->device;
    rig->driver.fake_disk = &rig->disk;
    int result = store_open(&rig->yata, &rig->config, &rig->driver);
    if (result == E_UNSUPPORTED && rig->driver.choice == IO_URING) {
        print_message("no io_uring here\n");
        skip();
    }
    return result;
}

void rig_close(struct rig *rig)
{
    assert_int_equal(yata_close(rig->yata, 120000), 0);
    rig->yata = NULL;
}

void rig_reopen(struct rig *rig)
{
    rig_close(rig);
    assert_int_equal(rig_open(rig), 0);
    for (unsigned i = 0; i < 1000 && rig_stats(rig).devices_recovering > 0; i++)
        rig_pause(rig);
}

void rig_deinit(struct rig *rig)
{
    if (rig->disk != NULL)
        fake_disk_destroy(rig->disk);
    rig->disk = NULL;
    unlink(rig->device.path);
}

void rig_pause(struct rig *rig)
{
    if (rig->config.driven)
        assert_true(yata_turn(rig->yata, 5) >= 0);
    else
        nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
}

int64_t rig_await(struct rig *rig, struct answer *answer)
{
    for (unsigned i = 0; answer->count == 0; i++) {
        assert_true(i < 30000);
        rig_pause(rig);
    }
    assert_int_equal(answer->count, 1);
    return answer->result;
}

struct yata_stats rig_stats(struct rig *rig)
{
    struct yata_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(yata_stats(rig->yata, &stats), 0);
    return stats;
}

void rig_settle(struct rig *rig)
{
    for (unsigned i = 0; rig_stats(rig).waiting_bytes > 0; i++) {
        assert_true(i < 30000);
        rig_pause(rig);
    }
}

static struct bytes filler_key(unsigned number)
{
    static char key[40];
    (void)snprintf(key, sizeof key, "filler %u", number);
    return bytes_of_string(key);
}

/* An item of 128 KiB that has been used as often as counts. */
static void put_filler(struct rig *rig, unsigned number)
{
    struct item_key item_key = {ITEM_VARY, filler_key(number)};
    struct item *item;
    assert_int_equal(cache_take(rig->yata->cache, item_key, 128 << 10, &item), 0);
    item_filled_set(item, 128 << 10);
    item_complete(item);
    assert_int_equal(cache_put(rig->yata->cache, rig->yata->loops[0].io_loop, item, CACHE_PUT_MEMORY, 0), 0);
    item_unref(&item);
    for (unsigned uses = 0; uses < 3; uses++) {
        item = cache_find(rig->yata->cache, item_key);
        if (item != NULL)
            item_unref(&item);
    }
}

void rig_forget_memory(struct rig *rig)
{
    unsigned count = 3 * (unsigned)(rig->config.memory_bytes / (128 << 10));
    rig_settle(rig);
    /* Once round the loop: by then it has let go of what it had just written. */
    struct yata_value *none;
    assert_int_equal(yata_value_open_wait(rig->yata, "\1 none", 6, &none), YATA_MISSING);
    for (unsigned i = 0; i < count; i++)
        put_filler(rig, i);
    for (unsigned i = 0; i < count; i++)
        (void)memory_remove(rig->yata->memory, (struct item_key){ITEM_VARY, filler_key(i)}, UINT64_MAX);
}

void on_done(void *context, int result)
{
    struct answer *answer = context;
    answer->result = result;
    answer->count++;
}

void on_copy(void *context, int64_t result, uint64_t value_len)
{
    struct answer *answer = context;
    answer->result = result;
    answer->value_len = value_len;
    answer->count++;
}

void on_view(void *context, int result, struct yata_view *view)
{
    struct answer *answer = context;
    assert_true((result == 0) == (view != NULL));
    answer->view = view;
    on_done(answer, result);
}

void on_value(void *context, int result, struct yata_value *value)
{
    struct answer *answer = context;
    assert_true((result == 0) == (value != NULL));
    answer->value = value;
    on_done(answer, result);
}

static uint8_t byte_at(uint64_t number, uint64_t at)
{
    uint64_t word = (number * 0x9e3779b97f4a7c15u + at / 8) * 0xff51afd7ed558ccdu;
    return (uint8_t)((word ^ word >> 29) >> at % 8 * 8);
}

void rig_bytes(uint64_t number, uint64_t from, void *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)to)[i] = byte_at(number, from + i);
}

bool rig_bytes_are(uint64_t number, uint64_t from, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((const uint8_t *)bytes)[i] != byte_at(number, from + i))
            return false;
    return true;
}

void rig_check_view(const struct yata_view *view, uint64_t number)
{
    unsigned count;
    const struct iovec *parts = yata_view_parts(view, &count);
    uint64_t at = yata_view_from(view);
    for (unsigned i = 0; i < count; i++) {
        assert_true(rig_bytes_are(number, at, parts[i].iov_base, parts[i].iov_len));
        at += parts[i].iov_len;
    }
    assert_int_equal(at, yata_view_from(view) + yata_view_len(view));
}

int rig_put(struct rig *rig, const char *key, uint64_t number, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    rig_bytes(number, 0, bytes, len);
    int result = yata_put_wait(rig->yata, key, strlen(key), bytes, len);
    free(bytes);
    return result;
}

int rig_get(struct rig *rig, const char *key, uint64_t number, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    uint64_t value_len = 0;
    int64_t result = yata_get_copy_wait(rig->yata, key, strlen(key), 0, bytes, len + 1, &value_len);
    if (result >= 0) {
        assert_int_equal(result, len);
        assert_int_equal(value_len, len);
        assert_true(rig_bytes_are(number, 0, bytes, len));
    }
    free(bytes);
    return result < 0 ? (int)result : 0;
}
