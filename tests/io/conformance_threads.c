/* Messages, wake-ups, pool work, and several loops of one io on threads of their own. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"

/* ---- the mailbox ---- */

struct letter {
    struct io_message message;
    unsigned sender, number;
    struct box *box;
};

struct box {
    struct rig *rig;
    unsigned got, next[8];
};

static void on_letter(struct io_message *message)
{
    struct letter *letter = CONTAINER_OF(message, struct letter, message);
    assert_int_equal(letter->number, letter->box->next[letter->sender]);
    letter->box->next[letter->sender]++;
    letter->box->got++;
}

enum { LETTERS = 20000, SENDERS = 4 };

static void wait_by_poll(struct rig *rig)
{
    uint64_t wait_ns;
    struct pollfd ready = {.fd = io_loop_prepare(rig->loop, &wait_ns), .events = POLLIN};
    assert_true(ready.fd >= 0);
    uint64_t ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
    int result = poll(&ready, 1, ms < 10000 ? (int)ms : 10000);
    assert_true(result > 0 || ms < 10000); /* a lost wake shows */
    rig->turning = true;
    io_loop_turn(rig->loop, 0);
    rig->turning = false;
}

static void nap(struct io_op *op)
{
    usleep(5000);
    op->result = 0;
}

struct sender {
    pthread_t thread;
    struct letter *letters;
    struct box *box;
};

static void *send_letters(void *argument)
{
    struct sender *sender = argument;
    for (unsigned i = 0; i < LETTERS; i++)
        io_post(sender->box->rig->loop, &sender->letters[i].message);
    return NULL;
}

/* Each message once, in order per sender, while the loop sleeps and wakes. */
static void test_mailbox_under_contention(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct box box = {.rig = &rig};
    struct sender senders[SENDERS];
    rig_open(&rig);
    for (unsigned s = 0; s < SENDERS; s++) {
        senders[s] = (struct sender){.letters = calloc(LETTERS, sizeof(struct letter)), .box = &box};
        for (unsigned i = 0; i < LETTERS; i++)
            senders[s].letters[i] = (struct letter){{.deliver = on_letter}, s, i, &box};
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_letters, &senders[s]), 0);
    }
    while (box.got < LETTERS * SENDERS)
        io_loop_turn(rig.loop, UINT64_MAX);
    for (unsigned s = 0; s < SENDERS; s++) {
        pthread_join(senders[s].thread, NULL);
        free(senders[s].letters);
    }
    rig_close(&rig);
}

/* The same by a program that waits with poll(2) for the loop's descriptor. */
static void test_a_program_that_waits_itself(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint64_t wait_ns;
    if (conformance_is_fake()) {
        assert_int_equal(io_loop_prepare(rig.loop, &wait_ns), E_UNSUPPORTED);
        rig_close(&rig);
        return;
    }
    struct box box = {.rig = &rig};
    struct sender senders[SENDERS];
    for (unsigned s = 0; s < SENDERS; s++) {
        senders[s] = (struct sender){.letters = calloc(LETTERS, sizeof(struct letter)), .box = &box};
        for (unsigned i = 0; i < LETTERS; i++)
            senders[s].letters[i] = (struct letter){{.deliver = on_letter}, s, i, &box};
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_letters, &senders[s]), 0);
    }
    while (box.got < LETTERS * SENDERS)
        wait_by_poll(&rig);
    for (unsigned s = 0; s < SENDERS; s++) {
        pthread_join(senders[s].thread, NULL);
        free(senders[s].letters);
    }
    struct probe timer, work;
    io_timer(rig.loop, probe_start(&rig, &timer), io_now_ns(rig.loop) + 20 * NS_PER_MS);
    while (timer.done == 0)
        wait_by_poll(&rig);
    io_work(rig.loop, probe_start(&rig, &work), nap);
    while (work.done == 0)
        wait_by_poll(&rig);
    assert_int_equal(io_loop_prepare(rig.loop, &wait_ns) >= 0, true);
    assert_true(wait_ns == UINT64_MAX); /* nothing to do: it may sleep for ever */
    io_loop_turn(rig.loop, 0);
    rig_close(&rig);
}

