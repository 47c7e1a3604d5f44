/*
 * File ops by ordinary blocking calls; on pool threads, for every driver that leaves them to the core.
 *
 * O_DIRECT is proved by a real read (or, in an empty file that may be written, by a write that is cut off
 * again): some file systems accept the flag and fail later. Opens use O_NONBLOCK so that a FIFO can't hold a
 * thread, and clear it again, since io_uring reads it as "do not wait" on files.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "io/core.h"

#define DIRECT_BYTES 4096
#define NAME_BYTES_MAX 255

/* ---- transfers ---- */

/* A short transfer: the rest of it, in a copy of the vector; `iov` stays as the caller made it. */
static ssize_t transfer_rest(struct io_op *op, size_t done)
{
    struct iovec copy[IO_VECTOR_MAX];
    unsigned count = op->io.count;
    memcpy(copy, op->io.iov, count * sizeof *copy);
    struct iovec *rest = io_vector_advance(copy, &count, done);
    if (count == 0)
        return 0;
    off_t offset = (off_t)(op->io.offset + done);
    return op->io.kind == IO_KIND_READ ? preadv(op->io.fd, rest, (int)count, offset)
                                       : pwritev(op->io.fd, rest, (int)count, offset);
}

static ssize_t transfer_once(struct io_op *op, size_t done)
{
    if (done > 0)
        return transfer_rest(op, done);
    return op->io.kind == IO_KIND_READ
               ? preadv(op->io.fd, op->io.iov, (int)op->io.count, (off_t)op->io.offset)
               : pwritev(op->io.fd, op->io.iov, (int)op->io.count, (off_t)op->io.offset);
}

static int64_t transfer(struct io_op *op)
{
    bool direct = io_op_file(op)->direct, reading = op->io.kind == IO_KIND_READ;
    size_t total = 0, done = 0;
    for (unsigned i = 0; i < op->io.count; i++)
        total += op->io.iov[i].iov_len;
    while (done < total) {
        ssize_t n = transfer_once(op, done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -EIO : -errno;
        done += (size_t)n;
        if (reading && (n == 0 || (direct && done % DIRECT_BYTES != 0)))
            break; /* the end of the file */
        if (!reading && direct)
            done -= done % DIRECT_BYTES; /* the rest must be aligned: the tail is written again */
        if (!reading && n < (direct ? DIRECT_BYTES : 1) && done < total)
            return -EIO;
    }
    if ((op->io.flags & IO_FLAG_SYNC) && fdatasync(op->io.fd) < 0)
        return -errno;
    return (int64_t)done;
}

/* ---- opening ---- */

static int system_flags(unsigned flags)
{
    int result = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    if ((flags & IO_OPEN_WRITE) == 0)
        result |= O_RDONLY;
    else
        result |= flags & (IO_OPEN_READ | IO_OPEN_DIRECT) ? O_RDWR : O_WRONLY;
    if (flags & IO_OPEN_CREATE)
        result |= O_CREAT;
    if (flags & IO_OPEN_NOFOLLOW)
        result |= O_NOFOLLOW;
    if (flags & IO_OPEN_DIRECTORY)
        result |= O_DIRECTORY;
    return result;
}

static bool is_symlink(int directory, const char *path)
{
    struct stat status;
    return fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
}

static int open_at(int directory, const char *path, int flags)
{
    int fd;
    do {
        fd = openat(directory, path, flags, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0)
        return fd;
    int error = errno;
    if (error == ENOTDIR && (flags & O_NOFOLLOW) && is_symlink(directory, path))
        return -ELOOP;
    return -error;
}

/* Relative, no empty, "." or ".." part, no over-long part. */
static bool path_is_plain(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len == 0 || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        if (path[len] == '\0')
            return true;
        path += len + 1;
    }
}

/* One part at a time, following no symlink: for kernels and sandboxes without openat2. */
static int open_walking(int directory, const char *path, int flags)
{
    int at = directory;
    for (;;) {
        char part[NAME_BYTES_MAX + 1];
        size_t len = strcspn(path, "/");
        if (len > NAME_BYTES_MAX) {
            if (at != directory)
                close(at);
            return -ENAMETOOLONG;
        }
        memcpy(part, path, len);
        part[len] = '\0';
        bool last = path[len] == '\0';
        int next =
            open_at(at, part, last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (at != directory)
            close(at);
        if (last || next < 0)
            return next;
        at = next;
        path += len + 1;
    }
}

static int open_beneath(int directory, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)flags,
        .mode = flags & O_CREAT ? 0600 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    if (!path_is_plain(path))
        return -EINVAL;
    for (unsigned attempt = 0; attempt < 16; attempt++) {
        long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        if (errno == ENOSYS || errno == EPERM)
            break;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return open_walking(directory, path, flags);
}

static bool proves_direct(int fd, const struct stat *status, void *page)
{
    if (pread(fd, page, DIRECT_BYTES, 0) < 0)
        return errno != EINVAL && errno != EOPNOTSUPP; /* another error is not about O_DIRECT */
    bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    if (!S_ISREG(status->st_mode) || status->st_size > 0 || !writable)
        return true;
    memset(page, 0, DIRECT_BYTES);
    bool proved =
        pwrite(fd, page, DIRECT_BYTES, 0) == DIRECT_BYTES && pread(fd, page, DIRECT_BYTES, 0) == DIRECT_BYTES;
    return ftruncate(fd, 0) == 0 && proved;
}

static bool make_direct(int fd, const struct stat *status)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
        return false;
    alignas(DIRECT_BYTES) unsigned char page[DIRECT_BYTES];
    bool proved = proves_direct(fd, status, page);
    if (!proved)
        (void)fcntl(fd, F_SETFL, flags);
    return proved;
}

/* FUSE says that it does not wait when asked not to, and waits for its server all the same. */
static bool is_fuse(int fd)
{
    struct statfs status;
    return fstatfs(fd, &status) == 0 && status.f_type == FUSE_SUPER_MAGIC;
}

/* Reading a file moves its time of access, by way of the file system's journal, and no flag keeps a read from
 * waiting for that. Only the owner may ask for it not to be moved. */
static bool keeps_atime(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NOATIME) == 0;
}

