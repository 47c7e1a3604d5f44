/*
 * How far a prewarm job is, in one line: with a bar once all its keys are known. Pure.
 */
#pragma once

#include "base/bytes.h"

struct cache_progress {
    uint64_t keys, done, failed; /* known; of these finished; of these in vain */
    bool keys_complete;
    uint64_t fetched_bytes, duration_ms;
};

#define CACHE_PROGRESS_MAX 200

/* At most `columns` wide where that is 40 or more; no line end. */
void cache_progress_write(struct writer *w, const struct cache_progress *progress, unsigned columns);
/* "12.3 MiB" */
void cache_progress_write_bytes(struct writer *w, uint64_t bytes);
