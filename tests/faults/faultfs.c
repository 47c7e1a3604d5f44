/*
 * A file system with one file, `device`, whose operations go to a backing file, and fail or wait as a control
 * file says: for tests of what real devices do to both drivers through the kernel.
 *
 * `faultfs BACKING CONTROL MOUNTPOINT`; in the foreground until it is unmounted or gets SIGTERM.
 *
 * The control file is read before each operation; it lies outside, so that it can be changed while everything
 * in here waits. Each line is one rule, the first that fits counts; an empty file: all is well.
 *
 *     WHAT ERROR [FROM LEN]     WHAT: read, write, sync, space, open, all;  ERROR: EIO, ENOSPC, ENODEV, EROFS
 * ... WHAT stall [FROM LEN]     waits until the control file says something else direct EINVAL reads and
 * writes with O_DIRECT fail, as on file systems without it
 *
 * `space` is fallocate and truncates. Files are opened for direct I/O, so that no page cache stands between.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STALL_POLL_US 5000
#define RULES_BYTES 4096

enum what { READ = 1, WRITE = 2, SYNC = 4, SPACE = 8, OPEN = 16, DIRECT = 32 };

static const char *control;
static int backing = -1;

/* ---- rules ---- */

struct word {
    const char *name;
    int value;
};

static const struct word kinds[] = {{"read", READ}, {"write", WRITE}, {"sync", SYNC}, {"space", SPACE},
    {"open", OPEN}, {"all", READ | WRITE | SYNC | SPACE | OPEN}, {"direct", DIRECT}};
static const struct word errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"ENODEV", ENODEV}, {"ENOENT", ENOENT},
    {"EROFS", EROFS}, {"EINVAL", EINVAL}, {"EAGAIN", EAGAIN}, {"stall", 0}};

#define LOOK_UP(table, name) look_up(table, sizeof table / sizeof *table, name)

static int look_up(const struct word *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].value;
    fprintf(stderr, "faultfs: not a word of the control file: %s\n", name);
    return -1;
}

/* The first rule that fits: its error, 0 for a stall; -1: none. */
static int rule_for(int what, uint64_t from, uint64_t len)
{
    char text[RULES_BYTES], kind[20], error[20], *rest = NULL;
    FILE *file = fopen(control, "r");
    if (file == NULL)
        return -1;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        unsigned long long at = 0, bytes = 0;
        int words = sscanf(line, "%19s %19s %llu %llu", kind, error, &at, &bytes);
        if (words < 2 || (LOOK_UP(kinds, kind) & what) == 0)
            continue;
        if (words == 4 && (from >= at + bytes || from + len <= at))
            continue;
        return LOOK_UP(errors, error);
    }
    return -1;
}

/* 0, or -errno, in time. */
static int allowed(int what, uint64_t from, uint64_t len)
{
    int error;
    while ((error = rule_for(what, from, len)) == 0)
        usleep(STALL_POLL_US);
    return error > 0 ? -error : 0;
}

/* ---- the file ---- */

static bool is_device(const char *path)
{
    return strcmp(path, "/device") == 0;
}

static int do_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    (void)info;
    if (strcmp(path, "/") == 0) {
        *status = (struct stat){.st_mode = S_IFDIR | 0755, .st_nlink = 2};
        return 0;
    }
    if (!is_device(path))
        return -ENOENT;
    int error = allowed(OPEN, 0, 0);
    if (error < 0)
        return error;
    if (fstat(backing, status) < 0)
        return -errno;
    status->st_ino = 2;
    return 0;
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
    struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)path, (void)offset, (void)info, (void)flags;
    fill(buf, "device", NULL, 0, 0);
    return 0;
}

static int do_open(const char *path, struct fuse_file_info *info)
{
    if (!is_device(path))
        return -ENOENT;
    info->direct_io = 1;
    return allowed(OPEN, 0, 0);
}

static int transfer_allowed(int what, uint64_t from, uint64_t len, const struct fuse_file_info *info)
{
    int error = info->flags & O_DIRECT ? allowed(DIRECT, from, len) : 0;
    return error < 0 ? error : allowed(what, from, len);
}

static int do_read(const char *path, char *buf, size_t len, off_t offset, struct fuse_file_info *info)
{
    (void)path;
    int error = transfer_allowed(READ, (uint64_t)offset, len, info);
    if (error < 0)
        return error;
    ssize_t n = pread(backing, buf, len, offset);
    return n < 0 ? -errno : (int)n;
}

static int do_write(const char *path, const char *buf, size_t len, off_t offset, struct fuse_file_info *info)
{
    (void)path;
    int error = transfer_allowed(WRITE, (uint64_t)offset, len, info);
    if (error < 0)
        return error;
    ssize_t n = pwrite(backing, buf, len, offset);
    return n < 0 ? -errno : (int)n;
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    (void)path, (void)info;
    int error = size > 0 ? allowed(SPACE, 0, UINT64_MAX) : 0;
    if (error < 0)
        return error;
    return ftruncate(backing, size) < 0 ? -errno : 0;
}

static int do_fallocate(const char *path, int mode, off_t offset, off_t len, struct fuse_file_info *info)
{
    (void)path, (void)info;
    int error = allowed(SPACE, (uint64_t)offset, (uint64_t)len);
    if (error < 0)
        return error;
    return fallocate(backing, mode, offset, len) < 0 ? -errno : 0;
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path, (void)data_only, (void)info;
    return allowed(SYNC, 0, 0);
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {.getattr = do_getattr,
        .readdir = do_readdir,
        .open = do_open,
        .read = do_read,
        .write = do_write,
        .truncate = do_truncate,
        .fallocate = do_fallocate,
        .fsync = do_fsync};
    if (argc != 4) {
        fprintf(stderr, "usage: faultfs BACKING CONTROL MOUNTPOINT\n");
        return 2;
    }
    backing = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (backing < 0) {
        perror(argv[1]);
        return 2;
    }
    control = argv[2];
    /* As many threads as a test may let wait at once. */
    static char foreground[] = "-f", option[] = "-o", threads[] = "max_threads=256,max_idle_threads=64";
    char *arguments[] = {argv[0], foreground, option, threads, argv[3], NULL};
    return fuse_main(5, arguments, &operations, NULL);
}
