/*
 * The fake disk: named files, each with what a read sees (`now`), and the writes that have not surely reached
 * the medium, in the order in which they completed, with what they replaced.
 *
 * Each operation happens at one random moment; so operations in flight are reordered, and a write that is in
 * flight when the power goes may have happened in any of its sectors. At a cut each sector independently
 * loses the newest few of its writes: that is what a volatile cache may leave, whatever order it writes back
 * in; an old state never overwrites a newer one of the same sector. Waiting writes are bounded: past
 * WAITING_MAX the oldest reach the medium by themselves.
 *
 * fake_fault.c has the control functions and the faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "io/fake_disk.h"

#define WAITING_MAX (UINT64_C(64) << 20)
#define DIRECT_BYTES 4096

/* ---- files ---- */

struct fake_file *fake_file_find(struct fake_disk *disk, const char *path)
{
    for (struct list_node *node = disk->files.next; node != &disk->files; node = node->next) {
        struct fake_file *file = CONTAINER_OF(node, struct fake_file, node);
        if (strcmp(file->path, path) == 0)
            return file;
    }
    return NULL;
}

static struct fake_file *file_create(struct fake_disk *disk, const char *path, bool directory)
{
    struct fake_file *file = calloc(1, sizeof *file);
    CHECK(file != NULL);
    file->path = strdup(path);
    CHECK(file->path != NULL);
    file->inode = ++disk->inodes;
    file->directory = directory;
    list_init(&file->writes);
    list_push_back(&disk->files, &file->node);
    return file;
}

static void write_drop(struct fake_disk *disk, struct fake_write *write)
{
    disk->waiting_bytes -= write->len;
    list_remove(&write->node);
    free(write);
}

static void file_destroy(struct fake_disk *disk, struct fake_file *file)
{
    while (!list_empty(&file->writes))
        write_drop(disk, CONTAINER_OF(file->writes.next, struct fake_write, node));
    list_remove(&file->node);
    if (file->capacity > 0)
        CHECK(munmap(file->now, file->capacity) == 0);
    free(file->path);
    free(file);
}

struct fake_disk *fake_disk_create(void)
{
    struct fake_disk *disk = calloc(1, sizeof *disk);
    CHECK(disk != NULL);
    disk->capacity_bytes = UINT64_MAX;
    list_init(&disk->files);
    return disk;
}

void fake_disk_destroy(struct fake_disk *disk)
{
    while (!list_empty(&disk->files))
        file_destroy(disk, CONTAINER_OF(disk->files.next, struct fake_file, node));
    free(disk);
}

/* More room, in place or moved; zeroes. */
static void grow(struct fake_file *file, uint64_t bytes)
{
    void *map = file->capacity == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                    : mremap(file->now, file->capacity, bytes, MREMAP_MAYMOVE);
    CHECK(map != MAP_FAILED);
    madvise(map, bytes, MADV_HUGEPAGE); /* fewer faults; where it is refused, 4 KiB pages do */
    file->now = map;
    file->capacity = bytes;
}

/* Past the old end are zeroes, always: shrinking clears. */
static int64_t resize(struct fake_disk *disk, struct fake_file *file, uint64_t size)
{
    if (size > file->size && size - file->size > disk->capacity_bytes - disk->used_bytes)
        return -ENOSPC;
    if (size > file->capacity) {
        uint64_t capacity = size < file->capacity * 2 ? file->capacity * 2 : size;
        grow(file, (capacity + DIRECT_BYTES - 1) / DIRECT_BYTES * DIRECT_BYTES);
    }
    if (size < file->size) {
        memset(file->now + size, 0, file->size - size);
        for (struct list_node *node = file->writes.next; node != &file->writes; node = node->next) {
            struct fake_write *write = CONTAINER_OF(node, struct fake_write, node);
            uint64_t len = write->offset >= size ? 0 : size - write->offset;
            if (write->len > len) {
                disk->waiting_bytes -= write->len - len;
                write->len = (size_t)len;
            }
        }
    }
    disk->used_bytes += size - file->size;
    file->size = size;
    return 0;
}

/* ---- writes and the medium ---- */

/* The newest write of the file: seen by reads now, on the medium some day. */
void fake_file_write(struct fake *fake, struct fake_file *file, const void *data, size_t len, uint64_t offset)
{
    struct fake_disk *disk = fake->disk;
    if (len == 0)
        return;
    struct fake_write *write = malloc(sizeof *write + len);
    CHECK(write != NULL && offset + len <= file->size);
    *write = (struct fake_write){.sequence = ++disk->sequence, .offset = offset, .len = len};
    memcpy(write->before, file->now + offset, len);
    if (data != NULL)
        memcpy(file->now + offset, data, len);
    else
        memset(file->now + offset, 0, len);
    list_push_back(&file->writes, &write->node);
    disk->waiting_bytes += len;
    file->changed_ns = fake->now_ns + fake->wall_offset_ns;
    while (disk->waiting_bytes > WAITING_MAX && file->writes.next != &write->node)
        write_drop(disk, CONTAINER_OF(file->writes.next, struct fake_write, node));
}

