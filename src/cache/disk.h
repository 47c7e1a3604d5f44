/*
 * The disk tier: one log-structured file or partition per device, in segments that are appended and reclaimed
 * whole; the format is in segment.h, the order of things in device.h. See the design, section 4, "Disk tier".
 *
 * It never fails a caller that has another source: a put may be dropped (counted, with the reason), a get may
 * miss. What it returns is verified; what fails a check is a miss, counted.
 *
 * struct disk     | born by     | owned by | dies by                   | threads
 * struct disk     | disk_create | cache    | disk_destroy              | any, but attach/detach: their loop's
 * struct disk_get | disk_get    | disk     | done, or disk_get_abandon | the loop that asked
 */
#pragma once

#include "cache/memory.h"
#include "io/io.h"

struct disk;

enum disk_admission { DISK_ADMIT_ALWAYS, DISK_ADMIT_SECOND_REQUEST };

struct disk_device_config {
    const char *path; /* of the file (created, mode 0600) or block device */
    uint64_t size_bytes;
};

#define DISK_DEVICES_MAX 16

enum disk_event_kind {
    DISK_EVENT_OPENED,    /* text: geometry and what was found */
    DISK_EVENT_RECOVERED, /* all tables are read */
    DISK_EVENT_DEGRADED,  /* an item, segment or device was taken out; text says why */
    DISK_EVENT_RESTORED,
    DISK_EVENT_REFUSED, /* a file that is not ours, locked, of a newer format: the device stays out */
};

struct disk_event {
    enum disk_event_kind kind;
    const char *device; /* its path */
    const char *text;
    int error;
};

struct disk_config {
    struct disk_device_config devices[DISK_DEVICES_MAX];
    unsigned device_count;
    uint64_t expected_item_bytes; /* sizes the index; 0: 64 KiB */
    enum disk_admission admission;
    uint64_t write_budget_bytes_s; /* 0: none */
    uint64_t write_buffer_bytes;   /* bound on bytes waiting to be written; 0: 256 MiB; at most half of the
                                      memory tier */
    struct memory *memory;         /* where reads land; tells what is in memory when segments are reclaimed */
    void (*event)(void *context, const struct disk_event *event); /* may be NULL; any thread */
    void *event_context;
};

MUST_CHECK int disk_create(struct disk **disk, struct io *io, const struct disk_config *config);
/* After detach. */
void disk_destroy(struct disk *disk);

/* Opens the devices and begins recovery on this loop; done(context, result) once every device is open or
 * refused (result < 0 when none is usable); recovery goes on behind it: until it ended, only what was put
 * since is found. */
void disk_attach(
    struct disk *disk, struct io_loop *loop, void (*done)(void *context, int result), void *context);
/* Writes what waits, seals, leaves the snapshot, closes; bounded by deadline_ns (then the next open recovers
 * as after a crash). All other loops must have stopped using the tier. `loop` is the one of attach. After
 * E_TIMEOUT what is stalled is left to the process, which should end; disk_destroy then frees nothing. */
void disk_detach(struct disk *disk, struct io_loop *loop, uint64_t deadline_ns,
    void (*done)(void *context, int result), void *context);
/* Each other loop that gets or puts joins before its first call and leaves after its last (registers files,
 * takes part in writes); also before attach. Its own thread. Gets and puts of a loop that has not joined are
 * a bug. disk_leave's done comes when its ops have ended. */
MUST_CHECK int disk_join(struct disk *disk, struct io_loop *loop);
void disk_leave(struct disk *disk, struct io_loop *loop, void (*done)(void *context), void *context);

/* Next number of the store-wide sequence: epoch in the high 20 bits. */
uint64_t disk_next_sequence(struct disk *disk);

/* Hands a complete, whole item over for writing; takes a reference until it is on disk. Its sequence is the
 * item's. `asked`: by which hash admission knows a second request; the same each time the
 * item is made anew, where its key is not; 0: by its key. Returns 0, or why it was not admitted (E_EXHAUSTED,
 * E_REFUSED by admission, E_UNSUPPORTED: no device, E_CHANGED: memory does not hold it, and something newer
 * may have been put); all counted. What is refused awaits its hit (item.h). */
