#include "io/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define NAME_BYTES_MAX 255
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)

struct level {
    DIR *stream;
    size_t path_len; /* of what lies above its names, with the slash */
};

struct io_folder {
    struct level levels[IO_FOLDER_DEPTH_MAX];
    unsigned depth;
    char path[IO_FOLDER_PATH_MAX + 1];
    char first[NAME_BYTES_MAX + 1]; /* what names of the first level begin with */
};

/* Takes the descriptor over. */
static int push(struct io_folder *folder, int fd, size_t path_len)
{
    CHECK(folder->depth < IO_FOLDER_DEPTH_MAX && path_len <= IO_FOLDER_PATH_MAX);
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int error = errno;
        close(fd);
        return -error;
    }
    folder->levels[folder->depth++] = (struct level){stream, path_len};
    return 0;
}

static void pop(struct io_folder *folder)
{
    CHECK(folder->depth > 0);
    closedir(folder->levels[--folder->depth].stream);
}

/* ---- the way to the first level ---- */

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Steps from the folder `fd` (taken over) into each part of the path up to `len`. The last one's descriptor,
 * -errno, or E_MISSING: there can be none. */
static int descend(int fd, const char *path, size_t len)
{
    for (size_t at = 0; at < len;) {
        char part[NAME_BYTES_MAX + 1];
        size_t part_len = strcspn(path + at, "/");
        bool fits = part_len > 0 && part_len <= NAME_BYTES_MAX;
        memcpy(part, path + at, fits ? part_len : 0);
        part[fits ? part_len : 0] = '\0';
        int next = fits && !is_dots(part) ? openat(fd, part, FOLDER_FLAGS | O_NOFOLLOW) : -1;
        int error = fits && !is_dots(part) ? errno : ENOENT;
        close(fd);
        if (next < 0)
            return error == ENOENT || error == ENOTDIR || error == ELOOP ? E_MISSING : -error;
        fd = next;
        at += part_len + 1;
    }
    return fd;
}

static int begin(struct io_folder *folder, const char *root, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');
    size_t above = slash ? (size_t)(slash - prefix) + 1 : 0, rest = strlen(prefix) - above;
    int fd = open(root, FOLDER_FLAGS);
    if (fd < 0)
        return -errno;
    if (above > IO_FOLDER_PATH_MAX || rest > NAME_BYTES_MAX) {
        close(fd);
        return 0;
    }
    fd = descend(fd, prefix, above);
    if (fd < 0)
        return fd == E_MISSING ? 0 : fd;
    memcpy(folder->path, prefix, above);
    memcpy(folder->first, prefix + above, rest + 1);
    return push(folder, fd, above);
}

int io_folder_open(struct io_folder **folder_out, const char *root, const char *prefix)
{
    struct io_folder *folder = calloc(1, sizeof *folder);
    if (folder == NULL)
        return -ENOMEM;
    int result = begin(folder, root, prefix);
    if (result < 0)
        free(folder);
    else
        *folder_out = folder;
    return result;
}

void io_folder_close(struct io_folder **folder)
{
    while (*folder && (*folder)->depth > 0)
        pop(*folder);
    free(*folder);
    *folder = NULL;
}

/* ---- the walk ---- */

static unsigned char type_of(DIR *stream, const struct dirent *entry)
{
    struct stat status;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return DT_UNKNOWN;
    return S_ISREG(status.st_mode) ? DT_REG : S_ISDIR(status.st_mode) ? DT_DIR : DT_UNKNOWN;
}

/* Into a folder whose name stands at the end of the path, which is `len` long. */
static int enter(struct io_folder *folder, DIR *above, const char *name, size_t len)
{
    if (len + 1 >= IO_FOLDER_PATH_MAX)
        return 0;
    if (folder->depth == IO_FOLDER_DEPTH_MAX)
        return -ENAMETOOLONG;
    int fd = openat(dirfd(above), name, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd < 0)
        return errno == EACCES || errno == EPERM || errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : -errno;
    folder->path[len] = '/';
    return push(folder, fd, len + 1);
}

/* One entry: 1 and the length of the path where it is a file. */
static int look_at(struct io_folder *folder, const struct dirent *entry, size_t *len)
{
    const struct level *level = &folder->levels[folder->depth - 1];
    size_t name_len = strlen(entry->d_name);
    bool wanted = folder->depth > 1 || strncmp(entry->d_name, folder->first, strlen(folder->first)) == 0;
    if (is_dots(entry->d_name) || !wanted || level->path_len + name_len > IO_FOLDER_PATH_MAX)
        return 0;
    unsigned char type = type_of(level->stream, entry);
    if (type != DT_REG && type != DT_DIR)
        return 0;
    *len = level->path_len + name_len;
    memcpy(folder->path + level->path_len, entry->d_name, name_len + 1);
    return type == DT_REG ? 1 : enter(folder, level->stream, entry->d_name, *len);
}

int io_folder_next(struct io_folder *folder, char path[IO_FOLDER_PATH_MAX + 1], unsigned *budget)
{
    while (folder->depth > 0) {
        size_t len;
        if (*budget == 0)
            return E_EXHAUSTED;
        --*budget;
        errno = 0;
        const struct dirent *entry = readdir(folder->levels[folder->depth - 1].stream);
        if (entry == NULL && errno != 0)
            return -errno;
        if (entry == NULL) {
            pop(folder);
            continue;
        }
        int result = look_at(folder, entry, &len);
        if (result < 0)
            return result;
        if (result == 0)
            continue;
        memcpy(path, folder->path, len);
        path[len] = '\0';
        return (int)len;
    }
    return 0;
}
