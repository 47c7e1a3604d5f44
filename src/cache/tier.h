/* The inside of struct disk, for the tier's own files. */
#pragma once

#include "cache/admission.h"
#include "cache/device.h"
#include "cache/purges.h"

#define DISK_WORKERS_MAX 256

struct disk_counters {
    struct counter dropped_full, dropped_admission, dropped_budget, dropped_device, misses, puts, put_bytes;
};

struct disk {
    struct io *io;
    struct memory *memory;
    uint64_t expected_item_bytes, waiting_limit_bytes;
    void (*event)(void *context, const struct disk_event *event);
    void *event_context;
    struct device *devices[DISK_DEVICES_MAX];
    unsigned device_count;

    struct purges *purges;
    _Atomic bool attached;
    _Atomic uint64_t sequence;
    _Atomic uint64_t waiting_bytes;
    _Atomic uint64_t sheet_bytes; /* of all workers */

    /* Who owns which keys; fixed from attach to detach. A device that is away keeps its keys. */
    struct {
        struct device_id id;
        uint64_t mix;
        struct device *device; /* NULL: away */
    } owners[DISK_DEVICES_MAX];
    unsigned owner_count;

    pthread_mutex_t workers_lock; /* guards changes */
    /* Found by the loop's address, so that no search reads a worker that may be leaving. */
    _Atomic(const struct io_loop *) loops[DISK_WORKERS_MAX];
    _Atomic(struct disk_worker *) workers[DISK_WORKERS_MAX];

    struct admission admission;
    struct disk_counters counters;

    struct { /* attach and detach: their loop */
        struct disk_worker *home;
        unsigned pending;
        bool busy, gave_up;
        int result;
        struct io_op timer;
        struct io_message message;
        void (*done)(void *context, int result);
        void *context;
    } turn;
};

/* The loop's worker, NULL if it has not joined. */
struct disk_worker *disk_worker(struct disk *disk, const struct io_loop *loop);
/* The device that a key belongs to, NULL when that one is away. */
struct device *disk_owner(struct disk *disk, struct item_key key);
/* Gives the entry, of an item or a remove record, to the log. Below 0 it was not taken, and the caller
 * destroys it: E_UNSUPPORTED (the device is out), E_CHANGED (something newer has been put), E_MISSING (of a
 * hit: memory holds it no more). */
int disk_hand_over(struct device *device, struct disk_worker *worker, struct writing *entry);
