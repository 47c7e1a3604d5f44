#include "cache/room.h"

#include "cache/item_private.h"

#define MIB_FRAMES 256u
#define PARTS_NICE 12u     /* for each MiB */
#define PARTS_MAX 384u     /* in all: with one extent for each whole block they fit a frame */
#define GATHER_BLOCKS 256u /* looked at before more parts are put up with */
#define GATHER_ATTEMPTS 4
#define SPARE_SHARE 256u       /* of the tier; measured in room.h */
#define SPARE_FRAMES_MAX 1024u /* what one call may evict for it */

static_assert(2 * PARTS_MAX + ITEM_VALUE_MAX / BLOCK_BYTES <= ITEM_EXTENTS_MAX,
    "the largest item's extents fit a frame");

static bool busy(struct s3fifo_node *node)
{
    return !item_evictable(item_of_node(node));
}

static void count_eviction(struct memory *memory, const struct item *item)
{
    memory->evictions++;
    memory->evicted_bytes += item->node.bytes;
}

static bool evict_next(struct memory *memory, uint64_t need_bytes)
{
    /* What is private or pinned outside the queues is not theirs to share out. */
    s3fifo_set_capacity(&memory->fifo, memory->fifo.small.bytes + memory->fifo.main.bytes + need_bytes);
    struct s3fifo_node *node = s3fifo_evict(&memory->fifo, busy);
    if (!node)
        return false;
    struct item *item = item_of_node(node);
    count_eviction(memory, item);
    table_remove_item(&memory->table, item);
    memory_release(memory, item);
    return true;
}

static void evict_item(struct memory *memory, struct item *item)
{
    if (!item_evictable(item))
        return;
    s3fifo_drop(&memory->fifo, &item->node);
    count_eviction(memory, item);
    table_remove_item(&memory->table, item);
    memory_release(memory, item);
}

/* Gathering. */

static bool slab_pinned(const struct memory *memory, uint32_t frame)
{
    unsigned at = 0;
    for (struct item *item; (item = slab_next(&memory->space, frame, &at)) != NULL;)
        if (!item_evictable(item))
            return true;
    return false;
}

static bool frame_pinned(const struct memory *memory, uint32_t frame)
{
    uint32_t owner = memory->space.owners[frame];
    if (owner == OWNER_NONE)
        return true;
    if (owner == OWNER_SLAB)
        return slab_pinned(memory, frame);
    return !item_evictable(slot_at(memory->space.base, owner));
}

/* Frames of a block that are free or can be emptied. */
static uint64_t available_mask(const struct memory *memory, uint32_t block)
{
    uint64_t available = ~memory->space.blocks[block].used;
    for (uint64_t left = ~available; left; left &= left - 1) {
        unsigned at = (unsigned)__builtin_ctzll(left);
        if (!frame_pinned(memory, block * BLOCK_FRAMES + at))
            available |= UINT64_C(1) << at;
    }
    return available;
}

/* The longest runs found so far. */
struct choice {
    uint32_t runs[PARTS_MAX];
    unsigned count, max;
    uint64_t frames;
};

static void choose(struct choice *choice, uint32_t run)
{
    if (choice->count < choice->max) {
        choice->runs[choice->count++] = run;
        choice->frames += extent_frames(run);
        return;
    }
    unsigned least = 0;
    for (unsigned i = 1; i < choice->count; i++)
        if (extent_frames(choice->runs[i]) < extent_frames(choice->runs[least]))
            least = i;
    if (extent_frames(run) <= extent_frames(choice->runs[least]))
        return;
    choice->frames += extent_frames(run) - extent_frames(choice->runs[least]);
    choice->runs[least] = run;
}

static void choose_from(struct memory *memory, struct choice *choice, uint32_t block)
{
    uint64_t available = available_mask(memory, block);
    while (available) {
        unsigned first = (unsigned)__builtin_ctzll(available);
        uint64_t rest = ~(available >> first);
        unsigned len = rest ? (unsigned)__builtin_ctzll(rest) : BLOCK_FRAMES;
        choose(choice, extent_of(block * BLOCK_FRAMES + first, len));
        available = first + len < BLOCK_FRAMES ? available >> (first + len) << (first + len) : 0;
    }
}

/* Looks at up to `blocks` value blocks, most free first, and after all of them at those of slots. */
static void choose_runs(struct memory *memory, struct choice *choice, uint64_t frames, uint32_t blocks)
{
    const struct space *space = &memory->space;
    uint32_t seen = 0;
    for (unsigned free = BLOCK_FRAMES + 1; free-- > 0;)
        for (uint32_t at = space->by_free[free]; at; at = space->blocks[at - 1].by_free.next) {
            if (choice->frames >= frames || seen++ == blocks)
                return;
            choose_from(memory, choice, at - 1);
        }
    for (uint32_t at = 0; at < space->block_count && choice->frames < frames; at++)
        if (space->blocks[at].slots)
            choose_from(memory, choice, at);
}

