/*
 * libyata: an embeddable cache of values, in memory and on local disk. libyata(3) tells how to use it; this
 * header is the contract.
 *
 * A value has a key of 1 to YATA_KEY_MAX bytes and any length; it is put whole and read whole or in ranges.
 * It is a cache: what was put may be gone at any time, what is there is byte for byte what was put. The disk
 * tier is one preallocated file (or partition) per device, survives the end of the process and loss of power,
 * and is read by one process at a time. Reads from disk are verified before the first byte is given out.
 *
 * Results    0 or more is success. Below 0 it is -errno for what the system said, or one of enum yata_error.
 *            A function that returns below 0 has done nothing and will not call back.
 * Callbacks  come exactly once for each call that returned 0, from a loop (see below), never inside the call.
 * They must not wait; they may call everything but yata_close, yata_turn, yata_prepare and what ends in
 * _wait. Loops      Work is done on loops. Unless `driven` is set they are threads of the library, with all
 * signals blocked. With `driven` there is one loop, turned by the thread that called yata_open; it alone may
 * call yata_turn, yata_prepare and yata_close. Threads    Every other function may be called by any thread.
 * One handle (struct yata_put) by one thread at a time. Calls about one key by one thread begin in their
 * order. Ownership  Keys, configurations and paths are copied. Memory given to an asynchronous call is the
 * library's until its callback. Who is handed a view or a value releases it; it stays good after yata_close.
 * Units      are the last word of a name: bytes, ms, ns. Lengths and offsets without one are bytes.
 * Growth     Structures that the caller makes begin with their size; members are added at the end only, and 0
 * means the default. The library refuses (-E2BIG) a larger structure than its own whose rest is not zero.
 *
 * The library has no state beside what yata_open makes, installs no signal handlers, does not touch the
 * environment, and aborts on bugs of its own only: where malloc has nothing, a call says so, or waits for
 * room, or finds nothing (what is left is libuv's: libyata(3), NOTES). After fork(2) the child must not use
 * what the parent opened.
 */
#ifndef YATA_H
#define YATA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YATA_VERSION_MAJOR 1
#define YATA_VERSION_MINOR 0
#define YATA_VERSION_PATCH 0
/* 1000000 * major + 1000 * minor + patch, of this header. */
#define YATA_VERSION (YATA_VERSION_MAJOR * 1000000 + YATA_VERSION_MINOR * 1000 + YATA_VERSION_PATCH)

/* Of the library that runs. Same major: what was compiled against an older header works. */
unsigned yata_version(void);
/* "1.0.0"; static. */
const char *yata_version_string(void);

/* ---- results ---- */

enum yata_error {
    YATA_EXHAUSTED = -5001,   /* no memory of the tier is free, too much is pinned or waits to be written */
    YATA_TIMEOUT = -5002,     /* config.timeout_ms passed without progress */
    YATA_CANCELED = -5003,    /* the cache is being closed, or the put was aborted */
    YATA_MISSING = -5005,     /* not there, or not all of what was asked for */
    YATA_TOO_LARGE = -5007,   /* more bytes than the put announced; a key longer than YATA_KEY_MAX */
    YATA_TRUNCATED = -5009,   /* fewer bytes than the put announced */
    YATA_UNSUPPORTED = -5011, /* the driver is not to be had; no device is in service */
    YATA_REFUSED = -5012,     /* the path is neither a regular file nor a block device */
    YATA_FOREIGN = -5013,     /* the file is not ours, or of a newer format: it was left as it is */
    YATA_LOST = -5016         /* a part of an open value was evicted, or went with its replacement */
};

/* Of any result below 0; static storage or the C library's, never NULL. */
const char *yata_strerror(int result);

/* ---- open and close ---- */

#define YATA_KEY_MAX 3072
#define YATA_DEVICES_MAX 16
#define YATA_THREADS_MAX 64

struct yata;