static int accept_file(struct io_file *file, int fd)
{
    struct stat status;
    unsigned flags = file->flags;
    if (fstat(fd, &status) < 0)
        return -errno;
    file->regular = S_ISREG(status.st_mode);
    file->directory = S_ISDIR(status.st_mode);
    file->block_device = S_ISBLK(status.st_mode);
    if ((flags & IO_OPEN_REGULAR) && !file->regular && !(file->block_device && (flags & IO_OPEN_DEVICE)))
        return E_REFUSED;
    int set = fcntl(fd, F_GETFL);
    if (set < 0 || fcntl(fd, F_SETFL, set & ~O_NONBLOCK) < 0)
        return -errno;
    if ((flags & IO_OPEN_LOCK) && flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    file->locked = (flags & IO_OPEN_LOCK) != 0;
    bool journals = (flags & IO_OPEN_DEVICE) && file->regular && !keeps_atime(fd);
    file->direct = (flags & IO_OPEN_DIRECT) && make_direct(fd, &status);
    file->waits = journals || is_fuse(fd);
    if (flags & IO_OPEN_DEVICE)
        file->queue_room = disk_queue_room(file->block_device ? status.st_rdev : status.st_dev);
    return 0;
}

static int64_t open_file(struct io_op *op)
{
    struct io_file *file = io_op_file(op), *parent = op->io.pointer2;
    int flags = system_flags(file->flags);
    int fd = op->io.kind == IO_KIND_OPEN ? open_at(AT_FDCWD, op->io.pointer, flags)
                                         : open_beneath(parent->fd, op->io.pointer, flags);
    if (fd < 0)
        return fd;
    int error = accept_file(file, fd);
    if (error < 0) {
        close(fd);
        return error;
    }
    file->fd = fd;
    return 0;
}

/* ---- the rest ---- */

static int64_t block_device_bytes(int fd)
{
    uint64_t bytes = 0;
    return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
}

static int64_t stat_file(const struct io_file *file, struct io_file_info *info)
{
    struct stat status;
    if (fstat(file->fd, &status) < 0)
        return -errno;
    *info = (struct io_file_info){
        .size_bytes = (uint64_t)status.st_size,
        .inode = status.st_ino,
        .mtime_ns = (uint64_t)status.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)status.st_mtim.tv_nsec,
        .regular = file->regular,
        .directory = file->directory,
        .block_device = file->block_device,
        .direct = file->direct,
    };
    if (!file->block_device)
        return 0;
    int64_t bytes = block_device_bytes(file->fd);
    info->size_bytes = bytes < 0 ? 0 : (uint64_t)bytes;
    return bytes < 0 ? bytes : 0;
}

