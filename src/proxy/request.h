/*
 * One request on its way through the steps. It lives in the exchange's memory, belongs to the worker's loop,
 * and its steps call each other forward; nothing runs twice but what request_restart() begins anew.
 *
 * The end has two parts: request_end() lets go of everything at once (flight, reads, items),
 * request_release() follows when no callback is under way any more, counts, logs, and finishes the exchange.
 */
#pragma once

#include "base/clock.h"
#include "http/conditional.h"
#include "http/exchange.h"
#include "http/range.h"
#include "http/request_control.h"
#include "proxy/warm.h"
#include "proxy/worker.h"

#define REQUEST_KEY_MAX 1024
#define REQUEST_SLOTS 8      /* chunks read ahead from disk */
#define REQUEST_SEND_ITEMS 8 /* items held by one send */
#define REQUEST_VECTOR 48
#define REQUEST_ID_LEN 24
#define REQUEST_RESTARTS_MAX 4
#define REQUEST_PRIVATE_BYTES (16u << 10)
#define REQUEST_DISK_PATIENCE_NS (2 * NS_PER_S)

/* A stretch of the reply: text of ours, then bytes of the body. */
struct part {
    struct bytes text;
    uint64_t first, end;
};

struct slot {
    enum { SLOT_EMPTY, SLOT_READING, SLOT_READY, SLOT_FAILED } state;
    uint64_t chunk;
    struct item *item;
    struct cache_get get;
    struct request *request;
};

enum step { STEP_LOOKUP, STEP_FETCH, STEP_DELIVER, STEP_PASS, STEP_END };

struct target;

struct request {
    struct exchange *exchange; /* NULL where `warm` is there: nobody asks, and nothing is sent */
    struct warm *warm;
    struct proxy_worker *worker;
    const struct http_request *http;
    struct arena arena;
    uint64_t started_ns, first_byte_ns, origin_ns;
    uint8_t id[REQUEST_ID_LEN];

    /* route */
    struct bucket *bucket;
    const struct caching *caching; /* of the key */
    struct bytes key, version_id, identity;
    struct bytes base_identity;    /* of the object; `identity` may be a variant's */
    const struct variant *variant; /* that it is made with, or NULL */
    bool variant_known;
    /* Of a generic HTTP origin: the decoded path behind the prefix, what is asked, with which fields. */
    struct bytes path, target;
    struct http_fields shared_fields;

    /* what the client asks */
    struct conditions conditions;
    enum range_verdict range_verdict;
    struct range_set *range_set;
    bool wants_checksum;
    struct request_control control; /* nothing said where the bucket does not honour it */

    /* lookup and fetch */
    enum step step;
    bool pass;        /* nothing is looked up or stored */
    bool authorized;  /* asked with the client's Authorization (RFC 9111 3.5) */
    bool alone;       /* shares no fetch with others */
    bool head_first;  /* the head is asked for before any byte */
    bool whole_only;  /* no strong validator: one whole fetch */
    bool validated;   /* the origin was asked on behalf of this request */
    bool head_missed; /* the head came from the origin */
    bool not_modified, collapsed, storing, asked, head_unreadable;
    bool marked;       /* it passes because of a mark */
    bool negative;     /* it was not there a moment ago, and that is the answer */
    bool served_stale; /* the origin failed, and the stored answer may be used */
    bool vary_missed;  /* others of its variants may be stored */
    bool was_stale;    /* a stored head was asked about: what replaces it is no plain miss */
    unsigned restarts, origin_status;
    struct head head;
    bool head_known;
    uint64_t head_clear_of; /* no purge up to this sequence hides it */
    uint64_t head_read_at;  /* a sequence drawn before it was read from disk */
    struct item *head_item; /* where head borrows from, one of the two */
    struct flight *head_flight;
    enum cache_tier head_tier;
    struct cache_get head_get;
    bool head_reading;
    bool no_disk; /* it keeps us waiting: done without */
    struct flight_waiter waiter;
    struct io_op deadline;
    enum wait { WAIT_NOTHING, WAIT_DISK, WAIT_ORIGIN } wait;
    uint64_t wait_since_ns;

    /* pass */
    struct pass *passing;

    /* deliver */
    unsigned status;
    struct part *parts, single;
    unsigned part_count, part_at;
    bool text_done, begun, sending, ending, gone;
    uint64_t at;
    uint64_t skip_disk_chunk; /* whose disk read failed */
    uint64_t looked_again;    /* chunk that was said to be stored meanwhile: believed once */
    uint64_t led_up_to;       /* bytes before this were fetched for this request once */
    struct slot slots[REQUEST_SLOTS];
    struct item *held[REQUEST_SEND_ITEMS];
    unsigned held_count;
    struct iovec iov[REQUEST_VECTOR];
    struct exchange_send send;
    uint8_t *private_copy;
    struct bytes lines; /* of the reply's head */
    uint64_t reply_len;
    bool close;
    bool dated; /* lines have a Date */

    /* the truth, for log and metrics */
    uint64_t bytes_memory, bytes_disk, bytes_origin;
    const char *error_code;

    _Alignas(16) unsigned char first_block[5120];
};

/* admit.c: the next id. */
void request_make_id(struct proxy *proxy, uint8_t id[REQUEST_ID_LEN]);
/* admit.c: method and limits; then route. */
void request_admit(struct request *request);
/* locate.c: what holds for a key of the bucket. */
const struct caching *request_caching_of(const struct bucket_settings *settings, struct bytes key);
/* locate.c: path to bucket, key and identity; then lookup, or pass. */
void request_route(struct request *request);
/* lookup.c: the origin failed with this status; a stored answer may be used although it is stale: true, and
 * it is being used (RFC 5861 4). */
