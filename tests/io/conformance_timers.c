/* Timers: order, cancel, move, far future, never early. */
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "conformance.h"

static void test_past_deadline_fires_in_a_turn(void **state)
{
    (void)state;
    struct rig rig;
    struct probe timer;
    rig_open(&rig);
    io_timer(rig.loop, probe_start(&rig, &timer), 0);
    assert_int_equal(timer.done, 0);
    assert_true(io_op_busy(&timer.op));
    assert_int_equal(probe_wait(&timer), 0);
    rig_close(&rig);
}

static void test_never_early(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    static const uint64_t waits[] = {1, 1000, 100 * NS_PER_US, NS_PER_MS, 7 * NS_PER_MS, 50 * NS_PER_MS};
    for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
        struct probe timer;
        uint64_t deadline = io_now_ns(rig.loop) + waits[i];
        io_timer(rig.loop, probe_start(&rig, &timer), deadline);
        assert_int_equal(probe_wait(&timer), 0);
        assert_true(io_now_ns(rig.loop) >= deadline);
        assert_true(io_now_ns(rig.loop) < deadline + 30 * NS_PER_S);
    }
    rig_close(&rig);
}

static void test_order(void **state)
{
    (void)state;
    struct rig rig;
    enum { COUNT = 2000 };
    struct probe *timers = calloc(COUNT, sizeof *timers);
    uint64_t deadlines[COUNT];
    struct random random;
    random_init(&random, 5);
    rig_open(&rig);
    uint64_t start = io_now_ns(rig.loop);
    for (unsigned i = 0; i < COUNT; i++) {
        deadlines[i] = start + random_below(&random, 40 * NS_PER_MS);
        io_timer(rig.loop, probe_start(&rig, &timers[i]), deadlines[i]);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(probe_wait(&timers[i]), 0);
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned k = 0; k < COUNT; k += 7)
            if (deadlines[i] < deadlines[k])
                assert_true(timers[i].order < timers[k].order);
    rig_close(&rig);
    free(timers);
}

static void test_cancel(void **state)
{
    (void)state;
    struct rig rig;
    struct probe timer;
    rig_open(&rig);
    io_timer(rig.loop, probe_start(&rig, &timer), io_now_ns(rig.loop) + 3600 * NS_PER_S);
    rig_turn(&rig);
    io_cancel(rig.loop, &timer.op);
    assert_int_equal(timer.done, 0);
    assert_int_equal(probe_wait(&timer), -ECANCELED);
    io_cancel(rig.loop, &timer.op);
    rig_turn(&rig);
    assert_int_equal(timer.done, 1);
    rig_close(&rig);
}

static void cancel_the_other(struct probe *probe)
{
    io_cancel(probe->rig->loop, &((struct probe *)probe->user)->op);
}

/* Two timers that are due in one turn: the first cancels the second, which still gets one final callback. */
static void test_cancel_from_a_callback(void **state)
{
    (void)state;
    struct rig rig;
    struct probe first, second;
    rig_open(&rig);
    uint64_t now = io_now_ns(rig.loop);
    io_timer(rig.loop, probe_start_then(&rig, &first, cancel_the_other, &second), now + 1);
    io_timer(rig.loop, probe_start_then(&rig, &second, cancel_the_other, &first), now + 2);
    assert_int_equal(probe_wait(&first), 0);
    int64_t result = probe_wait(&second);
    assert_true(result == 0 || result == -ECANCELED);
    rig_close(&rig);
}

static void test_move(void **state)
{
    (void)state;
    struct rig rig;
    struct probe sooner, later, still;
    rig_open(&rig);
    uint64_t now = io_now_ns(rig.loop);
    io_timer(rig.loop, probe_start(&rig, &sooner), now + 3600 * NS_PER_S);
    io_timer(rig.loop, probe_start(&rig, &later), now + 5 * NS_PER_MS);
    io_timer(rig.loop, probe_start(&rig, &still), now + 20 * NS_PER_MS);
    io_timer_move(rig.loop, &sooner.op, now + 10 * NS_PER_MS);
    io_timer_move(rig.loop, &later.op, now + 40 * NS_PER_MS);
    assert_int_equal(probe_wait(&later), 0);
    assert_int_equal(sooner.done, 1);
    assert_int_equal(still.done, 1);
    assert_true(sooner.order < still.order && still.order < later.order);
    assert_true(io_now_ns(rig.loop) >= now + 40 * NS_PER_MS);
    rig_close(&rig);
}

