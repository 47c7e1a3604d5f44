/* Operations of the fake disk as events, what can go wrong with them, and the control functions of fake.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/fake_disk.h"

static unsigned kind_of(const struct io_op *op)
{
    switch (op->io.kind) {
    case IO_KIND_READ:
        return FAKE_READ;
    case IO_KIND_WRITE:
        return op->io.flags & IO_FLAG_SYNC ? FAKE_WRITE | FAKE_SYNC : FAKE_WRITE;
    case IO_KIND_SYNC:
        return FAKE_SYNC;
    case IO_KIND_OPEN:
    case IO_KIND_OPEN_BENEATH:
        return FAKE_OPEN;
    case IO_KIND_ALLOCATE:
    case IO_KIND_TRUNCATE:
        return FAKE_ALLOCATE;
    case IO_KIND_DISCARD:
        return FAKE_DISCARD;
    default:
        return 0;
    }
}

static const char *path_of(struct io_op *op)
{
    const struct fake_file *file = io_op_file(op)->driver;
    if (op->io.kind == IO_KIND_OPEN)
        return op->io.pointer;
    return file == NULL ? "" : file->path;
}

static bool touches(const struct fake_fault *fault, const struct io_op *op)
{
    bool transfers = op->io.kind == IO_KIND_READ || op->io.kind == IO_KIND_WRITE;
    if (fault->len == 0 || !transfers || !(fault->kinds & (FAKE_READ | FAKE_WRITE)))
        return true;
    uint64_t end = op->io.offset;
    for (unsigned i = 0; i < op->io.count; i++)
        end += op->io.iov[i].iov_len;
    return op->io.offset < fault->offset + fault->len && fault->offset < end;
}

enum harm { HARM_NOTHING, HARM_TORN, HARM_UNSYNCED }; /* what is left of the operation */

static enum harm harm_of(struct fake *fake, const struct fake_fault *fault, const struct io_op *op)
{
    if (op->io.kind != IO_KIND_WRITE)
        return HARM_NOTHING;
    if ((op->io.flags & IO_FLAG_SYNC) && (fault->kinds & FAKE_SYNC) && random_below(&fake->random, 2))
        return HARM_UNSYNCED;
    return fault->torn ? HARM_TORN : HARM_NOTHING;
}

/* 0, or the error of the first fault that strikes. */
static int strike(struct fake *fake, struct io_op *op, enum harm *harm)
{
    for (unsigned i = 0; i < fake->fault_count; i++) {
        struct fake_fault *fault = &fake->faults[i];
        bool meant = fault->path == NULL || strcmp(fault->path, path_of(op)) == 0;
        if (!meant || !(fault->kinds & kind_of(op)) || !touches(fault, op) || fault->error == 0)
            continue;
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        int error = fault->error;
        if (fault->count > 0 && --fault->count == 0)
            fault->error = 0; /* spent */
        *harm = harm_of(fake, fault, op);
        return error;
    }
    return 0;
}

static void tally(struct fake *fake, const struct io_op *op)
{
    struct fake_disk_counts *counts = &fake->counts;
    counts->failed += op->result < 0;
    if (op->result < 0)
        return;
    if (op->io.kind == IO_KIND_READ) {
        counts->reads++;
        counts->read_bytes += (uint64_t)op->result;
    } else if (op->io.kind == IO_KIND_WRITE) {
        counts->writes++;
        counts->written_bytes += (uint64_t)op->result;
        counts->syncs += (op->io.flags & IO_FLAG_SYNC) != 0;
    } else if (op->io.kind == IO_KIND_SYNC) {
        counts->syncs++;
    }
}

static struct fake_disk *cut_now(struct fake *fake, enum fake_cut cut);

static void end(struct fake *fake, struct io_op *op, int64_t result)
{
    fake->counts.in_flight--;
    io_complete(op, result);
    tally(fake, op);
    if (fake->disk != NULL && fake->cut_after > 0 && --fake->cut_after == 0)
        fake->gone = cut_now(fake, fake->cut);
}

static bool is_stalled(const struct fake *fake, struct io_op *op)
{
    const struct fake_file *file = io_op_file(op)->driver;
    return fake->disk->stalled || (file != NULL && file->stalled);
}

static void happen(struct fake *fake, void *target)
{
    struct io_op *op = target;
    enum harm harm = HARM_NOTHING;
    list_remove(&op->io.node);
    if (fake->disk == NULL) {
        end(fake, op, op->io.kind == IO_KIND_FILE_CLOSE ? 0 : -EIO);
        return;
    }
    if (is_stalled(fake, op)) {
        list_push_back(&fake->held, &op->io.node);
        return;
    }
    int error = strike(fake, op, &harm);
    if (error == 0) {
        end(fake, op, fake_disk_execute(fake, op));
        return;
    }
    if (harm == HARM_TORN) {
        fake_write_torn(fake, op, io_op_file(op)->driver);
    } else if (harm == HARM_UNSYNCED) {
        op->io.flags &= (uint8_t)~IO_FLAG_SYNC;
        (void)fake_disk_execute(fake, op);
    }
    end(fake, op, error);
}

static void schedule(struct fake *fake, struct io_op *op)
{
    list_push_back(&fake->disk_ops, &op->io.node);
    fake_later(fake, fake->pace.delay_min_ns, fake->pace.delay_max_ns, happen, op);
}

void fake_disk_start(struct fake *fake, struct io_op *op)
{
    CHECK(op->io.state == IO_DRIVEN && !list_linked(&op->io.node));
    op->io.deadline_ns = fake->disk == NULL ? 0 : fake->disk->sequence; /* what a sync covers */
    fake->counts.in_flight++;
    schedule(fake, op);
}

