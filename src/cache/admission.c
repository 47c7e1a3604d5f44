#include "cache/admission.h"

#include "base/check.h"
#include "base/clock.h"

#define BURST_BYTES_MIN (4u << 20)

void admission_init(struct admission *admission, bool second_request, uint64_t budget_bytes_s)
{
    admission->second_request = second_request;
    admission->budget_bytes_s = budget_bytes_s;
    atomic_store(&admission->spent_until_ns, 0);
    for (unsigned i = 0; i < ADMISSION_SEEN; i++)
        atomic_store_explicit(&admission->seen[i], 0, memory_order_relaxed);
}

bool admission_seen(struct admission *admission, uint64_t hash)
{
    if (!admission->second_request)
        return true;
    uint32_t tag = (uint32_t)(hash >> 32) | 1;
    _Atomic uint32_t *slot = &admission->seen[hash % ADMISSION_SEEN];
    return atomic_exchange_explicit(slot, tag, memory_order_relaxed) == tag;
}

/* Time stands for bytes: each spending moves `spent_until` by the time that the budget needs for it; it may
 * run ahead of now by a burst. */
bool admission_spend(struct admission *admission, uint64_t bytes, uint64_t now_ns)
{
    uint64_t rate = admission->budget_bytes_s;
    if (rate == 0)
        return true;
    uint64_t burst_bytes = rate > BURST_BYTES_MIN ? rate : BURST_BYTES_MIN;
    uint64_t burst_ns = (uint64_t)((unsigned __int128)burst_bytes * NS_PER_S / rate);
    uint64_t cost_ns = (uint64_t)((unsigned __int128)bytes * NS_PER_S / rate);
    uint64_t until = atomic_load(&admission->spent_until_ns);
    for (;;) {
        uint64_t from = until > now_ns ? until : now_ns;
        if (from + cost_ns > now_ns + burst_ns)
            return false;
        if (atomic_compare_exchange_weak(&admission->spent_until_ns, &until, from + cost_ns))
            return true;
    }
}