struct yata_device {
    const char *path;    /* of a file (made, mode 0600) or a block device; a symbolic link is not followed */
    uint64_t size_bytes; /* at least 40 MiB; the file takes so much and never more */
    uint64_t reserved[2];
};

enum yata_driver {
    YATA_DRIVER_AUTO, /* io_uring where a probe succeeds, else the portable one */
    YATA_DRIVER_URING,
    YATA_DRIVER_PORTABLE
};

enum yata_admission {
    YATA_ADMIT_ALWAYS,
    /* To disk at the second put of a key that is still remembered (some 65,000 are), or soon after a read
     * finds the value in memory: of one longer than 256 KiB what was read. */
    YATA_ADMIT_SECOND
};

enum yata_event_kind {
    YATA_EVENT_OPENED = 1, /* a device: its geometry and what was found */
    YATA_EVENT_RECOVERED,  /* all that was on it is found again */
    YATA_EVENT_DEGRADED,   /* an item, segment or device was taken out of use */
    YATA_EVENT_RESTORED,
    YATA_EVENT_REFUSED /* locked by another process, foreign, of a newer format: it stays out */
};

struct yata_event {
    enum yata_event_kind kind;
    int error;          /* 0 or a result */
    const char *device; /* its path */
    const char *text;
};

struct yata_config {
    size_t struct_bytes; /* sizeof(struct yata_config) */
    const struct yata_device *devices;
    unsigned device_count; /* 0: memory only */
    enum yata_driver driver;
    uint64_t memory_bytes;       /* of the memory tier, counting everything; 0: 64 MiB; at least 8 MiB */
    uint64_t write_buffer_bytes; /* bound on what waits to be written; 0: 256 MiB; at least 1 MiB; never above
                                    half of memory_bytes */
    uint64_t expected_value_bytes; /* sizes the index in memory, 16 bytes for so many on disk; 0: 64 KiB */
    uint64_t write_budget_bytes_s; /* to disk; 0: none */
    enum yata_admission admission;
    unsigned threads;        /* loops of the library; 0: 1 */
    int driven;              /* not 0: no thread; the program turns the one loop */
    unsigned device_threads; /* portable driver, for each device; 0: 32 */
    unsigned timeout_ms;     /* a call that makes no progress for so long ends with YATA_TIMEOUT; 0: 2000 */
    void (*event)(void *context,
        const struct yata_event *event); /* may be NULL; any thread; must not call the library */
    void *event_context;
};

/* Opens the devices; waits for that, not for recovery: until YATA_EVENT_RECOVERED only what was put since is
 * found. *yata is for yata_close. Fails when the driver can't be had, with -EINVAL for a bad configuration,
 * -ENOMEM, or when no device is usable, with the first one's reason (-EBUSY: another process has it,
 * still after 6 s, since the kernel may keep a killed one's lock for a while; YATA_FOREIGN; -EACCES ...).
 * Some unusable devices among usable ones are told by events only, and their keys are misses. When it fails,
 * all that was begun is undone first; a device that stalls meanwhile is given 20 s, then memory is left to
 * the process. */
int yata_open(struct yata **yata, const struct yata_config *config);
/* Ends what is under way (callbacks come, with YATA_CANCELED where they did not finish), writes what waits,
 * leaves a snapshot for a quick start, closes. No other call may be under way or follow, but releasing views,
 * values and puts. -EDEADLK from a callback or, driven, from another thread. After YATA_TIMEOUT the devices
 * are still stalled: threads and memory are left to the process, and the next open recovers as after a crash.
 * NULL is fine. */
int yata_close(struct yata *yata, unsigned timeout_ms);

/* "uring" or "portable", and why; live as long as the cache is open. */
const char *yata_driver_name(const struct yata *yata);
const char *yata_driver_reason(const struct yata *yata);

/* ---- a loop that the program drives ---- */

/* Does what is due, waiting for it at most wait_ms (0: not at all, below 0: without bound). Returns how many
 * callbacks and steps ran; -EDEADLK from a callback or another thread; -EINVAL unless driven. */
