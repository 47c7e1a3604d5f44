#include "cache/extent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/poison.h"

enum { CLASS_FULL, CLASS_4K, CLASS_16K, CLASS_64K, CLASS_256K };
#define PROBES 4 /* blocks of the next smaller class that are looked at for an unaligned run */

static_assert(PAGE_BYTES % BLOCK_BYTES == 0, "blocks don't cross pages");
static_assert(BLOCK_FRAMES == 64, "a block's state is one word");

uint64_t mask_runs(uint64_t mask, unsigned len)
{
    for (unsigned have = 1; have < len;) {
        unsigned step = have < len - have ? have : len - have;
        mask &= mask >> step;
        have += step;
    }
    return mask;
}

static uint64_t run_mask(unsigned first, unsigned len)
{
    CHECK(len >= 1 && first + len <= BLOCK_FRAMES);
    return (len == 64 ? ~UINT64_C(0) : (UINT64_C(1) << len) - 1) << first;
}

/* Where free extents of a class may begin. */
static const uint64_t class_aligned[BLOCK_CLASSES] = {
    0, ~UINT64_C(0), UINT64_C(0x1111111111111111), UINT64_C(0x0001000100010001), 1};
static const unsigned class_frames[BLOCK_CLASSES] = {0, 1, 4, 16, 64};

static unsigned class_of_free(uint64_t free)
{
    for (unsigned class = CLASS_256K; class > CLASS_FULL; class --)
        if (mask_runs(free, class_frames[class]) & class_aligned[class])
            return class;
    return CLASS_FULL;
}

static unsigned class_for(uint64_t frames)
{
    unsigned class = CLASS_4K;
    while (class < CLASS_256K && class_frames[class] < frames)
        class ++;
    return class;
}

/* Lists of blocks. */

#define LIST_FUNCTIONS(name)                                                                                 \
    static void name##_push(struct space *space, uint32_t *head, uint32_t block)                             \
    {                                                                                                        \
        struct block_links *links = &space->blocks[block].name;                                              \
        links->prev = 0;                                                                                     \
        links->next = *head;                                                                                 \
        if (*head)                                                                                           \
            space->blocks[*head - 1].name.prev = block + 1;                                                  \
        *head = block + 1;                                                                                   \
    }                                                                                                        \
    static void name##_remove(struct space *space, uint32_t *head, uint32_t block)                           \
    {                                                                                                        \
        struct block_links *links = &space->blocks[block].name;                                              \
        if (links->prev)                                                                                     \
            space->blocks[links->prev - 1].name.next = links->next;                                          \
        else {                                                                                               \
            CHECK(*head == block + 1);                                                                       \
            *head = links->next;                                                                             \
        }                                                                                                    \
        if (links->next)                                                                                     \
            space->blocks[links->next - 1].name.prev = links->prev;                                          \
    }
LIST_FUNCTIONS(by_class)
LIST_FUNCTIONS(by_free)

static void value_block_list(struct space *space, uint32_t at)
{
    struct block *block = &space->blocks[at];
    by_class_push(space, &space->by_class[block->class], at);
    by_free_push(space, &space->by_free[block->free], at);
    space->free_frames += block->free;
}

static void value_block_unlist(struct space *space, uint32_t at)
{
    struct block *block = &space->blocks[at];
    by_class_remove(space, &space->by_class[block->class], at);
    by_free_remove(space, &space->by_free[block->free], at);
    space->free_frames -= block->free;
}

/* Slot blocks are listed while they have room. */
static void slot_block_list(struct space *space, uint32_t at)
{
    if (space->blocks[at].free)
        by_class_push(space, &space->slot_blocks, at);
    space->free_slot_frames += space->blocks[at].free;
}

static void slot_block_unlist(struct space *space, uint32_t at)
{
    if (space->blocks[at].free)
        by_class_remove(space, &space->slot_blocks, at);
    space->free_slot_frames -= space->blocks[at].free;
}