static void empty_frame(struct memory *memory, uint32_t frame)
{
    uint32_t owner = memory->space.owners[frame];
    if (owner != OWNER_SLAB) {
        evict_item(memory, slot_at(memory->space.base, owner));
        return;
    }
    unsigned at = 0;
    uint64_t used = UINT64_C(1) << frame % BLOCK_FRAMES;
    while (memory->space.blocks[frame / BLOCK_FRAMES].used & used) {
        struct item *item = slab_next(&memory->space, frame, &at);
        if (!item)
            return;
        evict_item(memory, item);
    }
}

/* False: a hit has pinned something in it meanwhile. */
static bool claim(struct memory *memory, uint32_t run)
{
    const struct block *block = &memory->space.blocks[extent_frame(run) / BLOCK_FRAMES];
    for (uint32_t frame = extent_frame(run); frame < extent_frame(run) + extent_frames(run); frame++) {
        uint64_t bit = UINT64_C(1) << frame % BLOCK_FRAMES;
        if (block->used & bit)
            empty_frame(memory, frame);
        if (block->used & bit)
            return false;
    }
    if (block->slots)
        space_make_value_block(&memory->space, extent_frame(run) / BLOCK_FRAMES);
    space_take_run(&memory->space, run);
    return true;
}

static int claim_all(struct memory *memory, struct choice *choice, uint64_t frames, uint32_t *extents)
{
    int count = 0;
    for (unsigned i = 0; i < choice->count && frames > 0; i++) {
        uint32_t len = extent_frames(choice->runs[i]);
        uint32_t run = extent_of(extent_frame(choice->runs[i]), len < frames ? len : (uint32_t)frames);
        if (!claim(memory, run)) {
            while (count > 0)
                space_give(&memory->space, extents[--count]);
            return -1;
        }
        frames -= extent_frames(run);
        extents[count++] = run;
    }
    CHECK(frames == 0);
    memory->page_moves++;
    return count;
}

static int gather(struct memory *memory, uint64_t frames, uint32_t *extents, unsigned max, uint32_t blocks)
{
    struct choice choice;
    for (int attempt = 0; attempt < GATHER_ATTEMPTS; attempt++) {
        choice.max = max;
        choice.count = 0;
        choice.frames = 0;
        choose_runs(memory, &choice, frames, blocks);
        if (choice.frames < frames)
            return -1;
        int count = claim_all(memory, &choice, frames, extents);
        if (count >= 0)
            return count;
    }
    return -1;
}

/* Taking. */

static unsigned parts_bound(uint64_t frames, unsigned per_mib)
{
    uint64_t parts = (frames + MIB_FRAMES - 1) / MIB_FRAMES * per_mib;
    return parts < PARTS_MAX ? (unsigned)parts : PARTS_MAX;
}

/* At least as many frames free as asked for, in value blocks, however scattered. */
static bool evict_until(struct memory *memory, uint64_t frames)
{
    while (memory->space.free_frames < frames)
        if (!evict_next(memory, frames * FRAME_BYTES))
            return false;
    return true;
}

/* How much may be free beyond what is asked for, so that order, not place, decides what is evicted. */
static uint64_t spare_frames(const struct memory *memory)
{
    uint32_t share = memory->space.block_count * BLOCK_FRAMES / SPARE_SHARE;
    return share < SPARE_FRAMES_MAX ? share : SPARE_FRAMES_MAX;
}

int room_for_value(struct memory *memory, uint64_t frames, uint32_t *extents)
{
    if (frames == 0)
        return 0;
    struct space *space = &memory->space;
    unsigned nice = parts_bound(frames, PARTS_NICE), most = parts_bound(frames, ITEM_VECTOR_MAX);
    if (evict_until(memory, frames)) {
        int count = space_take(space, frames, extents, nice);
        uint64_t bound = frames + spare_frames(memory);
        while (count < 0 && space->free_frames < bound && evict_next(memory, frames * FRAME_BYTES))
            count = space_take(space, frames, extents, nice);
        if (count < 0)
            count = gather(memory, frames, extents, nice, GATHER_BLOCKS);
        if (count < 0)
            count = space_take(space, frames, extents, most);
        if (count >= 0)
            return count;
    }
    return gather(memory, frames, extents, most, UINT32_MAX);
}

/* A block emptied for slots, else any frame. */
static bool room_for_slab(struct memory *memory, uint32_t *frame)
{
    struct space *space = &memory->space;
    if (space_take_slot_frame(space, frame))
        return true;
    uint32_t run;
    if (evict_until(memory, BLOCK_FRAMES) && gather(memory, BLOCK_FRAMES, &run, 1, GATHER_BLOCKS) == 1) {
        space_give(space, run);
        return space_take_slot_frame(space, frame);
    }
    if (space_take_slot_frame(space, frame))
        return true;
    if (room_for_value(memory, 1, &run) != 1)
        return false;
    *frame = extent_frame(run);
    return true;
}

void *room_for_slot(struct memory *memory, uint32_t bytes)
{
    void *slot = slots_take(&memory->slots, bytes);
    uint32_t frame;
    if (slot || !room_for_slab(memory, &frame))
        return slot;
    /* Evicting may have freed a slot of the class, but the frame is had now. */
    slots_add(&memory->slots, bytes, frame);
    return slots_take(&memory->slots, bytes);
}
