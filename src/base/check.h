/*
 * Assertions that stay on in release builds: a failed CHECK is a bug of ours and stops the program with
 * what it knows. What the world does (disk, network, client, origin) is a value, never a CHECK.
 */
#pragma once

#include <assert.h>

_Noreturn void check_failed(const char *expression, const char *file, int line, const char *function);

#define CHECK(expression)                                                                                    \
    (__builtin_expect(!!(expression), 1) ? (void)0 : check_failed(#expression, __FILE__, __LINE__, __func__))

#define UNREACHABLE() check_failed("unreachable", __FILE__, __LINE__, __func__)

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
