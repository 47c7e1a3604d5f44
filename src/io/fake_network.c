/*
 * The fake network: streams between sockets of one io, by listener addresses of its own.
 *
 * A stream is two ends; each holds what the other sent and it has not received (the inbox, bounded). Every
 * step, a transfer of some bytes, an end, a reset, a connect, is a tick of an end at a random time. A cancel
 * takes effect at once and loses nothing: bytes move only inside the tick that completes their op.
 *
 * An end that closes with bytes unread resets its peer, which then loses its own unread bytes too: harsher
 * than Linux, as other systems do it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/fake_world.h"

#define PORT_FIRST 20000
#define CONNECT_TIMEOUT_NS (130 * NS_PER_S)

struct fake_end {
    struct fake_end *peer; /* NULL: closed, or not there yet */
    struct io_op *opening; /* a connect */
    struct io_op *recv, *send;
    struct io_address local, remote;
    struct list_node node; /* in a listener's queue */
    uint8_t *inbox;
    size_t first, len, capacity;
    bool ended; /* the peer sends no more */
    bool reset, shut, ticking;
    bool starved; /* its receive waited for a buffer, so it goes on without a delay: first come, first served
                   */
};

struct fake_listener {
    struct io_listener *listener;
    struct io_address address;
    struct list_node node, queue, accepts;
    unsigned queued, backlog;
    bool ticking;
};

void fake_network_init(struct fake *fake)
{
    list_init(&fake->listeners);
    fake->next_port = PORT_FIRST;
    fake_network_set(fake->io, &(struct fake_network){0});
}

void fake_network_deinit(struct fake *fake)
{
    CHECK(list_empty(&fake->listeners));
}

void fake_network_set(struct io *io, const struct fake_network *network)
{
    struct fake *fake = fake_of(io);
    fake->network = *network;
    if (fake->network.delay_max_ns == 0)
        fake->network.delay_max_ns = 200 * NS_PER_US;
    if (fake->network.pipe_bytes == 0)
        fake->network.pipe_bytes = 64 << 10;
}

/* ---- addresses ---- */

static uint16_t port_of(const struct io_address *address)
{
    return io_address_port(address);
}

static void set_port(struct io_address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
}

