/*
 * Attaching and detaching the tier: every device's file is opened, then it is decided what they are to each
 * other, then they start.
 *
 * The epoch is one above the highest found. A device that is behind its peers, or is new, or was cut shorter,
 * starts empty. Two that were not last attached together, and of which neither was merely away while the
 * other went on, lived apart, and nothing tells which came later: each may hold what replaces or purges the
 * other one's items, and all start empty. The owners of keys are the devices present and those that the
 * present ones remember, as long as as many configured devices failed to open: those keep their keys, as
 * misses. If a remembered device is configured no more, its keys would fall to devices that may hold older
 * items of them: then all start empty.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"
#include "cache/tier.h"
#include "cache/worker.h"

#define ATTACH_PROVISIONAL 2

static bool usable(const struct device *device)
{
    return atomic_load(&device->state) != DEVICE_CLOSED;
}

static bool same_id(const struct device_id *a, const struct device_id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void owner_add(struct disk *disk, const struct device_id *id, struct device *device)
{
    for (unsigned i = 0; i < disk->owner_count; i++)
        if (same_id(&disk->owners[i].id, id)) {
            if (device != NULL)
                disk->owners[i].device = device;
            return;
        }
    if (disk->owner_count == DISK_DEVICES_MAX)
        return;
    unsigned i = disk->owner_count++;
    disk->owners[i].id = *id;
    disk->owners[i].device = device;
    disk->owners[i].mix = segment_hash(0, ITEM_HEAD, bytes_of(id->bytes, sizeof id->bytes));
}

/* The device that the others are compared with: of the highest epoch, NULL if none is usable. */
static const struct device *leader_of(const struct disk *disk)
{
    const struct device *leader = NULL;
    for (unsigned i = 0; i < disk->device_count; i++)
        if (usable(disk->devices[i]) &&
            (leader == NULL || disk->devices[i]->super.epoch > leader->super.epoch))
            leader = disk->devices[i];
    return leader;
}

/* Is there one that lived apart from the leader: neither attached with it last, nor left behind by it? A new
 * one never lived. */
static bool lived_apart(const struct disk *disk, const struct superblock *leader)
{
    for (unsigned i = 0; i < disk->device_count; i++) {
        const struct superblock *super = &disk->devices[i]->super;
        if (!usable(disk->devices[i]) || super->epoch == 0)
            continue;
        bool together = super->epoch == leader->epoch && super->attach == leader->attach &&
                        super->attach != ATTACH_PROVISIONAL;
        bool behind = super->epoch < leader->epoch && super->attach == leader->whole;
        if (!together && !behind)
            return true;
    }
    return false;
}

/* Names this attach; odd when no owner is away. Where a device is missing that nobody knows yet, it and those
 * here may be attached without each other next: what they hold is good for this attach only. */
static uint64_t attach_draw(unsigned away, unsigned failed)
{
    bool none_away = away == 0 || away > failed;
    if (failed > away)
        return ATTACH_PROVISIONAL;
    uint64_t attach;
    random_os(&attach, sizeof attach);
    return none_away ? attach | 1 : attach & ~UINT64_C(1);
}

/* The owners: present and remembered. Returns how many are remembered only. */
static unsigned owners_find(struct disk *disk, const struct superblock *leader)
{
    disk->owner_count = 0;
    for (unsigned i = 0; i < disk->device_count; i++)
        if (usable(disk->devices[i]))
            owner_add(disk, &disk->devices[i]->super.id, disk->devices[i]);
    unsigned present = disk->owner_count;
    for (uint32_t i = 0; i < leader->peer_count; i++)
        owner_add(disk, &leader->peers[i], NULL);
    return disk->owner_count - present;
}

static void decide(struct disk *disk)
{
    const struct device *first = leader_of(disk);
    if (first == NULL)
        return;
    const struct superblock leader = first->super;
    uint64_t epoch = leader.epoch;
    unsigned away = owners_find(disk, &leader), failed = 0;
    for (unsigned i = 0; i < disk->device_count; i++)
        failed += !usable(disk->devices[i]);
    bool all_empty = away > failed || lived_apart(disk, &leader) || epoch + 1 >= UINT64_C(1) << EPOCH_BITS;
    if (away > failed)
        disk->owner_count -= away;
    uint64_t attach = attach_draw(away, failed);
    uint64_t whole = leader.attach % 2 == 1 ? leader.attach : leader.whole;
    uint64_t next = epoch + 1 >= UINT64_C(1) << EPOCH_BITS ? 1 : epoch + 1;
    for (unsigned i = 0; i < disk->device_count; i++) {
        struct device *device = disk->devices[i];
        if (!usable(device))
            continue;
        if (all_empty || device->super.epoch < epoch)
            device->starts_empty = true;
        device->super.epoch = next;
        device->super.attach = attach;
        device->super.whole = whole;
        device->super.peer_count = disk->owner_count;
        for (unsigned j = 0; j < disk->owner_count; j++)
            device->super.peers[j] = disk->owners[j].id;
    }
    uint64_t sequence = atomic_load(&disk->sequence);
    if (sequence < next << EPOCH_SHIFT)
        atomic_store(&disk->sequence, next << EPOCH_SHIFT);
}