int disk_put(struct disk *disk, struct io_loop *loop, struct item *item, uint64_t asked);
/* The same, later, of an item that awaited a hit and had it: written unless memory holds it no more
 * (E_MISSING). So that it never lands behind what replaced or hid it, that must leave memory before it is
 * put, removed, or forgotten here. */
int disk_put_hit(struct disk *disk, struct io_loop *loop, struct item *item);

/* Whether `bytes` more may wait to be written now: who can wait, does so until they may, instead of having a
 * put dropped. */
bool disk_has_room(const struct disk *disk, uint64_t bytes);

/* From the index alone: false is sure, true is likely. */
bool disk_may_have(struct disk *disk, struct item_key key);

/* Reads the value bytes [from, from + len) of an item (len UINT32_MAX: to its end, whatever its length). done
 * on this loop, never inside the call: result 0 and *item, a reference for the callee, not inserted in
 * memory; or E_MISSING, E_CORRUPT, E_EXHAUSTED, -EIO. The item is whole when the whole value was asked for,
 * when it is smaller than 64 KiB, or still in writing; else a part that covers what was asked for, in blocks
 * of 16 KiB. E_MISSING also where `from` lies past its end. The key's bytes are copied. */
/* NULL: there is no memory for it; done does not come. */
struct disk_get;
struct disk_get *disk_get(struct disk *disk, struct io_loop *loop, struct item_key key, uint32_t from,
    uint32_t len, void (*done)(void *context, int result, struct item *item), void *context);
/* Lets go before done: the callback will not come; the read ends by itself. */
void disk_get_abandon(struct disk_get *get);

/* Of what follows: -ENOMEM, or for purges 0, means that nothing was done and done does not come. */

/* Hides every item of that key put before, durably; done when it is. */
MUST_CHECK int disk_remove(struct disk *disk, struct io_loop *loop, struct item_key key,
    void (*done)(void *context, int result), void *context);
/* Hides, on every device, what is older: see purges.h. In force when it returns the purge's sequence; durable
 * everywhere when done comes with 0; with another result in force until the restart. *widened: see
 * purges_add(). */
struct purge;
MUST_CHECK uint64_t disk_purge(struct disk *disk, struct io_loop *loop, const struct purge *purge,
    bool *widened, void (*done)(void *context, int result), void *context);
/* The same of one object: of all heads under keys that the view says to be its own. `object` is also the
 * whole key of one of them. */
MUST_CHECK uint64_t disk_purge_object(struct disk *disk, struct io_loop *loop, struct bytes object,
    void (*done)(void *context, int result), void *context);
struct purges *disk_purges(struct disk *disk);

/* The same without a record: out of the index, and what is older than the sequence is not put any more. It
 * may be found again after a crash. */
void disk_forget(struct disk *disk, struct item_key key, uint64_t sequence);
/* Everything put before this call is durable at done. -ENOMEM as above. */
MUST_CHECK int disk_flush(
    struct disk *disk, struct io_loop *loop, void (*done)(void *context, int result), void *context);

struct disk_stats {
    uint64_t capacity_bytes, items, segments, segment_bytes, index_bytes;
    uint64_t memory_bytes,
        memory_limit_bytes; /* held now but for what is in flight; at most (cache/footprint.h) */
    uint64_t hits, misses, false_hits, corrupt, reads, read_bytes, writes, written_bytes, payload_bytes;
    uint64_t puts, put_bytes, dropped_full, dropped_admission, dropped_budget, dropped_device, dropped_index;
    uint64_t waiting_bytes, waiting_limit_bytes, reads_in_flight, carried, reclaimed_segments, evicted;
    uint64_t io_errors, recovered_items;
    unsigned devices, devices_out, recovering;
    bool direct;
};
void disk_stats(const struct disk *disk, struct disk_stats *stats);