static void unlist(struct space *space, uint32_t at)
{
    space->blocks[at].slots ? slot_block_unlist(space, at) : value_block_unlist(space, at);
}

static void list(struct space *space, uint32_t at)
{
    struct block *block = &space->blocks[at];
    block->free = (uint8_t)__builtin_popcountll(~block->used);
    block->class = (uint8_t)class_of_free(~block->used);
    if (block->free == BLOCK_FRAMES)
        block->slots = false;
    block->slots ? slot_block_list(space, at) : value_block_list(space, at);
}

/* Life. */

uint64_t space_overhead_bytes(uint32_t block_count)
{
    return (uint64_t)block_count * (sizeof(struct block) + BLOCK_FRAMES * sizeof(uint32_t));
}

static int map(struct space *space, size_t bytes)
{
    space->mapping_bytes = bytes + PAGE_BYTES;
    space->mapping = mmap(NULL, space->mapping_bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space->mapping == MAP_FAILED)
        return -ENOMEM;
    size_t skip = PAGE_BYTES - ((uintptr_t)space->mapping & (PAGE_BYTES - 1));
    space->base = (unsigned char *)space->mapping + skip;
    madvise(space->base, bytes, MADV_HUGEPAGE); /* where it is refused, 4 KiB pages do */
    madvise(space->mapping, space->mapping_bytes, MADV_DONTDUMP);
    poison(space->base, bytes);
    return 0;
}

int space_init(struct space *space, uint32_t block_count)
{
    CHECK(block_count > 0 && block_count <= ARENA_BLOCKS_MAX);
    *space = (struct space){.block_count = block_count};
    space->blocks = calloc(block_count, sizeof(*space->blocks));
    space->owners = calloc((size_t)block_count * BLOCK_FRAMES, sizeof(*space->owners));
    if (!space->blocks || !space->owners || map(space, (size_t)block_count * BLOCK_BYTES) < 0) {
        free(space->blocks);
        free(space->owners);
        return -ENOMEM;
    }
    for (uint32_t at = block_count; at-- > 0;)
        list(space, at);
    return 0;
}

void space_deinit(struct space *space)
{
    unpoison(space->base, (size_t)space->block_count * BLOCK_BYTES);
    munmap(space->mapping, space->mapping_bytes);
    free(space->blocks);
    free(space->owners);
    *space = (struct space){0};
}

/* Taking and giving. */

void space_own(struct space *space, uint32_t e, uint32_t owner)
{
    for (uint32_t i = 0; i < extent_frames(e); i++)
        space->owners[extent_frame(e) + i] = owner;
}

void space_take_run(struct space *space, uint32_t run)
{
    uint32_t at = extent_frame(run) / BLOCK_FRAMES;
    struct block *block = &space->blocks[at];
    uint64_t mask = run_mask(extent_frame(run) % BLOCK_FRAMES, extent_frames(run));
    CHECK((block->used & mask) == 0);
    unlist(space, at);
    block->used |= mask;
    list(space, at);
    space_own(space, run, OWNER_NONE);
    unpoison(space_at(space, extent_frame(run)), (size_t)extent_frames(run) * FRAME_BYTES);
}

void space_give(struct space *space, uint32_t e)
{
    uint32_t at = extent_frame(e) / BLOCK_FRAMES;
    struct block *block = &space->blocks[at];
    uint64_t mask = run_mask(extent_frame(e) % BLOCK_FRAMES, extent_frames(e));
    CHECK((block->used & mask) == mask);
    unlist(space, at);
    block->used &= ~mask;
    list(space, at);
    poison(space_at(space, extent_frame(e)), (size_t)extent_frames(e) * FRAME_BYTES);
}

/* Where to take `want` frames in a block: the shortest run of free ones that holds them, aligned there if
 * they are a whole class and can be. BLOCK_FRAMES: there is no such run. */
