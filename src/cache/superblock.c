#include "cache/superblock.h"

#include <errno.h>
#include <xxhash.h>

#include "cache/index.h"
#include "cache/segment.h"
#include "cache/snapshot.h"

#define CHECKSUM_AT (SUPERBLOCK_BYTES - 8)
#define SECTOR 512u /* what a disk writes at once */
#define CHECKSUM_SEED UINT64_C(0x9a1f0c6e5b3d7284)
#define SNAPSHOT_AT UINT64_C(65536)

static const uint8_t magic[8] = {'Y', 'A', 'T', 'A', 'D', 'I', 'S', 'K'};

#define ATTACH_AT (136 + 16 * SUPERBLOCK_PEERS_MAX)
static_assert(ATTACH_AT + 16 <= SECTOR, "all but the checksum is in the first sector");
static_assert(EPOCH_BITS + EPOCH_SHIFT == 64, "a sequence is epoch and count");

static uint64_t blocks_up(uint64_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

/* Plans for one segment size; false if fewer than 32 fit. */
static bool plan_with(struct superblock *block, uint64_t size_bytes, uint64_t segment_bytes)
{
    block->segment_bytes = segment_bytes;
    uint64_t most = size_bytes / segment_bytes;
    block->snapshot_offset = SNAPSHOT_AT;
    block->snapshot_bytes = snapshot_bytes_for(2 * most, block->index_buckets);
    block->data_offset = blocks_up(block->snapshot_offset + block->snapshot_bytes);
    block->segment_count = superblock_segments_in(block, size_bytes);
    return block->segment_count >= SEGMENT_COUNT_MIN;
}

int superblock_plan(struct superblock *block, uint64_t size_bytes, uint64_t expected_item_bytes)
{
    CHECK(expected_item_bytes > 0);
    *block = (struct superblock){0};
    if (size_bytes > PLACE_BYTES_MAX)
        return -EINVAL;
    block->index_buckets = index_buckets_for(size_bytes / expected_item_bytes);
    for (uint64_t bytes = SEGMENT_BYTES_MAX; bytes >= SEGMENT_BYTES_MIN; bytes /= 2)
        if (plan_with(block, size_bytes, bytes))
            return 0;
    return -EINVAL;
}

uint64_t superblock_segments_in(const struct superblock *block, uint64_t size_bytes)
{
    if (size_bytes < block->data_offset)
        return 0;
    return (size_bytes - block->data_offset) / block->segment_bytes;
}

uint64_t superblock_end(const struct superblock *block)
{
    return block->data_offset + block->segment_count * block->segment_bytes;
}

void superblock_encode(const struct superblock *block, uint8_t *copy)
{
    CHECK(block->peer_count <= SUPERBLOCK_PEERS_MAX && block->epoch < (UINT64_C(1) << EPOCH_BITS));
    memset(copy, 0, SUPERBLOCK_BYTES);
    struct writer w = writer_of(copy, CHECKSUM_AT);
    write_bytes(&w, bytes_of(magic, sizeof magic));
    write_u32(&w, SUPERBLOCK_VERSION);
    write_u32(&w, SUPERBLOCK_BYTES);
    write_u64(&w, block->counter);
    write_bytes(&w, bytes_of(block->id.bytes, 16));
    const uint64_t fields[] = {block->hash_seed, block->segment_bytes, block->data_offset,
        block->snapshot_offset, block->snapshot_bytes, block->segment_count, block->index_buckets,
        block->epoch, block->dead_below, block->generation_bound, block->snapshot_mark};
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++)
        write_u64(&w, fields[i]);
    write_u32(&w, block->peer_count);
    write_u32(&w, 0);
    write_bytes(&w, bytes_of(block->peers, 16 * (size_t)block->peer_count));
    CHECK(!w.failed);
    w = writer_of(copy + ATTACH_AT, 16);
    write_u64(&w, block->attach);
    write_u64(&w, block->whole);
    CHECK(!w.failed);
    uint64_t sum = XXH3_64bits_withSeed(copy, CHECKSUM_AT, CHECKSUM_SEED);
    w = writer_of(copy + CHECKSUM_AT, 8);
    write_u64(&w, sum);
}

