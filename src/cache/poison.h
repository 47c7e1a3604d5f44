/* Under AddressSanitizer memory that nobody holds is poisoned by hand, so that a use after the last reference
 * is caught. */
#pragma once

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONS 1
#endif
#endif

#ifdef POISONS
#include <sanitizer/asan_interface.h>
#endif

static inline void poison(const void *at, size_t len)
{
#ifdef POISONS
    ASAN_POISON_MEMORY_REGION(at, len);
#else
    (void)at, (void)len;
#endif
}

static inline void unpoison(const void *at, size_t len)
{
#ifdef POISONS
    ASAN_UNPOISON_MEMORY_REGION(at, len);
#else
    (void)at, (void)len;
#endif
}
