/*
 * An open of a device, in two halves with the tier's decision (epoch, owners, who starts empty) between them:
 * opening.c and starting.c. Internal to them.
 *
 * struct opening | device_open | its device | opening_end, opening_refuse
 */
#pragma once

#include "cache/snapshot.h"
#include "cache/tier.h"

struct opening {
    struct device *device;
    struct io_op op;
    struct iovec iov;
    uint8_t *buffer;
    uint64_t buffer_len, mark, piece;
    void (*then)(struct opening *opening); /* when there is room */
    struct device_super_write super;
    unsigned supers_left;
    struct snapshot snapshot;
    uint8_t *state, *purges;
    unsigned lock_tries;
    void (*done)(struct device *device, int result);
};

/* The open's next op on the home loop, which is returned. */
struct io_loop *opening_begin(struct opening *opening, void (*done)(struct io_op *op));
struct opening *opening_of_op(struct io_op *op);
/* Gives the file its size, then goes on; refuses where there is no room. */
void opening_space(struct opening *opening, void (*then)(struct opening *opening));
/* Closes the file again, tells why, and ends. */
void opening_refuse(struct opening *opening, int error, const char *why);
/* Frees it and calls its done. */
void opening_end(struct opening *opening, int result);
