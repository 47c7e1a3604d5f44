/*
 * Between the three files of fill, the leader's side of a flight: fill.c (the transfer: its start, its end,
 * its failure), fill_head.c (the answer's head), fill_body.c (its bytes, in pieces, at the waiters' pace).
 * Private to them; flight_private.h has what flight.c calls.
 *
 * Everything runs on the leader's loop. What waiters see is changed under the stripe's lock, which none of
 * these functions expects to be held, unless it says so.
 */
#pragma once

#include "proxy/flight_private.h"
#include "proxy/worker.h"

static inline struct flight *fill_flight_of(struct origin_fetch *fetch)
{
    return CONTAINER_OF(fetch, struct flight, fetch);
}

static inline const struct settings *fill_settings(const struct flight *flight)
{
    return flight->worker->proxy->settings;
}

/* fill.c: the first failure counts. Lock held. */
void fill_fail(struct flight *flight, int error, unsigned status);
/* fill.c: ends the transfer without an error: the rest comes from elsewhere, or nobody waits for it. */
void fill_stop(struct flight *flight);
/* fill.c: the same but for the transfer, for who decides it by who waits: nobody joins between the two. The
 * caller cancels the fetch without the lock. Lock held. */
void fill_close(struct flight *flight);
/* fill.c: remembers something about the identity that has no item, for so long. */
#define MARK_TTL_MAX_S 86400
void fill_mark(struct flight *flight, enum mark_kind kind, unsigned status, int64_t ttl_s);
/* fill.c: into these tiers (bits of cache.h), or nowhere; `asked` as cache_put's. */
void fill_put(struct flight *flight, struct item *item, unsigned where, uint64_t asked);
/* fill.c: the tiers that the configuration has. */
unsigned fill_tiers(const struct flight *flight);

/* fill_head.c: origin_fetch.head. */
void fill_head(struct origin_fetch *fetch, const struct origin_head *answer);
/* fill_head.c: the item of the head is whole. */
void fill_put_head(struct flight *flight, struct item *item);
/* fill_head.c: the body has come, and its head may not stand in the store before it: now it may. */
void fill_put_head_late(struct flight *flight);

/* fill_body.c: origin_fetch.body. */
size_t fill_body(struct origin_fetch *fetch, struct bytes bytes);
/* fill_body.c: the last piece is no whole chunk, since nobody said where the body ends: puts what there is of
 * it as a chunk of that length. False: no memory. */
MUST_CHECK bool fill_put_rest(struct flight *flight);
/* fill_body.c: up to where those who need bytes wait for this flight. Lock held. */
uint64_t fill_claim_end(const struct flight *flight);
/* fill_body.c: what the ring of pieces holds before and behind the one that is filled. */
uint64_t fill_ring_bytes(const struct flight *flight);
/* fill_body.c: lets go of all pieces when fetches hold far too much memory. Lock held, at a boundary. */
void fill_drop_in_distress(struct flight *flight);
