#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.ptr[i]) != fold(b.ptr[i]))
            return false;
    return true;
}

bool bytes_start_with(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

struct bytes bytes_trim(struct bytes a)
{
    while (a.len > 0 && (a.ptr[0] == ' ' || a.ptr[0] == '\t'))
        a.ptr++, a.len--;
    while (a.len > 0 && (a.ptr[a.len - 1] == ' ' || a.ptr[a.len - 1] == '\t'))
        a.len--;
    return a;
}

struct bytes bytes_from(struct bytes a, size_t from)
{
    CHECK(from <= a.len);
    return bytes_of(from > 0 ? a.ptr + from : a.ptr, a.len - from);
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool bytes_to_u64(struct bytes a, uint64_t *value)
{
    uint64_t sum = 0;
    if (a.len == 0)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        unsigned digit = (unsigned)a.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    *value = sum;
    return true;
}

struct bytes read_bytes(struct reader *r, size_t len)
{
    if (r->failed || len > reader_left(r)) {
        r->failed = true;
        return bytes_of(r->at, 0);
    }
    struct bytes taken = bytes_of(r->at, len);
    if (len > 0)
        r->at += len;
    return taken;
}

static uint64_t read_little(struct reader *r, size_t width)
{
    struct bytes taken = read_bytes(r, width);
    uint64_t value = 0;
    for (size_t i = 0; i < taken.len; i++)
        value |= (uint64_t)taken.ptr[i] << (8 * i);
    return value;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_little(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_little(r, 2);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_little(r, 4);
}

uint64_t read_u64(struct reader *r)
{
    return read_little(r, 8);
}

void write_bytes(struct writer *w, struct bytes a)
{
    if (w->failed || a.len > (size_t)(w->end - w->at)) {
        w->failed = true;
        return;
    }
    if (a.len == 0)
        return;
    memcpy(w->at, a.ptr, a.len);
    w->at += a.len;
}

static void write_little(struct writer *w, uint64_t value, size_t width)
{
    uint8_t little[8];
    for (size_t i = 0; i < width; i++)
        little[i] = (uint8_t)(value >> (8 * i));
    write_bytes(w, bytes_of(little, width));
}

void write_u8(struct writer *w, uint8_t value)
{
    write_little(w, value, 1);
}

void write_u16(struct writer *w, uint16_t value)
{
    write_little(w, value, 2);
}

void write_u32(struct writer *w, uint32_t value)
{
    write_little(w, value, 4);
}

void write_u64(struct writer *w, uint64_t value)
{
    write_little(w, value, 8);
}

void write_decimal(struct writer *w, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    write_bytes(w, bytes_of(digits + at, sizeof digits - at));
}

void write_hex(struct writer *w, struct bytes a)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < a.len; i++) {
        uint8_t pair[2] = {(uint8_t)digits[a.ptr[i] >> 4], (uint8_t)digits[a.ptr[i] & 15]};
        write_bytes(w, bytes_of(pair, 2));
    }
}

void write_percent(struct writer *w, uint8_t c)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t text[3] = {'%', (uint8_t)digits[c >> 4], (uint8_t)digits[c & 15]};
    write_bytes(w, bytes_of(text, sizeof text));
}

void write_format(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t left = (size_t)(w->end - w->at);
    int len = w->failed ? 0 : vsnprintf((char *)w->at, left, format, args);
    va_end(args);
    /* vsnprintf needs one byte more than the text, for its NUL. */
    if (len < 0 || (size_t)len >= left + (left == 0 && len == 0))
        w->failed = true;
    else
        w->at += len;
}