void fake_file_sync(struct fake_disk *disk, struct fake_file *file, uint64_t up_to, uint64_t after)
{
    for (struct list_node *node = file->writes.next; node != &file->writes;) {
        struct fake_write *write = CONTAINER_OF(node, struct fake_write, node);
        node = node->next;
        if (write->sequence <= up_to || write->sequence > after)
            write_drop(disk, write);
    }
}

/* The sectors of the write that are lost: only those that have lost all later ones. */
static void lose(
    struct fake *fake, struct fake_file *file, const struct fake_write *write, uint8_t *kept, uint64_t odds)
{
    for (uint64_t at = write->offset, end = write->offset + write->len; at < end;) {
        uint64_t sector = at / FAKE_SECTOR, next = (sector + 1) * FAKE_SECTOR;
        uint64_t len = (next < end ? next : end) - at;
        if (!kept[sector] && random_below(&fake->random, 100) >= odds)
            kept[sector] = 1;
        if (!kept[sector])
            memcpy(file->now + at, write->before + (at - write->offset), len);
        at += len;
    }
}

static void lose_power_of_file(struct fake *fake, struct fake_disk *disk, struct fake_file *file)
{
    static const uint8_t odds[] = {0, 5, 50, 95, 100};
    uint64_t chosen = odds[random_below(&fake->random, sizeof odds)];
    uint8_t *kept = calloc(1, file->size / FAKE_SECTOR + 1);
    CHECK(kept != NULL);
    while (!list_empty(&file->writes)) {
        struct fake_write *write = CONTAINER_OF(file->writes.prev, struct fake_write, node);
        lose(fake, file, write, kept, chosen);
        write_drop(disk, write);
    }
    free(kept);
}

void fake_disk_lose_power(struct fake *fake, struct fake_disk *disk)
{
    for (struct list_node *node = disk->files.next; node != &disk->files; node = node->next)
        lose_power_of_file(fake, disk, CONTAINER_OF(node, struct fake_file, node));
}

/* Random sectors of a write that did not complete. */
void fake_write_torn(struct fake *fake, struct io_op *op, struct fake_file *file)
{
    uint64_t at = op->io.offset, odds = random_below(&fake->random, 101);
    for (unsigned i = 0; i < op->io.count; i++) {
        const uint8_t *data = op->io.iov[i].iov_base;
        for (size_t left = op->io.iov[i].iov_len; left > 0;) {
            size_t len = FAKE_SECTOR - at % FAKE_SECTOR;
            len = len < left ? len : left;
            if (at + len <= file->size && random_below(&fake->random, 100) < odds)
                fake_file_write(fake, file, data, len, at);
            at += len;
            data += len;
            left -= len;
        }
    }
}

/* ---- operations ---- */

static size_t vector_bytes(const struct io_op *op)
{
    size_t total = 0;
    for (unsigned i = 0; i < op->io.count; i++)
        total += op->io.iov[i].iov_len;
    return total;
}

static bool aligned(const struct io_op *op)
{
    if (op->io.offset % DIRECT_BYTES != 0)
        return false;
    for (unsigned i = 0; i < op->io.count; i++) {
        if ((uintptr_t)op->io.iov[i].iov_base % DIRECT_BYTES != 0 ||
            op->io.iov[i].iov_len % DIRECT_BYTES != 0)
            return false;
    }
    return true;
}

static int64_t do_read(struct io_op *op, const struct fake_file *file)
{
    uint64_t at = op->io.offset;
    if (!(io_op_file(op)->flags & IO_OPEN_READ))
        return -EBADF;
    if (io_op_file(op)->direct && !aligned(op))
        return -EINVAL;
    for (unsigned i = 0; i < op->io.count && at < file->size; i++) {
        uint64_t left = file->size - at, len = op->io.iov[i].iov_len < left ? op->io.iov[i].iov_len : left;
        memcpy(op->io.iov[i].iov_base, file->now + at, len);
        at += len;
    }
    return (int64_t)(at - op->io.offset);
}

