/*
 * struct yata: what yata_open makes. The parts of the engine, the loops, and the order in which they begin
 * and end.
 *
 * struct yata | born by    | owned by                           | dies by
 *             | store_open | the program, views, values, puts   | the last store_unref, after yata_close
 * After yata_close only the memory tier is left, for views that are still held.
 */
#pragma once

#include <yata.h>

#include "base/stats.h"
#include "cache/admission.h"
#include "cache/cache.h"
#include "yata/loop.h"

struct yata {
    _Atomic unsigned references;
    struct io *io;
    struct io_report report;
    struct memory *memory;
    struct disk *disk; /* NULL: memory only */
    struct cache *cache;
    struct admission *admission; /* NULL: always */
    struct loop *loops;
    unsigned loop_count;
    bool driven;
    struct fake_disk **fake_disk; /* of struct store_driver */
    uint64_t timeout_ns, memory_bytes;
    void (*event)(void *context, const struct yata_event *event);
    void *event_context;

    _Atomic bool closing;
    _Atomic uint64_t under_way;     /* requests */
    _Atomic uint64_t private_bytes; /* of views that are copies */
    struct counter puts, gets, removes, timeouts, not_admitted;

    pthread_mutex_t lock; /* what follows, and what says so in struct loop */
    pthread_cond_t changed;
    int refusal; /* why the first device is not usable */
    struct io_message attach, detach;
    bool attached, detached; /* answered */
    int attach_result, detach_result;
    uint64_t detach_ns; /* how long it may take */
};

/* yata_open, with a driver of the tests' choice. IO_FAKE needs `driven`; *fake_disk, if not NULL, is then
 * attached, and when all is closed the disk is put there. */
struct fake_disk;
struct store_driver {
    enum io_choice choice;
    uint64_t fake_seed;
    struct fake_disk **fake_disk;
};
MUST_CHECK int store_open(
    struct yata **yata, const struct yata_config *config, const struct store_driver *driver);

struct yata *store_ref(struct yata *yata);
void store_unref(struct yata *yata);
/* The loop that serves a key. */
struct loop *store_loop_of(struct yata *yata, struct bytes key);
/* An item found in memory answers a read: what was kept off the disk at its put is now written. Any thread.
 */
void store_hit(struct yata *yata, struct item *item);
/* 0, -EINVAL, YATA_TOO_LARGE. */
MUST_CHECK int store_check_key(const struct yata *yata, const void *key, size_t len);

/* A flag of the cache's lock becomes true. Any thread. */
void store_set(struct yata *yata, bool *flag);
void store_request_ended(struct yata *yata);
/* Whether this thread may wait: 0, or -EDEADLK in a callback. */
MUST_CHECK int store_may_wait(struct yata *yata);
/* The loop that the calling thread turns, or NULL. */
struct loop *store_loop_of_thread(struct yata *yata);