bool request_use_stale(struct request *request);
/* locate.c: what holds for a key of the bucket. */
const struct caching *request_caching_of(const struct bucket_settings *settings, struct bytes key);
/* locate.c: Range, preconditions and Cache-Control. False: the arena is exhausted. */
MUST_CHECK bool request_read_wishes(struct request *request);
/* locate_http.c: the same as request_route, once the bucket is known. */
void request_route_http(struct request *request, const struct target *target, struct bytes path);
/* locate_http.c: target, key, caching and identity (ptr NULL: too long to be stored), once bucket and key are
 * known. False: the arena is exhausted. */
MUST_CHECK bool request_locate_http(struct request *request, const struct target *target, struct bytes path);
/* locate_http.c: under which a target of this request's generic origin is kept; lies in scratch. False: it is
 * too long. */
MUST_CHECK bool request_http_identity(const struct request *request, struct bytes path, struct bytes key,
    uint8_t scratch[ITEM_KEY_MAX], struct bytes *identity);
/* locate_http.c: whether the path is of a bucket with a generic HTTP origin, which takes any method. */
bool request_is_for_http(const struct proxy *proxy, const struct http_request *http);
/* lookup.c: finds the head, or goes on to fetch; judges freshness, conditionals and ranges. */
void request_lookup(struct request *request);
/* lookup.c: an item found in memory answers it; counts as a request for the item unless this one may have had
 * it stored itself. */
void request_hit(struct request *request, struct item *item);
/* answer.c: a usable head is known: which reply is it? */
void request_answer(struct request *request);
/* fetch.c: asks for the head (and what comes with it) from the origin. */
void request_fetch(struct request *request);
/* lookup.c: the fields that select are known: `identity` becomes the variant's. False: it can't have one. */
bool request_select(struct request *request, const struct variant *variant);
/* fetch.c: what asks whether the stored head still holds. False: the arena is exhausted. */
MUST_CHECK bool request_revalidation(struct request *request, struct flight_spec *spec);
/* fetch.c: asks for the bytes from `at` on; the waiter is in a flight afterwards. False: ended or restarted.
 */
enum fetch_bytes { BYTES_COMING, BYTES_LATER, BYTES_STORED, BYTES_ENDED };
enum fetch_bytes request_fetch_bytes(struct request *request);
/* fetch.c: begins anew with one whole fetch; a reply that has begun is cut. */
enum fetch_bytes request_fetch_whole(struct request *request);
/* fetch.c: the flight failed, or its bytes can't be had. */
void request_flight_failed(struct request *request);
/* watch.c: nothing can be done until something comes, or its deadline passes. */
void request_wait(struct request *request, enum wait wait);
/* deliver.c: the reads under way are given up; from now on without the disk. */
void request_leave_disk(struct request *request);
/* deliver.c: sends parts; call again whenever something changed. */
void request_deliver(struct request *request);
void request_deliver_stop(struct request *request);

/* warm.c: in place of exchange_send, of what may not be stored, of exchange_cut and of exchange_finish. */
void warm_send(struct request *request);
void warm_pass(struct request *request);
void warm_cut(struct request *request);
void warm_release(struct request *request);

/* pass.c: the request and its body to a generic HTTP origin, the answer to the client, nothing stored. */
void request_pass(struct request *request);
void pass_stop(struct request *request); /* its fetch, if one runs, ends soon */
bool pass_busy(const struct request *request);
void pass_free(struct request *request);

/* invalidate.c: what an answer to an unsafe method makes outdated. */
void request_invalidate(struct request *request, const struct origin_head *head);

/* reply.c: complete replies without a stored body. `lines` may be empty. */
void reply_error(struct request *request, unsigned status, const char *message, struct bytes lines);
void reply_head_only(struct request *request, unsigned status, struct bytes lines, uint64_t body_len);
/* reply.c: the X-Request-ID line. */
void reply_write_id(struct writer *w, const uint8_t id[REQUEST_ID_LEN]);
/* reply.c: an error that the origin or a mark is the reason of: with X-Cache and Cache-Status, and Age where
 * it is remembered. */
struct reply_reason {
    unsigned status, retry_after_s;
    const char *message;
    bool stored;          /* it is remembered from now on */
    int64_t age_s, ttl_s; /* of a mark */
};
void reply_failure(struct request *request, const struct reply_reason *reason);
/* reply.c: the field lines of a reply made from request->head, into the arena; ptr NULL on exhaustion. */
enum cache_presence { PRESENT_ALL, PRESENT_SOME, PRESENT_NONE };
struct reply_facts {
    enum cache_presence presence;
    bool in_memory, on_disk;                  /* of what is present */
    struct bytes content_range, content_type; /* content_type replaces the stored one */
    bool checksums, not_modified;
};
struct bytes reply_lines(struct request *request, const struct reply_facts *facts);

/* finish.c */
void request_restart(struct request *request); /* from lookup again, with what was learned */
void request_end(struct request *request);     /* the reply is complete, or nothing can be sent any more */
void request_cut(struct request *request);     /* a begun reply can't be completed */
void request_release(struct request *request); /* if nothing is under way any more */
/* A request that the front refused before it was one: counted and logged; `lines` gets its id. */
void request_refused(struct proxy_worker *worker, const struct io_address *peer, unsigned status,
    const char *message, struct writer *lines);
