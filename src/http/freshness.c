#include "http/freshness.h"

#include "http/date.h"

static int64_t clamp(int64_t seconds)
{
    if (seconds < 0)
        return 0;
    return seconds > DELTA_SECONDS_MAX ? DELTA_SECONDS_MAX : seconds;
}

/* a - b for times that the network chose. */
static int64_t difference(int64_t a, int64_t b)
{
    int64_t result;
    if (__builtin_sub_overflow(a, b, &result))
        return a > b ? INT64_MAX : INT64_MIN;
    return result;
}

/* RFC 9111 5.3: a malformed date, "0" above all, means already expired. */
static int64_t expires_lifetime(const struct freshness_input *input)
{
    int64_t expires_s;
    if (!date_parse(bytes_trim(input->expires), input->now_s, &expires_s))
        return 0;
    return difference(expires_s, input->date_s);
}

static struct freshness speak(enum freshness_source source, int64_t lifetime_s)
{
    return (struct freshness){.source = source, .store = true, .lifetime_s = clamp(lifetime_s)};
}

struct freshness freshness_of(const struct freshness_input *input)
{
    const struct cache_control *control = input->control;
    if (control->no_store || control->is_private)
        return (struct freshness){.source = FRESHNESS_NO_STORE};
    if (control->no_cache)
        return speak(FRESHNESS_NO_CACHE, 0);
    if (control->s_maxage_s != DELTA_SECONDS_NONE)
        return speak(FRESHNESS_S_MAXAGE, control->s_maxage_s);
    if (control->max_age_s != DELTA_SECONDS_NONE)
        return speak(FRESHNESS_MAX_AGE, control->max_age_s);
    if (input->expires.ptr)
        return speak(FRESHNESS_EXPIRES, expires_lifetime(input));
    if (input->bucket_ttl_s != DELTA_SECONDS_NONE)
        return speak(FRESHNESS_BUCKET, input->bucket_ttl_s);
    return speak(FRESHNESS_DEFAULT, input->default_ttl_s);
}

int64_t freshness_heuristic(int64_t date_s, int64_t last_modified_s, int64_t max_s)
{
    int64_t tenth_s = clamp(difference(date_s, last_modified_s) / 10);
    return tenth_s < max_s ? tenth_s : clamp(max_s);
}

int64_t age_initial(const struct age_input *input)
{
    int64_t apparent_s = clamp(difference(input->response_time_s, input->date_s));
    int64_t delay_s = clamp(difference(input->response_time_s, input->request_time_s));
    int64_t corrected_s = clamp(clamp(input->age_value_s) + delay_s);
    return apparent_s > corrected_s ? apparent_s : corrected_s;
}

int64_t age_current(int64_t initial_age_s, int64_t response_time_s, int64_t now_s)
{
    return clamp(clamp(initial_age_s) + clamp(difference(now_s, response_time_s)));
}

/* RFC 9111 5.1: "if more than one value is received, the first is used". */
int64_t age_parse(struct bytes value)
{
    const uint8_t *comma = value.len > 0 ? memchr(value.ptr, ',', value.len) : NULL;
    int64_t seconds;
    if (comma)
        value.len = (size_t)(comma - value.ptr);
    return delta_seconds_parse(bytes_trim(value), &seconds) ? seconds : 0;
}
