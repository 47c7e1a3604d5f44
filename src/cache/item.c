#include "cache/item_private.h"

static _Atomic unsigned shards_assigned;

unsigned pin_shard(void)
{
    static _Thread_local unsigned assigned; /* 1 + shard */
    if (!assigned)
        assigned = 1 + atomic_fetch_add_explicit(&shards_assigned, 1, memory_order_relaxed) % PIN_SHARDS;
    return assigned - 1;
}

unsigned pin_shard_count(void)
{
    unsigned count = atomic_load_explicit(&shards_assigned, memory_order_relaxed);
    return count < PIN_SHARDS ? count : PIN_SHARDS;
}

struct item *item_ref(struct item *item)
{
    item_pin(item);
    return item;
}

void item_unref(struct item **held)
{
    struct item *item = *held;
    if (!item)
        return;
    *held = NULL;
    /* Read before the decrement: from then on the item may be freed by who evicts it. */
    struct memory *memory = item->memory;
    uint32_t bytes = item->node.bytes;
    uint32_t old = atomic_fetch_sub_explicit(&item->references, ITEM_REFERENCE, memory_order_acq_rel);
    CHECK(old >= ITEM_REFERENCE);
    if (old / ITEM_REFERENCE == 1)
        pins_add(memory, -(int64_t)bytes);
    if (old == ITEM_REFERENCE)
        memory_free(memory, item);
}

struct item_key item_key(const struct item *item)
{
    return (struct item_key){.kind = item->kind, .bytes = item_key_bytes(item)};
}

uint32_t item_value_len(const struct item *item)
{
    return item->value_len;
}

uint32_t item_value_from(const struct item *item)
{
    return item->value_from;
}

uint32_t item_held_len(const struct item *item)
{
    return item->held_len;
}

uint32_t item_filled(const struct item *item)
{
    return atomic_load_explicit(&item->filled, memory_order_acquire);
}

uint64_t item_sequence(const struct item *item)
{
    return atomic_load_explicit(&item->sequence, memory_order_relaxed);
}

void item_sequence_set(struct item *item, uint64_t sequence)
{
    CHECK(sequence > 0);
    uint64_t old = item_sequence(item);
    while (old < sequence && !atomic_compare_exchange_weak_explicit(
                                 &item->sequence, &old, sequence, memory_order_relaxed, memory_order_relaxed))
        ;
}

uint64_t item_clear_of(const struct item *item)
{
    return atomic_load_explicit(&item->clear_of, memory_order_relaxed);
}

void item_clear_of_set(struct item *item, uint64_t sequence)
{
    atomic_store_explicit(&item->clear_of, sequence, memory_order_relaxed);
}

void item_clear_of_raise(struct item *item, uint64_t sequence)
{
    uint64_t now = item_clear_of(item);
    while (now < sequence && !atomic_compare_exchange_weak(&item->clear_of, &now, sequence))
        continue;
}

void item_await_hit(struct item *item)
{
    atomic_store_explicit(&item->awaits_hit, true, memory_order_relaxed);
}

bool item_awaits_hit(const struct item *item)
{
    return atomic_load_explicit(&item->awaits_hit, memory_order_relaxed);
}

bool item_take_hit(struct item *item)
{
    return atomic_exchange_explicit(&item->awaits_hit, false, memory_order_relaxed);
}

const uint32_t *item_extents(const struct item *item)
{
    if (item->extent_count <= ITEM_EXTENTS_INLINE)
        return item->extents;
    return (const uint32_t *)(const void *)space_at(&item->memory->space, item->extents[0]);
}

/* The item's memory as parts: adjacent extents are one. */
struct parts {
    struct space *space;
    const uint32_t *extents;
    unsigned count;
};

static struct parts parts_of(const struct item *item)
{
    return (struct parts){&item->memory->space, item_extents(item), item->extent_count};
}

/* False at the end. */
static bool parts_next(struct parts *parts, struct iovec *part)
{
    if (parts->count == 0)
        return false;
    uint32_t first = extent_frame(*parts->extents), end = first;
    while (parts->count > 0 && extent_frame(*parts->extents) == end) {
        end += extent_frames(*parts->extents++);
        parts->count--;
    }
    *part = (struct iovec){space_at(parts->space, first), (size_t)(end - first) * FRAME_BYTES};
    return true;
}

