/*
 * A seeded storm over one loop: sockets connect, accept, send, receive, linger and close, timers move, work
 * is queued, and everything is cancelled at random, with fewer slots and buffers than the ends want. What
 * must hold whatever happens: each op calls back once, every byte arrives in order, nothing is left at the
 * end.
 *
 * `test_storm uring|portable [seed [turns]]`; a failing seed is the bug report. Half of the seeds end in the
 * middle, so that io_loop_destroy() cleans up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "io/io.h"

#define ENDS 24
#define SLOTS 20
#define BUFFERS 5
#define SEND_MAX 60000

struct end {
    struct io_op open, recv, send, close, timer, work;
    struct io_handle socket;
    bool accepting, live, closing;
    uint64_t sent, received; /* on the present connection */
    uint8_t *held;           /* a leased buffer kept for a while */
    struct iovec iov[IO_VECTOR_MAX];
    uint8_t out[SEND_MAX];
};

static struct end ends[ENDS];
static struct io_loop *loop;
static struct io_handle listener;
static struct io_address address;
static struct random rnd;
static unsigned long submitted, finished;
static uint64_t bytes;
static bool stopping;

static bool chance(uint64_t one_in)
{
    return random_below(&rnd, one_in) == 0;
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8));
}

static void drop_held(struct end *end)
{
    if (end->held != NULL)
        io_buffer_give(loop, &end->held);
}

static void start_close(struct end *end)
{
    if (!end->live || end->closing)
        return;
    end->closing = true;
    submitted++;
    if (chance(2))
        io_close(loop, &end->close, end->socket);
    else
        io_linger(
            loop, &end->close, end->socket, random_below(&rnd, 20) * NS_PER_MS, random_below(&rnd, 100000));
}

static void start_send(struct end *end)
{
    size_t len = 1 + random_below(&rnd, chance(4) ? SEND_MAX : 64), at = 0;
    unsigned count = 1 + (unsigned)random_below(&rnd, len < IO_VECTOR_MAX ? len : IO_VECTOR_MAX);
    for (size_t i = 0; i < len; i++)
        end->out[i] = pattern(end->sent + i);
    for (unsigned i = 0; i < count; i++) {
        size_t part = i + 1 == count ? len - at : len / count;
        end->iov[i] = (struct iovec){end->out + at, part};
        at += part;
    }
    submitted++;
    io_send(loop, &end->send, end->socket, end->iov, count, chance(4));
}

static void start_open(struct end *end)
{
    submitted++;
    if (end->accepting)
        io_accept(loop, &end->open, listener, NULL);
    else
        io_connect(loop, &end->open, &address);
}

static void work(struct io_op *op)
{
    op->result = 7;
}

/* One random disturbance. */
static void disturb(struct end *end)
{
    switch (random_below(&rnd, 16)) {
    case 0:
        if (chance(6))
            start_close(end);
        break;
    case 1:
        io_cancel(loop, &end->recv);
        break;
    case 2:
        if (chance(3))
            io_cancel(loop, &end->send);
        break;
    case 3:
        if (chance(3))
            io_cancel(loop, &end->open);
        break;
    case 4:
        io_cancel(loop, &end->work);
        break;
    case 5:
        io_timer_move(loop, &end->timer, io_now_ns(loop) + random_below(&rnd, 5) * NS_PER_MS);
        break;
    case 6:
        io_cancel(loop, &end->timer);
        break;
    case 7:
        io_cancel(loop, &end->close);
        break;
    default:
        break;
    }
}

static void act(struct end *end)
{
    for (unsigned i = 0; i < 3; i++)
        disturb(end);
    if (stopping)
        return;
    if (!io_op_busy(&end->timer)) {
        submitted++;
        io_timer(loop, &end->timer, io_now_ns(loop) + random_below(&rnd, 3) * NS_PER_MS);
    }
    if (!io_op_busy(&end->work) && chance(16)) {
        submitted++;
        io_work(loop, &end->work, work);
    }
    if (!end->live && !io_op_busy(&end->open))
        start_open(end);
    if (!end->live || end->closing)
        return;
    if (!io_op_busy(&end->recv)) {
        submitted++;
        io_recv(loop, &end->recv, end->socket);
    }
    if (!io_op_busy(&end->send))
        start_send(end);
}

static void recv_done(struct io_op *op)
{
    struct end *end = CONTAINER_OF(op, struct end, recv);
    finished++;
    for (int64_t i = 0; i < op->result; i++)
        CHECK(op->buffer[i] == pattern(end->received + (uint64_t)i));
    if (op->result > 0) {
        end->received += (uint64_t)op->result;
        bytes += (uint64_t)op->result;
        if (end->held == NULL && chance(8))
            end->held = op->buffer;
        else
            io_buffer_give(loop, &op->buffer);
    } else if (op->result != -ECANCELED) {
        start_close(end);
    }
    act(end);
}

