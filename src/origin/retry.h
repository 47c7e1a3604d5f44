/*
 * When to try again: jittered exponential back-off within a budget of attempts and of time. Pure: the caller
 * brings time and random numbers.
 *
 * The budget is of one *trouble*: attempts that brought nothing substantial. RETRY_PROGRESS_BYTES end the
 * trouble, so that a transfer of an hour may break more often than one of a second, and still every trouble
 * ends. Fewer bytes restart its clock only (a long wait on a paused reader is not the origin's), never its
 * count of attempts. Waits are drawn from [w/2, w] ("equal jitter"), w doubling from the initial wait to the
 * largest: full jitter would let the first retry of a restarting origin come at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/random.h"

struct retry_policy {
    unsigned max_attempts; /* with the first */
    uint64_t initial_backoff_ns, max_backoff_ns;
    uint64_t budget_ns; /* no attempt of a trouble begins later than this after its first began */
};

struct retry {
    unsigned attempts;   /* begun in this trouble */
    uint64_t trouble_ns; /* when it began */
};

/* Bytes of one attempt that count as progress. */
#define RETRY_PROGRESS_BYTES (UINT64_C(1) << 20)

void retry_attempt(struct retry *retry, uint64_t now_ns);
/* An attempt ends that brought so many bytes of the body. */
void retry_progress(struct retry *retry, uint64_t bytes, uint64_t now_ns);
/* After a failed attempt that may be tried again. True: wait *wait_ns, then retry_attempt. retry_after_ns is
 * the least wait, as the origin asked (0: nothing asked). */
MUST_CHECK bool retry_again(const struct retry *retry, const struct retry_policy *policy, uint64_t now_ns,
    uint64_t retry_after_ns, struct random *random, uint64_t *wait_ns);
/* Retry-After in seconds; dates and nonsense are 0 (a date from S3 is not known, and clocks differ). */
uint64_t retry_after_parse(struct bytes value);
