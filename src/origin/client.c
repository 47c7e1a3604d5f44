/*
 * A worker's side of all origins: starts fetches, wakes their jobs from the loop, ends them, and stops when
 * told.
 *
 * Everything that a caller asks for takes effect in a later turn, in order of asking. A job that can't be
 * made for want of memory is remembered in the fetch itself (client->unborn), so that also this end is told
 * from the loop.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "origin/backend.h"

static struct job *job_create(enum origin_kind kind)
{
    switch (kind) {
    case ORIGIN_S3:
    case ORIGIN_HTTP:
        return transfer_job_create();
    case ORIGIN_FILE:
        return file_job_create();
    case ORIGIN_FAKE:
        return fake_job_create();
    }
    UNREACHABLE();
}

static void job_run(struct job *job, unsigned wake)
{
    switch (job->origin->kind) {
    case ORIGIN_S3:
    case ORIGIN_HTTP:
        transfer_job_woken(job, wake);
        break;
    case ORIGIN_FILE:
        file_job_woken(job, wake);
        break;
    case ORIGIN_FAKE:
        fake_job_woken(job, wake);
        break;
    }
}

unsigned origin_error_status(int error)
{
    switch (error) {
    case 0:
        return 200;
    case E_MISSING:
        return 404;
    case E_REFUSED:
        return 403;
    case E_SYNTAX:
        return 400;
    case -ERANGE:
        return 416;
    case E_TIMEOUT:
        return 504;
    case E_EXHAUSTED:
    case E_CANCELED:
        return 503;
    default:
        return 502;
    }
}

/* ---- the end of a fetch ---- */

static void fetch_end(struct origin_fetch *fetch, int error)
{
    fetch->error = error;
    if (fetch->status == 0)
        fetch->status = origin_error_status(error);
    if (error == E_EXHAUSTED && fetch->retry_after_s == 0)
        fetch->retry_after_s = 1;
    fetch->implementation = NULL;
    fetch->done(fetch); /* its memory is the caller's again */
}

static void count_end(struct job *job, int error)
{
    struct origin_stats *stats = &job->origin->stats;
    bool alive = error == 0 || error == E_MISSING || error == E_CHANGED || error == E_REFUSED ||
                 error == -ERANGE || error == E_SYNTAX;
    counter_sub(&stats->in_flight, 1);
    if (error == E_CANCELED)
        return;
    if (!alive)
        counter_add(&stats->errors, 1);
    if (error == E_TIMEOUT)
        counter_add(&stats->timeouts, 1);
    uint64_t now_ns = io_now_ns(job->client->loop);
    atomic_store_explicit(
        alive ? &stats->last_success_ns.value : &stats->last_failure_ns.value, now_ns, memory_order_relaxed);
}

void job_finish(struct job *job, int error)
{
    struct origin_fetch *fetch = job->fetch;
    CHECK(fetch != NULL);
    CHECK(error <= 0);
    if (job->wake & JOB_CANCEL)
        error = E_CANCELED; /* asked for in this turn; what else came then is late */
    job->fetch = NULL;
    job->wake = 0;
    if (list_linked(&job->ready))
        list_remove(&job->ready);
    count_end(job, error);
    fetch_end(fetch, error);
}

void job_drop(struct job *job)
{
    CHECK(job->fetch == NULL);
    list_remove(&job->node);
    client_nudge(job->client);
}

void client_nudge(struct origin_client *client)
{
    if (client->stopping)
        alarm_set(&client->kick, io_now_ns(client->loop));
}

void job_wake(struct job *job, unsigned wake)
{
    struct origin_client *client = job->client;
    job->wake |= wake;
    if (!list_linked(&job->ready))
        list_push_back(&client->ready, &job->ready);
    alarm_set(&client->kick, io_now_ns(client->loop));
}

/* ---- the turn's work ---- */

static void end_unborn(struct origin_client *client)
{
    while (client->unborn != NULL) {
        struct origin_fetch *fetch = client->unborn;
        client->unborn = fetch->implementation;
        fetch_end(fetch, client->stopping ? E_CANCELED : E_EXHAUSTED);
    }
}