static unsigned fit(uint64_t free, unsigned want)
{
    unsigned best = BLOCK_FRAMES, best_len = BLOCK_FRAMES + 1;
    for (uint64_t left = free; left;) {
        unsigned first = (unsigned)__builtin_ctzll(left);
        uint64_t beyond = ~(left >> first);
        unsigned len = beyond ? (unsigned)__builtin_ctzll(beyond) : BLOCK_FRAMES;
        if (len >= want && len < best_len) {
            best = first;
            best_len = len;
        }
        left = len == BLOCK_FRAMES ? 0 : left & ~run_mask(first, len);
    }
    if (best == BLOCK_FRAMES || class_frames[class_for(want)] != want)
        return best;
    uint64_t aligned = mask_runs(run_mask(best, best_len), want) & class_aligned[class_for(want)];
    return aligned ? (unsigned)__builtin_ctzll(aligned) : best;
}

/* Like fit, among the first few blocks of a list. */
static bool fit_listed(const struct space *space, uint32_t at, unsigned want, uint32_t *run)
{
    for (unsigned probe = 0; at && probe < PROBES; probe++, at = space->blocks[at - 1].by_class.next) {
        unsigned first = fit(~space->blocks[at - 1].used, want);
        if (first < BLOCK_FRAMES) {
            *run = extent_of((at - 1) * BLOCK_FRAMES + first, want);
            return true;
        }
    }
    return false;
}

/* A run of up to `want` frames (at most 64): whole if any block of its class or a larger can, else the
 * largest class there is. */
static bool find_run(const struct space *space, unsigned want, uint32_t *run)
{
    unsigned class = class_for(want);
    if (class > CLASS_4K && fit_listed(space, space->by_class[class - 1], want, run))
        return true; /* unaligned */
    for (unsigned have = class; have < BLOCK_CLASSES; have++)
        if (fit_listed(space, space->by_class[have], want, run))
            return true;
    for (unsigned have = class - 1; have > CLASS_FULL; have--)
        if (fit_listed(space, space->by_class[have], class_frames[have], run))
            return true;
    return false;
}

int space_take(struct space *space, uint64_t frames, uint32_t *extents, unsigned max)
{
    int count = 0;
    unsigned parts = 0;
    for (uint64_t left = frames; left > 0;) {
        uint32_t run;
        bool found = find_run(space, left < BLOCK_FRAMES ? (unsigned)left : BLOCK_FRAMES, &run);
        bool joins =
            found && count > 0 &&
            extent_frame(run) == extent_frame(extents[count - 1]) + extent_frames(extents[count - 1]);
        if (!found || (!joins && parts == max)) {
            while (count > 0)
                space_give(space, extents[--count]);
            return -1;
        }
        parts += !joins;
        space_take_run(space, run);
        left -= extent_frames(run);
        if (joins && extent_frame(run) % BLOCK_FRAMES != 0)
            extents[count - 1] = extent_of(
                extent_frame(extents[count - 1]), extent_frames(extents[count - 1]) + extent_frames(run));
        else
            extents[count++] = run;
    }
    return count;
}

/* Slot blocks. */

void space_make_slot_block(struct space *space, uint32_t block)
{
    CHECK(!space->blocks[block].slots);
    unlist(space, block);
    space->blocks[block].slots = true;
    slot_block_list(space, block);
}

void space_make_value_block(struct space *space, uint32_t block)
{
    CHECK(space->blocks[block].slots);
    unlist(space, block);
    space->blocks[block].slots = false;
    value_block_list(space, block);
}

bool space_take_slot_frame(struct space *space, uint32_t *frame)
{
    if (!space->slot_blocks) {
        if (!space->by_class[CLASS_256K])
            return false;
        space_make_slot_block(space, space->by_class[CLASS_256K] - 1);
    }
    uint32_t block = space->slot_blocks - 1;
    *frame = block * BLOCK_FRAMES + (unsigned)__builtin_ctzll(~space->blocks[block].used);
    space_take_run(space, extent_of(*frame, 1));
    return true;
}
