/*
 * One HTTP exchange with S3: signed, sent, its head checked, its body handed on, its deadlines kept.
 *
 * An attempt is either running (between s3_attempt_start and over or s3_attempt_stop) or idle, and may be
 * started again. It knows nothing of retries. Deadlines: connecting (libcurl's), first byte (from the moment
 * the request is sent), stall (from the last byte); none runs while the body's reader has paused. Bodies of
 * answers that are not the object (S3's XML errors) are kept for translation, cut to a bound.
 */
#pragma once

#include <curl/curl.h>

#include "origin/curl_loop.h"
#include "origin/response.h"
#include "origin/s3_request.h"

#define S3_ERROR_BODY_MAX 8192

struct s3_attempt {
    /* The owner's, set before start. */
    struct origin *origin;
    struct curl_loop *curl;
    struct io_loop *loop;
    struct origin_request request; /* what this attempt asks */
    bool fresh;                    /* on a new connection, not a kept one */
    /* A checked 200, 206 or 304. 0, or an error that ends the attempt. */
    int (*head)(struct s3_attempt *attempt, const struct origin_head *head);
    /* As origin_fetch.body. */
    size_t (*body)(struct s3_attempt *attempt, struct bytes bytes);
    /* Ended by itself; idle again. error 0 with `object` false: the status says what was wrong. */
    void (*over)(struct s3_attempt *attempt, int error);
    void (*idle)(struct s3_attempt *attempt); /* busy no longer, after a stop */

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
    struct s3_request built;
    struct alarm alarm;
    int verdict;
    uint64_t begun_ns, sent_ns, last_byte_ns, length, dropped;
    size_t skip; /* of the piece that libcurl will hand over again: taken before the pause */
    bool paused;
};

/* The driver of curl that attempts of this loop share. NULL when memory is short. */
struct curl_loop *s3_attempt_curl(struct io_loop *loop);

void s3_attempt_init(struct s3_attempt *attempt, struct io_loop *loop);
/* 0, or an error, and then it is idle. */
MUST_CHECK int s3_attempt_start(struct s3_attempt *attempt);
void s3_attempt_resume(struct s3_attempt *attempt);
/* Also when idle. over() does not come. */
void s3_attempt_stop(struct s3_attempt *attempt);
/* An op is in flight: its memory must stay. */
bool s3_attempt_busy(const struct s3_attempt *attempt);
