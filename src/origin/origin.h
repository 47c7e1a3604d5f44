/*
 * Where objects come from. One fetch is one logical read of an object (or of its head) from an origin:
 * retries, resumption at the byte reached, signing and error translation happen below this interface; what
 * comes up is the origin's bytes, checked for length, range and validator, or one translated error.
 *
 *               | born by              | owned by      | dies by               | threads
 * origin        | origin_create        | configuration | origin_destroy        | any (only counters change)
 * origin_client | origin_client_create | worker        | origin_client_destroy | its loop's
 * origin_fetch  | the caller's object  | caller        | after done            | its loop's
 *
 * Callbacks run from the loop only, never inside start, resume or cancel. Order: head at most once, then body
 * any number of times, then done exactly once (also after a cancel: then with E_CANCELED). What they are
 * handed is borrowed until they return.
 */
#pragma once

#include "base/bytes.h"
#include "base/log.h"
#include "base/stats.h"
#include "io/io.h"

struct origin;
struct origin_client;

enum origin_addressing { ORIGIN_ADDRESS_AUTO, ORIGIN_ADDRESS_PATH, ORIGIN_ADDRESS_VIRTUAL };

/* Strings are copied at creation; NULL or "" is absent. */
struct origin_config {
    const char *name;     /* of the bucket entry, for logs */
    const char *endpoint; /* "http(s)://host[:port]", "file:///folder"; absent: AWS's host of the region */
    const char *bucket, *region, *access_key, *secret_key, *session_token; /* no access_key: unsigned */
    enum origin_addressing addressing; /* auto: path style where an endpoint is given, else virtual */
    const char *ca_file;
    uint64_t connect_timeout_ns;                 /* 0: 5 s */
    uint64_t first_byte_timeout_ns;              /* 0: 20 s */
    uint64_t stall_timeout_ns;                   /* without a byte while not paused; 0: 20 s */
    unsigned max_attempts;                       /* 0: 3 */
    uint64_t initial_backoff_ns, max_backoff_ns; /* 0: 100 ms, 1 s */
    unsigned connection_pool_size;               /* per worker; 0: 50 */
};

struct origin_stats {
    struct counter requests, head_requests, retries, retries_exhausted, errors, timeouts, connect_errors,
        resumed;
    struct counter bytes_received, connections_opened, in_flight;
    struct counter status_2xx, status_3xx, status_4xx, status_5xx;
    struct counter last_success_ns, last_failure_ns; /* monotonic; 0 never: for /ready */
    struct histogram first_byte;
};

/* -EINVAL with *why (static text) for what can't be used. */
MUST_CHECK int origin_create(struct origin **origin, const struct origin_config *config, const char **why);
void origin_destroy(struct origin *origin);
const struct origin_stats *origin_stats(const struct origin *origin);
/* "s3", "file"; static. */
const char *origin_kind(const struct origin *origin);
/* Normalised "scheme://host:port" and bucket, or "file" and the folder: what cache identities are made of;
 * lives as long as the origin. */
struct bytes origin_identity_endpoint(const struct origin *origin);
struct bytes origin_identity_bucket(const struct origin *origin);

/* log may be NULL. */
MUST_CHECK int origin_client_create(struct origin_client **client, struct io_loop *loop, struct log *log);
/* Cancels what runs (their done comes first, during turns of the loop); done when nothing is left. */
void origin_client_stop(struct origin_client *client, void (*done)(void *context), void *context);
void origin_client_destroy(struct origin_client *client);

#define ORIGIN_TO_END UINT64_MAX

struct origin_request {
    bool head_only;                       /* HEAD */
    bool ranged;                          /* ask for [first, last] */
    bool want_checksum;                   /* x-amz-checksum-mode: ENABLED */
    uint64_t first, last;                 /* last may be ORIGIN_TO_END */
    struct bytes key;                     /* decoded, 1 to 1,024 bytes */
    struct bytes version_id;              /* or empty */
    struct bytes if_match, if_none_match; /* entity tags as received, or empty */
    struct bytes request_id;              /* for log lines */
};

struct origin_field {
    struct bytes name, value;
};

struct origin_head {
    unsigned status;         /* 200, 206 or 304 */
    uint64_t content_length; /* of this answer's body; UINT64_MAX if not said */
    uint64_t first, last,
        total; /* 206: of Content-Range (total UINT64_MAX for "*"), already held against what was asked */
    struct bytes etag, last_modified;  /* as received, or empty */
    const struct origin_field *fields; /* every field line in order, as received, hop-by-hop ones left out */
    unsigned field_count;
};

struct origin_fetch {
    /* The caller's, set before start; request's bytes stay valid until done. */
    struct origin_request request;
    void (*head)(struct origin_fetch *fetch, const struct origin_head *head);
    /* Takes bytes in order; returns how many it took. Fewer than all pauses the fetch: the rest comes again
     * after origin_fetch_resume(). */
    size_t (*body)(struct origin_fetch *fetch, struct bytes bytes);
    void (*done)(struct origin_fetch *fetch);

    /* At done. error 0: the whole answer was delivered, as long as its head said (for 304 and HEAD: no body).
     * Otherwise one of these, with the status for a client:
     *
     *   E_MISSING      NoSuchKey, NoSuchVersion, 404              status 404
     *   E_REFUSED      AccessDenied                               status 403
     *   E_CHANGED      412, or a 206 of another validator; the object is not what if_match named
     *   -ERANGE        416; `total` says the length where the origin did
     *   E_PROTOCOL     nonsense, our configuration's fault, redirect  status 502
     *   E_TIMEOUT      connect, first byte, stall, retry budget   status 504
     *   E_UNREACHABLE, E_TLS  no connection                       status 502
     *   E_SYNTAX       not a key or version id to the origin      status 400
     *   E_EXHAUSTED    503 until the retries ran out              status 503, retry_after_s
     *   E_TRUNCATED    broken off and not to be resumed           status 502
     *   E_CANCELED                                                */
    int error;
    unsigned status; /* to give to a client that has had nothing yet */
    unsigned retry_after_s;
    uint64_t total;                     /* -ERANGE: or UINT64_MAX */
    char code[64];                      /* S3's code, or "" */
    uint64_t started_ns, first_byte_ns; /* of the loop's clock; 0: none came */
    unsigned attempts;
    void *implementation; /* the origin's, from start to done */
};

/* In flight from now on, until done. */
void origin_fetch_start(struct origin_client *client, struct origin *origin, struct origin_fetch *fetch);
void origin_fetch_resume(struct origin_fetch *fetch);
/* done comes soon, with E_CANCELED. */
void origin_fetch_cancel(struct origin_fetch *fetch);
