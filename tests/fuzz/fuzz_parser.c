/* Any split of a stream gives the same requests. The first byte seeds the split. */
#include <stdlib.h>

#include "../http/describe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct http_limits limits = {
    .max_target_bytes = 100, .max_header_bytes = 400, .max_fields = 8, .max_body_bytes = 200};

static char *split(const uint8_t *data, size_t len, uint32_t seed)
{
    static struct describe describe;
    describe_begin(&describe, &limits);
    for (size_t at = 0, step; at < len; at += step) {
        seed = seed * 1664525 + 1013904223;
        step = 1 + (seed >> 24) % 16;
        step = len - at < step ? len - at : step;
        describe_feed(&describe, bytes_of(data + at, step));
    }
    return strdup(describe_end(&describe));
}

static char *whole(const uint8_t *data, size_t len)
{
    static struct describe describe;
    describe_begin(&describe, &limits);
    describe_feed(&describe, bytes_of(data, len));
    return strdup(describe_end(&describe));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1 || len > 4096)
        return 0;
    char *one = whole(data + 1, len - 1), *other = split(data + 1, len - 1, data[0]);
    CHECK(strcmp(one, other) == 0);
    free(one);
    free(other);
    return 0;
}
