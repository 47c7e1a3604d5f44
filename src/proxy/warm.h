/*
 * A request without a client: an object is brought into the cache as if somebody had asked for it, by the
 * same steps and flights, so that nothing is fetched twice and all rules hold. What is stored already is
 * neither read nor sent; what may not be stored is let go of as soon as that is known. It is neither counted
 * nor logged as a request.
 *
 * struct warm | its caller's, from warm_start() to done, which comes from the loop | its worker's loop
 *
 * Rejected: asking our own listener (each byte twice through a socket, for an answer that is dropped); a
 * walk along flights of its own (a second copy of look-up, fetch and deliver, without their rules).
 */
#pragma once

#include "proxy/proxy.h"

struct request;

enum warm_outcome {
    WARM_FETCHED,  /* all or a part came from the origin */
    WARM_STORED,   /* it was there, and it holds */
    WARM_UNSTORED, /* it may not be stored, or nothing is */
    WARM_FAILED,   /* status says why; 0: canceled, cut */
};

struct warm {
    void (*done)(struct warm *warm);

    /* The answer. */
    enum warm_outcome outcome;
    unsigned status; /* that a client would have got */
    uint64_t fetched_bytes;

    /* The call's own. */
    struct request *request;
    struct io_message message;
    unsigned bucket;
    bool unstored, cut;
};

/* By the bucket's number, the decoded key; of a generic HTTP origin for clients that name the host and send
 * no other field (bare.h). The host outlives it. -ENOMEM: done will not come. */
MUST_CHECK int warm_start(
    struct proxy_worker *worker, struct warm *warm, unsigned bucket, struct bytes key, struct bytes host);
/* done comes soon. */
void warm_cancel(struct warm *warm);
