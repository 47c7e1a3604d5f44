/*
 * Borrowed bytes and bounded cursors over them.
 *
 * A `struct bytes` owns nothing: it is valid as long as what it points into. The reader and the writer carry
 * a sticky error: past the first short read or full buffer every call is harmless (reads give zeroes), and
 * the caller asks once, at the end. Integers are little-endian.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

struct bytes {
    const uint8_t *ptr;
    size_t len;
};

#define BYTES(literal) ((struct bytes){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){(const uint8_t *)ptr, len};
}

static inline struct bytes bytes_of_string(const char *string)
{
    return bytes_of(string, strlen(string));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case folded; other bytes compare as they are. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_start_with(struct bytes a, struct bytes prefix);
/* Without leading and trailing SP and HTAB (OWS of RFC 9110 5.6.3). */
struct bytes bytes_trim(struct bytes a);
/* From `from` (at most a.len) to the end. */
struct bytes bytes_from(struct bytes a, size_t from);
/* Order of memcmp, shorter first. */
int bytes_compare(struct bytes a, struct bytes b);

/* Strict decimal: digits only, at least one, no sign, no overflow. */
MUST_CHECK bool bytes_to_u64(struct bytes a, uint64_t *value);

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct reader reader_of(struct bytes a)
{
    /* Nothing is added to NULL, which C leaves undefined even for 0. */
    return (struct reader){a.ptr, a.len > 0 ? a.ptr + a.len : a.ptr, false};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* Empty on failure. */
struct bytes read_bytes(struct reader *r, size_t len);

struct writer {
    uint8_t *start, *at, *end;
    bool failed;
};

static inline struct writer writer_of(void *buf, size_t capacity)
{
    uint8_t *start = (uint8_t *)buf;
    return (struct writer){start, start, capacity > 0 ? start + capacity : start, false};
}

static inline struct bytes writer_bytes(const struct writer *w)
{
    return bytes_of(w->start, (size_t)(w->at - w->start));
}

void write_u8(struct writer *w, uint8_t value);
void write_u16(struct writer *w, uint16_t value);
void write_u32(struct writer *w, uint32_t value);
void write_u64(struct writer *w, uint64_t value);
void write_bytes(struct writer *w, struct bytes a);
/* Decimal text. */
void write_decimal(struct writer *w, uint64_t value);
/* Lower-case hexadecimal text of the bytes. */
void write_hex(struct writer *w, struct bytes a);
/* %XX, with upper-case digits (RFC 3986 2.1). */
void write_percent(struct writer *w, uint8_t c);
/* Formatted text, without the terminating NUL. */
void write_format(struct writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
