#include "bench/yata/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define STOP_NS (60 * NS_PER_S)
#define LAY_OUT_BYTES 60000u
#define LAY_OUT_NUMBER (UINT64_C(1) << 61)

void store_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "yata-bench: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

struct item_key store_key(struct store_key *key, uint64_t number)
{
    static const char digits[16] = "0123456789abcdef";
    memcpy(key->text, "bucket/objects/n", 16);
    for (unsigned i = 0; i < 16; i++)
        key->text[16 + i] = digits[number >> (60 - 4 * i) & 15];
    return (struct item_key){ITEM_CHUNK, bytes_of(key->text, STORE_KEY_BYTES)};
}

/* ---- opening and closing ---- */

static void on_event(void *context, const struct disk_event *event)
{
    struct store *store = context;
    if (event->kind == DISK_EVENT_OPENED)
        snprintf(store->opened, sizeof store->opened, "%s", event->text);
    else if (event->kind == DISK_EVENT_RECOVERED)
        atomic_store(&store->recovered, true);
    else
        fprintf(stderr, "yata-bench: %s: %s\n", event->device, event->text);
}

void store_create(
    struct store *store, const struct options *options, enum io_choice driver, const struct disk_config *base)
{
    struct io_config io = {.choice = driver, .fake_seed = 1};
    struct io_report report;
    *store = (struct store){.item_bytes = options->item_bytes};
    if (io_create(&store->io, &io, &report) < 0)
        store_die("no such driver here: %s", report.reason);
    if (io_loop_create(store->io, &store->loop) < 0)
        store_die("no loop");
    if (memory_create(&store->memory, &(struct memory_config){.budget_bytes = options->memory_bytes}) < 0)
        store_die("no memory tier of %lu bytes", options->memory_bytes);
    struct disk_config config = *base;
    config.devices[0] = (struct disk_device_config){options->file, options->size_bytes};
    config.device_count = 1;
    config.memory = store->memory;
    config.event = on_event;
    config.event_context = store;
    if (disk_create(&store->disk, store->io, &config) < 0 || disk_join(store->disk, store->loop) < 0)
        store_die("out of memory");
}

static void attached(void *context, int result)
{
    struct store *store = context;
    store->attached = true;
    store->result = result;
    if (result < 0)
        store_die("can't open the device: %s", error_text(result));
}

void store_attach(struct store *store)
{
    store->attached = false;
    disk_attach(store->disk, store->loop, attached, store);
}

void store_turn(struct store *store)
{
    io_loop_turn(store->loop, 100 * NS_PER_MS);
}

uint64_t store_expected_bytes(const struct options *options)
{
    return options->size_bytes / options->items + 1;
}

void store_open(struct store *store, const struct options *options)
{
    struct disk_config config = {.expected_item_bytes = store_expected_bytes(options)};
    struct disk_stats stats;
    store_create(store, options, options->io, &config);
    store_attach(store);
    do {
        store_turn(store);
        disk_stats(store->disk, &stats);
    } while (!store->attached || stats.recovering > 0);
    if (!stats.direct)
        fprintf(stderr, "yata-bench: this file system has no direct I/O: figures are of the page cache\n");
}

void store_open_new(struct store *store, const struct options *options)
{
    unlink(options->file);
    store_open(store, options);
}

static void detached(void *context, int result)
{
    struct store *store = context;
    store->attached = false;
    if (result < 0)
        store_die("the device was not closed cleanly: %s", error_text(result));
}

static void left(void *context)
{
    *(bool *)context = true;
}

void store_close(struct store *store)
{
    bool gone = false;
    disk_detach(store->disk, store->loop, io_now_ns(store->loop) + STOP_NS, detached, store);
    while (store->attached)
        store_turn(store);
    disk_leave(store->disk, store->loop, left, &gone);
    while (!gone)
        store_turn(store);
    if (io_loop_destroy(store->loop, NS_PER_S) != 0)
        store_die("the loop leaked");
    disk_destroy(store->disk);
    memory_destroy(store->memory);
    if (io_destroy(store->io) != 0)
        store_die("files leaked");
}

/* ---- putting ---- */

static struct item *make(struct store *store, uint64_t number, uint32_t bytes)
{
    static unsigned char filler[1 << 20];
    struct store_key key;
    struct item *item;
    struct item_shape shape = {.value_len = bytes, .held_len = bytes};
    if (memory_take(store->memory, store_key(&key, number), shape, &item) < 0)
        return NULL;
    memcpy(filler, &number, sizeof number);
    for (uint32_t at = 0; at < bytes;) {
        uint32_t n = bytes - at < sizeof filler ? bytes - at : (uint32_t)sizeof filler;
        item_append(item, bytes_of(filler, n));
        at += n;
    }
    item_complete(item);
    item_sequence_set(item, disk_next_sequence(store->disk));
    return item;
}

/* 0 or why not. */
static int put_once(struct store *store, uint64_t number, uint32_t bytes)
{
    struct item *item = make(store, number, bytes);
    if (item == NULL)
        return E_EXHAUSTED;
    int result = disk_put(store->disk, store->loop, item, 0);
    item_unref(&item);
    return result;
}

bool store_put_sized(struct store *store, uint64_t number, uint32_t bytes)
{
    int result;
    while ((result = put_once(store, number, bytes)) == E_EXHAUSTED)
        store_turn(store);
    return result == 0;
}

void store_put(struct store *store, uint64_t number)
{
    if (!store_put_sized(store, number, (uint32_t)store->item_bytes))
        store_die("a put was refused");
}

void store_lay_out(struct store *store)
{
    struct disk_stats stats;
    disk_stats(store->disk, &stats);
    uint64_t count = stats.capacity_bytes / LAY_OUT_BYTES + 1;
    for (uint64_t i = 0; i < count; i++)
        if (!store_put_sized(store, LAY_OUT_NUMBER + i, LAY_OUT_BYTES))
            store_die("a put was refused");
    store_settle(store);
}

bool store_try_put(struct store *store, uint64_t number)
{
    return put_once(store, number, (uint32_t)store->item_bytes) == 0;
}

static void flushed(void *context, int result)
{
    if (result < 0)
        store_die("a flush failed: %s", error_text(result));
    *(bool *)context = true;
}

void store_flush(struct store *store)
{
    bool done = false;
    if (disk_flush(store->disk, store->loop, flushed, &done) < 0)
        store_die("out of memory");
    while (!done)
        store_turn(store);
}

void store_settle(struct store *store)
{
    struct disk_stats stats;
    for (;;) {
        disk_stats(store->disk, &stats);
        if (stats.waiting_bytes == 0)
            return;
        store_turn(store);
    }
}

bool store_is_item(const struct item *item, uint64_t number)
{
    uint64_t found;
    if (item_held_len(item) < sizeof found)
        return true;
    item_copy(item, 0, sizeof found, &found);
    return found == number;
}
