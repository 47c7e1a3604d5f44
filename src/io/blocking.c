#include "io/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define READ_BYTES 16384
#define COLUMNS_DEFAULT 80 /* of a terminal that does not say */

struct io_sink {
    int fd;
    char *path; /* NULL: stdout or stderr */
};

/* One byte more than allowed is asked for, to see that there is more. */
static int read_all(int fd, size_t max_bytes, char **text, size_t *len)
{
    size_t used = 0, capacity = 0;
    char *bytes = NULL;
    for (;;) {
        if (capacity - used < 2) {
            capacity += READ_BYTES;
            char *larger = realloc(bytes, capacity);
            if (larger == NULL) {
                free(bytes);
                return -ENOMEM;
            }
            bytes = larger;
        }
        ssize_t n = read(fd, bytes + used, capacity - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0)
            used += (size_t)n;
        if (n < 0 || used > max_bytes) {
            int error = n < 0 ? -errno : E_TOO_LARGE;
            free(bytes);
            return error;
        }
        if (n == 0)
            break;
    }
    bytes[used] = '\0';
    *text = bytes;
    if (len != NULL)
        *len = used;
    return 0;
}

int io_read_file(const char *path, size_t max_bytes, char **text, size_t *len)
{
    *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int error = read_all(fd, max_bytes, text, len);
    close(fd);
    return error;
}

int io_make_directory(const char *path)
{
    struct stat status;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &status) < 0)
        return -errno;
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

static int open_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    return fd < 0 ? -errno : fd;
}

int io_sink_open(struct io_sink **opened, const char *path)
{
    *opened = NULL;
    struct io_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return -ENOMEM;
    if (strcmp(path, "stdout") == 0) {
        sink->fd = STDOUT_FILENO;
    } else if (strcmp(path, "stderr") == 0) {
        sink->fd = STDERR_FILENO;
    } else {
        sink->path = strdup(path);
        sink->fd = sink->path == NULL ? -ENOMEM : open_log(path);
    }
    if (sink->fd < 0) {
        int error = sink->fd;
        free(sink->path);
        free(sink);
        return error;
    }
    *opened = sink;
    return 0;
}

int io_sink_write(struct io_sink *sink, const void *ptr, size_t len)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t n = write(sink->fd, at, len);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) { /* a terminal or pipe that somebody made non-blocking */
            struct pollfd wait = {.fd = sink->fd, .events = POLLOUT};
            (void)poll(&wait, 1, 1000);
        } else if (n == 0 || errno != EINTR) {
            return n == 0 ? -EIO : -errno;
        }
    }
    return 0;
}

int io_sink_reopen(struct io_sink *sink)
{
    if (sink->path == NULL)
        return 0;
    int fd = open_log(sink->path);
    if (fd < 0)
        return fd;
    close(sink->fd);
    sink->fd = fd;
    return 0;
}

void io_sink_close(struct io_sink **sink)
{
    if (*sink == NULL)
        return;
    if ((*sink)->path != NULL)
        close((*sink)->fd);
    free((*sink)->path);
    free(*sink);
    *sink = NULL;
}

unsigned io_terminal_columns(void)
{
    struct winsize size;
    if (isatty(STDOUT_FILENO) != 1)
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
}
