#include "failing.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t calls, refused;
static _Atomic uint64_t first_failing = UINT64_MAX, failing;

void failing_arm(uint64_t first, uint64_t count)
{
    calls = refused = 0;
    failing = count;
    first_failing = first;
}

uint64_t failing_disarm(void)
{
    first_failing = UINT64_MAX;
    return calls;
}

uint64_t failing_refused(void)
{
    return refused;
}

static bool fails(void)
{
    uint64_t call = atomic_fetch_add(&calls, 1) + 1, first = first_failing;
    bool fail = call >= first && call - first < failing;
    refused += fail;
    return fail;
}

void *failing_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

void *failing_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

void *failing_realloc(void *at, size_t size)
{
    return fails() ? NULL : realloc(at, size);
}

void *failing_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : aligned_alloc(alignment, size);
}

char *failing_strdup(const char *text)
{
    return fails() ? NULL : strdup(text);
}
