/* Bytes over sockets: vectors, short transfers, both directions, end of stream, reset, half-close, linger. */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "io/fake.h"

/* Few bytes in one go, as the kernel moves them. */
static void whole_transfers(struct rig *rig)
{
    if (rig->fake)
        fake_network_set(rig->io, &(struct fake_network){.whole = true});
}

static void test_one_message(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe receiving, sending;
    struct iovec part = {(char *)"GET / HTTP/1.1\r\n\r\n", 18};
    rig_open(&rig);
    whole_transfers(&rig);
    pair_open(&rig, &client, &server);
    io_recv(rig.loop, probe_start(&rig, &receiving), server);
    rig_turn(&rig);
    io_send(rig.loop, probe_start(&rig, &sending), client, &part, 1, false);
    assert_int_equal(sending.accepted + sending.done, 0);
    assert_int_equal(probe_wait(&sending), 18);
    assert_int_equal(sending.accepted, 1);
    assert_int_equal(probe_wait(&receiving), 18);
    assert_memory_equal(receiving.op.buffer, part.iov_base, 18);
    io_buffer_give(rig.loop, &receiving.op.buffer);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* IO_VECTOR_MAX parts, one of them empty, arrive in order. */
static void test_vector(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe sending;
    struct iovec parts[IO_VECTOR_MAX];
    uint8_t data[IO_VECTOR_MAX * 10], got[sizeof data];
    size_t len = 0;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    pattern_fill(data, sizeof data, 3);
    for (unsigned i = 0; i < IO_VECTOR_MAX; i++) {
        parts[i] = (struct iovec){data + len, i == 5 ? 0 : 1 + i % 10};
        len += parts[i].iov_len;
    }
    io_send(rig.loop, probe_start(&rig, &sending), client, parts, IO_VECTOR_MAX, false);
    int64_t sent = probe_wait(&sending);
    assert_in_range(sent, 1, len);
    assert_int_equal(send_whole(&rig, client, data + sent, len - (size_t)sent), len - (size_t)sent);
    assert_int_equal(recv_whole(&rig, server, got, len), len);
    assert_memory_equal(got, data, len);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* `more` delays at most, it never loses: the last part without it pushes all. */
static void test_more(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe sending;
    struct iovec head = {(char *)"head", 4};
    char got[8];
    rig_open(&rig);
    whole_transfers(&rig);
    pair_open(&rig, &client, &server);
    io_send(rig.loop, probe_start(&rig, &sending), client, &head, 1, true);
    assert_int_equal(probe_wait(&sending), 4);
    assert_int_equal(send_whole(&rig, client, "body", 4), 4);
    assert_int_equal(recv_whole(&rig, server, got, 8), 8);
    assert_memory_equal(got, "headbody", 8);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* A stream that pumps `len` bytes one way by resubmitting from callbacks. */
struct pump {
    struct probe probe;
    struct io_handle socket;
    struct iovec part;
    const uint8_t *data;
    uint8_t *got;
    size_t len, at;
    unsigned shorts;
};

static void pump_send(struct probe *probe)
{
    struct pump *pump = probe->user;
    if (probe->done > 0) {
        assert_in_range(probe->result, 1, pump->len - pump->at);
        pump->at += (size_t)probe->result;
        pump->shorts += pump->at < pump->len;
    }
    if (pump->at == pump->len)
        return;
    pump->part = (struct iovec){(uint8_t *)pump->data + pump->at, pump->len - pump->at};
    struct rig *rig = probe->rig;
    io_send(rig->loop, probe_start_then(rig, probe, pump_send, pump), pump->socket, &pump->part, 1, false);
}

static void pump_recv(struct probe *probe)
{
    struct pump *pump = probe->user;
    if (probe->done > 0) {
        assert_in_range(probe->result, 1, pump->len - pump->at);
        memcpy(pump->got + pump->at, probe->op.buffer, (size_t)probe->result);
        io_buffer_give(probe->rig->loop, &probe->op.buffer);
        pump->at += (size_t)probe->result;
    }
    struct rig *rig = probe->rig;
    if (pump->at < pump->len)
        io_recv(rig->loop, probe_start_then(rig, probe, pump_recv, pump), pump->socket);
}

/* 4 MiB in both directions at once, in parts as the sockets take them. */
static void test_both_directions(void **state)
{
    (void)state;
    enum { LEN = 4 << 20 };
    struct rig rig;
    struct io_handle ends[2];
    struct pump out[2], in[2];
    rig_open(&rig);
    pair_open(&rig, &ends[0], &ends[1]);
    for (int i = 0; i < 2; i++) {
        uint8_t *data = malloc(LEN);
        pattern_fill(data, LEN, (uint64_t)i);
        out[i] = (struct pump){.socket = ends[i], .data = data, .len = LEN};
        in[i] = (struct pump){.socket = ends[1 - i], .got = malloc(LEN), .len = LEN};
        out[i].probe = (struct probe){.rig = &rig, .user = &out[i]};
        in[i].probe = (struct probe){.rig = &rig, .user = &in[i]};
        pump_recv(&in[i].probe);
        pump_send(&out[i].probe);
    }
    for (unsigned turns = 0; in[0].at + in[1].at < 2 * LEN; turns++) {
        assert_true(turns < 1000000);
        rig_turn(&rig);
    }
    assert_true(out[0].shorts > 0); /* one send can't hold 4 MiB */
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(in[i].got, out[i].data, LEN);
        free(in[i].got);
        free((void *)out[i].data);
        socket_close(&rig, ends[i]);
    }
    rig_close(&rig);
}

static void test_half_close(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    char got[10];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    assert_int_equal(send_whole(&rig, client, "last", 4), 4);
    assert_int_equal(io_shutdown_send(rig.loop, client), 0);
    assert_int_equal(recv_whole(&rig, server, got, 10), 4);
    assert_int_equal(recv_whole(&rig, server, got, 10), 0);
    assert_int_equal(recv_whole(&rig, server, got, 10), 0); /* the end stays the end */
    assert_int_equal(send_whole(&rig, server, "answer", 6), 6);
    assert_int_equal(recv_whole(&rig, client, got, 6), 6);
    assert_true(send_whole(&rig, client, "x", 1) < 0);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

/* Closing with unread bytes is a reset: the peer learns of it as an error, for both directions. */
static void test_reset(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe receiving;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    io_recv(rig.loop, probe_start(&rig, &receiving), client);
    assert_int_equal(send_whole(&rig, client, "unread", 6), 6);
    rig_idle(&rig, 5 * NS_PER_MS);
    socket_close(&rig, server);
    assert_int_equal(probe_wait(&receiving), -ECONNRESET);
    int64_t result = 0;
    for (int i = 0; i < 100 && result >= 0; i++)
        result = send_whole(&rig, client, "x", 1);
    assert_true(result == -EPIPE || result == -ECONNRESET);
    socket_close(&rig, client);
    rig_close(&rig);
}

/* A peer that went in order: end of stream first; later sends fail, and no signal kills the process. */
static void test_send_to_a_closed_peer(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    char got[1];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    socket_close(&rig, server);
    assert_int_equal(recv_whole(&rig, client, got, 1), 0);
    int64_t result = 0;
    for (int i = 0; i < 100 && result >= 0; i++) {
        result = send_whole(&rig, client, "x", 1);
        rig_idle(&rig, NS_PER_MS);
    }
    assert_true(result == -EPIPE || result == -ECONNRESET);
    socket_close(&rig, client);
    rig_close(&rig);
}

/* Fills the pipe until a send waits; returns the waiting one in *blocked. */
static uint64_t fill(struct rig *rig, struct io_handle socket, struct probe *blocked, struct iovec *part)
{
    uint64_t total = 0;
    for (int i = 0; i < 1000; i++) {
        io_send(rig->loop, probe_start(rig, blocked), socket, part, 1, false);
        for (int k = 0; k < 5 && blocked->done == 0; k++)
            rig_turn(rig);
        if (blocked->done == 0)
            return total;
        assert_true(blocked->result > 0);
        total += (uint64_t)blocked->result;
    }
    fail_msg("the pipe never filled");
    return 0;
}

/* A slow reader makes the sender wait; reading lets it go on; nothing is lost. */
static void test_back_pressure(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    struct rig rig;
    struct io_handle client, server;
    struct probe blocked, receiving;
    uint8_t *data = malloc(LEN);
    struct iovec part = {data, LEN};
    rig_open(&rig);
    pattern_fill(data, LEN, 1);
    pair_open(&rig, &client, &server);
    uint64_t total = fill(&rig, client, &blocked, &part), got = 0;
    while (blocked.done == 0 || got < total + (uint64_t)blocked.result) {
        io_recv(rig.loop, probe_start(&rig, &receiving), server);
        assert_true(probe_wait(&receiving) > 0);
        got += (uint64_t)receiving.result;
        io_buffer_give(rig.loop, &receiving.op.buffer);
    }
    assert_true(blocked.result > 0);
    assert_int_equal(got, total + (uint64_t)blocked.result);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
    free(data);
}

static void test_close_with_ops_in_flight(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    struct rig rig;
    struct io_handle client, server;
    struct probe sending, receiving, closing;
    uint8_t *data = calloc(1, LEN);
    struct iovec part = {data, LEN};
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    fill(&rig, client, &sending, &part);
    io_recv(rig.loop, probe_start(&rig, &receiving), client);
    rig_turn(&rig);
    io_close(rig.loop, probe_start(&rig, &closing), client);
    assert_int_equal(sending.done + receiving.done + closing.done, 0);
    assert_int_equal(probe_wait(&closing), 0);
    assert_int_equal(sending.done, 1);
    assert_int_equal(receiving.done, 1);
    assert_true(sending.order < closing.order && receiving.order < closing.order);
    assert_int_equal(receiving.result, -ECANCELED);
    socket_close(&rig, server);
    rig_close(&rig);
    free(data);
}

/* An error answer survives a client that is still sending: the server lingers instead of closing. */
static void test_linger_saves_the_answer(void **state)
{
    (void)state;
    enum { LEN = 256 << 10 };
    struct rig rig;
    struct io_handle client, server;
    struct probe lingering;
    uint8_t *data = calloc(1, LEN);
    char got[16];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    assert_int_equal(send_whole(&rig, client, "begin", 5), 5);
    assert_int_equal(send_whole(&rig, server, "413", 3), 3);
    io_linger(rig.loop, probe_start(&rig, &lingering), server, 3600 * NS_PER_S, 10 << 20);
    assert_int_equal(send_whole(&rig, client, data, LEN), LEN);
    assert_int_equal(recv_whole(&rig, client, got, sizeof got), 3);
    assert_int_equal(recv_whole(&rig, client, got, sizeof got), 0);
    assert_int_equal(lingering.done, 0);
    socket_close(&rig, client);
    assert_int_equal(probe_wait(&lingering), 0);
    rig_close(&rig);
    free(data);
}

static void test_linger_is_bounded_in_time(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe lingering;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    uint64_t start = io_now_ns(rig.loop);
    io_linger(rig.loop, probe_start(&rig, &lingering), server, 30 * NS_PER_MS, 1 << 20);
    probe_wait(&lingering);
    assert_true(io_now_ns(rig.loop) >= start + 30 * NS_PER_MS);
    assert_true(io_now_ns(rig.loop) < start + 30 * NS_PER_S);
    socket_close(&rig, client);
    rig_close(&rig);
}

static void test_linger_is_bounded_in_bytes(void **state)
{
    (void)state;
    enum { LEN = 64 << 10 };
    struct rig rig;
    struct io_handle client, server;
    struct probe lingering;
    uint8_t *data = calloc(1, LEN);
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    io_linger(rig.loop, probe_start(&rig, &lingering), server, 3600 * NS_PER_S, 100 << 10);
    for (int i = 0; i < 1000 && lingering.done == 0; i++)
        send_whole(&rig, client, data, LEN);
    assert_int_equal(lingering.done, 1);
    socket_close(&rig, client);
    rig_close(&rig);
    free(data);
}

/* Lingering with receive and send still in flight ends those first. */
static void test_linger_with_ops_in_flight(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    struct probe receiving, lingering;
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    io_recv(rig.loop, probe_start(&rig, &receiving), server);
    rig_turn(&rig);
    io_linger(rig.loop, probe_start(&rig, &lingering), server, 5 * NS_PER_S, 1 << 20);
    assert_int_equal(probe_wait(&receiving), -ECANCELED);
    socket_close(&rig, client);
    assert_int_equal(probe_wait(&lingering), 0);
    rig_close(&rig);
}

static void test_unsent_bytes(void **state)
{
    (void)state;
    struct rig rig;
    struct io_handle client, server;
    char got[4];
    rig_open(&rig);
    pair_open(&rig, &client, &server);
    assert_int_equal(io_unsent_bytes(rig.loop, client), 0);
    assert_int_equal(send_whole(&rig, client, "data", 4), 4);
    assert_in_range(io_unsent_bytes(rig.loop, client), 0, 4);
    assert_int_equal(recv_whole(&rig, server, got, 4), 4);
    for (int i = 0; i < 100 && io_unsent_bytes(rig.loop, client) > 0; i++)
        rig_idle(&rig, 10 * NS_PER_MS);
    assert_int_equal(io_unsent_bytes(rig.loop, client), 0);
    socket_close(&rig, client);
    socket_close(&rig, server);
    rig_close(&rig);
}

int run_streams(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_message),
        cmocka_unit_test(test_vector), cmocka_unit_test(test_more), cmocka_unit_test(test_both_directions),
        cmocka_unit_test(test_half_close), cmocka_unit_test(test_reset),
        cmocka_unit_test(test_send_to_a_closed_peer), cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_close_with_ops_in_flight), cmocka_unit_test(test_linger_saves_the_answer),
        cmocka_unit_test(test_linger_is_bounded_in_time), cmocka_unit_test(test_linger_is_bounded_in_bytes),
        cmocka_unit_test(test_linger_with_ops_in_flight), cmocka_unit_test(test_unsent_bytes)};
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