static void release_held(struct fake *fake)
{
    struct list_node held, *node;
    if (list_empty(&fake->held))
        return;
    list_init(&held);
    while ((node = list_pop_front(&fake->held)) != NULL)
        list_push_back(&held, node);
    while ((node = list_pop_front(&held)) != NULL)
        schedule(fake, CONTAINER_OF(node, struct io_op, io.node));
}

/* ---- the end of a process or of power ---- */

static void tear_in_flight(struct fake *fake, struct list_node *ops)
{
    for (struct list_node *node = ops->next; node != ops; node = node->next) {
        struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
        if (op->io.kind == IO_KIND_WRITE && !is_stalled(fake, op))
            fake_write_torn(fake, op, io_op_file(op)->driver);
    }
}

static struct fake_disk *cut_now(struct fake *fake, enum fake_cut cut)
{
    struct fake_disk *disk = fake->disk;
    CHECK(disk != NULL);
    tear_in_flight(fake, &fake->disk_ops);
    if (cut == FAKE_POWER)
        fake_disk_lose_power(fake, disk);
    disk->stalled = false;
    for (struct list_node *node = disk->files.next; node != &disk->files; node = node->next) {
        struct fake_file *file = CONTAINER_OF(node, struct fake_file, node);
        file->opens = 0;
        file->locked = file->stalled = false;
    }
    fake->disk = NULL;
    fake->cut_after = 0;
    release_held(fake);
    return disk;
}

struct fake_disk *fake_disk_cut(struct io *io, enum fake_cut cut)
{
    struct fake *fake = fake_of(io);
    struct fake_disk *gone = fake->gone;
    fake->gone = NULL;
    return gone != NULL ? gone : cut_now(fake, cut);
}

void fake_disk_cut_after(struct io *io, unsigned count, enum fake_cut cut)
{
    struct fake *fake = fake_of(io);
    CHECK(fake->disk != NULL && count > 0);
    fake->cut_after = count;
    fake->cut = cut;
}

bool fake_disk_is_cut(const struct io *io)
{
    return fake_of(io)->disk == NULL;
}

void fake_disk_attach(struct io *io, struct fake_disk *disk)
{
    struct fake *fake = fake_of(io);
    CHECK(io->table.files == 0 && list_empty(&fake->disk_ops) && list_empty(&fake->held));
    if (fake->disk != NULL)
        fake_disk_destroy(fake->disk);
    fake->disk = disk;
}

/* ---- control ---- */

void fake_disk_init(struct fake *fake)
{
    fake->disk = fake_disk_create();
    list_init(&fake->disk_ops);
    list_init(&fake->held);
    fake_disk_pace(fake->io, &(struct fake_disk_pace){0});
}

void fake_disk_deinit(struct fake *fake)
{
    fake_disk_heal(fake->io);
    if (fake->disk != NULL)
        fake_disk_destroy(fake->disk);
    if (fake->gone != NULL)
        fake_disk_destroy(fake->gone);
}

void fake_disk_pace(struct io *io, const struct fake_disk_pace *pace)
{
    static const struct fake_disk_pace ordinary = {20 * NS_PER_US, 400 * NS_PER_US};
    fake_of(io)->pace = pace->delay_max_ns == 0 ? ordinary : *pace;
}

void fake_disk_fail(struct io *io, const struct fake_fault *fault)
{
    struct fake *fake = fake_of(io);
    unsigned at = 0;
    CHECK(fault->error < 0 && fault->kinds != 0);
    while (at < fake->fault_count && fake->faults[at].error != 0)
        at++;
    CHECK(at < FAKE_FAULTS_MAX);
    if (at == fake->fault_count)
        fake->fault_count++;
    else
        free((char *)fake->faults[at].path);
    fake->faults[at] = *fault;
    if (fault->path != NULL) {
        fake->faults[at].path = strdup(fault->path);
        CHECK(fake->faults[at].path != NULL);
    }
}

void fake_disk_heal(struct io *io)
{
    struct fake *fake = fake_of(io);
    for (unsigned i = 0; i < fake->fault_count; i++)
        free((char *)fake->faults[i].path);
    fake->fault_count = 0;
}

void fake_disk_stall(struct io *io, const char *path, bool stalled)
{
    struct fake *fake = fake_of(io);
    CHECK(fake->disk != NULL);
    struct fake_file *file = path == NULL ? NULL : fake_file_find(fake->disk, path);
    CHECK(path == NULL || file != NULL);
    *(file == NULL ? &fake->disk->stalled : &file->stalled) = stalled;
    if (!stalled)
        release_held(fake);
}

void fake_disk_capacity(struct io *io, uint64_t bytes)
{
    struct fake_disk *disk = fake_of(io)->disk;
    CHECK(disk != NULL);
    disk->capacity_bytes = bytes > disk->used_bytes ? bytes : disk->used_bytes;
}

uint8_t *fake_disk_bytes(struct io *io, const char *path, uint64_t *len)
{
    struct fake *fake = fake_of(io);
    struct fake_file *file = fake->disk == NULL ? NULL : fake_file_find(fake->disk, path);
    *len = file == NULL ? 0 : file->size;
    return file == NULL ? NULL : file->now;
}

void fake_disk_settle(struct io *io, const char *path)
{
    struct fake *fake = fake_of(io);
    struct fake_file *file = fake_file_find(fake->disk, path);
    CHECK(file != NULL);
    fake_file_sync(fake->disk, file, UINT64_MAX, UINT64_MAX);
}

void fake_disk_counts(const struct io *io, struct fake_disk_counts *counts)
{
    *counts = fake_of(io)->counts;
}
