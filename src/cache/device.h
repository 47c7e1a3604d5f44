/*
 * One device of the disk tier: a log of segments. This header is internal to the tier; disk.h is its
 * contract.
 *
 * The order of things
 * - Precedence is position: no copy of a key ever lies later in the log than what replaced or hides it.
 * Places are given under `lock`, in the order of the puts; the index points to the latest place from that
 * moment on. Recovery therefore replays the tables from the oldest to the newest segment and lets the later
 * one win, and any suffix of the log is consistent.
 * - An item in writing is found in `writing` until its write has completed, then at its place. A reader asks
 * the index first and `writing` second: what the index shows and `writing` does not hold has been written.
 * - Segments go free -> open -> sealing -> sealed -> dead -> free. Items that find no free segment, or only
 * the room of what is carried, wait in order, bounded by the tier's write buffer. Each write, and each table
 * to be written, holds a *ticket*; a flush waits until the tickets drawn before it are gone, then syncs. A
 * write that fails seals its segment at once (a scan could not get past the hole, the table can), and fails
 * the flushes that waited for it. Where that table can't be written either, the device goes out, and comes
 * back empty.
 * - A reader pins a segment for one device read. It pins, then looks whether the index still names the place;
 * reclaiming takes the entries out of the index, then waits for the pins. So no reader ever sees the new
 * content of a place.
 * - `dead_below` is synced in the superblock before a dead segment's place is given out again.
 *
 * Purges: purges.h. An item is judged in try_place(), under `lock`, when it gets its place; one that is
 * hidden by then is written with clear-of 0 and is a miss for ever.
 *
 * A removed or replaced key whose newer copy could not be stored is taken out of the index; what is on disk
 * of it may come back after a crash, which is why removing reports durability. While tables are still being
 * read, such hashes are remembered and taken out again at the end.
 *
 * Bounds: at most DEVICE_BATCHES_MAX batches are in flight, beyond that small items wait as for a segment;
 * reads in flight by number and by what their buffers take; rows of a segment. footprint.h adds them up.
 *
 * Faults: a failed write seals its segment, and its items are written once more, to the next one; if that
 * fails too, or after DEVICE_WRITE_ERRORS_MAX failed writes in a row, or DEVICE_READ_ERRORS_MAX failed reads
 * in a row, take the device out: gets miss, puts are dropped. Every DEVICE_RETRY_NS it is tried by writing
 * its superblock; when that works it is back, empty if a record or a replacement was missed meanwhile. While
 * nothing has completed for DEVICE_STALL_NS with reads in flight, gets miss at once.
 *
 * struct         | born by       | owned by                       | dies by
 * device         | device_create | struct disk                    | device_destroy
 * filling        | append.c      | its device                     | its table is written
 * write          | append.c      | filling, then its loop         | its completion
 * writing        | disk_put      | its device                     | its write's completion
 * disk_worker    | disk_join     | its loop                       | disk_leave, once its ops have ended
 * disk_get       | disk_get      | its loop's pool                | worker_destroy
 * Threads: `lock` guards what is marked so and is never held over I/O; sequences run on the home loop, which
 * is the one that attached the tier; an op and its buffers belong to the loop that submits it.
 */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/stats.h"
#include "cache/disk.h"
#include "cache/index.h"
#include "cache/segment.h"
#include "cache/superblock.h"

#define DEVICE_WRITE_ERRORS_MAX 3
#define DEVICE_READ_ERRORS_MAX 8
#define DEVICE_RETRY_NS (10 * NS_PER_S)
#define DEVICE_ROOM_NS (100 * NS_PER_MS)
#define DEVICE_STALL_NS (5 * NS_PER_S)
#define DEVICE_READS_MAX 8192
#define DEVICE_READ_BYTES_MAX (UINT64_C(128) << 20) /* gets and buffers of reads in flight */
#define DEVICE_BATCH_BYTES (256u << 10)
#define DEVICE_WRITES_BYTES (4u << 20) /* in flight on one loop; the rest waits in memory */
#define DEVICE_BATCHES_MAX 64          /* one of them for what is carried forward */
#define DEVICE_BATCH_MEMORY ((size_t)DEVICE_BATCHES_MAX * DEVICE_BATCH_BYTES)
#define DEVICE_BATCH_AGE_NS (200 * NS_PER_MS)
#define DEVICE_OP_BYTES (1u << 20)
#define DEVICE_FREE_TARGET_MAX 3
#define DEVICE_CALM_SEGMENTS 16
#define DEVICE_LATE_BYTES (512u << 10)
#define DEVICE_FORGOTTEN_MAX (1u << 20)
#define WRITING_CHAINS 8192
#define RECENT_SLOTS 4096

