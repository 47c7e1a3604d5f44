/*
 * Between origin.c, client.c and the kinds of origin (transfer.c, file.c, fake.c). Private to src/origin/.
 *
 * A *job* is one running fetch as its kind keeps it: heap memory that begins with struct job. It is born in
 * origin_fetch_start, tells its end once by job_finish (job->fetch is NULL from then on) and dies, by
 * job_drop, when the last of its ops has come back, which may be later. The caller's calls (start, resume,
 * cancel) do no work: they set bits in job->wake, and the client runs woken jobs from the loop. So no
 * callback is ever made inside a caller's call, and libcurl, which must not be entered twice, is never called
 * from one of its own callbacks.
 *
 * Rejected: a table of functions per kind; three cases of one switch in client.c say the same.
 */
#pragma once

#include "base/list.h"
#include "origin/alarm.h"
#include "origin/endpoint.h"
#include "origin/origin.h"
#include "origin/retry.h"

enum origin_kind { ORIGIN_S3, ORIGIN_HTTP, ORIGIN_FILE, ORIGIN_FAKE };

struct origin {
    enum origin_kind kind;
    struct endpoint endpoint; /* s3, http */
    struct retry_policy retry;
    char *name, *folder, *bucket, *region, *access_key, *secret_key, *session_token, *ca_file;
    char *base; /* http: what goes before every target, "" or "/path" */
    bool path_style;
    uint64_t connect_timeout_ns, first_byte_timeout_ns, stall_timeout_ns;
    unsigned pool_size;
    char identity[ENDPOINT_TEXT_MAX + ENDPOINT_BASE_MAX + 1];
    struct origin_stats stats;
    struct fake *fake;
};

struct curl_loop;

struct origin_client {
    struct io_loop *loop;
    struct log *log;
    struct list_node jobs;  /* all, job.node */
    struct list_node ready; /* woken, job.ready */
    struct origin_fetch
        *unborn;            /* no memory for a job: done comes in the next turn; linked by ->implementation */
    struct alarm kick;      /* "now": runs what is ready */
    struct curl_loop *curl; /* made for the first fetch over HTTP */
    bool curl_stopping, curl_stopped;
    struct list_node lanes; /* s3, http: of each origin in use here */
    struct random random;
    bool stopping, stopped;
    void (*stop_done)(void *context);
    void *stop_context;
};

enum job_wake {
    JOB_START = 1,
    JOB_RESUME = 2, /* the body's reader */
    JOB_CANCEL = 4,
    JOB_PLACE = 8, /* s3, http: in the lane */
    JOB_FEED = 16, /* http: there is more of the upload */
};

struct job {
    struct list_node node, ready;
    struct origin_client *client;
    struct origin *origin;
    struct origin_fetch *fetch; /* NULL once done was told */
    unsigned wake;
};

/* Ends the fetch: fills in what is said at done, counts, calls done. status and the texts are the caller's to
 * set in *job->fetch before, where they differ from what `error` means by itself. */
void job_finish(struct job *job, int error);
/* Unlinks a finished job, whose memory the caller then frees; goes on with a stop that waits for it. */
void job_drop(struct job *job);
/* Has the job's kind called with these bits soon. */
void job_wake(struct job *job, unsigned wake);
/* The status that a client gets for an error, where the origin's own says nothing better. */
unsigned origin_error_status(int error);

/* The kinds. _create returns NULL when memory is short. _woken runs from the loop, only while job->fetch is
 * set. */
struct job *transfer_job_create(void);
void transfer_job_woken(struct job *job, unsigned wake);
struct job *file_job_create(void);
void file_job_woken(struct job *job, unsigned wake);
struct job *fake_job_create(void);
void fake_job_woken(struct job *job, unsigned wake);

/* s3, http: frees what the client holds for them when no job is left. True when nothing is; otherwise
 * client_nudge() is called later. */
bool transfer_client_stop(struct origin_client *client);
void transfer_client_free(struct origin_client *client);
void fake_destroy(struct fake *fake);
/* Goes on with a stop, if there is one, in the next turn. */
void client_nudge(struct origin_client *client);
