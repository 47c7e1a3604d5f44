/* Vary and what requests have to agree in; request directives. Lines: Vary values, an empty line,
 * Accept-Encoding and Cache-Control values in turn. */
#include "http/request_control.h"
#include "http/vary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes next_line(struct bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    struct bytes line = bytes_of(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
    *rest = bytes_from(*rest, end ? line.len + 1 : line.len);
    return line;
}

static void check_names(const struct vary_names *names)
{
    struct vary_names again;
    vary_init(&again);
    CHECK(vary_add(&again, vary_text(names)) != VARY_NEVER);
    CHECK(bytes_equal(vary_text(&again), vary_text(names)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), line;
    struct vary_names names;
    struct http_field lines[8];
    struct http_fields fields = {.fields = lines};
    bool never = false;
    vary_init(&names);
    while ((line = next_line(&rest)).len > 0)
        never |= vary_add(&names, line) == VARY_NEVER;
    if (!never)
        check_names(&names);
    for (; rest.len > 0 && fields.count < 8; fields.count++)
        lines[fields.count] = (struct http_field){
            fields.count % 2 ? BYTES("cache-control") : BYTES("accept-encoding"), next_line(&rest)};
    uint8_t text[4096];
    struct writer w = writer_of(text, sizeof text);
    vary_values(BYTES("accept-encoding,cache-control"), &fields, &w);
    struct request_control control;
    request_control_of(&control, &fields);
    CHECK(control.max_age_s >= DELTA_SECONDS_NONE && control.max_stale_s <= DELTA_SECONDS_MAX);
    return 0;
}
