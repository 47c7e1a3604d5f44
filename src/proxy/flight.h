/*
 * Flights: at most one fetch runs for the same missing bytes, whatever the number of clients on whatever
 * workers.
 *
 * A flight is one fetch from the origin, run by the worker of the request that led it (fill*.c), and watched
 * by waiters on any worker. It learns the head, then fills the body piece by piece, a piece being a chunk of
 * the cache (or the whole inline body, inside the head item). It claims at most FLIGHT_CLAIM_BYTES ahead of
 * where it is; a request for bytes in the claim waits for them, one for bytes beyond leads its own flight. At
 * a chunk that is stored already, or claimed by another flight, a flight ends.
 *
 * It runs at its fastest waiter's pace: FLIGHT_LEAD_BYTES ahead at most. It keeps the last pieces, fewer when
 * fetches hold too much memory; a waiter that falls out of them goes on by lookup (FLIGHT_ELSEWHERE). Without
 * waiters it goes on only while finishing is cheap.
 *
 * What a flight brings is as old as its beginning: it is not joined after a purge that may hide it, what it
 * stores then is not found (cache.h), and where the purge came between the look-up of the stored head and its
 * beginning, it does not ask about that one.
 *
 * What may not be stored is a *pass*: one waiter, outside the table. What has no strong validator comes once,
 * and is shared only where all of it fits the pieces that are kept. Who joined and learns that it is not goes
 * its own way (FLIGHT_UNSHARED). A generic origin was asked with the leader's fields, so what it answered for
 * one is for the leader only, also when the leader is gone; and what may not be used again without asking is
 * asked for alone.
 *
 * Where the origin does not say the length, it is known when all has come (flight_body_len). Until then only
 * this fetch can bring the rest, so a waiter that falls out of the pieces stays in the flight and reads what
 * it missed from the tiers, where whole chunks are; and nobody joins any more once the first piece is gone.
 *
 * struct flight  | flight_enter, when none can be joined | its references: table and fill until it ended,
 * waiters, | messages under way                    | dies by the last flight_unref struct flight_waiter |
 * inside the request | from flight_enter to flight_leave; its memory must stay until no message is under way
 *                (flight_waiter_idle)
 * Threads: one lock per table stripe covers everything that is shared; fill's own fields belong to the
 * leader's loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/list.h"
#include "cache/cache.h"
#include "origin/origin.h"
#include "proxy/head.h"
#include "proxy/stats.h"
#include "proxy/variant.h"

#define FLIGHT_CLAIM_BYTES (UINT64_C(16) << 20)
#define FLIGHT_LEAD_BYTES (UINT64_C(4) << 20)
#define FLIGHT_CHEAP_BYTES (UINT64_C(8) << 20)
#define FLIGHT_PIECES 24

struct flights;
struct flight;
struct bucket;
struct proxy_worker;

struct flight_waiter {
    void (*wake)(struct flight_waiter *waiter); /* set by the owner; on its loop */
    /* A 1xx answer came for the flight that this waiter leads; may be NULL. Calls nothing of flights. */
    void (*interim)(struct flight_waiter *waiter, const struct origin_head *head);
    struct io_loop *loop;
    /* flight.c's: */
    struct flight *flight;
    struct list_node node;
    struct io_message message;
    uint64_t position;   /* the byte it needs next */
    bool waiting;        /* wants a wake at the next progress */
    _Atomic bool posted; /* a message is under way */
};

struct flight_spec {
    struct bucket *bucket;
    const struct caching *caching;                      /* of the key; lives as long as the settings */
    struct bytes identity, key, version_id, request_id; /* copied */
    struct bytes target, host;                          /* of a generic origin: what it is asked; copied */
    struct http_fields fields;                          /* and with which lines; copied */
    struct bytes base_identity;                         /* of the object; `identity` may be a variant's */
    const struct variant *variant;                      /* that it is made with, or NULL; copied */
    bool alone;      /* shared with nobody, though what comes may be stored */
    bool authorized; /* Authorization is among the fields */
    bool head_only;
    bool ranged; /* [first, last], chunk-aligned unless pass */
    uint64_t first, last;
    bool pass;                 /* alone, nothing stored */
    bool revalidate;           /* If-None-Match of `stored`, or If-Modified-Since */
    bool go_on;                /* the body of `stored`, by If-Match; else a head is asked for */
    bool join_only;            /* leads none */
    bool look_again;           /* see FLIGHT_STORED */
    const struct head *stored; /* or NULL; copied */
    struct item *stored_item;  /* the head that was found stale, with its inline body; or NULL */
    uint64_t stored_clear_of;  /* no purge up to this sequence hides `stored` */
};