static int64_t do_write(struct fake *fake, struct io_op *op, struct fake_file *file)
{
    uint64_t at = op->io.offset, end = at + vector_bytes(op);
    if (!(io_op_file(op)->flags & IO_OPEN_WRITE))
        return -EBADF;
    if (io_op_file(op)->direct && !aligned(op))
        return -EINVAL;
    if (end > file->size) {
        int64_t error = resize(fake->disk, file, end);
        if (error < 0)
            return error;
    }
    uint64_t before = fake->disk->sequence;
    for (unsigned i = 0; i < op->io.count; i++) {
        fake_file_write(fake, file, op->io.iov[i].iov_base, op->io.iov[i].iov_len, at);
        at += op->io.iov[i].iov_len;
    }
    if (op->io.flags & IO_FLAG_SYNC) /* of itself, and what had completed when it was submitted */
        fake_file_sync(fake->disk, file, op->io.deadline_ns, before);
    return (int64_t)(end - op->io.offset);
}

static bool path_is_plain(const char *path)
{
    for (;; path++) {
        size_t len = strcspn(path, "/");
        if (len == 0 || (path[0] == '.' && (len == 1 || (len == 2 && path[1] == '.'))))
            return false;
        path += len;
        if (*path == '\0')
            return true;
    }
}

static char *path_of(const struct io_op *op)
{
    const char *path = op->io.pointer;
    if (op->io.kind == IO_KIND_OPEN)
        return strdup(path);
    const struct fake_file *directory = ((struct io_file *)op->io.pointer2)->driver;
    if (!path_is_plain(path))
        return NULL;
    size_t bytes = strlen(directory->path) + strlen(path) + 2;
    char *joined = malloc(bytes);
    CHECK(joined != NULL);
    CHECK(snprintf(joined, bytes, "%s/%s", directory->path, path) == (int)bytes - 1);
    return joined;
}

static int64_t attach(struct io_file *file, struct fake_file *found)
{
    if (found->directory && (file->flags & IO_OPEN_REGULAR))
        return E_REFUSED;
    if (!found->directory && (file->flags & IO_OPEN_DIRECTORY))
        return -ENOTDIR;
    if (found->locked && (file->flags & IO_OPEN_LOCK))
        return -EBUSY;
    file->locked = (file->flags & IO_OPEN_LOCK) != 0;
    found->locked |= file->locked;
    found->opens++;
    file->driver = found;
    file->regular = !found->directory;
    file->directory = found->directory;
    file->direct = file->regular && (file->flags & IO_OPEN_DIRECT) != 0;
    return 0;
}

static int64_t do_open(struct fake_disk *disk, struct io_op *op)
{
    struct io_file *file = io_op_file(op);
    bool directory = (file->flags & IO_OPEN_DIRECTORY) != 0;
    char *path = path_of(op);
    if (path == NULL)
        return -EINVAL;
    struct fake_file *found = fake_file_find(disk, path);
    if (found == NULL && ((file->flags & IO_OPEN_CREATE) || directory))
        found = file_create(disk, path, directory);
    free(path);
    return found == NULL ? -ENOENT : attach(file, found);
}

static int64_t do_close(struct io_file *file, struct fake_file *found)
{
    CHECK(found->opens > 0);
    found->opens--;
    if (file->locked)
        found->locked = false;
    file->driver = NULL;
    return 0;
}

static int64_t do_stat(struct io_op *op, const struct fake_file *found)
{
    const struct io_file *file = io_op_file(op);
    *(struct io_file_info *)op->io.pointer = (struct io_file_info){
        .size_bytes = found->size,
        .inode = found->inode,
        .mtime_ns = found->changed_ns,
        .regular = file->regular,
        .directory = file->directory,
        .direct = file->direct,
    };
    return 0;
}

static int64_t do_discard(struct fake *fake, const struct io_op *op, struct fake_file *file)
{
    uint64_t offset = op->io.offset, len = (uint64_t)op->io.partial;
    if (offset >= file->size)
        return 0;
    fake_file_write(fake, file, NULL, len < file->size - offset ? len : file->size - offset, offset);
    return 0;
}

static int64_t do_sync(struct fake_disk *disk, const struct io_op *op, struct fake_file *file)
{
    fake_file_sync(disk, file, op->io.deadline_ns, UINT64_MAX);
    return 0;
}

int64_t fake_disk_execute(struct fake *fake, struct io_op *op)
{
    struct fake_file *file = io_op_file(op)->driver;
    switch (op->io.kind) {
    case IO_KIND_OPEN:
    case IO_KIND_OPEN_BENEATH:
        return do_open(fake->disk, op);
    case IO_KIND_STAT:
        return do_stat(op, file);
    case IO_KIND_READ:
        return do_read(op, file);
    case IO_KIND_WRITE:
        return do_write(fake, op, file);
    case IO_KIND_SYNC:
        return do_sync(fake->disk, op, file);
    case IO_KIND_ALLOCATE:
    case IO_KIND_TRUNCATE:
        return resize(fake->disk, file, op->io.offset);
    case IO_KIND_DISCARD:
        return do_discard(fake, op, file);
    case IO_KIND_FILE_CLOSE:
        return do_close(io_op_file(op), file);
    default:
        UNREACHABLE();
    }
}
