/* The decoders of purges: a record's key, and the part of a snapshot. What decodes encodes to the same. */
#include "base/error.h"
#include "cache/purges.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_record(struct bytes input)
{
    struct purge purge;
    if (purge_decode(&purge, input) < 0)
        return;
    uint8_t again[ITEM_KEY_MAX];
    size_t len = purge_encode(&purge, again);
    CHECK(bytes_equal(bytes_of(again, len), input));
    CHECK(purge_covers(&purge, &purge) && purge_covers(&(struct purge){0}, &purge));
}

/* The slots, all empty, are put in: they would be most of the input. */
static void fuzz_snapshot(struct bytes input)
{
    static uint8_t encoded[PURGES_ENCODED_MAX], again[PURGES_ENCODED_MAX];
    struct purges *purges;
    if (input.len < 4 || input.len > 4096 || purges_create(&purges) < 0)
        return;
    struct writer w = writer_of(encoded, sizeof encoded);
    write_bytes(&w, bytes_of(input.ptr, 4));
    write_u32(&w, PURGE_SLOTS);
    for (unsigned i = 0; i < PURGE_SLOTS; i++)
        write_u64(&w, 0);
    write_bytes(&w, bytes_from(input, 4));
    struct purges_stats stats;
    if (purges_decode(purges, 0, writer_bytes(&w)) == 0) {
        size_t len = purges_encode(purges, 0, again);
        CHECK(len <= sizeof again && purges_decode(purges, 1, bytes_of(again, len)) == 0);
    }
    purges_stats(purges, &stats);
    CHECK(stats.records <= PURGES_MAX);
    purges_since(purges, input, 1);
    purges_destroy(purges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        fuzz_record(bytes_of(data + 1, size - 1));
    else
        fuzz_snapshot(bytes_of(data + 1, size - 1));
    return 0;
}
