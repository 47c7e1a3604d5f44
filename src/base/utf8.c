#include "base/utf8.h"

static size_t length_of(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* RFC 3629 section 4: only the second byte's range depends on the first. */
static bool second_fits(uint8_t lead, uint8_t second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0 && second <= 0xBF;
    case 0xED:
        return second >= 0x80 && second <= 0x9F;
    case 0xF0:
        return second >= 0x90 && second <= 0xBF;
    case 0xF4:
        return second >= 0x80 && second <= 0x8F;
    default:
        return second >= 0x80 && second <= 0xBF;
    }
}

size_t utf8_first(struct bytes a)
{
    size_t len = a.len > 0 ? length_of(a.ptr[0]) : 0;
    if (len > a.len)
        return 0;
    if (len > 1 && !second_fits(a.ptr[0], a.ptr[1]))
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((a.ptr[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

bool utf8_valid(struct bytes a)
{
    while (a.len > 0) {
        size_t len = utf8_first(a);
        if (len == 0)
            return false;
        a = bytes_from(a, len);
    }
    return true;
}