int yata_turn(struct yata *yata, int wait_ms);
/* For a program with an event loop of its own: *fd becomes readable when there is something to do. Returns
 * for how many ms to wait for that at most (-1: without bound); then, in any case, yata_turn(yata, 0) and
 * this again. The descriptor is the library's; it stays the same. Errors as yata_turn. */
int yata_prepare(struct yata *yata, int *fd);

/* ---- get ---- */

#define YATA_TO_END UINT64_MAX
#define YATA_VIEW_MAX (1u << 20)

/* Pinned bytes of one value, in memory and immutable until released. */
struct yata_view;

/* Where in the value the view begins, how many bytes it has, how long the value is. */
uint64_t yata_view_from(const struct yata_view *view);
uint64_t yata_view_len(const struct yata_view *view);
uint64_t yata_view_value_len(const struct yata_view *view);
/* The bytes in order, *count parts (at least 1 unless the view is empty); the array lives as long as the
 * view. */
const struct iovec *yata_view_parts(const struct yata_view *view, unsigned *count);
/* Copies [from, from + len) of the view, as far as it has them; returns how many. */
size_t yata_view_copy(const struct yata_view *view, uint64_t from, void *to, size_t len);
/* Nulls the pointer; NULL is fine. */
void yata_view_release(struct yata_view **view);

/* Ranges: `len` bytes from `from` on, YATA_TO_END for all that follow; what lies past the value's end is cut
 * off, so that a range that begins there is empty. A view has at most YATA_VIEW_MAX bytes: of a longer range
 * its beginning. */

/* At once, from memory alone: 0 and a view, or YATA_MISSING (which says nothing about the disk). No I/O. */
int yata_peek(
    struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len, struct yata_view **view);
/* The same, copied, without an allocation: how many bytes, at most `len`. *value_len if not NULL. */
int64_t yata_peek_copy(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to,
    size_t len, uint64_t *value_len);

/* view is the callee's to release where result is 0. YATA_MISSING, YATA_TIMEOUT, YATA_EXHAUSTED,
 * YATA_CANCELED, -ENOMEM. */
typedef void yata_view_done(void *context, int result, struct yata_view *view);
int yata_get(struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len,
    yata_view_done *done, void *context);
/* result: bytes copied, all of the range that the value has; below 0 as above, and `to` is undefined. */
typedef void yata_copy_done(void *context, int64_t result, uint64_t value_len);
int yata_get_copy(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to, size_t len,
    yata_copy_done *done, void *context);

/* One version of a value, for many reads of it: whatever is put or removed meanwhile, reads give bytes of
 * this version, or YATA_LOST. Several reads may be under way at a time. */
struct yata_value;
typedef void yata_value_done(void *context, int result, struct yata_value *value); /* as yata_view_done */
int yata_value_open(struct yata *yata, const void *key, size_t key_len, yata_value_done *done, void *context);
uint64_t yata_value_len(const struct yata_value *value);
int yata_value_read(
    struct yata_value *value, uint64_t from, uint64_t len, yata_view_done *done, void *context);
int yata_value_copy(
    struct yata_value *value, uint64_t from, void *to, size_t len, yata_copy_done *done, void *context);
/* Nulls the pointer; NULL is fine. Reads under way go on. */
void yata_value_close(struct yata_value **value);

/* ---- put ---- */

typedef void yata_done(void *context, int result);

/* A put becomes visible as a whole, at its end, in place of what the key had: results 0, or YATA_MEMORY_ONLY
 * where the disk did not take it (not admitted, over the budget, device out of service; yata_stats counts the
 * reasons). Of two at a time the one that ends later wins. Without room a put waits, and ends with
 * YATA_EXHAUSTED when there was none for config.timeout_ms: that is its back-pressure. YATA_CANCELED. */
#define YATA_MEMORY_ONLY 1
int yata_put(struct yata *yata, const void *key, size_t key_len, const void *value, size_t len,
    yata_done *done, void *context);