/* As many of [from, from + len) of the extents' bytes as `max` parts hold. */
static uint64_t vector(
    const struct item *item, uint64_t from, uint64_t len, struct iovec *iov, int max, int *count)
{
    struct parts parts = parts_of(item);
    struct iovec part;
    uint64_t done = 0;
    *count = 0;
    while (done < len && *count < max && parts_next(&parts, &part)) {
        if (from >= part.iov_len) {
            from -= part.iov_len;
            continue;
        }
        uint64_t bytes = part.iov_len - from < len - done ? part.iov_len - from : len - done;
        iov[(*count)++] = (struct iovec){(char *)part.iov_base + from, bytes};
        done += bytes;
        from = 0;
    }
    return done;
}

int item_vector(const struct item *item, uint32_t from, uint32_t len, struct iovec *iov, int max)
{
    CHECK(from <= item->held_len && len <= item->held_len - from);
    int count;
    return vector(item, from, len, iov, max, &count) == len ? count : -1;
}

uint32_t item_vector_some(
    const struct item *item, uint32_t from, uint32_t len, struct iovec *iov, int max, int *parts)
{
    CHECK(from <= item->held_len && len <= item->held_len - from && max > 0);
    return (uint32_t)vector(item, from, len, iov, max, parts);
}

int item_vector_blocks(const struct item *item, uint32_t blocks, struct iovec *iov, int max)
{
    CHECK(blocks <= (item->held_len + FRAME_BYTES - 1) / FRAME_BYTES);
    int count;
    uint64_t len = (uint64_t)blocks * FRAME_BYTES;
    return vector(item, 0, len, iov, max, &count) == len ? count : -1;
}

enum direction { COPY_OUT, COPY_IN };

static void copy(
    const struct item *item, uint32_t from, uint32_t len, unsigned char *bytes, enum direction direction)
{
    struct parts parts = parts_of(item);
    struct iovec part;
    while (len > 0) {
        CHECK(parts_next(&parts, &part));
        if (from >= part.iov_len) {
            from -= (uint32_t)part.iov_len;
            continue;
        }
        unsigned char *at = (unsigned char *)part.iov_base + from;
        uint32_t step = part.iov_len - from < len ? (uint32_t)part.iov_len - from : len;
        memcpy(direction == COPY_OUT ? bytes : at, direction == COPY_OUT ? at : bytes, step);
        bytes += step;
        len -= step;
        from = 0;
    }
}

void item_copy(const struct item *item, uint32_t from, uint32_t len, void *to)
{
    CHECK(from <= item->held_len && len <= item->held_len - from && from + len <= item_filled(item));
    copy(item, from, len, to, COPY_OUT);
}

struct bytes item_front(const struct item *item)
{
    struct parts parts = parts_of(item);
    struct iovec part;
    uint32_t filled = item_filled(item);
    if (!parts_next(&parts, &part))
        return (struct bytes){0};
    return bytes_of(part.iov_base, part.iov_len < filled ? part.iov_len : filled);
}

void item_append(struct item *item, struct bytes bytes)
{
    uint32_t filled = atomic_load_explicit(&item->filled, memory_order_relaxed);
    CHECK(!item_is_complete(item) && bytes.len <= item->held_len - filled);
    copy(item, filled, (uint32_t)bytes.len, (unsigned char *)(uintptr_t)bytes.ptr, COPY_IN);
    item_filled_set(item, filled + (uint32_t)bytes.len);
}

void item_append_from(struct item *item, const struct item *other, uint32_t from, uint32_t len)
{
    CHECK(from <= item_filled(other) && len <= item_filled(other) - from);
    while (len > 0) {
        struct iovec part;
        int parts;
        uint32_t n = item_vector_some(other, from, len, &part, 1, &parts);
        item_append(item, bytes_of(part.iov_base, n));
        from += n;
        len -= n;
    }
}

void item_filled_set(struct item *item, uint32_t filled)
{
    CHECK(filled <= item->held_len && filled >= atomic_load_explicit(&item->filled, memory_order_relaxed));
    atomic_store_explicit(&item->filled, filled, memory_order_release);
}

void item_complete(struct item *item)
{
    CHECK(item_filled(item) == item->held_len && !item_is_complete(item));
    atomic_store_explicit(&item->complete, true, memory_order_release);
}

bool item_is_complete(const struct item *item)
{
    return atomic_load_explicit(&item->complete, memory_order_acquire);
}
