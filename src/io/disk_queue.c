/*
 * How much the disk below a file takes at once before the next operation has to wait for a place in its
 * queue.
 *
 * A file system submits direct reads and writes without telling the disk's queue not to wait (iomap has no
 * REQ_NOWAIT), so on Linux io_uring_enter(2) sleeps there when the queue is full: for ever, if the disk has
 * stalled. Who must not wait stays below this number. Half of the queue is ours: others use the disk as well,
 * the file system's journal first of all.
 *
 * Rejected: to notice that nothing completes and keep away from then on, since a busy disk's queue is full at
 * the moment it stalls; to leave the rest to threads, which at depth 256 cost 2.4 times the CPU and a sixth
 * of the reads per second.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "io/core.h"

#define DEFAULT_ROOM 64   /* where the disk can't be found: the smallest usual queue is twice that */
#define OPERATION_KIB 260 /* the usual largest read: a chunk with its header */
#define SYSFS "/sys/dev/block/%u:%u/" /* of a partition: the queue is its parent's */

/* A number from sysfs; 0: not there. */
static unsigned number(dev_t device, const char *name)
{
    char path[100], text[20];
    int len = snprintf(path, sizeof path, SYSFS "%s", major(device), minor(device), name);
    CHECK(len > 0 && (size_t)len < sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    unsigned long value = strtoul(text, NULL, 10);
    return value < UINT32_MAX ? (unsigned)value : 0;
}

unsigned disk_queue_room(dev_t device)
{
    unsigned requests = number(device, "queue/nr_requests"), request_kib;
    if (requests > 0) {
        request_kib = number(device, "queue/max_sectors_kb");
    } else {
        requests = number(device, "../queue/nr_requests");
        request_kib = number(device, "../queue/max_sectors_kb");
    }
    if (requests == 0 || request_kib == 0)
        return DEFAULT_ROOM;
    unsigned each = (OPERATION_KIB + request_kib - 1) / request_kib, room = requests / 2 / each;
    return room > 0 ? room : 1;
}
