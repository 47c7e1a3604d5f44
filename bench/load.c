/*
 * The benchmark's client: one thread, one epoll loop, N connections kept alive, one request at a time on
 * each, over a working set in a seeded random order. It reads as much at a time as it is told (256 KiB from 1
 * MiB on: small reads would make the client the measure), checks each answer's status and length, and with
 * --verify every byte.
 *
 *  --each     every object once, in order: warms a cache, and proves what it stored
 *  --seconds  at random for so long; then what runs is finished, so that requests are whole
 *
 * Prints one line of JSON: requests, seconds, the client's own CPU, latencies. Anything wrong ends it with
 * status 1. Rejected: wrk, whose 8 KiB reads cost more than the server's sends; threads, since the client has
 * one core.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "bench/content.h"

#define HEAD_MAX 8192
/* Latencies: 32 steps to each power of two. */
#define STEPS 32
#define BUCKETS (64 * STEPS)

struct flow {
    int fd;
    bool busy;
    unsigned object;
    uint64_t first, length; /* the bytes asked for */
    uint64_t body_at;
    uint64_t start_ns;
    unsigned head_len; /* of the answer, so far */
    bool in_body;
    char head[HEAD_MAX + 1];
};

static struct {
    unsigned port, connections, count, first, seconds, seed;
    const char *prefix;
    uint64_t bytes, range, read_bytes;
    bool each, verify;
} options = {.connections = 32, .seed = 1, .read_bytes = 64 << 10, .prefix = "/"};

static struct random order;
static unsigned next_object;
static bool stopping;
static uint64_t requests, body_bytes, latencies[BUCKETS], end_ns;
static uint8_t *buf;
static int poller;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    exit(1);
}

/* ---- latencies ---- */

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    return (power - 4) * STEPS + (unsigned)((ns >> (power - 5)) & (STEPS - 1));
}

static double bucket_us(unsigned bucket)
{
    unsigned power = bucket / STEPS + 4;
    double ns = bucket < STEPS ? bucket : (double)((UINT64_C(32) | bucket % STEPS) << (power - 5));
    return ns / 1e3;
}

static double percentile_us(double share)
{
    uint64_t wanted = (uint64_t)((double)requests * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += latencies[i];
        if (seen > wanted)
            return bucket_us(i);
    }
    return 0;
}

/* ---- requests ---- */

static bool choose(struct flow *flow)
{
    if (stopping)
        return false;
    if (options.each) {
        uint64_t parts = options.range ? options.bytes / options.range : 1;
        if (next_object >= options.count * parts)
            return false;
        flow->object = options.first + (unsigned)(next_object / parts);
        flow->first = options.range * (next_object++ % parts);
    } else {
        flow->object = options.first + (unsigned)(random_next(&order) % options.count);
        flow->first =
            options.range ? random_next(&order) % (options.bytes / options.range) * options.range : 0;
    }
    flow->length = options.range ? options.range : options.bytes;
    return true;
}

