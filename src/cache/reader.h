/*
 * Reads of items: one device read for a whole item, two submitted together for a part of a large one (its
 * header, its blocks). Internal; disk_get() is the door. A get is pooled with its loop; its op and buffers
 * are its own, so that a caller may let go while the device is still reading.
 *
 * What arrives is verified before anybody sees it: the header by its checksum, generation and key, the
 * payload by its block checksums. A failed check is a miss, and the entry goes out of the index.
 */
#pragma once

#include "cache/device.h"

#define READER_FREE_GETS_MAX 256 /* kept by each loop */

struct reader_piece {
    struct io_op op;
    struct disk_get *get;
    uint64_t offset;                                      /* in the device, of the next op */
    uint32_t in_op, header_left, payload_at, payload_end; /* payload counted from the first byte held */
    struct iovec iov[IO_VECTOR_MAX];
};

struct disk_get {
    struct list_node node; /* worker->ready or free_gets */
    struct disk_worker *worker;
    struct device *device;
    void (*done)(void *context, int result, struct item *item);
    void *context;
    bool abandoned, quiet; /* quiet: of the tier itself; no use, no hit is counted */
    bool purged;           /* what was read is hidden */
    uint64_t hash, place, generation;
    uint32_t segment, value_len, header_len, span; /* span: bytes of the buffer that are read */
    uint32_t held_from, held_len;
    uint8_t *buffer;
    uint32_t charge; /* of device->read_bytes */
    struct item *item;
    int result;
    unsigned pieces_left;
    struct reader_piece pieces[2];
    enum item_kind kind;
    uint16_t key_len;
    uint8_t key[ITEM_KEY_MAX];
};

/* NULL never: a get that can't be started answers E_EXHAUSTED by the callback; only without memory for that,
 * NULL. */
struct disk_get *reader_start(struct device *device, struct disk_worker *worker, struct item_key key,
    uint32_t from, uint32_t len, bool quiet, void (*done)(void *context, int result, struct item *item),
    void *context);
/* A get that has its result already; device may be NULL. */
struct disk_get *reader_answer(struct disk_worker *worker, int result,
    void (*done)(void *context, int result, struct item *item), void *context);
/* worker->message: runs the callbacks of the gets that are ready. */
void reader_deliver(struct io_message *message);
void reader_free_gets(struct disk_worker *worker);