/* A program may turn the loop for a while and only then ask for its descriptor: others wake it meanwhile. */
static void test_descriptor_of_a_loop_that_was_turned(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    for (unsigned round = 0; round < 20; round++) {
        struct rig rig;
        rig_open(&rig);
        struct box box = {.rig = &rig};
        struct sender sender = {.letters = calloc(LETTERS, sizeof(struct letter)), .box = &box};
        for (unsigned i = 0; i < LETTERS; i++)
            sender.letters[i] = (struct letter){{.deliver = on_letter}, 0, i, &box};
        assert_int_equal(pthread_create(&sender.thread, NULL, send_letters, &sender), 0);
        io_loop_turn(rig.loop, UINT64_MAX);
        while (box.got < LETTERS)
            wait_by_poll(&rig);
        pthread_join(sender.thread, NULL);
        free(sender.letters);
        rig_close(&rig);
    }
}

static void count_and_post_again(struct io_message *message)
{
    struct letter *letter = CONTAINER_OF(message, struct letter, message);
    if (++letter->number < 1000)
        io_post(letter->box->rig->loop, message);
}

static void test_posted_again_from_deliver(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct box box = {.rig = &rig};
    struct letter letter = {{.deliver = count_and_post_again}, 0, 0, &box};
    io_post(rig.loop, &letter.message);
    assert_int_equal(letter.number, 0);
    for (unsigned turns = 0; letter.number < 1000; turns++) {
        assert_true(turns < 100000);
        rig_turn(&rig);
    }
    rig_close(&rig);
}

static void test_order_of_one_sender(void **state)
{
    (void)state;
    struct rig rig;
    struct letter letters[100];
    rig_open(&rig);
    struct box box = {.rig = &rig};
    for (unsigned i = 0; i < 100; i++) {
        letters[i] = (struct letter){{.deliver = on_letter}, 0, i, &box};
        io_post(rig.loop, &letters[i].message);
    }
    while (box.got < 100)
        rig_turn(&rig);
    /* what is posted before the end is delivered before it */
    letters[0].number = 100;
    io_post(rig.loop, &letters[0].message);
    rig_close(&rig);
    assert_int_equal(box.got, 101);
}

static void *post_late(void *argument)
{
    struct letter *letter = argument;
    usleep(50000);
    io_post(letter->box->rig->loop, &letter->message);
    return NULL;
}

static void test_message_wakes_a_sleeping_loop(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    pthread_t thread;
    rig_open(&rig);
    struct box box = {.rig = &rig};
    struct letter letter = {{.deliver = on_letter}, 0, 0, &box};
    assert_int_equal(pthread_create(&thread, NULL, post_late, &letter), 0);
    struct io_loop_stats before, after;
    io_loop_stats(rig.loop, &before);
    while (box.got == 0)
        io_loop_turn(rig.loop, UINT64_MAX);
    io_loop_stats(rig.loop, &after);
    assert_true(after.turns - before.turns < 10); /* it slept */
    pthread_join(thread, NULL);
    rig_close(&rig);
}

static void *stop_late(void *argument)
{
    usleep(30000);
    io_loop_stop(argument);
    return NULL;
}

static void test_stop_from_another_thread(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    pthread_t thread;
    rig_open(&rig);
    assert_int_equal(pthread_create(&thread, NULL, stop_late, rig.loop), 0);
    io_loop_run(rig.loop);
    pthread_join(thread, NULL);
    rig_close(&rig);
}

/* ---- work ---- */

static pthread_t loop_thread;

static void work_square(struct io_op *op)
{
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    assert_true(conformance_is_fake() || !pthread_equal(pthread_self(), loop_thread));
    op->result = (int64_t)(uintptr_t)probe->user * (int64_t)(uintptr_t)probe->user;
}

static void test_work(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct rig rig;
    struct probe *probes = calloc(COUNT, sizeof *probes);
    loop_thread = pthread_self();
    rig_open(&rig);
    for (uintptr_t i = 0; i < COUNT; i++)
        io_work(rig.loop, probe_start_then(&rig, &probes[i], NULL, (void *)i), work_square);
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(probe_wait(&probes[i]), i * i);
    rig_close(&rig);
    free(probes);
}

static void work_error(struct io_op *op)
{
    op->result = -ENOSPC;
}

static void test_work_error_is_a_value(void **state)
{
    (void)state;
    struct rig rig;
    struct probe probe;
    rig_open(&rig);
    io_work(rig.loop, probe_start(&rig, &probe), work_error);
    assert_int_equal(probe_wait(&probe), -ENOSPC);
    rig_close(&rig);
}

