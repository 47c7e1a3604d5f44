#include "http/cache_status.h"

static const char *const fwd_names[] = {
    [CACHE_STATUS_HIT] = "",
    [CACHE_STATUS_BYPASS] = "bypass",
    [CACHE_STATUS_METHOD] = "method",
    [CACHE_STATUS_URI_MISS] = "uri-miss",
    [CACHE_STATUS_VARY_MISS] = "vary-miss",
    [CACHE_STATUS_MISS] = "miss",
    [CACHE_STATUS_REQUEST] = "request",
    [CACHE_STATUS_STALE] = "stale",
    [CACHE_STATUS_PARTIAL] = "partial",
};

static const char *const detail_names[] = {
    [CACHE_STATUS_NO_DETAIL] = "",
    [CACHE_STATUS_MEMORY] = "memory",
    [CACHE_STATUS_DISK] = "disk",
    [CACHE_STATUS_MIXED] = "mixed",
};

static void write_parameter(struct writer *w, const char *name, const char *value)
{
    write_bytes(w, BYTES("; "));
    write_bytes(w, bytes_of_string(name));
    write_u8(w, '=');
    write_bytes(w, bytes_of_string(value));
}

static void write_number(struct writer *w, const char *name, int64_t value)
{
    write_parameter(w, name, value < 0 ? "-" : "");
    write_decimal(w, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

/* RFC 8941 integers have at most 15 digits. */
static int64_t clamp_integer(int64_t value)
{
    const int64_t max = INT64_C(999999999999999);
    return value > max ? max : value < -max ? -max : value;
}

void cache_status_write(const struct cache_status *status, struct writer *w)
{
    CHECK(status->fwd < sizeof fwd_names / sizeof *fwd_names);
    CHECK(status->detail < sizeof detail_names / sizeof *detail_names);
    write_bytes(w, BYTES("Yatagarasu"));
    if (status->fwd == CACHE_STATUS_HIT) {
        write_bytes(w, BYTES("; hit"));
    } else {
        write_parameter(w, "fwd", fwd_names[status->fwd]);
        if (status->fwd_status)
            write_number(w, "fwd-status", status->fwd_status);
        if (status->stored)
            write_bytes(w, BYTES("; stored"));
        if (status->collapsed)
            write_bytes(w, BYTES("; collapsed"));
    }
    if (status->has_ttl)
        write_number(w, "ttl", clamp_integer(status->ttl_s));
    if (status->detail != CACHE_STATUS_NO_DETAIL)
        write_parameter(w, "detail", detail_names[status->detail]);
}

struct bytes cache_status_x_cache(const struct cache_status *status)
{
    switch (status->fwd) {
    case CACHE_STATUS_HIT:
        return BYTES("HIT");
    case CACHE_STATUS_BYPASS:
    case CACHE_STATUS_METHOD:
    case CACHE_STATUS_REQUEST:
        return BYTES("BYPASS");
    case CACHE_STATUS_STALE:
        return status->fwd_status == 304 ? BYTES("REVALIDATED") : BYTES("STALE");
    case CACHE_STATUS_PARTIAL:
        return BYTES("PARTIAL");
    case CACHE_STATUS_URI_MISS:
    case CACHE_STATUS_VARY_MISS:
    case CACHE_STATUS_MISS:
        return BYTES("MISS");
    }
    UNREACHABLE();
}
