#include "cache/slot.h"

#include "cache/poison.h"

static const uint16_t class_bytes[SLOT_CLASSES] = {128, 192, 256, 384, 512, 960, 1984, SLOT_BYTES_MAX};

static_assert(sizeof(struct slab) <= SLOT_UNIT, "slots begin behind the slab's header");
static_assert(SLOT_BYTES_MAX / 128 <= 31, "a slab's slots have a bit each");

static unsigned class_for(uint32_t bytes)
{
    CHECK(bytes <= SLOT_BYTES_MAX);
    unsigned class = 0;
    while (class_bytes[class] < bytes)
        class ++;
    return class;
}

uint32_t slot_bytes(uint32_t bytes)
{
    return class_bytes[class_for(bytes)];
}

static struct slab *slab_at(const struct space *space, uint32_t frame)
{
    return (struct slab *)(void *)space_at(space, frame);
}

static uint32_t all_used(const struct slab *slab)
{
    return (UINT32_C(1) << (SLOT_BYTES_MAX / class_bytes[slab->class])) - 1;
}

static void *slot_of(struct slab *slab, unsigned at)
{
    return (unsigned char *)slab + SLOT_UNIT + (size_t)at * class_bytes[slab->class];
}

static void list(struct slots *slots, struct slab *slab)
{
    uint32_t *head = &slots->with_room[slab->class];
    slab->prev = 0;
    slab->next = *head;
    if (*head)
        slab_at(slots->space, *head - 1)->prev = slab->frame + 1;
    *head = slab->frame + 1;
}

static void unlist(struct slots *slots, struct slab *slab)
{
    if (slab->prev)
        slab_at(slots->space, slab->prev - 1)->next = slab->next;
    else
        slots->with_room[slab->class] = slab->next;
    if (slab->next)
        slab_at(slots->space, slab->next - 1)->prev = slab->prev;
}

void slots_init(struct slots *slots, struct space *space)
{
    *slots = (struct slots){.space = space};
}

void slots_add(struct slots *slots, uint32_t bytes, uint32_t frame)
{
    struct slab *slab = slab_at(slots->space, frame);
    *slab = (struct slab){.frame = frame, .class = (uint8_t)class_for(bytes)};
    space_own(slots->space, extent_of(frame, 1), OWNER_SLAB);
    list(slots, slab);
    poison((unsigned char *)slab + SLOT_UNIT, FRAME_BYTES - SLOT_UNIT);
}

void *slots_take(struct slots *slots, uint32_t bytes)
{
    uint32_t head = slots->with_room[class_for(bytes)];
    if (!head)
        return NULL;
    struct slab *slab = slab_at(slots->space, head - 1);
    unsigned at = (unsigned)__builtin_ctz(~slab->used);
    slab->used |= UINT32_C(1) << at;
    if (slab->used == all_used(slab))
        unlist(slots, slab);
    unpoison(slot_of(slab, at), class_bytes[slab->class]);
    return slot_of(slab, at);
}

void slots_give(struct slots *slots, void *slot)
{
    size_t frame = (size_t)((unsigned char *)slot - slots->space->base) / FRAME_BYTES;
    struct slab *slab = slab_at(slots->space, (uint32_t)frame);
    size_t at =
        (size_t)((unsigned char *)slot - (unsigned char *)slab - SLOT_UNIT) / class_bytes[slab->class];
    CHECK(slot_of(slab, (unsigned)at) == slot && (slab->used & UINT32_C(1) << at));
    if (slab->used == all_used(slab))
        list(slots, slab);
    slab->used &= ~(UINT32_C(1) << at);
    poison(slot, class_bytes[slab->class]);
    if (slab->used != 0)
        return;
    unlist(slots, slab);
    space_give(slots->space, extent_of((uint32_t)frame, 1));
}

void *slab_next(const struct space *space, uint32_t frame, unsigned *at)
{
    struct slab *slab = slab_at(space, frame);
    uint32_t left = *at < 32 ? slab->used >> *at << *at : 0;
    if (!left)
        return NULL;
    unsigned found = (unsigned)__builtin_ctz(left);
    *at = found + 1;
    return slot_of(slab, found);
}
