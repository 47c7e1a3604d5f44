/*
 * The table of struct io: files and listeners, which any loop may use. A slot's generation goes up when its
 * handle becomes stale, so an old handle never finds a new object.
 */
#include <errno.h>
#include <stdlib.h>

#include "io/core.h"

#define NO_SLOT UINT32_MAX

struct shared_slot {
    uint32_t generation, next_free;
    enum slot_kind kind;
    void *object;
};

static int grow(struct io *io)
{
    uint32_t count = io->table.count == 0 ? 64 : io->table.count * 2;
    struct shared_slot *slots =
        count < IO_INDEX_SHARED ? realloc(io->table.slots, count * sizeof *slots) : NULL;
    if (slots == NULL)
        return -ENOMEM;
    for (uint32_t i = io->table.count; i < count; i++)
        slots[i] = (struct shared_slot){.generation = 1, .next_free = i + 1 < count ? i + 1 : NO_SLOT};
    io->table.free = io->table.count;
    io->table.slots = slots;
    io->table.count = count;
    return 0;
}

int slot_put(struct io *io, enum slot_kind kind, void *object, struct io_handle *handle)
{
    int error = 0;
    pthread_mutex_lock(&io->lock);
    if (io->table.count == 0 || io->table.free == NO_SLOT)
        error = grow(io);
    if (error == 0) {
        uint32_t index = io->table.free;
        struct shared_slot *slot = &io->table.slots[index];
        CHECK(slot->kind == SLOT_FREE);
        io->table.free = slot->next_free;
        slot->kind = kind;
        slot->object = object;
        *handle = (struct io_handle){index | IO_INDEX_SHARED, slot->generation};
        if (kind == SLOT_FILE)
            io->table.files++;
        else
            io->table.listeners++;
    }
    pthread_mutex_unlock(&io->lock);
    return error;
}

void *slot_get(struct io *io, enum slot_kind kind, struct io_handle handle)
{
    uint32_t index = handle.index & ~IO_INDEX_SHARED;
    if ((handle.index & IO_INDEX_SHARED) == 0 || index >= io->table.count)
        return NULL;
    struct shared_slot *slot = &io->table.slots[index];
    if (slot->kind != kind || slot->generation != handle.generation)
        return NULL;
    return slot->object;
}

void slot_drop(struct io *io, struct io_handle handle)
{
    struct shared_slot *slot = &io->table.slots[handle.index & ~IO_INDEX_SHARED];
    CHECK(slot->kind != SLOT_FREE && slot->generation == handle.generation);
    if (slot->kind == SLOT_FILE)
        io->table.files--;
    else
        io->table.listeners--;
    slot->kind = SLOT_FREE;
    slot->object = NULL;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->next_free = io->table.free;
    io->table.free = handle.index & ~IO_INDEX_SHARED;
}

void slots_shut(struct io *io)
{
    for (uint32_t i = 0; i < io->table.count; i++) {
        struct shared_slot *slot = &io->table.slots[i];
        if (slot->kind == SLOT_FILE) {
            file_shut(io, slot->object);
        } else if (slot->kind == SLOT_LISTENER) {
            struct io_listener *listener = slot->object;
            slot_drop(io, listener->handle);
            listener_shut(io, listener);
        }
    }
}