static bool makes_sense(const struct superblock *block)
{
    uint64_t segment = block->segment_bytes;
    return segment >= SEGMENT_BYTES_MIN && segment <= SEGMENT_BYTES_MAX && (segment & (segment - 1)) == 0 &&
           block->snapshot_offset == SNAPSHOT_AT && block->snapshot_bytes < PLACE_BYTES_MAX &&
           block->data_offset >= block->snapshot_offset + block->snapshot_bytes &&
           block->data_offset % 4096 == 0 && block->data_offset < PLACE_BYTES_MAX &&
           block->segment_count >= 1 &&
           block->segment_count <= (PLACE_BYTES_MAX - block->data_offset) / segment &&
           block->index_buckets >= 1 && block->index_buckets <= INDEX_BUCKETS_MAX &&
           block->epoch < (UINT64_C(1) << EPOCH_BITS) && block->peer_count <= SUPERBLOCK_PEERS_MAX &&
           block->dead_below <= block->generation_bound;
}

static void read_fields(struct superblock *block, struct reader *r)
{
    block->counter = read_u64(r);
    memcpy(block->id.bytes, r->at, 16);
    read_bytes(r, 16);
    uint64_t *fields[] = {&block->hash_seed, &block->segment_bytes, &block->data_offset,
        &block->snapshot_offset, &block->snapshot_bytes, &block->segment_count, &block->index_buckets,
        &block->epoch, &block->dead_below, &block->generation_bound, &block->snapshot_mark};
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++)
        *fields[i] = read_u64(r);
    block->peer_count = read_u32(r);
    read_u32(r);
}

int superblock_decode(struct superblock *block, struct bytes copy)
{
    *block = (struct superblock){0};
    if (copy.len < SUPERBLOCK_BYTES || memcmp(copy.ptr, magic, sizeof magic) != 0)
        return E_FOREIGN;
    struct reader r = reader_of(bytes_of(copy.ptr + 8, CHECKSUM_AT - 8));
    uint32_t version = read_u32(&r), length = read_u32(&r);
    struct reader tail = reader_of(bytes_of(copy.ptr + CHECKSUM_AT, 8));
    if (read_u64(&tail) != XXH3_64bits_withSeed(copy.ptr, CHECKSUM_AT, CHECKSUM_SEED))
        return version > SUPERBLOCK_VERSION && version < 0x10000 ? E_UNSUPPORTED : E_CORRUPT;
    if (version != SUPERBLOCK_VERSION)
        return E_UNSUPPORTED;
    struct superblock found = {0};
    read_fields(&found, &r);
    if (r.failed || length != SUPERBLOCK_BYTES || !makes_sense(&found))
        return E_CORRUPT;
    memcpy(found.peers, r.at, 16 * (size_t)found.peer_count);
    r = reader_of(bytes_of(copy.ptr + ATTACH_AT, 16));
    found.attach = read_u64(&r);
    found.whole = read_u64(&r);
    *block = found;
    return 0;
}

/* Does the copy claim to be of a newer format, and prove it by a checksum where this one has it? */
static bool proves_newer(const uint8_t *copy)
{
    struct reader r = reader_of(bytes_of(copy + CHECKSUM_AT, 8));
    return read_u64(&r) == XXH3_64bits_withSeed(copy, CHECKSUM_AT, CHECKSUM_SEED);
}

int superblock_choose(struct superblock *block, struct bytes copies)
{
    int worst = E_FOREIGN;
    bool found = false;
    *block = (struct superblock){0};
    for (unsigned i = 0; i < SUPERBLOCK_COPIES && copies.len >= (i + 1) * (size_t)SUPERBLOCK_BYTES; i++) {
        const uint8_t *copy = copies.ptr + i * SUPERBLOCK_BYTES;
        struct superblock one;
        int result = superblock_decode(&one, bytes_of(copy, SUPERBLOCK_BYTES));
        if (result == E_UNSUPPORTED && proves_newer(copy))
            return result;
        if (result == E_UNSUPPORTED || (result == E_CORRUPT && worst == E_FOREIGN))
            worst = result;
        if (result == 0 && (!found || one.counter > block->counter)) {
            *block = one;
            found = true;
        }
    }
    return found ? 0 : worst;
}

static bool is_zero(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.ptr[i] != 0)
            return false;
    return true;
}

bool superblock_is_half_made(struct bytes copies)
{
    if (copies.len != SUPERBLOCK_COPIES * SUPERBLOCK_BYTES)
        return false;
    for (unsigned i = 0; i < SUPERBLOCK_COPIES; i++) {
        const uint8_t *copy = copies.ptr + i * SUPERBLOCK_BYTES;
        bool begun = memcmp(copy, magic, sizeof magic) == 0 || is_zero(bytes_of(copy, SECTOR));
        if (!begun || !is_zero(bytes_of(copy + SECTOR, CHECKSUM_AT - SECTOR)))
            return false;
    }
    return true;
}