/* Joins a flight that brings what spec asks for, or leads a new one on this worker; the waiter is in it from
 * now on. FLIGHT_STORED: with spec.look_again, what was missing, or another head in place of the stale one in
 * memory, has been stored meanwhile (flights store before they end), and the waiter is in none. FLIGHT_NONE:
 * with spec.join_only, there is none. */
enum flight_entry { FLIGHT_LED, FLIGHT_JOINED, FLIGHT_STORED, FLIGHT_NONE };
enum flight_entry flight_enter(
    struct proxy_worker *worker, const struct flight_spec *spec, struct flight_waiter *waiter);
/* The same without a waiter: what is stale is asked about in the background. Nothing happens where a flight
 * brings it already, or has. */
void flight_enter_alone(struct proxy_worker *worker, const struct flight_spec *spec);
/* Lets go; the flight may end by it. No wake comes after, though a message may be under way. */
void flight_leave(struct flight_waiter *waiter);
static inline bool flight_waiter_idle(const struct flight_waiter *waiter)
{
    return !atomic_load(&waiter->posted);
}

enum flight_sight {
    FLIGHT_WAIT,      /* nothing yet: wake() will come */
    FLIGHT_READY,     /* here it is */
    FLIGHT_UNSHARED,  /* can't be shared, and another leads it: fetch for yourself */
    FLIGHT_ELSEWHERE, /* these bytes will not come from here: look them up */
    FLIGHT_FAILED,    /* see flight_failure */
};

/* The head: FLIGHT_READY with *head valid (it borrows from the flight: while the caller is in it or holds a
 * reference), WAIT, UNSHARED or FAILED. */
enum flight_sight flight_see_head(struct flight_waiter *waiter, const struct head **head);

/* The bytes at `position`: FLIGHT_READY with a reference to the item that holds them. */
struct flight_bytes {
    struct item *item;
    uint32_t from, len; /* in what the item holds */
};
enum flight_sight flight_see_bytes(
    struct flight_waiter *waiter, uint64_t position, struct flight_bytes *bytes);

/* The length of the head's body; HEAD_LENGTH_UNKNOWN until all of it has come, where the origin does not say.
 */
uint64_t flight_body_len(const struct flight_waiter *waiter);

struct flight_failure {
    int error; /* of base/error.h */
    unsigned status, retry_after_s;
    uint64_t total; /* -ERANGE */
    char code[64];
};
/* Of a flight that failed. */
void flight_failure(const struct flight_waiter *waiter, struct flight_failure *failure);

struct flight_facts {
    bool not_modified; /* a revalidation was answered 304 */
    bool pass;
    bool stored;     /* what comes is being stored */
    unsigned status; /* the origin's */
    /* Once the head is known: the fields that select, and the identity it is kept under; NULL where none do.
     * They borrow from the flight. */
    const struct variant *variant;
    struct bytes store_identity;
    uint64_t origin_ns; /* from asking to the first byte; 0 while unknown */
    uint64_t clear_of;  /* what it brings is hidden by later purges */
};
void flight_facts(const struct flight_waiter *waiter, struct flight_facts *facts);

/* What is stored of this object is outdated, all variants: it is forgotten, and no flight that runs stores
 * any more of what it was asked before. */
void flights_outdate(struct flights *flights, struct bytes base_identity);

struct flight *flight_ref(struct flight *flight);
void flight_unref(struct flight **flight);

MUST_CHECK int flights_create(
    struct flights **flights, struct cache *cache, struct proxy_stats *stats, uint64_t memory_limit_bytes);
/* No flight may run. */
void flights_destroy(struct flights *flights);
