/*
 * One HTTP exchange with an origin, S3 or any: built (and for S3 signed), sent, its head checked, its body
 * handed on, its deadlines kept.
 *
 * An attempt is either running (between attempt_start and over or attempt_stop) or idle, and may be started
 * again. It knows nothing of retries. Deadlines: connecting (libcurl's); while a body is sent, stall from the
 * last byte of it; first byte (from the end of the request); stall (from the last byte). None runs while the
 * answer's reader or the upload's writer has paused: that is their time. Bodies of S3's answers that are not
 * the object (its XML errors) are kept for translation, cut to a bound.
 *
 * libcurl sends a request once more by itself where a kept connection dies before it answers. So whatever may
 * have an effect goes out on a connection of its own.
 */
#pragma once

#include <curl/curl.h>

#include "origin/backend.h"
#include "origin/curl_loop.h"
#include "origin/outgoing.h"
#include "origin/response.h"

#define S3_ERROR_BODY_MAX 8192

struct attempt {
    /* The owner's, set before start. */
    struct origin *origin;
    struct curl_loop *curl;
    struct io_loop *loop;
    struct origin_request request; /* what this attempt asks */
    bool fresh;                    /* on a new connection, not a kept one */
    /* Of S3 a checked 200, 206 or 304, of any other the head as it is. 0, or an error that ends the attempt.
     */
    int (*head)(struct attempt *attempt, const struct origin_head *head);
    /* As origin_fetch.body. */
    size_t (*body)(struct attempt *attempt, struct bytes bytes);
    void (*interim)(struct attempt *attempt, const struct origin_head *head);
    /* As origin_upload.read; where request.upload is set. */
    ssize_t (*upload)(struct attempt *attempt, void *to, size_t capacity);
    /* Ended by itself; idle again. error 0 with `object` false: the status says what was wrong. */
    void (*over)(struct attempt *attempt, int error);
    void (*idle)(struct attempt *attempt); /* busy no longer, after a stop */

    /* What came. */
    struct response response;
    bool object;            /* head() was told: the body is the object's */
    bool may_retry;         /* at over(error < 0): the connection's fault, not the answer's */
    uint64_t got;           /* bytes taken by body() */
    uint64_t first_byte_ns; /* 0: none */
    size_t error_len;
    char error_body[S3_ERROR_BODY_MAX];
    char tls_text[CURL_ERROR_SIZE];

    /* Private. */
    CURL *easy; /* NULL: idle */
    struct outgoing built;
    struct alarm alarm;
    int verdict;
    bool answered; /* the answer was complete though the transfer was not: 417 */
    uint64_t begun_ns, sent_ns, uploaded_ns, last_byte_ns, length, dropped;
    size_t skip; /* of the piece that libcurl will hand over again: taken before the pause */
    bool paused;
    enum { UPLOAD_NONE, UPLOAD_RUNNING, UPLOAD_PAUSED } upload_state; /* none: or all of it was sent */
};

/* The driver of curl that attempts of this loop share. NULL when memory is short. */
struct curl_loop *attempt_curl(struct io_loop *loop);

/* Of a request's method (empty: GET or HEAD): it changes nothing (RFC 9110 9.2.1). */
bool attempt_is_safe(struct bytes method);

void attempt_init(struct attempt *attempt, struct io_loop *loop);
/* 0, or an error, and then it is idle. */
MUST_CHECK int attempt_start(struct attempt *attempt);
/* The body's reader, the upload's writer: whichever has paused goes on. */
void attempt_resume(struct attempt *attempt, bool reader, bool writer);
/* Also when idle. over() does not come. */
void attempt_stop(struct attempt *attempt);
/* An op is in flight: its memory must stay. */
bool attempt_busy(const struct attempt *attempt);
