/*
 * Descriptors of another library on a loop: a table by descriptor number. An entry lives while polls are in
 * flight on it, or, if we opened it, until io_foreign_close(). Since we close those ourselves, a driver may
 * keep its watch on them between polls; of all others it must let go as soon as no poll is left.
 *
 * Whether one of ours still is what we opened, its inode tells: a number alone may be another file's.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/core.h"

static struct io_foreign *find(struct io_loop *loop, int fd)
{
    return fd >= 0 && (uint32_t)fd < loop->foreign.capacity ? loop->foreign.by_fd[fd] : NULL;
}

static struct io_foreign *add(struct io_loop *loop, int fd)
{
    CHECK(fd >= 0);
    if ((uint32_t)fd >= loop->foreign.capacity) {
        uint32_t capacity = (uint32_t)fd * 2 + 64;
        struct io_foreign **larger = realloc(loop->foreign.by_fd, capacity * sizeof *larger);
        if (larger == NULL)
            return NULL;
        for (uint32_t i = loop->foreign.capacity; i < capacity; i++)
            larger[i] = NULL;
        loop->foreign.by_fd = larger;
        loop->foreign.capacity = capacity;
    }
    CHECK(loop->foreign.by_fd[fd] == NULL);
    struct io_foreign *foreign = calloc(1, sizeof *foreign);
    if (foreign == NULL)
        return NULL;
    foreign->fd = fd;
    list_init(&foreign->ops);
    loop->foreign.by_fd[fd] = foreign;
    return foreign;
}

static void drop(struct io_loop *loop, struct io_foreign *foreign)
{
    CHECK(foreign->polls == 0 && list_empty(&foreign->ops));
    loop->foreign.by_fd[foreign->fd] = NULL;
    if (loop->driver->foreign_release != NULL)
        loop->driver->foreign_release(loop, foreign);
    if (foreign->owned) {
        loop->foreign.owned--;
        close(foreign->fd);
    }
    free(foreign);
}

static bool identify(int fd, uint64_t *device, uint64_t *inode)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return false;
    *device = stat.st_dev;
    *inode = stat.st_ino;
    return true;
}

int io_foreign_open(struct io_loop *loop, int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    struct io_foreign *foreign = find(loop, fd);
    if (foreign == NULL)
        foreign = add(loop, fd);
    if (foreign == NULL) {
        close(fd);
        return -ENOMEM;
    }
    CHECK(!foreign->owned);
    foreign->owned =
        true; /* an entry left from another owner has ended polls only, which are about to call back */
    loop->foreign.owned++;
    CHECK(identify(fd, &foreign->device, &foreign->inode));
    return fd;
}

static void cancel_polls(struct io_loop *loop, struct io_foreign *foreign)
{
    while (!list_empty(&foreign->ops)) {
        struct io_op *op = CONTAINER_OF(foreign->ops.next, struct io_op, io.node);
        list_remove(&op->io.node); /* a driver may cancel later: this list is for those not asked yet */
        io_cancel(loop, op);
    }
}

void io_foreign_close(struct io_loop *loop, int fd)
{
    struct io_foreign *foreign = find(loop, fd);
    CHECK(foreign != NULL && foreign->owned && !foreign->closing);
    foreign->closing = true;
    cancel_polls(loop, foreign);
    if (foreign->polls == 0)
        drop(loop, foreign);
}

bool io_foreign_lost(struct io_loop *loop, int fd)
{
    struct io_foreign *foreign = find(loop, fd);
    uint64_t device, inode;
    CHECK(foreign != NULL && foreign->owned && !foreign->closing);
    if (identify(fd, &device, &inode) && device == foreign->device && inode == foreign->inode)
        return false;
    foreign->owned = false;
    loop->foreign.owned--;
    cancel_polls(loop, foreign);
    if (foreign->polls == 0)
        drop(loop, foreign);
    else if (loop->driver->foreign_release != NULL)
        loop->driver->foreign_release(loop, foreign);
    return true;
}

void io_poll(struct io_loop *loop, struct io_op *op, int fd, int events)
{
    CHECK(events != 0 && (events & ~(IO_READABLE | IO_WRITABLE)) == 0);
    if (!op_submit(loop, op, IO_KIND_POLL))
        return;
    struct io_foreign *foreign = find(loop, fd);
    if (foreign == NULL && fd >= 0)
        foreign = add(loop, fd);
    if (foreign == NULL || foreign->closing) {
        io_complete(op, fd < 0 || foreign != NULL ? -EBADF : -ENOMEM);
        return;
    }
    op->io.fd = fd;
    op->io.offset = (uint64_t)events;
    op->io.pointer = foreign;
    foreign->polls++;
    list_push_back(&foreign->ops, &op->io.node);
    loop->driver->poll(loop, op, foreign);
}

void foreign_settle(struct io_loop *loop, struct io_foreign *foreign)
{
    CHECK(foreign->polls > 0);
    if (--foreign->polls == 0 && (!foreign->owned || foreign->closing))
        drop(loop, foreign);
}

void foreign_cancel_all(struct io_loop *loop)
{
    for (uint32_t i = 0; i < loop->foreign.capacity; i++)
        if (loop->foreign.by_fd[i] != NULL)
            cancel_polls(loop, loop->foreign.by_fd[i]);
}

unsigned foreign_deinit(struct io_loop *loop)
{
    unsigned open = 0;
    for (uint32_t i = 0; i < loop->foreign.capacity; i++) {
        struct io_foreign *foreign = loop->foreign.by_fd[i];
        if (foreign == NULL)
            continue;
        open += foreign->owned;
        drop(loop, foreign);
    }
    free(loop->foreign.by_fd);
    loop->foreign.by_fd = NULL;
    loop->foreign.capacity = 0;
    return open;
}
