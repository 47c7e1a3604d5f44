/*
 * A cache of the tests: one device below TMPDIR, a small memory tier, and calls whose callbacks are awaited.
 * The driver is YATA_IO's (portable, uring, fake); YATA_LOOP=driven turns the one loop from the test's
 * thread, which the fake always does. Values are made from a number, so that every byte can be checked.
 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after those, as it demands */
#include <cmocka.h>

#include <yata.h>

#include "yata/store.h"

#define RIG_MIB (UINT64_C(1) << 20)

struct rig {
    struct yata *yata;
    struct yata_config config;
    struct yata_device device;
    struct store_driver driver;
    struct fake_disk *disk; /* the fake's, between two opens */
    _Atomic unsigned events[YATA_EVENT_REFUSED + 1];
};

/* The answer of one asynchronous call. */
struct answer {
    _Atomic unsigned count;
    int64_t result;
    uint64_t value_len;
    struct yata_view *view;
    struct yata_value *value;
};

bool rig_is_fake(void);
/* Change rig->config before rig_open. */
void rig_init(struct rig *rig);
/* Skips the test where the driver is not to be had. The result of yata_open. */
int rig_open(struct rig *rig);
/* Closes and asserts that all went well. */
void rig_close(struct rig *rig);
/* Closes, opens again what is on the device. */
void rig_reopen(struct rig *rig);
/* Removes the device. */
void rig_deinit(struct rig *rig);

/* A little time for what goes on behind. */
void rig_pause(struct rig *rig);
/* Until it has come; exactly once. Its result. */
int64_t rig_await(struct rig *rig, struct answer *answer);
/* Nothing waits to be written. */
void rig_settle(struct rig *rig);
struct yata_stats rig_stats(struct rig *rig);
/* What memory holds is evicted by other values, so that reads go to disk. */
void rig_forget_memory(struct rig *rig);

void on_done(void *context, int result);
void on_copy(void *context, int64_t result, uint64_t value_len);
void on_view(void *context, int result, struct yata_view *view);
void on_value(void *context, int result, struct yata_value *value);

/* Bytes [from, from + len) of value number `number`. */
void rig_bytes(uint64_t number, uint64_t from, void *to, size_t len);
bool rig_bytes_are(uint64_t number, uint64_t from, const void *bytes, size_t len);
/* The view's bytes are those of the number at its place. */
void rig_check_view(const struct yata_view *view, uint64_t number);
/* By the blocking calls, under the key "value NUMBER of KEY". Results of put and whole get (checked against
 * number). */
int rig_put(struct rig *rig, const char *key, uint64_t number, size_t len);
int rig_get(struct rig *rig, const char *key, uint64_t number, size_t len);