enum device_state { DEVICE_CLOSED, DEVICE_OPENING, DEVICE_IN_SERVICE, DEVICE_OUT, DEVICE_CLOSING };
enum segment_state { SEGMENT_FREE, SEGMENT_OPEN, SEGMENT_SEALING, SEGMENT_SEALED, SEGMENT_DEAD };

struct device_segment {
    _Atomic uint64_t generation; /* 0: never used */
    _Atomic uint32_t pins;
    uint32_t data_end;
    enum segment_state state; /* under lock */
};

/* For the leave of a loop that has joined once more. */
struct early_leave {
    struct list_node node;
    struct io_message message;
    void (*left)(void *context);
    void *context;
};

/* A loop that takes part. Only its thread touches it. */
struct disk_worker {
    struct disk *disk;
    struct io_loop *loop;
    unsigned joins, ops;    /* ops in flight of this loop */
    struct io_op timer;     /* closes batches that have become old */
    struct list_node ready; /* gets that are done without I/O */
    struct list_node held;  /* writes that wait for others of this loop */
    uint64_t writes_bytes;  /* in flight */
    struct io_message message;
    bool posted, leaving;
    void (*left)(void *context);
    void *left_context;
    struct list_node early_leaves; /* joins - 1 of them */
    struct list_node free_gets, free_buffers[3];
    uint8_t *sheets[3]; /* what the buffers are cut from */
    unsigned free_get_count;
};

/* An item from its put until its write completed. */
struct writing {
    struct list_node chain; /* of its hash, newest first */
    struct list_node node;  /* in its write, or in device->waiting */
    struct item *item;      /* NULL: a record */
    enum item_kind kind;    /* as stored */
    struct bytes key;       /* as stored; the item's, or of this allocation */
    uint64_t hash, sequence, stored_ns, place, clear_of;
    uint32_t value_len, item_len;
    bool again;  /* its first write failed */
    bool hidden; /* replaced or removed since */
    bool hit; /* comes from disk_put_hit: when many puts may have shared its slot of `recent`, memory tells */
};

/* One contiguous write: a batch of packed items, a large item, or a table. */
struct write {
    struct io_op op;
    struct device *device;
    struct disk_worker *worker;
    struct filling *filling;
    struct list_node ticket; /* in device->tickets */
    struct list_node node;   /* in a list of what is to be submitted */
    uint64_t number;
    uint64_t offset; /* in the device */
    uint32_t len, written, in_op;
    uint8_t *buffer; /* batch or table: all of it; large item: the header */
    uint32_t buffer_len, used;
    uint8_t *tail; /* large item: the last partial block, padded */
    struct list_node items;
    unsigned copies;
    bool closed, is_table, is_batch, failed;
    bool syncs, ride_failed; /* its op in flight syncs; one that did failed, and now it is written alone */
    uint64_t opened_ns;
    struct iovec iov[IO_VECTOR_MAX];
};

/* An open or sealing segment. */
struct filling {
    uint32_t segment;
    uint64_t generation, highest_sequence;
    uint32_t used; /* bytes given out, batches included */
    uint8_t *rows;
    uint32_t row_count, row_capacity;
    struct write *batch, *table;
    unsigned pending;  /* writes not completed */
    bool sealed, late; /* late: the home loop was told that little is left */
    bool holed;        /* one of them failed: only by the table is found what lies behind */
};

struct flush {
    struct list_node node; /* in device->flushes, by barrier */
    struct device *device;
    struct disk_worker *worker;
    uint64_t barrier, waiting_before;
    bool rides; /* the write that it waits for syncs */
    struct io_message message;
    struct io_op op;
    int result;
    void (*done)(void *context, int result);
    void *context;
};

struct device_stats {
    struct counter hits, misses, false_hits, corrupt, reads, read_bytes, writes, written_bytes, payload_bytes,
        puts, put_bytes, dropped_device, dropped_index, dropped_full, carried, reclaimed, evicted, io_errors,
        recovered;
};

