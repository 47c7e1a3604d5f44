/* Conditionals with their dates and tags. The input's lines are the five fields and the stored tag. */
#include "http/conditional.h"
#include "http/date.h"
#include "http/etag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW INT64_C(1700000000)

static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes line = bytes_of(rest->ptr, len);
    *rest = bytes_from(*rest, end ? len + 1 : len);
    return len == 0 ? bytes_of(NULL, 0) : line;
}

/* A date that is read and written is the same date. */
static void check_date(struct bytes text)
{
    int64_t seconds, again;
    uint8_t out[DATE_LEN];
    if (!date_parse(text, NOW, &seconds))
        return;
    date_format(seconds, out);
    CHECK(seconds > INT64_C(253402300799) ||
          (date_parse(bytes_of(out, DATE_LEN), NOW, &again) && again == seconds));
}

/* A tag matches its own list, unless it is weak and the comparison strong. */
static void check_tag(struct bytes text)
{
    struct etag tag;
    if (!etag_parse(text, &tag))
        return;
    CHECK(etag_list_match(text, &tag, ETAG_WEAK) == ETAG_MATCH);
    CHECK(etag_list_match(text, &tag, ETAG_STRONG) == (tag.weak ? ETAG_NO_MATCH : ETAG_MATCH));
}

static void check_evaluation(const struct conditions *conditions, const struct validators *stored)
{
    for (int method = CONDITIONAL_GET; method <= CONDITIONAL_OTHER; method++) {
        struct conditional got =
            conditional_evaluate(conditions, stored, (enum conditional_method)method, true, NOW);
        CHECK(!got.range_applies || (method == CONDITIONAL_GET && got.verdict == CONDITIONAL_PROCEED));
        CHECK(got.verdict != CONDITIONAL_NOT_MODIFIED || method != CONDITIONAL_OTHER);
        CHECK(got.verdict == CONDITIONAL_PROCEED || conditions_any(conditions));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    struct conditions conditions = {.if_match = take_line(&rest)};
    conditions.if_none_match = take_line(&rest);
    conditions.if_modified_since = take_line(&rest);
    conditions.if_unmodified_since = take_line(&rest);
    conditions.if_range = take_line(&rest);
    struct validators stored = {.etag = take_line(&rest), .last_modified_s = 784111777, .date_s = NOW};
    check_date(conditions.if_match);
    check_date(conditions.if_modified_since);
    check_tag(conditions.if_match);
    check_tag(stored.etag);
    check_evaluation(&conditions, &stored);
    stored.has_last_modified = true;
    check_evaluation(&conditions, &stored);
    return 0;
}
