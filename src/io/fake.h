/*
 * Control of the fake driver (IO_FAKE): clock, network and disk in memory, ruled by one seed.
 *
 * Everything that takes time is an event at a random moment of the fake's clock; when a loop would sleep, the
 * clock jumps to the next event or timer. The same seed and the same calls give the same order of everything.
 * All loops of the io are turned by one thread. Work (io_work) runs inline at its event. Descriptors (adopt,
 * foreign, poll) are not to be had: -EOPNOTSUPP.
 *
 * The disk outlives the io, as a machine's does the process:
 *
 *   struct fake_disk *disk = fake_disk_cut(io, FAKE_POWER);   // the machine loses power now
 *   ... io_loop_destroy(loop), io_destroy(io): whatever is in flight or follows fails with -EIO ...
 *   io_create(&io2, IO_FAKE, another seed); fake_disk_attach(io2, disk);   // it is switched on again
 *
 * What survives a loss of power: all that was covered by a completed sync; of each 512-byte sector of later
 * writes, completed or not, any of its states since then. What survives the end of the process (FAKE_KILL):
 * all completed writes, and any sectors of those in flight. A sync covers writes that completed before it was
 * submitted; one that comes with a write that one too. Where it fails, the write may have happened all the
 * same. Sizes and names are durable when they complete.
 *
 * The thread that turns the loops; paths are those given to io_open (NULL: all files).
 */
#pragma once

#include "io/io.h"

/* ---- clock ---- */

/* Moves the clock on; events and timers that this passes are due at the next turn. */
void fake_clock_advance(struct io *io, uint64_t ns);
void fake_clock_set_wall(struct io *io, uint64_t wall_ns);

/* ---- network ---- */

struct fake_network {
    uint64_t delay_max_ns; /* of each step; 0: 200 us */
    size_t pipe_bytes;     /* of each direction; 0: 64 KiB */
    bool whole;            /* no random short transfers */
};
void fake_network_set(struct io *io, const struct fake_network *network);
/* Both ends learn of a reset; unread bytes are lost. */
void fake_socket_reset(struct io_loop *loop, struct io_handle socket);

/* ---- disk ---- */

struct fake_disk;

enum fake_cut {
    FAKE_KILL,  /* the process ends */
    FAKE_POWER, /* the machine does */
};

/* Takes the disk out of the io, whose further disk operations fail with -EIO. FAKE_KILL is also the ordinary
 * hand-over after a clean stop. The caller owns the disk. */
struct fake_disk *fake_disk_cut(struct io *io, enum fake_cut cut);
/* The cut comes by itself, right after `count` more disk operations (1 or more); fake_disk_cut() then hands
 * over what it left, whatever `cut` it asks for. */
void fake_disk_cut_after(struct io *io, unsigned count, enum fake_cut cut);
bool fake_disk_is_cut(const struct io *io);
/* Gives the disk to an io with no file open, in place of its own. */
void fake_disk_attach(struct io *io, struct fake_disk *disk);
void fake_disk_destroy(struct fake_disk *disk);

struct fake_disk_pace {
    uint64_t delay_min_ns, delay_max_ns; /* of each op; both 0: 20 us to 400 us */
};
void fake_disk_pace(struct io *io, const struct fake_disk_pace *pace);

enum { FAKE_READ = 1, FAKE_WRITE = 2, FAKE_SYNC = 4, FAKE_OPEN = 8, FAKE_ALLOCATE = 16, FAKE_DISCARD = 32 };

struct fake_fault {
    const char *path;     /* copied; NULL: all */
    unsigned kinds;       /* FAKE_READ | ... */
    int error;            /* e.g. -EIO, -ENOSPC, -ENODEV */
    uint64_t offset, len; /* reads and writes that touch this; len 0: anywhere */
    unsigned skip;        /* so many pass first */
    unsigned count;       /* then so many fail; 0: all */
    bool torn;            /* a failed write leaves random sectors of itself */
};
/* At most 16 at a time. */
void fake_disk_fail(struct io *io, const struct fake_fault *fault);
/* Ends all faults. */
void fake_disk_heal(struct io *io);
/* Operations on the file wait until the stall is ended. */
void fake_disk_stall(struct io *io, const char *path, bool stalled);
/* Allocations and writes past so many bytes in all fail with -ENOSPC. */
void fake_disk_capacity(struct io *io, uint64_t bytes);
/* What a read would see now: for flipping bits. Durable too. NULL when there is no such file. */
uint8_t *fake_disk_bytes(struct io *io, const char *path, uint64_t *len);
/* After bytes were changed through fake_disk_bytes(): makes the change durable. */
void fake_disk_settle(struct io *io, const char *path);

struct fake_disk_counts {
    uint64_t reads, writes, syncs, read_bytes, written_bytes; /* completed well */
    uint64_t failed;
    unsigned in_flight;
};
void fake_disk_counts(const struct io *io, struct fake_disk_counts *counts);