/* Buffers of batches. */
struct batches {
    pthread_mutex_t lock; /* innermost */
    uint8_t *memory;      /* DEVICE_BATCH_MEMORY, from the first batch on */
    unsigned used;        /* buffers of it that were ever given out */
    uint8_t *free[DEVICE_BATCHES_MAX];
    unsigned free_count;
};

struct reclaim;
struct recovery;
struct opening;
struct closing;

struct device_super_write {
    struct device *device;
    struct io_op op;
    struct iovec iov;
    uint8_t *buffer;
    void (*done)(struct device_super_write *write, int result);
};

struct device {
    struct disk *disk;
    unsigned number;
    char *path;
    uint64_t size_bytes, expected_item_bytes;
    _Atomic enum device_state state;
    struct disk_worker *home;
    struct io_handle file;
    struct io_file_info info;
    struct superblock super; /* home loop, but for the geometry */
    uint64_t seed;
    struct index *index;
    struct device_segment *segments;
    uint32_t segment_count, segment_bytes;
    uint32_t rows_max; /* of a segment: eight times as many as expected, so that its table is bounded */

    pthread_mutex_t lock;
    struct filling *open;                /* lock: what follows */
    uint32_t *live, live_at, live_count; /* ring of segments, oldest first, the open one last */
    uint32_t *free, free_count;          /* stack */
    /* How many segments are to be free; how many were reclaimed since an entry waited for one with an eighth
     * of the write buffer in writing (reclaim.c); room for what will be carried: what the last one had, at
     * most a quarter of a segment. */
    uint32_t free_target, calm, carry_room, carry_rows;
    uint64_t next_generation, generation_limit, next_ticket;
    unsigned batches_used; /* not completed; small items wait beyond DEVICE_BATCHES_MAX */
    uint32_t dead_segment; /* declared dead, but the superblock could not be written; UINT32_MAX: none */
    struct list_node tickets, flushes, held, waiting;
    uint64_t waiting_in, waiting_out; /* entries that ever waited, and that left the queue */
    struct list_node chains[WRITING_CHAINS];
    uint64_t recent[RECENT_SLOTS];
    uint64_t *forgotten; /* hashes taken out while recovering */
    uint64_t forgotten_count, forgotten_capacity;
    bool spoiled; /* recovery can't be trusted any more */
    bool missed_remove;
    bool carrying, carried; /* reclaiming gives places now; has given all, and the segment is not free yet */
    bool gave_up;           /* it failed while it was closing */
    bool fresh, starts_empty; /* home loop */
    unsigned reads_lost;      /* home loop; in a row, by steady_read.c */
    uint64_t first_own_generation, snapshot_segments;
    unsigned write_errors;

    _Atomic uint32_t writing_count;
    _Atomic uint64_t first_generation; /* while recovering: older entries are not answered; else 0 */
    _Atomic unsigned read_errors, reads_in_flight;
    _Atomic uint64_t read_bytes; /* gets and buffers of these reads */
    _Atomic uint64_t progress_ns;
    _Atomic bool home_posted, reclaim_waits;
    struct io_message home_message;

    struct batches batches;

    /* Home loop: of the oldest segment; of the one before it, until its death is durable and felt. */
    struct reclaim *reclaim, *declaring;
    struct recovery *recovery; /* home loop */
    struct opening *opening;   /* home loop; from device_open() to the end of device_start() */
    struct closing *closing;   /* home loop; made at open, so that closing can't fail for want of it */
    struct io_op retry;
    struct io_op room; /* tries again to place what waits: for a segment, or only for memory */
    struct device_super_write retry_write;
    struct device_stats stats;
};