/* For file systems without fallocate: zeroes behind the present end. */
static int64_t extend_with_zeroes(int fd, uint64_t from, uint64_t to)
{
    enum { CHUNK = 1 << 20 };
    int64_t result = 0;
    void *zeroes = aligned_alloc(DIRECT_BYTES, CHUNK);
    if (zeroes == NULL)
        return -ENOMEM;
    memset(zeroes, 0, CHUNK);
    int flags = fcntl(fd, F_GETFL); /* `from` and `to` need not be aligned */
    (void)fcntl(fd, F_SETFL, flags & ~O_DIRECT);
    while (from < to && result == 0) {
        size_t len = to - from < CHUNK ? to - from : CHUNK;
        ssize_t n = pwrite(fd, zeroes, len, (off_t)from);
        if (n > 0)
            from += (uint64_t)n;
        else if (n == 0 || errno != EINTR)
            result = n == 0 ? -ENOSPC : -errno;
    }
    (void)fcntl(fd, F_SETFL, flags);
    free(zeroes);
    return result;
}

static int64_t allocate(const struct io_file *file, uint64_t len)
{
    struct stat status;
    if (file->block_device)
        return 0;
    if (fstat(file->fd, &status) < 0)
        return -errno;
    uint64_t size = (uint64_t)status.st_size;
    if (len > 0) {
        int error;
        do {
            error = fallocate(file->fd, 0, 0, (off_t)len) < 0 ? -errno : 0;
        } while (error == -EINTR);
        if (error == -EOPNOTSUPP || error == -ENOSYS)
            error = (int)extend_with_zeroes(file->fd, size, len);
        if (error < 0)
            return error;
    }
    if (size > len && ftruncate(file->fd, (off_t)len) < 0)
        return -errno;
    return 0;
}

static int64_t discard(const struct io_file *file, uint64_t offset, uint64_t len)
{
    if (file->block_device) {
        uint64_t range[2] = {offset, len};
        return ioctl(file->fd, BLKDISCARD, range) < 0 ? -errno : 0;
    }
    return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) < 0
               ? -errno
               : 0;
}

static int64_t close_file(struct io_file *file)
{
    if (file->locked)
        (void)flock(file->fd, LOCK_UN); /* also where a ring or a child still holds the file */
    int error = close(file->fd) < 0 && errno != EINTR ? -errno : 0;
    file->fd = -1;
    return error;
}

static int64_t execute_once(struct io_op *op)
{
    struct io_file *file = io_op_file(op);
    switch (op->io.kind) {
    case IO_KIND_OPEN:
    case IO_KIND_OPEN_BENEATH:
        return open_file(op);
    case IO_KIND_STAT:
        return stat_file(file, op->io.pointer);
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        return transfer(op);
    case IO_KIND_SYNC:
        return fdatasync(file->fd) < 0 ? -errno : 0;
    case IO_KIND_ALLOCATE:
        return allocate(file, op->io.offset);
    case IO_KIND_TRUNCATE:
        return ftruncate(file->fd, (off_t)op->io.offset) < 0 ? -errno : 0;
    case IO_KIND_DISCARD:
        return discard(file, op->io.offset, (uint64_t)op->io.partial);
    case IO_KIND_FILE_CLOSE:
        return close_file(file);
    default:
        UNREACHABLE();
    }
}

int64_t disk_execute(struct io_op *op)
{
    int64_t result;
    do {
        result = execute_once(op);
    } while (result == -EINTR);
    return result == -EAGAIN ? -EIO : result;
}
