/*
 * HTTP dates (RFC 9110 5.6.7): IMF-fixdate, RFC 850 and asctime are read, IMF-fixdate is written.
 *
 * Strict and case-sensitive, with ranges checked (no 30 February); second 60 is accepted as the next minute's
 * first. The day's name must be a day's name, but is not compared with the date. Times are seconds since 1970
 * UTC. Pure.
 */
#pragma once

#include "base/bytes.h"

#define DATE_LEN 29

/* `now_s` decides the century of a two-digit year: more than 50 years ahead means the past. */
MUST_CHECK bool date_parse(struct bytes text, int64_t now_s, int64_t *seconds);

/* Years 0000 to 9999; out of that it is clamped. No terminating NUL. */
void date_format(int64_t seconds, uint8_t text[DATE_LEN]);
