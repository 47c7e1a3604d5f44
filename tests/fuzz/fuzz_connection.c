/*
 * A whole connection over the fake driver: what a client gets does not depend on timing; with a reset or a
 * stop in the middle nothing is lost. The first two bytes are the seed and the disturbance.
 */
#include <stdlib.h>

#include "../http/fake_talk.h"
#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2 || len > 2048)
        return 0;
    struct bytes input = bytes_of(data + 2, len - 2);
    struct talk talk = {.seed = data[0]};
    struct bytes one = fake_talk(&talk, input);
    talk.seed += 1000;
    talk.reset_ns = (data[1] & 127) * 200 * NS_PER_US;
    talk.stop = data[1] & 128;
    struct bytes other = fake_talk(&talk, input);
    if (talk.reset_ns == 0)
        CHECK(bytes_equal(one, other));
    else if (!talk.stop)
        CHECK(bytes_start_with(one, other));
    free((void *)(uintptr_t)one.ptr);
    free((void *)(uintptr_t)other.ptr);
    return 0;
}
