#include "http/request_control.h"

static struct bytes unquoted(struct bytes a)
{
    bool quoted = a.len >= 2 && a.ptr[0] == '"' && a.ptr[a.len - 1] == '"';
    return quoted ? bytes_of(a.ptr + 1, a.len - 2) : a;
}

static void lower_to(int64_t *slot, int64_t seconds)
{
    if (*slot == DELTA_SECONDS_NONE || seconds < *slot)
        *slot = seconds;
}

static void apply(
    struct request_control *control, struct bytes name, bool has_argument, struct bytes argument)
{
    int64_t seconds;
    bool number = delta_seconds_parse(unquoted(argument), &seconds);
    if (bytes_equal_nocase(name, BYTES("no-cache")))
        control->no_cache = true;
    else if (bytes_equal_nocase(name, BYTES("no-store")))
        control->no_store = true;
    else if (bytes_equal_nocase(name, BYTES("only-if-cached")))
        control->only_if_cached = true;
    else if (bytes_equal_nocase(name, BYTES("max-age")))
        lower_to(&control->max_age_s, number ? seconds : 0);
    else if (bytes_equal_nocase(name, BYTES("max-stale")) && (number || !has_argument))
        lower_to(&control->max_stale_s, number ? seconds : DELTA_SECONDS_MAX);
    else if (bytes_equal_nocase(name, BYTES("min-fresh")) && number && seconds > control->min_fresh_s)
        control->min_fresh_s = seconds;
}

void request_control_of(struct request_control *control, const struct http_fields *fields)
{
    struct http_list list = http_list_of(fields, BYTES("cache-control"));
    *control = (struct request_control){.max_age_s = DELTA_SECONDS_NONE,
        .min_fresh_s = DELTA_SECONDS_NONE,
        .max_stale_s = DELTA_SECONDS_NONE};
    for (struct bytes member; http_list_next(&list, &member);) {
        const uint8_t *equals = memchr(member.ptr, '=', member.len);
        size_t len = equals ? (size_t)(equals - member.ptr) : member.len;
        apply(control, bytes_of(member.ptr, len), equals != NULL, bytes_from(member, equals ? len + 1 : len));
    }
    if (!http_fields_find(fields, BYTES("cache-control")))
        control->no_cache = http_list_has(http_list_of(fields, BYTES("pragma")), BYTES("no-cache"));
}

bool request_control_accepts(const struct request_control *control, const struct request_control_facts *facts)
{
    bool fresh = facts->fresh_for_s > 0;
    if (control->no_cache)
        return false;
    /* max-age=0 asks to be sure, also of what came this very second. */
    bool too_old = control->max_age_s == 0 ||
                   (control->max_age_s != DELTA_SECONDS_NONE && facts->age_s > control->max_age_s);
    if (too_old && !(control->max_age_s == 0 && facts->immutable && fresh))
        return false;
    if (control->min_fresh_s != DELTA_SECONDS_NONE && facts->fresh_for_s < control->min_fresh_s)
        return false;
    if (fresh)
        return true;
    return control->max_stale_s != DELTA_SECONDS_NONE && facts->stale_allowed &&
           -facts->fresh_for_s <= control->max_stale_s;
}
