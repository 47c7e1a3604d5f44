/* Between the files of the fake: fake.c (clock, events, the driver's table), fake_network.c, fake_disk.c. */
#pragma once

#include "base/random.h"
#include "io/driver.h"
#include "io/fake.h"

struct fake;

struct fake_event {
    uint64_t at_ns, sequence;
    void (*run)(struct fake *fake, void *target); /* NULL: forgotten */
    void *target;
};

#define FAKE_FAULTS_MAX 16

/* The io's driver part. */
struct fake {
    struct io *io;
    struct random random;
    uint64_t now_ns, wall_offset_ns, sequence;
    struct fake_event *events; /* a heap */
    uint32_t event_count, event_capacity;

    struct fake_network network;
    struct list_node listeners;
    uint16_t next_port;

    struct fake_disk *disk; /* NULL after a cut */
    struct fake_disk *gone; /* after one that came by itself, until it is taken */
    unsigned cut_after;     /* disk operations from now; 0: it does not come by itself */
    enum fake_cut cut;
    struct fake_disk_pace pace;
    struct fake_disk_counts counts;
    struct list_node disk_ops; /* in flight */
    struct list_node held;     /* of those, what stalls hold back */
    struct fake_fault faults[FAKE_FAULTS_MAX];
    unsigned fault_count;
};

/* The socket's driver part. */
struct fake_socket {
    struct fake_end *end;
};

static inline struct fake *fake_of(const struct io *io)
{
    return io->driver_data;
}

/* Runs later, in [min_ns, max_ns], at least 1 ns. */
void fake_later(struct fake *fake, uint64_t min_ns, uint64_t max_ns,
    void (*run)(struct fake *fake, void *target), void *target);
/* Forgets the events of a target. */
void fake_forget(struct fake *fake, const void *target);

/* fake_network.c */
void fake_network_init(struct fake *fake);
void fake_network_deinit(struct fake *fake);
int fake_listen(struct io *io, struct io_listener *listener, const struct io_address *address,
    const struct io_listen_options *options);
void fake_listener_close(struct io *io, struct io_listener *listener);
int fake_listener_address(struct io *io, struct io_listener *listener, struct io_address *address);
void fake_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener);
void fake_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void fake_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void fake_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket);
void fake_socket_cancel(struct io_loop *loop, struct io_op *op);
void fake_socket_close(struct io_loop *loop, struct io_socket *socket);
int fake_socket_address(struct io_loop *loop, struct io_socket *socket, struct io_address *address);
int fake_shutdown_send(struct io_loop *loop, struct io_socket *socket);
int64_t fake_unsent_bytes(struct io_loop *loop, struct io_socket *socket);

/* fake_disk.c */
void fake_disk_init(struct fake *fake);
void fake_disk_deinit(struct fake *fake);
void fake_disk_start(struct fake *fake, struct io_op *op);