/* The last step of a turn, since the owner may free the client in stop_done. */
static void client_settle(struct origin_client *client)
{
    if (!client->stopping || client->stopped)
        return;
    if (!list_empty(&client->jobs) || client->unborn != NULL || alarm_busy(&client->kick))
        return;
    if (!transfer_client_stop(client))
        return;
    client->stopped = true;
    client->stop_done(client->stop_context);
}

/* What is woken meanwhile waits for the next turn, so that a turn ends. */
static void client_kicked(struct alarm *alarm)
{
    struct origin_client *client = CONTAINER_OF(alarm, struct origin_client, kick);
    struct list_node now;
    list_init(&now);
    for (struct list_node *node; (node = list_pop_front(&client->ready)) != NULL;)
        list_push_back(&now, node);
    end_unborn(client);
    for (struct list_node *node; (node = list_pop_front(&now)) != NULL;) {
        struct job *job = CONTAINER_OF(node, struct job, ready);
        unsigned wake = job->wake;
        job->wake = 0;
        job_run(job, wake);
    }
    client_settle(client);
}

/* ---- the contract ---- */

int origin_client_create(struct origin_client **client_out, struct io_loop *loop, struct log *log)
{
    struct origin_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return -ENOMEM;
    client->loop = loop;
    client->log = log;
    list_init(&client->jobs);
    list_init(&client->ready);
    list_init(&client->lanes);
    alarm_init(&client->kick, loop, client_kicked, NULL);
    uint64_t seed;
    random_os(&seed, sizeof seed);
    random_init(&client->random, seed);
    *client_out = client;
    return 0;
}

void origin_client_stop(struct origin_client *client, void (*done)(void *context), void *context)
{
    CHECK(!client->stopping);
    client->stopping = true;
    client->stop_done = done;
    client->stop_context = context;
    for (struct list_node *node = client->jobs.next; node != &client->jobs; node = node->next) {
        struct job *job = CONTAINER_OF(node, struct job, node);
        if (job->fetch != NULL)
            job_wake(job, JOB_CANCEL);
    }
    alarm_set(&client->kick, io_now_ns(client->loop)); /* done never comes inside stop */
}

void origin_client_destroy(struct origin_client *client)
{
    CHECK(client->stopped);
    transfer_client_free(client);
    free(client);
}

void origin_fetch_start(struct origin_client *client, struct origin *origin, struct origin_fetch *fetch)
{
    CHECK(fetch->body != NULL && fetch->head != NULL && fetch->done != NULL);
    CHECK(!client->stopped);
    fetch->error = 0;
    fetch->status = fetch->retry_after_s = fetch->attempts = 0;
    fetch->total = UINT64_MAX;
    fetch->code[0] = '\0';
    fetch->trailers = NULL;
    fetch->trailer_count = 0;
    fetch->started_ns = io_now_ns(client->loop);
    fetch->first_byte_ns = 0;
    struct job *job = client->stopping ? NULL : job_create(origin->kind);
    if (job == NULL) {
        fetch->error = E_EXHAUSTED;
        fetch->implementation = client->unborn;
        client->unborn = fetch;
        alarm_set(&client->kick, io_now_ns(client->loop));
        return;
    }
    job->client = client;
    job->origin = origin;
    job->fetch = fetch;
    fetch->implementation = job;
    list_push_back(&client->jobs, &job->node);
    counter_add(&origin->stats.in_flight, 1);
    job_wake(job, JOB_START);
}

void origin_fetch_resume(struct origin_fetch *fetch)
{
    if (fetch->error == 0)
        job_wake(fetch->implementation, JOB_RESUME);
}

void origin_fetch_feed(struct origin_fetch *fetch)
{
    if (fetch->error == 0)
        job_wake(fetch->implementation, JOB_FEED);
}

void origin_fetch_cancel(struct origin_fetch *fetch)
{
    if (fetch->error == 0)
        job_wake(fetch->implementation, JOB_CANCEL);
}