/* In pieces: begin, writes one after the other, end or abort. */
struct yata_put;
#define YATA_LEN_UNKNOWN UINT64_MAX
/* No I/O. *put is for yata_put_end or yata_put_abort. */
int yata_put_begin(struct yata *yata, const void *key, size_t key_len, uint64_t len, struct yata_put **put);
/* done when all bytes are taken. -EBUSY while one is under way. After a failure every further call fails
 * alike. */
int yata_put_write(struct yata_put *put, const void *bytes, size_t len, yata_done *done, void *context);
/* Ends the put; the handle is gone with a return of 0. -EBUSY while a write is under way. YATA_TRUNCATED when
 * fewer bytes than announced were written, or the failure of a write: then nothing has become visible. */
int yata_put_end(struct yata_put *put, yata_done *done, void *context);
/* Nothing becomes visible. A write under way calls back with YATA_CANCELED. Nulls the pointer; NULL is fine.
 */
void yata_put_abort(struct yata_put **put);

/* ---- remove, flush ---- */

/* Invisible at once; done when that is durable: it does not come back after a crash. 0 also where there was
 * nothing. Below 0 it is invisible all the same, but what was on disk may come back at the next open. */
int yata_remove(struct yata *yata, const void *key, size_t key_len, yata_done *done, void *context);
/* done when all puts that called back before this call are durable (those with YATA_MEMORY_ONLY excepted).
 * Below 0 they may not be, and as with fsync(2) a later flush does not make up for it: what has to be durable
 * is put once more, then flushed. */
int yata_flush(struct yata *yata, yata_done *done, void *context);

/* ---- blocking, for simple programs ---- */

/* The calling thread waits; driven and on the loop's own thread, it turns the loop. -EDEADLK from a callback,
 * unless memory has the answer. Results as those of the calls without _wait. */
int yata_get_wait(
    struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len, struct yata_view **view);
int64_t yata_get_copy_wait(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to,
    size_t len, uint64_t *value_len);
int yata_value_open_wait(struct yata *yata, const void *key, size_t key_len, struct yata_value **value);
int yata_value_read_wait(struct yata_value *value, uint64_t from, uint64_t len, struct yata_view **view);
int64_t yata_value_copy_wait(struct yata_value *value, uint64_t from, void *to, size_t len);
int yata_put_wait(struct yata *yata, const void *key, size_t key_len, const void *value, size_t len);
int yata_put_write_wait(struct yata_put *put, const void *bytes, size_t len);
/* The handle is gone, whatever the result, but for -EDEADLK and -EBUSY. */
int yata_put_end_wait(struct yata_put *put);
int yata_remove_wait(struct yata *yata, const void *key, size_t key_len);
int yata_flush_wait(struct yata *yata);

/* ---- stats ---- */

/* Items: a value of up to 256 KiB is one; a longer one is one for each 256 KiB, and one more. Counters are
 * since the open. */
struct yata_stats {
    size_t struct_bytes; /* sizeof(struct yata_stats) */
    uint64_t memory_budget_bytes, memory_used_bytes, memory_pinned_bytes, memory_items;
    uint64_t memory_hits, memory_misses, memory_evictions;
    uint64_t disk_capacity_bytes, disk_items, disk_index_bytes;
    uint64_t disk_hits, disk_misses, disk_corrupt, disk_read_bytes, disk_written_bytes, disk_io_errors;
    uint64_t disk_evictions, disk_recovered_items;
    uint64_t dropped_full, dropped_admission, dropped_budget, dropped_device, dropped_index; /* items */
    uint64_t waiting_bytes, waiting_limit_bytes;       /* to be written */
    uint64_t puts, gets, removes, timeouts, under_way; /* calls */
    unsigned devices, devices_out, devices_recovering;
};
/* Fills what the caller's structure has room for. -EINVAL without struct_bytes. */
int yata_stats(const struct yata *yata, struct yata_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
