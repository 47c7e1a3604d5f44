#include "origin/retry.h"

#include "base/clock.h"

#define RETRY_AFTER_MAX_S UINT64_C(86400)

void retry_attempt(struct retry *retry, uint64_t now_ns)
{
    if (retry->attempts++ == 0)
        retry->trouble_ns = now_ns;
}

void retry_progress(struct retry *retry, uint64_t bytes, uint64_t now_ns)
{
    if (bytes > 0)
        retry->trouble_ns = now_ns;
    if (bytes >= RETRY_PROGRESS_BYTES)
        retry->attempts = 0;
}

/* Doubles without overflow. */
static uint64_t backoff_ns(const struct retry_policy *policy, unsigned failures)
{
    uint64_t wait = policy->initial_backoff_ns;
    for (unsigned i = 1; i < failures && wait < policy->max_backoff_ns; i++)
        wait = wait > UINT64_MAX / 2 ? UINT64_MAX : wait * 2;
    return wait < policy->max_backoff_ns ? wait : policy->max_backoff_ns;
}

bool retry_again(const struct retry *retry, const struct retry_policy *policy, uint64_t now_ns,
    uint64_t retry_after_ns, struct random *random, uint64_t *wait_ns)
{
    if (retry->attempts >= policy->max_attempts)
        return false;
    uint64_t wait = backoff_ns(policy, retry->attempts == 0 ? 1 : retry->attempts);
    wait -= random_below(random, wait / 2 + 1);
    if (wait < retry_after_ns)
        wait = retry_after_ns;
    uint64_t spent = retry->attempts == 0 ? 0 : now_ns - retry->trouble_ns;
    if (spent > policy->budget_ns || wait > policy->budget_ns - spent)
        return false;
    *wait_ns = wait;
    return true;
}

uint64_t retry_after_parse(struct bytes value)
{
    uint64_t seconds;
    if (!bytes_to_u64(bytes_trim(value), &seconds))
        return 0;
    return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * NS_PER_S;
}
