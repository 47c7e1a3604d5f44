/* Structured fields: what is valid can be walked and decoded to its end. */
#include <stdlib.h>

#include "http/cache_control.h"
#include "http/structured.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct structured_value *value)
{
    uint8_t *buf = malloc(value->text.len + 1);
    CHECK(buf);
    if (value->type != STRUCTURED_INNER)
        CHECK(structured_decode(value, buf).len <= value->text.len);
    free(buf);
}

static void use_member(const struct structured_member *member)
{
    struct bytes rest = member->value.text, parameters = member->parameters, key;
    use(&member->value);
    if (member->value.type == STRUCTURED_INNER)
        for (struct structured_member item; structured_next_inner(&rest, &item);)
            use_member(&item);
    for (struct structured_value value; structured_next_parameter(&parameters, &key, &value);)
        use(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int kind = STRUCTURED_ITEM; kind <= STRUCTURED_DICTIONARY; kind++) {
        struct bytes rest = bytes_of(data, size);
        if (!structured_check((enum structured_kind)kind, rest))
            continue;
        unsigned count = 0;
        for (struct structured_member m; structured_next_member((enum structured_kind)kind, &rest, &m);
             count++)
            use_member(&m);
        CHECK(kind != STRUCTURED_ITEM || count == 1);
    }
    struct cache_control control;
    cache_control_init(&control);
    (void)!cache_control_targeted(&control, bytes_of(data, size));
    CHECK(control.max_age_s >= DELTA_SECONDS_NONE && control.max_age_s <= DELTA_SECONDS_MAX);
    return 0;
}
