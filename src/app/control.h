/*
 * The control thread: the admin listener, prewarm jobs, and the loop from which the disk tier is attached and
 * detached, since that loop must outlive all others that use the tier. It serves no client's request.
 *
 * struct control | control_start | boot | control_destroy, after control_wait's success | functions: any
 * thread, one at a time
 */
#pragma once

#include "app/admin.h"
#include "app/disk_watch.h"
#include "cache/cache.h"

struct control;

struct control_parts {
    struct io *io;
    struct admin_parts admin; /* its loop and prewarm are filled in here */
    struct cache *cache;
    struct disk *disk; /* or NULL */
    struct disk_watch *watch;
};

/* Answers on the admin listener and opens the disk tier when it returns 0. */
MUST_CHECK int control_start(struct control **control, const struct control_parts *parts);
/* Ends prewarm jobs, so that no worker waits for one. Before the workers drain. Once. */
void control_drain(struct control *control);
/* Ends the admin server and detaches the disk tier, which writes what waits for at most detach_ns. After all
 * workers. Once. */
void control_stop(struct control *control, uint64_t detach_ns);
MUST_CHECK bool control_wait(struct control *control, uint64_t deadline_ns);
int control_leaks(const struct control *control);
void control_destroy(struct control *control);
