/* Between fake_disk.c (the files and their medium) and fake_fault.c (operations as events, faults, control).
 */
#pragma once

#include <stdio.h>

#include "io/fake_world.h"

#define FAKE_SECTOR 512

/* Completed, not surely on the medium. */
struct fake_write {
    struct list_node node;
    uint64_t sequence, offset;
    size_t len;
    uint8_t before[]; /* what it replaced */
};

struct fake_file {
    struct list_node node;
    char *path;
    uint8_t *now;
    uint64_t size, capacity, inode, changed_ns;
    struct list_node writes; /* oldest first */
    unsigned opens;
    bool directory, locked, stalled;
};

struct fake_disk {
    struct list_node files;
    uint64_t inodes, sequence, waiting_bytes, used_bytes, capacity_bytes;
    bool stalled; /* all of it */
};

struct fake_disk *fake_disk_create(void);
struct fake_file *fake_file_find(struct fake_disk *disk, const char *path);
void fake_file_write(
    struct fake *fake, struct fake_file *file, const void *data, size_t len, uint64_t offset);
/* Writes up to one sequence and after another reach the medium. */
void fake_file_sync(struct fake_disk *disk, struct fake_file *file, uint64_t up_to, uint64_t after);
/* Random sectors of a write happen. */
void fake_write_torn(struct fake *fake, struct io_op *op, struct fake_file *file);
void fake_disk_lose_power(struct fake *fake, struct fake_disk *disk);
/* The operation itself; its result. */
int64_t fake_disk_execute(struct fake *fake, struct io_op *op);
