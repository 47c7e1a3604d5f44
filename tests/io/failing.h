/*
 * An allocator that fails when a test says so. A layer is compiled for the test with failing_malloc() and its
 * kin in place of the C library's (`failing_args` of this folder's meson.build); what the test itself and
 * other layers allocate comes as ever.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Those from the `first`th on (of 1, 2 ...), `count` of them, UINT64_MAX for all, are refused; counts anew.
 */
void failing_arm(uint64_t first, uint64_t count);
/* No more is refused. How many were asked for. */
uint64_t failing_disarm(void);
/* How many were refused since failing_arm(). */
uint64_t failing_refused(void);

void *failing_malloc(size_t size);
void *failing_calloc(size_t count, size_t size);
void *failing_realloc(void *at, size_t size);
void *failing_aligned_alloc(size_t alignment, size_t size);
char *failing_strdup(const char *text);
