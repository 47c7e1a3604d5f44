/*
 * The engine on one device file, on the calling thread's own loop: what every command of yata-bench opens.
 *
 * Items have numbers; an item's key is 32 bytes made of its number, and the value begins with the number, so
 * that each answer can be told from a wrong one. Whatever can't be done ends the program with a line that
 * says why: a benchmark has nobody to hand an error to.
 */
#pragma once

#include "bench/yata/options.h"
#include "cache/disk.h"

#define STORE_KEY_BYTES 32u

struct store_key {
    char text[STORE_KEY_BYTES + 1];
};

struct store {
    struct io *io;
    struct io_loop *loop;
    struct memory *memory;
    struct disk *disk;
    uint64_t item_bytes;
    _Atomic bool recovered;
    bool attached;
    char opened[200]; /* what the tier said of itself */
    int result;
};

void store_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

struct item_key store_key(struct store_key *key, uint64_t number);

/* Io, loop, memory and disk, not attached. `driver` may be IO_FAKE. expected_item_bytes sizes the index. */
void store_create(struct store *store, const struct options *options, enum io_choice driver,
    const struct disk_config *base);
/* Sizes the index for the items that were asked for. */
uint64_t store_expected_bytes(const struct options *options);
/* Starts to attach; store->attached tells the end. */
void store_attach(struct store *store);
/* Creates, attaches and waits for it, and for the recovery of what is there. */
void store_open(struct store *store, const struct options *options);
/* Unlinks the file first. */
void store_open_new(struct store *store, const struct options *options);
/* Stops cleanly and frees all. */
void store_close(struct store *store);
void store_turn(struct store *store);

/* Puts item `number`; waits while too much is waiting to be written. */
void store_put(struct store *store, uint64_t number);
/* The same with a value of that length; false: not admitted, for another reason than too much waiting. */
bool store_put_sized(struct store *store, uint64_t number, uint32_t bytes);
/* Fills the whole device once with something else. A new file's blocks are reserved, but not written: reading
 * one costs the file system nothing, and the first write of one more than the later ones. After this all is
 * as it stays for the rest of a device's life. */
void store_lay_out(struct store *store);
/* Tries once: false when it was not taken. */
bool store_try_put(struct store *store, uint64_t number);
/* Until nothing waits to be written. */
void store_settle(struct store *store);
void store_flush(struct store *store);
/* Is it the item of that number? */
bool store_is_item(const struct item *item, uint64_t number);
