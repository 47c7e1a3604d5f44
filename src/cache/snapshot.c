#include "cache/snapshot.h"

#include "base/error.h"
#include "cache/checksum.h"
#include "cache/index.h"
#include "cache/purges.h"

#define MAGIC UINT64_C(0x544f485350415453) /* "STAPSHOT" */
#define VERSION 2

uint64_t snapshot_pieces(uint64_t index_buckets)
{
    return (index_buckets * INDEX_BUCKET_BYTES + SNAPSHOT_PIECE - 1) / SNAPSHOT_PIECE;
}

static uint64_t state_len(uint64_t segment_count, uint64_t index_buckets)
{
    return SNAPSHOT_STATE_FIXED + 16 * segment_count + 8 * snapshot_pieces(index_buckets);
}

uint64_t snapshot_state_bytes(uint64_t segment_count, uint64_t index_buckets)
{
    return (state_len(segment_count, index_buckets) + 4095) / 4096 * 4096;
}

uint64_t snapshot_purges_at(uint64_t segment_count, uint64_t index_buckets)
{
    uint64_t buckets = (index_buckets * INDEX_BUCKET_BYTES + 4095) / 4096 * 4096;
    return snapshot_state_bytes(segment_count, index_buckets) + buckets;
}

uint64_t snapshot_bytes_for(uint64_t segment_count, uint64_t index_buckets)
{
    return snapshot_purges_at(segment_count, index_buckets) + (PURGES_ENCODED_MAX + 4095) / 4096 * 4096;
}

uint64_t snapshot_checksum(uint64_t seed, struct bytes piece)
{
    return checksum_of(seed, piece.ptr, piece.len);
}

/* 0 stands for "no snapshot" in the superblock. */
static uint64_t state_checksum(const uint8_t *state, uint64_t len, uint64_t seed)
{
    uint64_t sum = checksum_of(seed, state + 8, len - 8);
    return sum != 0 ? sum : 1;
}

uint64_t snapshot_encode(const struct snapshot *snapshot, const struct snapshot_segment *segments,
    const uint64_t *pieces, uint64_t seed, uint8_t *to)
{
    uint64_t bytes = snapshot_state_bytes(snapshot->segment_count, snapshot->index_buckets);
    CHECK(snapshot->piece_count == snapshot_pieces(snapshot->index_buckets));
    memset(to, 0, bytes);
    struct writer w = writer_of(to, bytes);
    write_u64(&w, 0);
    write_u64(&w, MAGIC);
    write_u32(&w, VERSION);
    write_u32(&w, 0);
    write_u64(&w, snapshot->epoch);
    write_u64(&w, snapshot->segment_count);
    write_u64(&w, snapshot->index_buckets);
    write_u64(&w, snapshot->next_generation);
    write_u64(&w, snapshot->piece_count);
    write_u64(&w, snapshot->purge_bytes);
    write_u64(&w, snapshot->purge_checksum);
    for (uint64_t i = 0; i < snapshot->segment_count; i++) {
        write_u64(&w, segments[i].generation);
        write_u32(&w, segments[i].data_end);
        write_u32(&w, segments[i].flags);
    }
    for (uint64_t i = 0; i < snapshot->piece_count; i++)
        write_u64(&w, pieces[i]);
    CHECK(!w.failed);
    uint64_t mark = state_checksum(to, bytes, seed);
    w = writer_of(to, 8);
    write_u64(&w, mark);
    return mark;
}

int snapshot_decode(struct snapshot *snapshot, struct bytes from, uint64_t seed, uint64_t mark)
{
    *snapshot = (struct snapshot){0};
    struct reader r = reader_of(from);
    uint64_t sum = read_u64(&r), magic = read_u64(&r);
    uint32_t version = read_u32(&r);
    read_u32(&r);
    struct snapshot found = {0};
    found.epoch = read_u64(&r);
    found.segment_count = read_u64(&r);
    found.index_buckets = read_u64(&r);
    found.next_generation = read_u64(&r);
    found.piece_count = read_u64(&r);
    found.purge_bytes = read_u64(&r);
    found.purge_checksum = read_u64(&r);
    if (r.failed || mark == 0 || sum != mark || magic != MAGIC || version != VERSION)
        return E_CORRUPT;
    if (found.index_buckets == 0 || found.index_buckets > INDEX_BUCKETS_MAX || found.purge_bytes == 0 ||
        found.purge_bytes > PURGES_ENCODED_MAX || found.segment_count > from.len ||
        found.piece_count != snapshot_pieces(found.index_buckets) ||
        snapshot_state_bytes(found.segment_count, found.index_buckets) != from.len)
        return E_CORRUPT;
    if (state_checksum(from.ptr, from.len, seed) != mark)
        return E_CORRUPT;
    found.segments = from.ptr + SNAPSHOT_STATE_FIXED;
    found.pieces = found.segments + 16 * found.segment_count;
    *snapshot = found;
    return 0;
}

struct snapshot_segment snapshot_segment_at(const struct snapshot *snapshot, uint64_t number)
{
    CHECK(number < snapshot->segment_count);
    struct reader r = reader_of(bytes_of(snapshot->segments + 16 * number, 16));
    struct snapshot_segment segment = {.generation = read_u64(&r)};
    segment.data_end = read_u32(&r);
    segment.flags = read_u32(&r);
    return segment;
}

uint64_t snapshot_piece_at(const struct snapshot *snapshot, uint64_t number)
{
    CHECK(number < snapshot->piece_count);
    struct reader r = reader_of(bytes_of(snapshot->pieces + 8 * number, 8));
    return read_u64(&r);
}