/* ---- attach ---- */

static void turn_end(struct disk *disk)
{
    disk->turn.busy = false;
    disk->turn.done(disk->turn.context, disk->turn.result);
}

static void left(void *context)
{
    turn_end(context);
}

/* One that was started and is out again by now is tried again as any other. */
static void attached_all(struct disk *disk)
{
    disk->turn.result = E_UNSUPPORTED;
    for (unsigned i = 0; i < disk->device_count; i++) {
        if (usable(disk->devices[i]))
            disk->turn.result = 0;
    }
    for (unsigned i = 0; i < disk->owner_count; i++)
        if (disk->owners[i].device != NULL && !usable(disk->owners[i].device))
            disk->owners[i].device = NULL;
    if (disk->turn.result < 0) {
        disk->owner_count = 0;
        disk_leave(disk, disk->turn.home->loop, left, disk);
        return;
    }
    atomic_store_explicit(&disk->attached, true, memory_order_release);
    turn_end(disk);
}

static void one_started(struct device *device, int result)
{
    (void)result;
    struct disk *disk = device->disk;
    if (--disk->turn.pending == 0)
        attached_all(disk);
}

static void opened_all(struct disk *disk)
{
    decide(disk);
    for (unsigned i = 0; i < disk->device_count; i++)
        disk->turn.pending += usable(disk->devices[i]);
    if (disk->turn.pending == 0) {
        attached_all(disk);
        return;
    }
    for (unsigned i = 0; i < disk->device_count; i++)
        if (usable(disk->devices[i]))
            device_start(disk->devices[i], one_started);
}

static void one_opened(struct device *device, int result)
{
    (void)result;
    struct disk *disk = device->disk;
    if (--disk->turn.pending == 0)
        opened_all(disk);
}

static void nothing_to_open(struct io_message *message)
{
    attached_all(CONTAINER_OF(message, struct disk, turn.message));
}

static void did_not_join(struct io_message *message)
{
    turn_end(CONTAINER_OF(message, struct disk, turn.message));
}

void disk_attach(
    struct disk *disk, struct io_loop *loop, void (*done)(void *context, int result), void *context)
{
    CHECK(!disk->turn.busy && !atomic_load(&disk->attached));
    disk->turn.busy = true;
    disk->turn.done = done;
    disk->turn.context = context;
    disk->turn.pending = 0;
    disk->turn.result = disk_join(disk, loop);
    if (disk->turn.result < 0) {
        disk->turn.message.deliver = did_not_join;
        io_post(loop, &disk->turn.message);
        return;
    }
    disk->turn.home = disk_worker(disk, loop);
    for (unsigned i = 0; i < disk->device_count; i++) {
        disk->devices[i]->home = disk->turn.home;
        disk->turn.pending += device_open(disk->devices[i], one_opened) == 0;
    }
    if (disk->turn.pending > 0)
        return;
    disk->turn.message.deliver = nothing_to_open;
    io_post(loop, &disk->turn.message);
}

/* ---- detach ---- */

static void was_not_attached(struct io_message *message)
{
    turn_end(CONTAINER_OF(message, struct disk, turn.message));
}

/* All files are closed, or the deadline has come. */
static void detached(struct disk *disk)
{
    disk->owner_count = 0;
    disk_leave(disk, disk->turn.home->loop, left, disk);
}

static void deadline(struct io_op *op)
{
    struct disk *disk = CONTAINER_OF(op, struct disk, turn.timer);
    struct disk_worker *home = disk->turn.home;
    if (op->result == 0 && disk->turn.pending > 0) {
        disk->turn.gave_up = true;
        disk->turn.result = E_TIMEOUT;
        home->joins--;
        turn_end(disk);
        worker_op_end(home);
        return;
    }
    worker_op_end(home);
    detached(disk);
}

static void one_closed(struct device *device, int result)
{
    struct disk *disk = device->disk;
    if (result < 0 && disk->turn.result == 0)
        disk->turn.result = result;
    if (--disk->turn.pending > 0 || disk->turn.gave_up)
        return;
    io_cancel(disk->turn.home->loop, &disk->turn.timer);
}

void disk_detach(struct disk *disk, struct io_loop *loop, uint64_t deadline_ns,
    void (*done)(void *context, int result), void *context)
{
    CHECK(!disk->turn.busy);
    disk->turn.busy = true;
    disk->turn.done = done;
    disk->turn.context = context;
    disk->turn.result = 0;
    disk->turn.pending = 0;
    if (!atomic_exchange(&disk->attached, false)) {
        disk->turn.message.deliver = was_not_attached;
        io_post(loop, &disk->turn.message);
        return;
    }
    CHECK(disk->turn.home->loop == loop);
    for (unsigned i = 0; i < disk->device_count; i++)
        disk->turn.pending += usable(disk->devices[i]);
    io_op_init(&disk->turn.timer, deadline);
    worker_op_begin(disk->turn.home);
    io_timer(loop, &disk->turn.timer, disk->turn.pending > 0 ? deadline_ns : 0);
    for (unsigned i = 0; i < disk->device_count; i++)
        if (usable(disk->devices[i]))
            device_close(disk->devices[i], one_closed);
}
