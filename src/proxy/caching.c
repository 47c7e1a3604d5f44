#include "proxy/caching.h"

/* Greedy, with one place to return to: linear in pattern times key at worst. */
bool caching_pattern_matches(const char *pattern, struct bytes key)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;
    while (at < key.len) {
        if (*pattern == '*') {
            star = ++pattern;
            star_at = at;
        } else if (*pattern && (*pattern == '?' || (uint8_t)*pattern == key.ptr[at])) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

int64_t caching_status_ttl(const struct caching *caching, unsigned status)
{
    for (unsigned i = 0; i < caching->status_count; i++)
        if (caching->statuses[i].status == status)
            return caching->statuses[i].ttl_s;
    return DELTA_SECONDS_NONE;
}