/* ---- device.c ---- */
struct device *device_create(struct disk *disk, unsigned number, const struct disk_device_config *config);
void device_destroy(struct device *device);
uint64_t device_segment_place(const struct device *device, uint32_t segment);
uint32_t device_segment_of(const struct device *device, uint64_t place);
uint64_t device_hash(const struct device *device, enum item_kind kind, struct bytes key);
struct index_age device_age(struct device *device);
/* Under lock: is what is left of the open segment little more than what will be carried needs? */
bool device_segment_late(const struct device *device);
bool device_in_service(const struct device *device);
/* Under lock: in service, or closing and well: what was accepted is still written. */
bool device_takes(const struct device *device);
void device_event(struct device *device, enum disk_event_kind kind, int error, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* Under lock. Hide: what was put of the hash is not found any more. Note: recovery does not bring it back.
 * Forget: both. */
void device_hide(struct device *device, uint64_t hash);
void device_note(struct device *device, uint64_t hash);
void device_forget(struct device *device, uint64_t hash);
void device_failed_read(struct device *device, struct disk_worker *worker, int error);
/* Takes the device out of use; under lock. Entries that waited go to `gone`. */
void device_out(struct device *device, struct list_node *ready, struct list_node *gone);
/* Asks the home loop to look after the device: reclaim, retry. Any thread. */
void device_wake(struct device *device);
/* Home loop: starts what is due. */
void device_look(struct device *device);
/* Writes `device->super` to the other copy and syncs. Home loop, one at a time. Init takes the buffer, which
 * is the caller's to free after done. */
MUST_CHECK int device_super_write_init(struct device_super_write *write, struct device *device,
    void (*done)(struct device_super_write *write, int result));
void device_super_write(struct device_super_write *write);
/* Frees what opening made; nothing may be in flight. */
void device_reset(struct device *device);

/* ---- opening.c, starting.c, closing.c: home loop ---- */
/* Opens the file and reads or makes the superblock: done(result), never inside the call, with device->super
 * filled. -ENOMEM: not begun, the device is closed, done does not come. */
MUST_CHECK int device_open(struct device *device, void (*done)(struct device *device, int result));
/* After a device_open() that went well, with super's epoch, peers and dead_below set by the disk: writes it,
 * then reads the snapshot or finds the live segments. */
void device_start(struct device *device, void (*done)(struct device *device, int result));
/* Writes what waits, seals, writes the snapshot, closes. */
void device_close(struct device *device, void (*done)(struct device *device, int result));
MUST_CHECK int closing_prepare(struct device *device);
void closing_forget(struct device *device);

/* ---- steady_read.c: home loop ---- */
struct steady_read {
    struct device *device;
    struct io_op op;
    struct iovec iov;
    uint64_t offset;
    unsigned tries;
    void (*done)(struct steady_read *read, int result);
};
/* Reads all `len` bytes: done(0), or why it can't be had (E_TRUNCATED: it ends before), never inside the
 * call. It and the bytes are the caller's, and not to be touched before that. */
void steady_read_start(struct steady_read *read, struct device *device, uint8_t *to, uint32_t len,
    uint64_t offset, void (*done)(struct steady_read *read, int result));

/* ---- probes.c: home loop ---- */
/* Finds the generation of each segment (0: never used). done(0), never inside the call; or the error of a
 * read without which it can't be told how old a segment is: then nothing that the device holds can be
 * trusted. -ENOMEM: not begun, done does not come. */
MUST_CHECK int probes_start(struct device *device, void (*done)(void *context, int result), void *context);

/* ---- append.c ---- */
/* Hands the entry over: gives it a place, or lets it wait. Under lock; `ready` collects writes that the
 * caller submits after unlocking. `fill` says where to copy it (a batch or a large write), NULL if it waits.
 */
struct append {
    struct list_node ready;
    struct write *fill;
    uint8_t *at;
    bool opened_batch;
};
void append_entry(
    struct device *device, struct writing *entry, struct append *append, bool may_wait, uint64_t now_ns);
/* Encodes the entry where append said, then submits what is ready. Without the lock. */
void append_finish(
    struct device *device, struct disk_worker *worker, struct writing *entry, struct append *append);
/* Places what waited; no lock held. */
void append_waiting(struct device *device, struct disk_worker *worker);
/* Under lock: does the first that waits wait for a segment, and not for memory or a batch? */
bool append_lacks_segment(const struct device *device);
/* Under lock. */
void append_close_batch(struct device *device, struct list_node *ready);
void append_seal(struct device *device, struct list_node *ready);
/* Under lock: the filling's writes are through; makes its table ready. */
void append_table(struct device *device, struct filling *filling, struct list_node *ready);
/* Under lock: a segment with a hole gets no table. What lies behind the hole would be lost, and what it hides
 * come back: the device goes out once the write that is being settled is. */
void append_hole_lost(struct device *device);
/* Under lock: its segment is sealed; frees it. */
void append_filling_end(struct device *device, struct filling *filling);
/* The worker's timer runs. */
void append_arm(struct disk_worker *worker, uint64_t now_ns);
void append_timer(struct io_op *op);

/* ---- write.c ---- */
struct write *write_create(struct device *device, struct filling *filling, uint32_t buffer_len);
void write_destroy(struct write *write);
/* What the buffers of batches take, in use or not. */
uint64_t write_kept_bytes(struct device *device);
/* Frees them; none is in use. */
void write_free_kept(struct device *device);
void write_submit_all(struct disk_worker *worker, struct list_node *ready);

/* ---- writing.c: under lock ---- */
struct writing *writing_create(struct item *item, enum item_kind kind, struct bytes key);
void writing_destroy(struct writing *entry);
void writing_add(struct device *device, struct writing *entry);
void writing_remove(struct device *device, struct writing *entry);
void writing_hide(struct device *device, uint64_t hash);
/* The newest entry of the key: true if there is one; *item is a reference, NULL for a remove record. Takes
 * the lock. */
bool writing_find(struct device *device, uint64_t hash, struct item_key key, struct item **item);
/* Under lock: nothing newer of its hash was put. */
bool writing_is_newest(struct device *device, const struct writing *entry);

/* ---- flush.c ---- */
void flush_ticket(struct device *device, struct write *write);
/* Under lock, before the write's last op: should that sync as well? The flushes that wait for nothing else
 * are marked then, and do not sync for themselves. */
MUST_CHECK bool flush_rides(struct device *device, const struct write *write);
/* Under lock: that op failed. */
void flush_ride_failed(struct device *device, int error);
/* Under lock. */
void flush_ticket_done(struct device *device, struct write *write);
/* Entries left the queue: placed, or lost. True if a flush waits no longer for the queue, but for its writes:
 * it is for the caller to close the batch. */
bool flush_waiting_moved(struct device *device);
void flush_waiting_lost(struct device *device);
/* Everything that has a place, a ticket or waits now is durable at done, on this worker's loop. `flush` is
 * the caller's, and the device's until then. */
void flush_start(struct flush *flush, struct device *device, struct disk_worker *worker,
    void (*done)(void *context, int result), void *context);

/* ---- rows.c: the items of a segment, from its table or by a scan; home loop ---- */
#define ROWS_WINDOW_BYTES (1u << 20)
struct rows {
    struct device *device;
    uint32_t segment;
    uint64_t generation;
    struct segment_row *rows;
    uint32_t count, capacity, data_end;
    bool scanned;
    int result; /* below 0: there are none, it could not be read, or not to the end */
    void (*done)(struct rows *rows);
    void *context;
    struct { /* rows.c's */
        struct steady_read read;
        uint8_t *buffer;
        uint32_t buffer_len, have, offset, window, window_len;
        struct segment_footer footer;
    } load;
};
/* done, never inside the call; -ENOMEM: not begun, done does not come. */
MUST_CHECK int rows_load(struct rows *rows);
void rows_free(struct rows *rows);

/* ---- purge_log.c: home loop ---- */
struct purge_place {
    uint64_t place, generation;
    uint16_t key_len;
};
#define PURGE_PLACES_MAX 16384u
#define PURGE_LOG_WINDOW_BYTES (64u << 10)
struct purge_log {
    struct device *device;
    struct purge_place *places;
    uint32_t count, capacity, next;
    struct purge_place given_up; /* the newest of those that were too many; place 0: none */
    uint8_t *window;
    uint64_t window_at;
    uint32_t window_len;
    struct steady_read read;
    void (*done)(struct purge_log *log);
};
/* Under lock: recovery found the row of an ITEM_PURGE record. */
void purge_log_note(struct purge_log *log, uint64_t place, uint64_t generation, uint16_t key_len);
/* All of them are in the table at done, or the device is not in service any more; may be called inside. */
void purge_log_read(struct purge_log *log, void (*done)(struct purge_log *log));
void purge_log_free(struct purge_log *log);

/* ---- reclaim.c, recovery.c: home loop ---- */
#define RECOVERY_DEPTH 8 /* segments read ahead */
void reclaim_start(struct device *device);
/* A pin went to zero, a segment was sealed. */
void reclaim_wake(struct device *device);
bool reclaim_busy(const struct device *device);
/* -ENOMEM: nothing was done. */
MUST_CHECK int recovery_start(struct device *device);
bool recovery_busy(const struct device *device);
