/*
 * What transfer.c (attempts in a row) and s3.c (what S3's errors mean) know of a fetch over HTTP. Private to
 * src/origin/.
 */
#pragma once

#include "origin/attempt.h"
#include "origin/lane.h"

#define TRANSFER_TAG_MAX 256

enum transfer_state { TRANSFER_WAITING, TRANSFER_ATTEMPTING, TRANSFER_BACKING_OFF, TRANSFER_ENDED };

struct transfer {
    struct job job;
    enum transfer_state state;
    struct alarm alarm; /* waiting, backing off */
    struct lane_place place;
    struct retry retry;
    struct {
        bool told; /* the caller has its head */
        bool resumable;
        uint64_t first, total; /* where the body begins in the object; the object's length */
        uint64_t last;
        size_t etag_len;
        char etag[TRANSFER_TAG_MAX];
    } object;
    uint64_t taken; /* bytes of the body that the caller has */
    struct attempt attempt;
};

/* Ends the fetch. The transfer may be gone afterwards. */
void transfer_finish(struct transfer *transfer, int error);
/* Text from the network, made fit for one line of our log. */
void transfer_clean(char *text);

/* s3.c: the answer is final, and not the object: ends the fetch with what it means. */
void s3_finish_by_status(struct transfer *transfer);
