/*
 * A stage for tests of the disk tier: an io, one loop, a memory tier and a disk, and calls that turn the loop
 * until they are answered. Values are made from (key, version), so that every byte read can be checked.
 */
#pragma once

#include "cache/cache.h"
#include "io/io.h"

struct stage {
    struct io *io;
    struct io_loop *loop;
    struct memory *memory;
    struct disk *disk;
    struct cache *cache;
    struct disk_config config;
    enum io_choice driver;
    uint64_t seed;
    unsigned events[8]; /* by disk_event_kind */
    char last_event[400];
    bool attached;
};

/* portable, uring or fake, by YATA_IO; portable without it. */
enum io_choice stage_driver(void);
/* A path for a device file below TMPDIR, unlinked; static storage, several at a time by `number`. */
const char *stage_path(unsigned number);
/* One device of `size_bytes` at stage_path(0), memory of 32 MiB; change stage->config before stage_open. */
void stage_init(struct stage *stage, uint64_t size_bytes);
/* Makes io (unless there is one), loop, memory, disk; attaches. The result of attach. */
int stage_open(struct stage *stage);
/* Detaches cleanly and ends all but the io. The result of detach. */
int stage_close(struct stage *stage);
int stage_detach(struct stage *stage, uint64_t within_ns);
/* Without detaching: as a crash. For fake and portable alike; leaks what the engine holds. */
void stage_end_io(struct stage *stage);
/* The process dies: another one finds what is on the device. With the fake, the disk survives its io. */
void stage_crash(struct stage *stage);
/* Until nothing waits to be written, no table is being read and nothing goes on behind. */
void stage_settle(struct stage *stage);
void stage_turn(struct stage *stage);

/* The bytes of version `version` of key `key`. */
void stage_value(uint64_t key, uint64_t version, uint32_t len, uint8_t *value);
struct item *stage_item(struct stage *stage, uint64_t key, uint64_t version, uint32_t len);
struct item_key stage_key(uint64_t key, uint8_t *buf);
/* To disk only; the result of disk_put. */
int stage_put(struct stage *stage, uint64_t key, uint64_t version, uint32_t len);
/* 0 if the item is there and is exactly that version (a part: [from, from + len)), else the result; wrong
 * bytes fail the test. */
int stage_get(struct stage *stage, uint64_t key, uint64_t version, uint32_t value_len);
int stage_get_part(
    struct stage *stage, uint64_t key, uint64_t version, uint32_t value_len, uint32_t from, uint32_t len);
/* The version of what is there, or below 0. The value's first 8 bytes tell it; all bytes are checked. */
int64_t stage_version(struct stage *stage, uint64_t key);
/* Of a whole item; wrong bytes fail the test. */
int64_t stage_item_version(const struct item *item, uint64_t key);
int stage_remove(struct stage *stage, uint64_t key);
int stage_flush(struct stage *stage);
struct disk_stats stage_stats(struct stage *stage);
