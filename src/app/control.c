#include "app/control.h"

#include <errno.h>
#include <stdlib.h>

#include "app/loop_thread.h"
#include "base/error.h"

struct control {
    struct loop_thread thread;
    struct control_parts parts;
    struct admin *admin;
    struct proxy_worker *worker; /* leads the flights of prewarm jobs */
    struct prewarm *prewarm;
    struct io_message drain, stop;
    uint64_t detach_ns;
    bool attaching, attached, worker_stopped, admin_stopped, detached, stalled;
};

static void left(void *context)
{
    struct control *control = context;
    loop_thread_finish(&control->thread);
}

static void settle(struct control *control)
{
    if (!control->admin_stopped || !control->detached)
        return;
    if (control->stalled) /* what the tier has in flight does not end */
        left(control);
    else
        cache_leave(control->parts.cache, control->thread.loop, left, control);
}

static void disk_detached(void *context, int result)
{
    struct control *control = context;
    disk_watch_detached(control->parts.watch, result);
    control->detached = true;
    control->stalled = result == E_TIMEOUT;
    settle(control);
}

static void detach(struct control *control)
{
    if (control->attached) {
        disk_detach(control->parts.disk, control->thread.loop,
            io_now_ns(control->thread.loop) + control->detach_ns, disk_detached, control);
        return;
    }
    control->detached = !control->attaching; /* else once it is attached */
    settle(control);
}

static void disk_attached(void *context, int result)
{
    struct control *control = context;
    control->attaching = false;
    control->attached = result >= 0;
    disk_watch_attached(control->parts.watch, result);
    if (control->worker_stopped)
        detach(control);
}

static void admin_stopped(void *context)
{
    struct control *control = context;
    control->admin_stopped = true;
    settle(control);
}

/* The tier goes last: until then flights put into it. */
static void worker_stopped(void *context)
{
    struct control *control = context;
    control->worker_stopped = true;
    detach(control);
}

static void prewarm_stopped(void *context)
{
    struct control *control = context;
    proxy_worker_stop(control->worker, worker_stopped, control);
}

static void deliver_drain(struct io_message *message)
{
    prewarm_drain(CONTAINER_OF(message, struct control, drain)->prewarm);
}

static void deliver_stop(struct io_message *message)
{
    struct control *control = CONTAINER_OF(message, struct control, stop);
    admin_stop(control->admin, admin_stopped, control);
    prewarm_stop(control->prewarm, prewarm_stopped, control);
}

static int control_begin(struct loop_thread *thread)
{
    struct control *control = CONTAINER_OF(thread, struct control, thread);
    control->parts.admin.loop = thread->loop;
    int result = cache_join(control->parts.cache, thread->loop);
    if (result < 0)
        return result;
    result = proxy_worker_create(&control->worker, control->parts.admin.proxy, thread->loop);
    if (result == 0)
        result = prewarm_create(&control->prewarm, control->worker, control->parts.admin.log);
    if (result < 0)
        return result;
    control->parts.admin.prewarm = control->prewarm;
    result = admin_create(&control->admin, &control->parts.admin);
    if (result < 0)
        return result;
    if (control->parts.disk) {
        control->attaching = true;
        disk_attach(control->parts.disk, thread->loop, disk_attached, control);
    }
    return 0;
}

static void control_end(struct loop_thread *thread)
{
    struct control *control = CONTAINER_OF(thread, struct control, thread);
    admin_destroy(control->admin);
    control->admin = NULL;
    prewarm_destroy(control->prewarm);
    proxy_worker_destroy(control->worker);
}

int control_start(struct control **control_out, const struct control_parts *parts)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL)
        return -ENOMEM;
    control->parts = *parts;
    control->drain.deliver = deliver_drain;
    control->stop.deliver = deliver_stop;
    control->thread.name = "control";
    control->thread.io = parts->io;
    control->thread.begin = control_begin;
    control->thread.end = control_end;
    int result = loop_thread_start(&control->thread);
    if (result < 0) {
        free(control);
        return result;
    }
    *control_out = control;
    return 0;
}

void control_drain(struct control *control)
{
    (void)loop_thread_post(&control->thread, &control->drain);
}

void control_stop(struct control *control, uint64_t detach_ns)
{
    control->detach_ns = detach_ns;
    (void)loop_thread_post(&control->thread, &control->stop);
}

bool control_wait(struct control *control, uint64_t deadline_ns)
{
    return loop_thread_wait(&control->thread, deadline_ns);
}

int control_leaks(const struct control *control)
{
    return control->thread.leaks;
}

void control_destroy(struct control *control)
{
    free(control);
}
