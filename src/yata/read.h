/*
 * A read: finds the version of a key (unless it is given) and brings a range of it, as a view or copied out,
 * or just opens it. Chunks are read in order, READ_PIECES at a time, and only those that the range touches;
 * of a chunk of which less than half is asked for, only that part is read from disk, and then not kept in
 * memory.
 *
 * What is stalled by a full memory tier is tried again until its time is over. A read that ends early
 * abandons what it has asked for.
 */
#pragma once

#include "yata/value.h"
#include "yata/view.h"

#define READ_PIECES VIEW_ITEMS_MAX

enum read_kind { READ_OPEN, READ_VIEW, READ_COPY };

struct read_wish {
    enum read_kind kind;
    uint64_t from, len; /* not READ_OPEN */
    void *to;           /* READ_COPY */
    union {
        yata_value_done *open;
        yata_view_done *view;
        yata_copy_done *copy;
    } done;
    void *context;
};

/* 0: wish->done will be called on the loop. -ENOMEM, E_CANCELED. Any thread. */
MUST_CHECK int read_by_key(struct yata *yata, struct bytes key, const struct read_wish *wish);
MUST_CHECK int read_value(struct yata_value *value, const struct read_wish *wish);
