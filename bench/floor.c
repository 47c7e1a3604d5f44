/*
 * The floor: what any server of HTTP over TCP must spend on a hit. One thread, one epoll loop, answers that
 * lie ready in memory, one recv and one copying sendmsg for an answer that fits the socket's buffer. No
 * parser, no log, no look-up beyond the number in the path, no time-outs.
 *
 * It keeps the whole working set as every server must, since one hot object would flatter it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/content.h"

#define REQUEST_MAX 4096

struct client {
    int fd;
    unsigned in_len;
    bool sending;
    char in[REQUEST_MAX + 1];
    char head[256];
    struct iovec iov[2];
};

static uint8_t *objects;
static uint64_t object_count, object_bytes;
static int poller;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct client *client, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, how, client->fd, &event) < 0)
        die("epoll_ctl");
}

static void leave(struct client *client)
{
    close(client->fd);
    free(client);
}

/* False: gone. */
static bool pump(struct client *client)
{
    while (client->iov[1].iov_len > 0) {
        struct msghdr message = {.msg_iov = client->iov, .msg_iovlen = 2};
        if (client->iov[0].iov_len == 0)
            message = (struct msghdr){.msg_iov = client->iov + 1, .msg_iovlen = 1};
        ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!client->sending)
                watch(client, EPOLL_CTL_MOD, EPOLLOUT);
            client->sending = true;
            return true;
        }
        if (sent < 0) {
            leave(client);
            return false;
        }
        for (int i = 0; i < 2; i++) {
            size_t n = (size_t)sent < client->iov[i].iov_len ? (size_t)sent : client->iov[i].iov_len;
            client->iov[i].iov_base = (char *)client->iov[i].iov_base + n;
            client->iov[i].iov_len -= n;
            sent -= (ssize_t)n;
        }
    }
    if (client->sending)
        watch(client, EPOLL_CTL_MOD, EPOLLIN);
    client->sending = false;
    return true;
}

static void answer(struct client *client)
{
    const char *end = strstr(client->in, " HTTP/1.1"), *range = strstr(client->in, "Range: bytes=");
    unsigned long object = end && end - client->in > 10 ? strtoul(end - 6, NULL, 10) : 0;
    uint64_t first = 0, last = object_bytes - 1;
    if (range)
        sscanf(range, "Range: bytes=%lu-%lu", &first, &last);
    if (object >= object_count || last >= object_bytes || first > last) {
        fprintf(stderr, "floor: a request that it has no answer for\n");
        exit(1);
    }
    int len = snprintf(client->head, sizeof client->head,
        "HTTP/1.1 %s\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\n"
        "ETag: \"0123456789abcdef\"\r\nContent-Length: %lu\r\n\r\n",
        range ? "206 Partial Content" : "200 OK", last - first + 1);
    client->iov[0] = (struct iovec){client->head, (size_t)len};
    client->iov[1] = (struct iovec){objects + object * object_bytes + first, last - first + 1};
    pump(client);
}

static void readable(struct client *client)
{
    ssize_t n = recv(client->fd, client->in + client->in_len, REQUEST_MAX - client->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        leave(client);
        return;
    }
    client->in_len += (unsigned)n;
    client->in[client->in_len] = 0;
    if (client->in_len < 4 || memcmp(client->in + client->in_len - 4, "\r\n\r\n", 4) != 0)
        return;
    client->in_len = 0;
    answer(client);
}

static void welcome(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        die("calloc");
    client->fd = fd;
    watch(client, EPOLL_CTL_ADD, EPOLLIN);
}

static void make_objects(void)
{
    uint64_t bytes = object_count * object_bytes;
    objects = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (objects == MAP_FAILED)
        die("mmap");
    madvise(objects, bytes, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < object_count; i++)
        content_fill(objects + i * object_bytes, object_bytes, i, 0);
}

static int listen_on(unsigned port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_floor PORT COUNT BYTES\n");
        return 2;
    }
    object_count = strtoull(argv[2], NULL, 10);
    object_bytes = strtoull(argv[3], NULL, 10);
    make_objects();
    int listener = listen_on((unsigned)strtoul(argv[1], NULL, 10));
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll_ctl");
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client)
                welcome(listener);
            else if (client->sending)
                pump(client);
            else
                readable(client);
        }
    }
}
