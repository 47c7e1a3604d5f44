/* Alarms ring once, at the last deadline that was set, and not when cleared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/alarm.h"
#include "rig.h"

static unsigned rings, idles;
static uint64_t rang_ns;

static void rang(struct alarm *alarm)
{
    rings++;
    rang_ns = io_now_ns(alarm->loop);
}

static void idle(struct alarm *alarm)
{
    (void)alarm;
    idles++;
}

static void some_turns(struct rig *rig)
{
    for (unsigned i = 0; i < 50; i++)
        io_loop_turn(rig->loop, NS_PER_MS);
}

static void test_alarm(void **state)
{
    struct rig rig;
    struct alarm alarm;
    (void)state;
    rig_init(&rig);
    io_loop_turn(rig.loop, 0);
    uint64_t now_ns = io_now_ns(rig.loop);
    alarm_init(&alarm, rig.loop, rang, idle);
    alarm_set(&alarm, now_ns + 10 * NS_PER_S);
    alarm_set(&alarm, now_ns + 40 * NS_PER_MS);  /* earlier */
    alarm_set(&alarm, now_ns + 800 * NS_PER_MS); /* later; far enough for a busy machine */
    rig_turn_for(&rig, 1000 * NS_PER_MS);
    for (unsigned turns = 0; turns < 10000 && rings == 0; turns++)
        io_loop_turn(rig.loop, NS_PER_MS);
    rig_turn_for(&rig, 10 * NS_PER_MS);
    assert_int_equal(rings, 1);
    assert_true(rang_ns >= now_ns + 800 * NS_PER_MS);
    assert_false(alarm_busy(&alarm));
    assert_int_equal(idles, 0);

    alarm_set(&alarm, now_ns);
    alarm_clear(&alarm);
    some_turns(&rig);
    assert_int_equal(rings, 1);
    assert_int_equal(idles, 1);

    alarm_set(&alarm, io_now_ns(rig.loop) + NS_PER_S);
    alarm_clear(&alarm);
    alarm_set(&alarm, io_now_ns(rig.loop)); /* while the cleared timer is still on its way back */
    some_turns(&rig);
    assert_int_equal(rings, 2);
    assert_int_equal(idles, 1);
    assert_false(alarm_busy(&alarm));
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alarm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
