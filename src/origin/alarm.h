/*
 * A deadline that can be moved and cleared at will, over one io_timer.
 *
 * An io_timer belongs to the loop until its final callback, so its owner can neither forget nor re-arm it at
 * once. The alarm hides that: the wanted deadline is a number, and the timer follows lazily (moving a
 * deadline later costs nothing; the timer fires at the old one, sees the new one and sleeps on).
 *
 * Its owner may be freed only when alarm_busy() is false after alarm_clear(); `idle`, if set, says when.
 */
#pragma once

#include "io/io.h"

#define ALARM_NEVER UINT64_MAX

struct alarm {
    struct io_op op;
    struct io_loop *loop;
    uint64_t deadline_ns, armed_ns;
    bool cleared; /* the timer in flight was cancelled by alarm_clear */
    void (*rang)(struct alarm *alarm);
    void (*idle)(struct alarm *alarm); /* the timer has ended and no deadline is set; may be NULL */
};

void alarm_init(struct alarm *alarm, struct io_loop *loop, void (*rang)(struct alarm *alarm),
    void (*idle)(struct alarm *alarm));
/* Rings once at the deadline, from a turn of the loop. Replaces an earlier deadline. */
void alarm_set(struct alarm *alarm, uint64_t deadline_ns);
void alarm_clear(struct alarm *alarm);

static inline bool alarm_busy(const struct alarm *alarm)
{
    return io_op_busy(&alarm->op);
}
