#include "origin/alarm.h"

#include "base/error.h"

#include <errno.h>

static void alarm_arm(struct alarm *alarm)
{
    alarm->armed_ns = alarm->deadline_ns;
    io_timer(alarm->loop, &alarm->op, alarm->deadline_ns);
}

/* A cancel that was not ours means that the loop ends: no new timer then, it would end at once, again and
 * again. */
static void alarm_fired(struct io_op *op)
{
    struct alarm *alarm = CONTAINER_OF(op, struct alarm, op);
    bool loop_ends = op->result == -ECANCELED && !alarm->cleared;
    alarm->cleared = false;
    if (alarm->deadline_ns == ALARM_NEVER || loop_ends) {
        alarm->deadline_ns = ALARM_NEVER;
        if (alarm->idle != NULL)
            alarm->idle(alarm); /* may free the alarm */
        return;
    }
    bool failed =
        op->result < 0 && op->result != -ECANCELED; /* no memory for a timer: rather early than never */
    if (!failed && alarm->deadline_ns > io_now_ns(alarm->loop)) {
        alarm_arm(alarm);
        return;
    }
    alarm->deadline_ns = ALARM_NEVER;
    alarm->rang(alarm); /* may set again, or free the alarm */
}

void alarm_init(struct alarm *alarm, struct io_loop *loop, void (*rang)(struct alarm *alarm),
    void (*idle)(struct alarm *alarm))
{
    *alarm = (struct alarm){.loop = loop, .deadline_ns = ALARM_NEVER, .rang = rang, .idle = idle};
    io_op_init(&alarm->op, alarm_fired);
}

void alarm_set(struct alarm *alarm, uint64_t deadline_ns)
{
    CHECK(deadline_ns != ALARM_NEVER);
    alarm->deadline_ns = deadline_ns;
    if (!io_op_busy(&alarm->op)) {
        alarm_arm(alarm);
    } else if (deadline_ns < alarm->armed_ns) {
        alarm->armed_ns = deadline_ns;
        io_timer_move(alarm->loop, &alarm->op, deadline_ns);
    }
}

void alarm_clear(struct alarm *alarm)
{
    alarm->deadline_ns = ALARM_NEVER;
    if (io_op_busy(&alarm->op)) {
        alarm->cleared = true;
        io_cancel(alarm->loop, &alarm->op);
    }
}
