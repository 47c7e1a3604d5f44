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
 * Callbacks run from the loop only, never inside start, resume or cancel. Order: interim any number of times,
 * head at most once, then body any number of times, then done exactly once (also after a cancel: then with
 * E_CANCELED). What they are handed is borrowed until they return.
 */
#pragma once

#include "base/bytes.h"
#include "base/log.h"
#include "base/stats.h"
#include "io/io.h"

struct origin;
struct origin_client;
struct origin_fetch;

enum origin_protocol { ORIGIN_PROTOCOL_S3, ORIGIN_PROTOCOL_HTTP };
enum origin_addressing { ORIGIN_ADDRESS_AUTO, ORIGIN_ADDRESS_PATH, ORIGIN_ADDRESS_VIRTUAL };

/* Strings are copied at creation; NULL or "" is absent. */
struct origin_config {
    const char *name;              /* of the bucket entry, for logs */
    enum origin_protocol protocol; /* http: any HTTP server; then endpoint may end with a path, and nothing of
                                    * S3 is set */
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
/* "s3", "http", "file"; static. */
const char *origin_kind(const struct origin *origin);
/* Normalised "scheme://host:port" and bucket, "scheme://host:port/base" and nothing, or "file" and the
 * folder: what cache identities are made of; lives as long as the origin. */
struct bytes origin_identity_endpoint(const struct origin *origin);
struct bytes origin_identity_bucket(const struct origin *origin);

/* log may be NULL. */
MUST_CHECK int origin_client_create(struct origin_client **client, struct io_loop *loop, struct log *log);
/* Cancels what runs (their done comes first, during turns of the loop); done when nothing is left. */
void origin_client_stop(struct origin_client *client, void (*done)(void *context), void *context);
void origin_client_destroy(struct origin_client *client);

#define ORIGIN_TO_END UINT64_MAX
/* No object is longer: an answer that says so is nonsense. Sums of two lengths, and lengths rounded up to
 * whole chunks, fit 64 bits. */
#define ORIGIN_LENGTH_MAX (UINT64_C(1) << 62)

struct origin_field {
    struct bytes name, value;
};

#define ORIGIN_UPLOAD_CHUNKED UINT64_MAX
#define ORIGIN_UPLOAD_END ((ssize_t)-1)
#define ORIGIN_UPLOAD_BROKEN ((ssize_t)-2)

/* The body of a request to an origin of kind http. */
struct origin_upload {
    uint64_t length; /* exact, or ORIGIN_UPLOAD_CHUNKED */
    bool expect; /* ask first (Expect: 100-continue): read() is called once the origin wants the body, or has
                  * said nothing for a second */
    /* Copies up to `capacity` bytes to `to` and returns how many; 0: none now, origin_fetch_feed() says when;
     * ORIGIN_UPLOAD_END after the last; ORIGIN_UPLOAD_BROKEN: ends the fetch with E_CANCELED. Never called
     * inside a call of the caller's, and may itself call nothing of the origin's. */
    ssize_t (*read)(struct origin_fetch *fetch, void *to, size_t capacity);
    /* With ORIGIN_UPLOAD_CHUNKED, valid from ORIGIN_UPLOAD_END until done. */
    const struct origin_field *trailers;
    unsigned trailer_count;
};

struct origin_request {
    bool head_only;                       /* HEAD */
    bool ranged;                          /* ask for [first, last] */
    bool want_checksum;                   /* x-amz-checksum-mode: ENABLED */
    uint64_t first, last;                 /* last may be ORIGIN_TO_END */
    struct bytes key;                     /* decoded, 1 to 1,024 bytes */
    struct bytes version_id;              /* or empty */
    struct bytes if_match, if_none_match; /* entity tags as received, or empty */
    struct bytes if_modified_since;       /* a date, for what has no tag; or empty */
    struct bytes request_id;              /* for log lines */

    /* Of kind S3 only, instead of a key: ListObjectsV2 (list.h). */
    bool listing;
    struct bytes prefix, token; /* of keys; of the page, or empty */

    /* Of kind http only, instead of key and version_id. Whatever frames or steers the message on the wire is
     * made below: `fields` hold no Host, Content-Length, Transfer-Encoding, Connection, Expect, TE (a CHECK);
     * the other bytes may come from a client: what can't stand in a request ends with E_SYNTAX. */
    struct bytes method;               /* empty: GET, or HEAD with head_only */
    struct bytes target;               /* "/path?query" as it goes out behind the endpoint's path */
    struct bytes host;                 /* for Host; empty: the endpoint's */
    const struct origin_field *fields; /* in order */
    unsigned field_count;
    bool verbatim;       /* what is asked is all in method, target and fields: the answer is not held against
                          * it, and not resumed */
    bool says_empty;     /* without an upload: Content-Length: 0 is sent */
    bool wants_trailers; /* TE: trailers is sent */
    struct origin_upload *upload; /* or NULL */
};

/* Of an S3 origin and the like status is 200, 206 or 304, everything else is an error at done. An HTTP origin
 * says itself what is: any status from 200 on, and an error only where one of the request's own wishes
 * failed (E_CHANGED, -ERANGE; not verbatim). */
struct origin_head {
    unsigned status;
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
    /* http: a 1xx answer other than 100 and 101, before head; or NULL. */
    void (*interim)(struct origin_fetch *fetch, const struct origin_head *head);
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
    const struct origin_field
        *trailers; /* http, error 0: field lines behind the body; valid until done returns */
    unsigned trailer_count;
    void *implementation; /* the origin's, from start to done */
};

/* In flight from now on, until done. */
void origin_fetch_start(struct origin_client *client, struct origin *origin, struct origin_fetch *fetch);
void origin_fetch_resume(struct origin_fetch *fetch);
/* The upload's read() has more to give, or its end. */
void origin_fetch_feed(struct origin_fetch *fetch);
/* done comes soon, with E_CANCELED. */
void origin_fetch_cancel(struct origin_fetch *fetch);