static void ask(struct flow *flow)
{
    char text[1024], range[64] = "";
    flow->busy = choose(flow);
    if (!flow->busy)
        return;
    if (options.range)
        snprintf(
            range, sizeof range, "Range: bytes=%lu-%lu\r\n", flow->first, flow->first + flow->length - 1);
    int len = snprintf(text, sizeof text,
        "GET %s" CONTENT_NAME " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n%s\r\n",
        options.prefix, flow->object, range);
    flow->head_len = 0;
    flow->in_body = false;
    flow->body_at = 0;
    flow->start_ns = clock_monotonic_ns();
    if (send(flow->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        die("send: %s", strerror(errno));
}

static void answered(struct flow *flow)
{
    uint64_t now_ns = clock_monotonic_ns();
    requests++;
    latencies[bucket_of(now_ns - flow->start_ns)]++;
    if (!options.each && now_ns >= end_ns)
        stopping = true;
    ask(flow);
}

/* Checks the head. */
static void head_done(struct flow *flow)
{
    const char *want = options.range ? "HTTP/1.1 206 " : "HTTP/1.1 200 ";
    if (strncmp(flow->head, want, strlen(want)) != 0)
        die("object %u: %.200s", flow->object, flow->head);
    const char *length = strcasestr(flow->head, "\r\nContent-Length:");
    if (!length || strtoull(length + 17, NULL, 10) != flow->length)
        die("object %u: another length: %.400s", flow->object, flow->head);
    flow->in_body = true;
}

/* Takes what belongs to the head; returns how many bytes. */
static size_t take_head(struct flow *flow, const uint8_t *data, size_t len)
{
    unsigned before = flow->head_len;
    size_t n = len < HEAD_MAX - before ? len : HEAD_MAX - before;
    memcpy(flow->head + before, data, n);
    flow->head[before + n] = 0;
    const char *end = strstr(flow->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
    if (!end) {
        if (before + n == HEAD_MAX)
            die("object %u: a head without end", flow->object);
        flow->head_len += (unsigned)n;
        return n;
    }
    size_t head = (size_t)(end - flow->head) + 4;
    flow->head[head] = 0;
    flow->head_len = (unsigned)head;
    head_done(flow);
    return head - before;
}

static void take(struct flow *flow, const uint8_t *data, size_t len)
{
    if (!flow->busy)
        die("bytes that nobody asked for");
    if (!flow->in_body) {
        size_t n = take_head(flow, data, len);
        data += n;
        len -= n;
    }
    if (len > flow->length - flow->body_at)
        die("object %u: more bytes than promised", flow->object);
    if (options.verify && !content_matches(data, len, flow->object, flow->first + flow->body_at))
        die("object %u: WRONG BYTES near %lu", flow->object, flow->first + flow->body_at);
    flow->body_at += len;
    body_bytes += len;
    if (flow->in_body && flow->body_at == flow->length)
        answered(flow);
}

static void readable(struct flow *flow)
{
    ssize_t n = recv(flow->fd, buf, options.read_bytes, 0);
    if (n > 0)
        take(flow, buf, (size_t)n);
    else if (n == 0)
        die("object %u: closed after %lu of %lu bytes", flow->object, flow->body_at, flow->length);
    else if (errno != EAGAIN)
        die("recv: %s", strerror(errno));
}

static void open_flow(struct flow *flow)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    flow->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(flow->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect to %u: %s", options.port, strerror(errno));
    setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = flow};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, flow->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* ---- the run ---- */

static bool any_busy(const struct flow *flows)
{
    for (unsigned i = 0; i < options.connections; i++)
        if (flows[i].busy)
            return true;
    return false;
}

static void run(struct flow *flows)
{
    for (unsigned i = 0; i < options.connections; i++)
        ask(&flows[i]);
    struct epoll_event events[256];
    while (any_busy(flows)) {
        int count = epoll_wait(poller, events, 256, 10000);
        if (count == 0)
            die("no answer for 10 s");
        for (int i = 0; i < count; i++)
            readable(events[i].data.ptr);
    }
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, 0, 'p'}, {"prefix", 1, 0, 'f'}, {"count", 1, 0, 'n'},
        {"bytes", 1, 0, 'b'}, {"range", 1, 0, 'r'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'},
        {"seed", 1, 0, 'S'}, {"first", 1, 0, 'F'}, {"read", 1, 0, 'R'}, {"each", 0, 0, 'e'},
        {"verify", 0, 0, 'v'}, {0}};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            options.port = (unsigned)number;
            break;
        case 'f':
            options.prefix = optarg;
            break;
        case 'n':
            options.count = (unsigned)number;
            break;
        case 'b':
            options.bytes = number;
            break;
        case 'r':
            options.range = number;
            break;
        case 'c':
            options.connections = (unsigned)number;
            break;
        case 's':
            options.seconds = (unsigned)number;
            break;
        case 'F':
            options.first = (unsigned)number;
            break;
        case 'S':
            options.seed = (unsigned)number;
            break;
        case 'R':
            options.read_bytes = number;
            break;
        case 'e':
            options.each = true;
            break;
        case 'v':
            options.verify = true;
            break;
        default:
            exit(2);
        }
    }
    if (!options.port || !options.count || !options.bytes || !options.connections || !options.read_bytes ||
        options.range > options.bytes || (!options.each && !options.seconds))
        die("usage: bench_load --port N --prefix /PATH/ --count OBJECTS --bytes N [--range N] [--connections "
            "N]\n"
            "                  [--read BYTES] [--seed N] [--first OBJECT] [--verify] (--each | --seconds N)");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    random_init(&order, options.seed);
    buf = malloc(options.read_bytes);
    struct flow *flows = calloc(options.connections, sizeof *flows);
    poller = epoll_create1(0);
    if (!buf || !flows || poller < 0)
        die("no memory");
    for (unsigned i = 0; i < options.connections; i++)
        open_flow(&flows[i]);
    double cpu_before_us = cpu_us();
    uint64_t start_ns = clock_monotonic_ns();
    end_ns = start_ns + options.seconds * NS_PER_S;
    run(flows);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    printf("{\"requests\": %lu, \"seconds\": %.4f, \"bytes\": %lu, \"client_us\": %.3f, \"p50_us\": %.1f, "
           "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
        requests, seconds, body_bytes, (cpu_us() - cpu_before_us) / (double)requests, percentile_us(0.5),
        percentile_us(0.9), percentile_us(0.99), percentile_us(0.999));
    return 0;
}
