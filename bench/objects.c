/* Writes a working set: COUNT files of BYTES into FOLDER, as the origin of a benchmark. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/content.h"

static uint8_t buf[1 << 20];

static bool write_object(const char *path, uint64_t object, uint64_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return false;
    uint64_t at = 0;
    while (at < bytes) {
        size_t len = bytes - at < sizeof buf ? (size_t)(bytes - at) : sizeof buf;
        content_fill(buf, len, object, at);
        if (write(fd, buf, len) != (ssize_t)len)
            break;
        at += len;
    }
    return close(fd) == 0 && at == bytes;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_objects FOLDER COUNT BYTES\n");
        return 2;
    }
    unsigned long count = strtoul(argv[2], NULL, 10);
    uint64_t bytes = strtoull(argv[3], NULL, 10);
    for (unsigned i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/" CONTENT_NAME, argv[1], i);
        if (!write_object(path, i, bytes)) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