static bool is_any(const struct io_address *address)
{
    if (address->storage.ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->storage)->sin6_addr);
    return ((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr == INADDR_ANY;
}

static bool same_host(const struct io_address *a, const struct io_address *b)
{
    const struct sockaddr_in6 *a6 = (const void *)&a->storage, *b6 = (const void *)&b->storage;
    const struct sockaddr_in *a4 = (const void *)&a->storage, *b4 = (const void *)&b->storage;
    if (a->storage.ss_family == AF_INET6)
        return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0;
    return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

static struct fake_listener *listener_at(struct fake *fake, const struct io_address *address)
{
    for (struct list_node *node = fake->listeners.next; node != &fake->listeners; node = node->next) {
        struct fake_listener *found = CONTAINER_OF(node, struct fake_listener, node);
        if (!found->listener->stale && found->address.storage.ss_family == address->storage.ss_family &&
            port_of(&found->address) == port_of(address) &&
            (is_any(&found->address) || is_any(address) || same_host(&found->address, address)))
            return found;
    }
    return NULL;
}

/* ---- ends ---- */

static void tick(struct fake *fake, void *target);

static void schedule(struct fake *fake, struct fake_end *end)
{
    if (end == NULL || end->ticking)
        return;
    end->ticking = true;
    fake_later(fake, 1, fake->network.delay_max_ns, tick, end);
}

static struct fake_end *end_create(void)
{
    struct fake_end *end = calloc(1, sizeof *end);
    CHECK(end != NULL);
    return end;
}

/* Lets go of the peer, which learns of it. */
static void end_destroy(struct fake *fake, struct fake_end *end, bool reset)
{
    struct fake_end *peer = end->peer;
    CHECK(end->recv == NULL && end->send == NULL && end->opening == NULL);
    if (peer != NULL) {
        peer->peer = NULL;
        peer->ended = true;
        peer->reset |= reset || end->len > 0;
        schedule(fake, peer);
    }
    fake_forget(fake, end);
    free(end->inbox);
    free(end);
}

static struct fake_end *end_of(const struct io_socket *socket)
{
    return ((struct fake_socket *)socket->driver)->end;
}

/* 1 to most bytes. */
static size_t some(struct fake *fake, size_t most)
{
    if (fake->network.whole || random_below(&fake->random, 2) == 0)
        return most;
    return 1 + (size_t)random_below(&fake->random, most);
}

static void inbox_put(struct fake_end *end, const uint8_t *data, size_t len)
{
    CHECK(end->len + len <= end->capacity);
    for (size_t i = 0; i < len;) {
        size_t at = (end->first + end->len) % end->capacity, run = end->capacity - at;
        run = run < len - i ? run : len - i;
        memcpy(end->inbox + at, data + i, run);
        end->len += run;
        i += run;
    }
}

static void inbox_take(struct fake_end *end, uint8_t *data, size_t len)
{
    CHECK(len <= end->len);
    for (size_t i = 0; i < len;) {
        size_t run = end->capacity - end->first;
        run = run < len - i ? run : len - i;
        memcpy(data + i, end->inbox + end->first, run);
        end->first = (end->first + run) % end->capacity;
        end->len -= run;
        i += run;
    }
}

static size_t room(const struct fake *fake, struct fake_end *end)
{
    if (end->inbox == NULL) {
        end->capacity = fake->network.pipe_bytes;
        end->inbox = malloc(end->capacity);
        CHECK(end->inbox != NULL);
    }
    return end->capacity - end->len;
}

static size_t move_parts(struct fake_end *to, const struct iovec *iov, unsigned count, size_t most)
{
    size_t moved = 0;
    for (unsigned i = 0; i < count && moved < most; i++) {
        size_t len = iov[i].iov_len < most - moved ? iov[i].iov_len : most - moved;
        inbox_put(to, iov[i].iov_base, len);
        moved += len;
    }
    return moved;
}

static void finish(struct io_op **place, int64_t result)
{
    struct io_op *op = *place;
    *place = NULL;
    io_complete(op, result);
}

static void step_send(struct fake *fake, struct fake_end *end)
{
    size_t total = 0;
    if (end->shut || end->peer == NULL || end->reset) {
        bool late = !end->shut && random_below(&fake->random, 2) == 0;
        finish(&end->send, late ? -ECONNRESET : -EPIPE);
        return;
    }
    for (unsigned i = 0; i < end->send->io.count; i++)
        total += end->send->io.iov[i].iov_len;
    size_t free_bytes = room(fake, end->peer), most = total < free_bytes ? total : free_bytes;
    if (most == 0 && total > 0)
        return; /* the peer's next receive makes room */
    size_t len = total == 0 ? 0 : some(fake, most);
    move_parts(end->peer, end->send->io.iov, end->send->io.count, len);
    finish(&end->send, (int64_t)len);
    schedule(fake, end->peer);
}

static void step_recv(struct fake *fake, struct fake_end *end)
{
    struct io_op *op = end->recv;
    if (end->reset) {
        finish(&end->recv, -ECONNRESET);
        return;
    }
    if (end->len == 0) {
        if (end->ended)
            finish(&end->recv, 0);
        return;
    }
    uint8_t *buffer = io_buffer_take(op->io.loop);
    if (buffer == NULL) {
        end->recv = NULL;
        io_buffer_wait(op);
        return;
    }
    size_t most = end->len < op->io.loop->buffers.bytes ? end->len : op->io.loop->buffers.bytes;
    size_t len = some(fake, most);
    inbox_take(end, buffer, len);
    op->buffer = buffer;
    finish(&end->recv, (int64_t)len);
    schedule(fake, end->peer);
}

/* ---- listeners ---- */

static void hand_out(struct fake *fake, void *target)
{
    struct fake_listener *listener = target;
    (void)fake;
    listener->ticking = false;
    while (!list_empty(&listener->queue) && !list_empty(&listener->accepts)) {
        struct io_op *op = CONTAINER_OF(list_pop_front(&listener->accepts), struct io_op, io.node);
        struct fake_end *end = CONTAINER_OF(list_pop_front(&listener->queue), struct fake_end, node);
        struct io_address *peer = op->io.pointer;
        listener->queued--;
        ((struct fake_socket *)io_op_socket(op)->driver)->end = end;
        if (peer != NULL)
            *peer = end->remote;
        io_complete(op, 0);
    }
}

static void schedule_listener(struct fake *fake, struct fake_listener *listener)
{
    if (listener->ticking)
        return;
    listener->ticking = true;
    fake_later(fake, 1, fake->network.delay_max_ns, hand_out, listener);
}

int fake_listen(struct io *io, struct io_listener *listener, const struct io_address *address,
    const struct io_listen_options *options)
{
    struct fake *fake = fake_of(io);
    struct io_address wanted = *address;
    if (port_of(&wanted) == 0)
        set_port(&wanted, fake->next_port++);
    if (listener_at(fake, &wanted) != NULL)
        return -EADDRINUSE;
    struct fake_listener *made = calloc(1, sizeof *made);
    CHECK(made != NULL);
    made->listener = listener;
    made->address = wanted;
    made->backlog = options != NULL && options->backlog > 0 ? (unsigned)options->backlog : 1024;
    list_init(&made->queue);
    list_init(&made->accepts);
    list_push_back(&fake->listeners, &made->node);
    listener->driver = made;
    return 0;
}

void fake_listener_close(struct io *io, struct io_listener *listener)
{
    struct fake *fake = fake_of(io);
    struct fake_listener *closed = listener->driver;
    struct list_node *node;
    CHECK(list_empty(&closed->accepts));
    while ((node = list_pop_front(&closed->queue)) != NULL)
        end_destroy(fake, CONTAINER_OF(node, struct fake_end, node), true);
    list_remove(&closed->node);
    fake_forget(fake, closed);
    free(closed);
    listener->driver = NULL;
}

int fake_listener_address(struct io *io, struct io_listener *listener, struct io_address *address)
{
    (void)io;
    *address = ((struct fake_listener *)listener->driver)->address;
    return 0;
}

void fake_accept(
    struct io_loop *loop, struct io_op *op, struct io_socket *socket, struct io_listener *listener)
{
    struct fake_listener *from = listener->driver;
    (void)socket;
    list_push_back(&from->accepts, &op->io.node);
    schedule_listener(fake_of(loop->io), from);
}

/* ---- connecting ---- */

static void connect_times_out(struct fake *fake, void *target)
{
    struct fake_end *end = target;
    (void)fake;
    if (end->opening == NULL)
        return;
    struct io_op *op = end->opening;
    end->opening = NULL;
    end_destroy(fake, end, false);
    io_complete(op, -ETIMEDOUT);
}

static void join(struct fake *fake, struct fake_end *end, struct fake_listener *listener)
{
    struct fake_end *far = end_create();
    far->peer = end;
    end->peer = far;
    far->remote = end->local;
    far->local = end->remote;
    list_push_back(&listener->queue, &far->node);
    listener->queued++;
    schedule_listener(fake, listener);
    finish(&end->opening, 0);
}

static void step_connect(struct fake *fake, struct fake_end *end)
{
    struct fake_listener *listener = listener_at(fake, &end->remote);
    if (listener != NULL && listener->queued < listener->backlog) {
        join(fake, end, listener);
    } else if (listener != NULL) {
        schedule(fake, end); /* the backlog is full: again later */
    } else if (io_address_is_loopback(&end->remote)) {
        struct io_op *op = end->opening;
        end->opening = NULL;
        end_destroy(fake, end, false);
        io_complete(op, -ECONNREFUSED);
    } else {
        fake_later(fake, CONNECT_TIMEOUT_NS, CONNECT_TIMEOUT_NS, connect_times_out, end);
    }
}

void fake_connect(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct fake *fake = fake_of(loop->io);
    struct fake_end *end = end_create();
    end->opening = op;
    end->remote = *(const struct io_address *)op->io.pointer;
    const char *host = end->remote.storage.ss_family == AF_INET6 ? "::1" : "127.0.0.1";
    CHECK(io_address_parse(&end->local, host, fake->next_port++) == 0);
    ((struct fake_socket *)socket->driver)->end = end;
    schedule(fake, end);
}

static void tick(struct fake *fake, void *target)
{
    struct fake_end *end = target;
    end->ticking = false;
    if (end->opening != NULL) {
        step_connect(fake, end); /* may free it */
        return;
    }
    if (end->reset)
        end->len = 0;
    if (end->send != NULL)
        step_send(fake, end);
    if (end->recv != NULL)
        step_recv(fake, end);
}

/* ---- sockets ---- */

void fake_recv(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct fake_end *end = end_of(socket);
    CHECK(end->recv == NULL);
    end->recv = op;
    if (!list_empty(&loop->buffers.waiting))
        step_recv(fake_of(loop->io), end); /* without a delay: first come, first served */
    if (end->recv != NULL)
        schedule(fake_of(loop->io), end);
}

void fake_send(struct io_loop *loop, struct io_op *op, struct io_socket *socket)
{
    struct fake_end *end = end_of(socket);
    CHECK(end->send == NULL);
    end->send = op;
    schedule(fake_of(loop->io), end);
}

void fake_socket_cancel(struct io_loop *loop, struct io_op *op)
{
    struct fake_end *end = op->io.kind == IO_KIND_ACCEPT ? NULL : end_of(io_op_socket(op));
    if (end != NULL && end->recv == op) {
        end->recv = NULL;
    } else if (end != NULL && end->send == op) {
        end->send = NULL;
    } else if (end != NULL) {
        CHECK(end->opening == op);
        end->opening = NULL;
        end_destroy(fake_of(loop->io), end, false);
    }
    io_complete(op, -ECANCELED);
}

void fake_socket_close(struct io_loop *loop, struct io_socket *socket)
{
    end_destroy(fake_of(loop->io), end_of(socket), false);
    ((struct fake_socket *)socket->driver)->end = NULL;
    io_socket_closed(loop, socket);
}

int fake_socket_address(struct io_loop *loop, struct io_socket *socket, struct io_address *address)
{
    (void)loop;
    *address = end_of(socket)->local;
    return 0;
}

int fake_shutdown_send(struct io_loop *loop, struct io_socket *socket)
{
    struct fake_end *end = end_of(socket);
    end->shut = true;
    if (end->peer == NULL)
        return end->reset ? -ENOTCONN : 0;
    end->peer->ended = true;
    schedule(fake_of(loop->io), end->peer);
    if (end->send != NULL)
        schedule(fake_of(loop->io), end);
    return 0;
}

int64_t fake_unsent_bytes(struct io_loop *loop, struct io_socket *socket)
{
    (void)loop;
    (void)socket;
    return 0; /* what a send took, the peer's side has */
}

void fake_socket_reset(struct io_loop *loop, struct io_handle socket)
{
    struct fake *fake = fake_of(loop->io);
    CHECK(socket.index < loop->sockets.capacity);
    const struct io_socket *slot = &loop->sockets.slots[socket.index];
    CHECK(slot->used && slot->generation == socket.generation);
    struct fake_end *ends[2] = {end_of(slot), end_of(slot)->peer};
    for (int i = 0; i < 2; i++) {
        if (ends[i] == NULL)
            continue;
        ends[i]->reset = ends[i]->ended = true;
        schedule(fake, ends[i]);
    }
}
