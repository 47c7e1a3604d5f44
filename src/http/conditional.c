#include "http/conditional.h"

#include "http/date.h"
#include "http/etag.h"

enum outcome { ABSENT, HOLDS, FAILS };

bool conditions_any(const struct conditions *conditions)
{
    return conditions->if_match.ptr || conditions->if_none_match.ptr || conditions->if_modified_since.ptr ||
           conditions->if_unmodified_since.ptr || conditions->if_range.ptr;
}

static enum etag_match match(struct bytes list, const struct validators *stored, enum etag_comparison how)
{
    struct etag tag;
    bool has_tag = etag_parse(stored->etag, &tag);
    return etag_list_match(list, has_tag ? &tag : NULL, how);
}

/* RFC 9110 13.1.1 */
static enum outcome if_match(const struct conditions *conditions, const struct validators *stored)
{
    if (!conditions->if_match.ptr)
        return ABSENT;
    return match(conditions->if_match, stored, ETAG_STRONG) == ETAG_MATCH ? HOLDS : FAILS;
}

/* RFC 9110 13.1.2 */
static enum outcome if_none_match(const struct conditions *conditions, const struct validators *stored)
{
    if (!conditions->if_none_match.ptr)
        return ABSENT;
    return match(conditions->if_none_match, stored, ETAG_WEAK) == ETAG_MATCH ? FAILS : HOLDS;
}

/* RFC 9110 13.1.3 and 13.1.4: HOLDS where the object was modified after the date. */
static enum outcome modified_since(struct bytes date, const struct validators *stored, int64_t now_s)
{
    int64_t since_s;
    if (!date.ptr || !stored->has_last_modified || !date_parse(bytes_trim(date), now_s, &since_s))
        return ABSENT;
    return stored->last_modified_s > since_s ? HOLDS : FAILS;
}

/* RFC 9110 13.1.5. */
static bool if_range_holds(struct bytes value, const struct validators *stored, int64_t now_s)
{
    struct etag theirs, ours;
    int64_t date_s;
    value = bytes_trim(value);
    if (etag_parse(value, &theirs))
        return etag_parse(stored->etag, &ours) && etag_strong_equal(theirs, ours);
    if (!date_parse(value, now_s, &date_s) || !stored->has_last_modified)
        return false;
    bool strong = stored->date_s > stored->last_modified_s;
    return strong && date_s == stored->last_modified_s;
}

static struct conditional verdict(enum conditional_verdict verdict)
{
    return (struct conditional){.verdict = verdict};
}

struct conditional conditional_evaluate(const struct conditions *conditions, const struct validators *stored,
    enum conditional_method method, bool has_range, int64_t now_s)
{
    bool reads = method != CONDITIONAL_OTHER;
    enum outcome result = if_match(conditions, stored); /* step 1 */
    if (result == FAILS)
        return verdict(CONDITIONAL_FAILED);
    if (result == ABSENT &&
        modified_since(conditions->if_unmodified_since, stored, now_s) == HOLDS) /* step 2 */
        return verdict(CONDITIONAL_FAILED);
    result = if_none_match(conditions, stored); /* step 3 */
    if (result == FAILS)
        return verdict(reads ? CONDITIONAL_NOT_MODIFIED : CONDITIONAL_FAILED);
    if (result == ABSENT && reads && /* step 4 */
        modified_since(conditions->if_modified_since, stored, now_s) == FAILS)
        return verdict(CONDITIONAL_NOT_MODIFIED);
    struct conditional proceed = verdict(CONDITIONAL_PROCEED);
    proceed.range_applies =
        method == CONDITIONAL_GET && has_range && /* step 5 */
        (!conditions->if_range.ptr || if_range_holds(conditions->if_range, stored, now_s));
    return proceed;
}
