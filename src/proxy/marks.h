/*
 * Short memories of what has no item: that an object was not there (negative), and that an answer might not
 * be stored (pass: who asks next need not wait for a fetch that can't be shared).
 *
 * A table of fixed size, allocated once: sets of four marks, a lock per stripe of sets. A new mark takes the
 * place of an expired one or of the one that ends soonest, so a scan of random names displaces other marks
 * and nothing else. A mark is known by a 128-bit hash with a random seed, not by its key: it lives for
 * seconds, and 32 bytes each let 1 % of the memory tier's budget hold what items of the tier (at least 4 KiB
 * each) could not in 5 % (docs/decisions/marks.md).
 *
 * What removes objects calls marks_clear(): all marks go at once, and none is made any more from what was
 * asked before. Threads: any. Times are seconds of one monotonic clock.
 */
#pragma once

#include "base/bytes.h"

struct marks;

enum mark_kind { MARK_NONE, MARK_NEGATIVE, MARK_PASS };

struct mark {
    enum mark_kind kind;
    uint16_t status;          /* negative: what the client gets */
    uint32_t made_s, until_s; /* holds while now < until */
};

/* -ENOMEM. `bytes` is rounded down to a power of two, at least 8 KiB. */
MUST_CHECK int marks_create(struct marks **marks, uint64_t bytes);
void marks_destroy(struct marks *marks);

/* MARK_NONE where there is none that holds. */
struct mark marks_find(struct marks *marks, struct bytes identity, uint32_t now_s);
/* To be taken before the origin is asked. */
uint64_t marks_generation(const struct marks *marks);
/* Does nothing when marks were cleared since that generation. */
void marks_put(
    struct marks *marks, struct bytes identity, const struct mark *mark, uint64_t generation, uint32_t now_s);
void marks_remove(struct marks *marks, struct bytes identity);
void marks_clear(struct marks *marks);
