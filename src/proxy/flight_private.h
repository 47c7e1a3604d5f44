/* What flight.c (sharing) and fill*.c (filling) know of a flight. See flight.h. */
#pragma once

#include "proxy/flight.h"

#define FLIGHT_STRIPES 256

struct flight_stripe {
    _Alignas(64) pthread_mutex_t lock;
    struct list_node flights;
};

struct flights {
    struct flight_stripe stripes[FLIGHT_STRIPES];
    struct cache *cache;
    struct proxy_stats *stats;
    uint64_t memory_limit_bytes;
    uint64_t seed;
};

struct flight_piece {
    struct item *item;
    uint64_t from; /* first byte of the body in it */
    uint32_t base; /* where that byte lies in what the item holds: behind the head where the body is inline */
    uint32_t len;
};

enum flight_phase { FLIGHT_ASKING, FLIGHT_FILLING, FLIGHT_ENDED };

struct flight {
    /* Immutable after birth. */
    struct flights *flights;
    struct flight_stripe *stripe;
    struct proxy_worker *worker;
    struct io_loop *loop;
    struct flight_spec spec;
    struct head stored;
    struct bytes identity;
    uint64_t clear_of; /* a sequence drawn before the origin is asked */

    /* Under the stripe's lock. */
    unsigned refs;
    struct list_node node; /* in the stripe while it can be joined */
    struct list_node waiters;
    enum flight_phase phase;
    bool pass, head_known, head_published, not_modified, stopped;
    bool body_known;              /* head.body_id is valid: before the head can be found in the store */
    bool outdated;                /* nothing of it is stored any more */
    struct flight_waiter *leader; /* NULL: it is gone, or there was none */
    bool solo; /* can't be shared: a pass, or bytes that come once and don't fit the ring of pieces */
    /* Another flight was led for this body: chunks ahead may be stored already. Read without the lock. */
    _Atomic bool overtaken;
    struct flight_failure failure;
    uint64_t claim_first, claim_end;
    uint64_t at, end; /* filled so far; where it ends */
    struct flight_piece pieces[FLIGHT_PIECES];
    unsigned piece_first, piece_count;
    bool poked;  /* the message is under way */
    bool paused; /* fill waits for a waiter to come nearer, or for memory */
    unsigned origin_status;
    uint64_t origin_ns;

    /* Written by the leader under the lock before head_known, immutable after. */
    struct head head;
    struct bytes store_identity; /* of the head: `identity`, or that of the variant that came */
    struct variant variant;
    bool varies;
    const struct origin_field *fields; /* spec.fields as the origin wants them */

    /* The leader's loop's. */
    struct io_message poke;
    struct list_node of_worker;
    struct origin_fetch fetch;
    bool inline_body, range_ignored, storing, retrying, put_head_at_end;
    struct item *inline_item;
    struct io_op retry;
    int64_t request_s;
    uint64_t marks_generation; /* when the origin was asked */

    struct arena arena;
    _Alignas(16) unsigned char first_block[4096];
};

static inline void flight_lock(struct flight *flight)
{
    CHECK(pthread_mutex_lock(&flight->stripe->lock) == 0);
}

static inline void flight_unlock(struct flight *flight)
{
    CHECK(pthread_mutex_unlock(&flight->stripe->lock) == 0);
}

/* Posts wakes to all who wait. Lock held. */
void flight_wake_all(struct flight *flight);
/* Takes it out of the table: nobody joins any more. Lock held. */
void flight_unlist(struct flight *flight);
/* Drops a reference while the lock is held, never the last. */
void flight_unref_locked(struct flight *flight);
/* Whether another flight has claimed the byte of the same body. Lock held. */
bool flight_claimed_by_other(const struct flight *flight, uint64_t position);
/* The first byte after `position` that another flight has claimed of the same body. Lock held. */
uint64_t flight_claim_border(const struct flight *flight, uint64_t position);
/* The lowest and the highest position of a waiter; false when there is none. Lock held. */
bool flight_positions(const struct flight *flight, uint64_t *slowest, uint64_t *fastest);
/* Asks the leader's loop to look again: resume, or end for want of waiters. Lock held. */
void flight_poke(struct flight *flight);
void flight_drop_piece(struct flight *flight);

/* fill.c: starts the fetch; on the leader's loop. */
void fill_start(struct flight *flight);
/* fill_body.c: a poke arrived. */
void fill_poked(struct flight *flight);