static void send_done(struct io_op *op)
{
    struct end *end = CONTAINER_OF(op, struct end, send);
    finished++;
    if (op->result > 0)
        end->sent += (uint64_t)op->result;
    else if (op->result != -ECANCELED)
        start_close(end);
    act(end);
}

static void close_done(struct io_op *op)
{
    struct end *end = CONTAINER_OF(op, struct end, close);
    finished++;
    CHECK(!io_op_busy(&end->recv) && !io_op_busy(&end->send));
    drop_held(end);
    end->live = end->closing = false;
    end->sent = end->received = 0;
    act(end);
}

static void open_done(struct io_op *op)
{
    struct end *end = CONTAINER_OF(op, struct end, open);
    finished++;
    if (op->result >= 0) {
        end->socket = op->handle;
        end->live = true;
    } else {
        CHECK(op->result == -ECANCELED || op->result == E_EXHAUSTED || op->result == -ECONNREFUSED ||
              op->result == -ECONNRESET || op->result == -ECONNABORTED);
    }
    act(end);
}

static void timer_done(struct io_op *op)
{
    struct end *end = CONTAINER_OF(op, struct end, timer);
    finished++;
    drop_held(end);
    act(end);
}

static void work_done(struct io_op *op)
{
    finished++;
    CHECK(op->result == 7 || op->result == -ECANCELED);
    act(CONTAINER_OF(op, struct end, work));
}

static void start_all(void)
{
    for (unsigned i = 0; i < ENDS; i++) {
        struct end *end = &ends[i];
        *end = (struct end){.accepting = i % 2 != 0};
        io_op_init(&end->open, open_done);
        io_op_init(&end->recv, recv_done);
        io_op_init(&end->send, send_done);
        io_op_init(&end->close, close_done);
        io_op_init(&end->timer, timer_done);
        io_op_init(&end->work, work_done);
        act(end);
    }
}

/* Ends everything by ordinary calls. */
static void wind_down(void)
{
    struct io_loop_stats stats;
    uint64_t until = clock_monotonic_ns() + 60 * NS_PER_S;
    do {
        for (unsigned i = 0; i < ENDS; i++) {
            io_cancel(loop, &ends[i].open);
            io_cancel(loop, &ends[i].timer);
            start_close(&ends[i]);
        }
        io_loop_turn(loop, NS_PER_MS);
        io_loop_stats(loop, &stats);
    } while ((stats.ops_in_flight > 0 || stats.sockets_open > 0) && clock_monotonic_ns() < until);
    CHECK(stats.ops_in_flight == 0 && stats.sockets_open == 0);
}

static void run(struct io *io, uint64_t seed, unsigned turns)
{
    random_init(&rnd, seed);
    stopping = false;
    submitted = finished = 0;
    CHECK(io_loop_create(io, &loop) == 0);
    CHECK(io_address_parse(&address, "127.0.0.1", 0) == 0);
    CHECK(io_listen(io, &address, NULL, &listener) == 0);
    CHECK(io_local_address(loop, listener, &address) == 0);
    start_all();
    for (unsigned i = 0; i < turns; i++)
        io_loop_turn(loop, NS_PER_MS);
    stopping = true;
    bool orderly = seed % 2 == 0;
    if (orderly)
        wind_down();
    for (unsigned i = 0; i < ENDS; i++)
        drop_held(&ends[i]);
    io_listener_close(io, listener);
    int left = io_loop_destroy(loop, 20 * NS_PER_S);
    printf("seed %llu: %lu ops, %llu bytes, %d left%s\n", (unsigned long long)seed, submitted,
        (unsigned long long)bytes, left, orderly ? "" : " (ended in the middle)");
    CHECK(submitted == finished);
    CHECK(!orderly || left == 0);
}

int main(int argc, char **argv)
{
    struct io *io;
    struct io_report report;
    struct io_config config = {.buffer_count = BUFFERS, .buffer_bytes = 2048, .socket_capacity = SLOTS};
    config.choice = argc > 1 && strcmp(argv[1], "uring") == 0 ? IO_URING : IO_PORTABLE;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    unsigned turns = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 300;
    if (io_create(&io, &config, &report) < 0) {
        printf("skipped: %s\n", report.reason);
        return 77;
    }
    for (uint64_t i = seed; i < (argc > 2 ? seed + 1 : 8); i++)
        run(io, i, turns);
    CHECK(bytes > 0);
    CHECK(io_destroy(io) == 0);
    return 0;
}