/* Far-future timers neither fire nor keep the loop from ending; an empty turn with a wait ends in time. */
static void test_far_future(void **state)
{
    (void)state;
    struct rig rig;
    struct probe never, century;
    rig_open(&rig);
    io_timer(rig.loop, probe_start(&rig, &never), UINT64_MAX);
    io_timer(rig.loop, probe_start(&rig, &century), io_now_ns(rig.loop) + UINT64_C(3155760000) * NS_PER_S);
    rig_idle(&rig, 30 * NS_PER_MS);
    assert_int_equal(never.done + century.done, 0);
    rig_close(&rig);
    assert_int_equal(never.result, -ECANCELED);
    assert_int_equal(century.result, -ECANCELED);
}

static void again(struct probe *probe)
{
    unsigned *left = probe->user;
    if (--*left == 0)
        return;
    struct rig *rig = probe->rig;
    io_timer(rig->loop, probe_start_then(rig, probe, again, left), io_now_ns(rig->loop));
}

/* An op may be submitted again from its own final callback, and such a chain does not starve the turn. */
static void test_again_from_own_callback(void **state)
{
    (void)state;
    struct rig rig;
    struct probe timer;
    unsigned left = 500;
    rig_open(&rig);
    io_timer(rig.loop, probe_start_then(&rig, &timer, again, &left), 0);
    for (unsigned turns = 0; turns < 100000 && left > 0; turns++)
        rig_turn(&rig);
    assert_int_equal(left, 0);
    rig_close(&rig);
}

/* A turn with no wait returns at once, and the clock does not go backwards. */
static void test_turn_without_wait(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint64_t last = io_now_ns(rig.loop);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(io_loop_turn(rig.loop, 0), 0);
        assert_true(io_now_ns(rig.loop) >= last);
        last = io_now_ns(rig.loop);
    }
    assert_true(io_wall_ns(rig.loop) > 0);
    rig_close(&rig);
}

struct relay {
    struct io_message message;
    struct rig *rig;
    unsigned left;
};

static void relay_deliver(struct io_message *message)
{
    struct relay *relay = CONTAINER_OF(message, struct relay, message);
    if (--relay->left > 0)
        io_post(relay->rig->loop, message);
}

/* What is a few turns from who waits for it when the thread stands still comes before a deadline that passes
 * meanwhile; so it is after each standstill. */
static void test_after_a_standstill(void **state)
{
    (void)state;
    if (conformance_is_fake())
        skip(); /* its clock does not run by itself */
    struct rig rig;
    struct probe timer;
    rig_open(&rig);
    for (unsigned seen = 0, tries = 0; seen < 2; tries++) {
        assert_true(tries < 20);
        struct relay relay = {{.deliver = relay_deliver}, &rig, 3};
        rig_turn(&rig);
        io_timer(rig.loop, probe_start(&rig, &timer), io_now_ns(rig.loop) + 20 * NS_PER_MS);
        io_post(rig.loop, &relay.message);
        usleep(600000);
        uint64_t begin_ns = clock_monotonic_ns(), end_ns = begin_ns;
        bool in_order = true;
        for (; relay.left > 0; end_ns = clock_monotonic_ns()) {
            rig_turn(&rig);
            in_order = in_order && (timer.done == 0 || relay.left == 0);
        }
        assert_int_equal(probe_wait(&timer), 0);
        if (end_ns - begin_ns > 50 * NS_PER_MS)
            continue; /* it stood still once more */
        assert_true(in_order);
        seen++;
    }
    rig_close(&rig);
}

int run_timers(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_past_deadline_fires_in_a_turn),
        cmocka_unit_test(test_never_early), cmocka_unit_test(test_order), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_from_a_callback), cmocka_unit_test(test_move),
        cmocka_unit_test(test_far_future), cmocka_unit_test(test_again_from_own_callback),
        cmocka_unit_test(test_turn_without_wait), cmocka_unit_test(test_after_a_standstill)};
    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