/* ---- loops ---- */

enum { LOOPS = 3, CONNECTIONS = 60 };

struct worker {
    pthread_t thread;
    struct io *io;
    struct io_loop *loop; /* made on the main thread, turned and destroyed on its own */
    struct io_handle listener;
    struct io_op accepting;
    struct guest *guests;
    atomic_uint accepted;
    bool ending;
    int left;
};

struct guest {
    struct worker *worker;
    struct guest *next;
    struct io_op op;
    struct io_handle socket;
    struct iovec part;
    uint8_t *buffer;
};

static void on_guest_closed(struct io_op *op)
{
    free(CONTAINER_OF(op, struct guest, op));
}

static void on_guest_echoed(struct io_op *op)
{
    struct guest *guest = CONTAINER_OF(op, struct guest, op);
    io_buffer_give(guest->worker->loop, &guest->buffer);
    io_op_init(op, on_guest_closed);
    io_close(guest->worker->loop, op, guest->socket);
}

static void on_guest_spoke(struct io_op *op)
{
    struct guest *guest = CONTAINER_OF(op, struct guest, op);
    guest->buffer = op->buffer;
    guest->part = (struct iovec){op->buffer, op->result > 0 ? (size_t)op->result : 0};
    io_op_init(op, on_guest_echoed);
    io_send(guest->worker->loop, op, guest->socket, &guest->part, 1, false);
}

static void on_accept(struct io_op *op)
{
    struct worker *worker = CONTAINER_OF(op, struct worker, accepting);
    if (op->result < 0)
        return;
    atomic_fetch_add(&worker->accepted, 1);
    struct guest *guest = calloc(1, sizeof *guest);
    guest->worker = worker;
    guest->socket = op->handle;
    io_op_init(&guest->op, on_guest_spoke);
    io_recv(worker->loop, &guest->op, guest->socket);
    io_op_init(op, on_accept);
    io_accept(worker->loop, op, worker->listener, NULL);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    io_op_init(&worker->accepting, on_accept);
    io_accept(worker->loop, &worker->accepting, worker->listener, NULL);
    io_loop_run(worker->loop);
    worker->left = io_loop_destroy(worker->loop, 20 * NS_PER_S);
    return NULL;
}

/* One listener, three loops on threads; every connection is served by exactly one of them. */
static void test_loops_share_a_listener(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip();
    struct rig rig;
    struct worker workers[LOOPS];
    struct io_address address;
    unsigned accepted = 0;
    rig_open(&rig);
    struct io_handle listener = listen_here(&rig, &address);
    for (unsigned i = 0; i < LOOPS; i++) {
        workers[i] = (struct worker){.io = rig.io, .listener = listener};
        assert_int_equal(io_loop_create(rig.io, &workers[i].loop), 0);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct probe connecting;
        char got[5];
        io_connect(rig.loop, probe_start(&rig, &connecting), &address);
        assert_int_equal(probe_wait(&connecting), 0);
        assert_int_equal(send_whole(&rig, connecting.op.handle, "hello", 5), 5);
        assert_int_equal(recv_whole(&rig, connecting.op.handle, got, 5), 5);
        assert_memory_equal(got, "hello", 5);
        socket_close(&rig, connecting.op.handle);
    }
    io_listener_close(rig.io, listener);
    for (unsigned i = 0; i < LOOPS; i++) {
        io_loop_stop(workers[i].loop);
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].left, 0);
        accepted += atomic_load(&workers[i].accepted);
    }
    assert_int_equal(accepted, CONNECTIONS);
    rig_close(&rig);
}

int run_threads(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_mailbox_under_contention),
        cmocka_unit_test(test_a_program_that_waits_itself),
        cmocka_unit_test(test_descriptor_of_a_loop_that_was_turned),
        cmocka_unit_test(test_posted_again_from_deliver), cmocka_unit_test(test_order_of_one_sender),
        cmocka_unit_test(test_message_wakes_a_sleeping_loop), cmocka_unit_test(test_stop_from_another_thread),
        cmocka_unit_test(test_work), cmocka_unit_test(test_work_error_is_a_value),
        cmocka_unit_test(test_loops_share_a_listener)};
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
