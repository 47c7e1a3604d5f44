/* Apart from random.c, so that a simulation can link its own, seeded, in place of this one. */
#include <sys/random.h>

#include "base/check.h"
#include "base/random.h"

void random_os(void *buf, size_t len)
{
    uint8_t *at = buf;
    while (len > 0) {
        ssize_t got = getrandom(at, len < 256 ? len : 256, 0);
        CHECK(got > 0);
        at += got;
        len -= (size_t)got;
    }
}
