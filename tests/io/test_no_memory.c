/*
 * Every allocation of the I/O layer is made to fail: one story over sockets, listeners, files, polls, timers,
 * messages and work is told again and again, with the first allocation failing, the second, and so on until
 * the story ends before its turn comes; and once more with all failing from there on. A call that lacks
 * memory says so; all others end as ever, each with one final callback, and nothing is left. The driver is
 * argv[1].
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "conformance.h"
#include "failing.h"
#include "io/blocking.h"
#include "io/folder.h"

enum {
    TIMERS = 300,    /* more than the heap begins with */
    LISTENERS = 6,   /* more than a loop's table begins with */
    FILES = 70,      /* more than the table of handles begins with */
    POLLED_FD = 150, /* past where the tables by descriptor begin */
    BYTES = 100000
};

static enum io_choice driver;
static char path[200];
static uint8_t truth[BYTES], got[BYTES + 1];

enum io_choice conformance_driver(void)
{
    return driver;
}

const char *conformance_driver_name(void)
{
    return driver == IO_URING ? "uring" : "portable";
}

bool conformance_is_fake(void)
{
    return false;
}

/* Whether the call had the memory that it needs; if so, it went well. */
static bool went_well(int64_t result)
{
    if (result == -ENOMEM && failing_refused() > 0)
        return false;
    if (result < 0)
        fail_msg("%s, after %u refusals", error_text((int)result), (unsigned)failing_refused());
    return true;
}

/* ---- timers, messages, work: these need none ---- */

static void timers(struct rig *rig)
{
    static struct probe probes[TIMERS];
    uint64_t now_ns = io_now_ns(rig->loop);
    for (unsigned i = 0; i < TIMERS; i++) /* the latest first */
        io_timer(rig->loop, probe_start(rig, &probes[i]), now_ns + (TIMERS - i) * 10000);
    io_timer_move(rig->loop, &probes[0].op, now_ns + (TIMERS + 1) * 10000);
    io_timer_move(rig->loop, &probes[TIMERS - 1].op, now_ns + 5000);
    io_timer_move(rig->loop, &probes[TIMERS - 2].op, now_ns + 3600 * NS_PER_S);
    io_cancel(rig->loop, &probes[TIMERS - 2].op);
    io_cancel(rig->loop, &probes[1].op);
    for (unsigned i = 0; i < TIMERS; i++) {
        int64_t result = probe_wait(&probes[i]);
        assert_int_equal(result, i == 1 || i == TIMERS - 2 ? -ECANCELED : 0);
        assert_true(result < 0 || io_now_ns(rig->loop) >= now_ns + 5000);
    }
    struct io_loop_stats stats;
    io_loop_stats(rig->loop, &stats);
    assert_int_equal(stats.timers, 0);
}

struct mail {
    struct io_message message;
    struct io_loop *loop;
    unsigned delivered;
};

static void deliver(struct io_message *message)
{
    CONTAINER_OF(message, struct mail, message)->delivered++;
}

static void *post(void *argument)
{
    struct mail *mail = argument;
    io_post(mail->loop, &mail->message);
    return NULL;
}

static void messages(struct rig *rig)
{
    struct mail mail = {.message.deliver = deliver, .loop = rig->loop};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post, &mail), 0);
    for (unsigned i = 0; mail.delivered == 0; i++) {
        assert_true(i < 1000);
        rig_turn(rig);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mail.delivered, 1);
}

static void seven(struct io_op *op)
{
    op->result = 7;
}

static void work(struct rig *rig)
{
    struct probe probe;
    io_work(rig->loop, probe_start(rig, &probe), seven);
    assert_int_equal(probe_wait(&probe), 7);
}

/* ---- sockets ---- */

static bool listen_somewhere(struct rig *rig, struct io_handle *listener, struct io_address *address)
{
    struct io_address any;
    assert_int_equal(io_address_parse(&any, "127.0.0.1", 0), 0);
    if (!went_well(io_listen(rig->io, &any, NULL, listener)))
        return false;
    assert_int_equal(io_local_address(rig->loop, *listener, address), 0);
    return true;
}

static void exchange(struct rig *rig, struct io_handle from, struct io_handle to)
{
    struct probe sending;
    struct iovec parts[2] = {{truth, 1000}, {truth + 1000, BYTES - 1000}};
    io_send(rig->loop, probe_start(rig, &sending), from, parts, 2, false);
    memset(got, 0, sizeof got);
    size_t received = 0, sent = 0;
    while (received < BYTES) {
        if (sending.done > 0 && received >= sent + (size_t)sending.result) { /* it was short */
            sent += (size_t)sending.result;
            parts[0] = (struct iovec){truth + sent, BYTES - sent};
            io_send(rig->loop, probe_start(rig, &sending), from, parts, 1, false);
        }
        struct probe receiving;
        io_recv(rig->loop, probe_start(rig, &receiving), to);
        int64_t n = probe_wait(&receiving);
        assert_true(n > 0 && (size_t)n <= BYTES - received);
        memcpy(got + received, receiving.op.buffer, (size_t)n);
        io_buffer_give(rig->loop, &receiving.op.buffer);
        received += (size_t)n;
    }
    assert_true(probe_wait(&sending) > 0);
    assert_memory_equal(got, truth, BYTES);
}

/* An end that says something and lingers, one that only closes. */
static void part(struct rig *rig, struct io_handle lingering, struct io_handle closing)
{
    struct probe probe;
    io_linger(rig->loop, probe_start(rig, &probe), lingering, 5 * NS_PER_S, 1000);
    socket_close(rig, closing);
    assert_int_equal(probe_wait(&probe), 0);
}

static void connection(struct rig *rig)
{
    struct io_address address;
    struct io_handle listener;
    struct probe accepting, connecting;
    if (!listen_somewhere(rig, &listener, &address))
        return;
    io_accept(rig->loop, probe_start(rig, &accepting), listener, NULL);
    io_connect(rig->loop, probe_start(rig, &connecting), &address);
    bool connected = went_well(probe_wait(&connecting));
    if (!connected)
        io_cancel(rig->loop, &accepting.op);
    int64_t result = probe_wait(&accepting);
    bool accepted = result == -ECANCELED && !connected ? false : went_well(result);
    if (connected && accepted) {
        exchange(rig, connecting.op.handle, accepting.op.handle);
        exchange(rig, accepting.op.handle, connecting.op.handle);
        part(rig, accepting.op.handle, connecting.op.handle);
    } else if (connected) {
        socket_close(rig, connecting.op.handle);
    } else if (accepted) {
        socket_close(rig, accepting.op.handle);
    }
    io_listener_close(rig->io, listener);
}

static void adopted(struct rig *rig)
{
    int ends[2];
    struct io_handle sockets[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    bool first = went_well(io_adopt(rig->loop, ends[0], &sockets[0]));
    bool second = went_well(io_adopt(rig->loop, ends[1], &sockets[1]));
    if (first && second)
        exchange(rig, sockets[0], sockets[1]);
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0 ? first : second)
            socket_close(rig, sockets[i]);
        else
            close(ends[i]);
    }
}

static void listeners(struct rig *rig)
{
    struct io_handle handles[LISTENERS];
    struct probe accepting[LISTENERS];
    struct io_address address;
    bool open[LISTENERS];
    for (unsigned i = 0; i < LISTENERS; i++) {
        open[i] = listen_somewhere(rig, &handles[i], &address);
        if (open[i])
            io_accept(rig->loop, probe_start(rig, &accepting[i]), handles[i], NULL);
    }
    for (unsigned i = 0; i < LISTENERS; i++) {
        if (!open[i])
            continue;
        io_listener_close(rig->io, handles[i]);
        int64_t result = probe_wait(&accepting[i]);
        assert_true(result == -ECANCELED || !went_well(result));
    }
}

static void polls(struct rig *rig)
{
    int ends[2], high;
    struct probe probe;
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    high = fcntl(ends[0], F_DUPFD_CLOEXEC, POLLED_FD);
    assert_true(high >= POLLED_FD);
    assert_int_equal(write(ends[1], "x", 1), 1);
    io_poll(rig->loop, probe_start(rig, &probe), high, IO_READABLE);
    int64_t result = probe_wait(&probe);
    assert_true(!went_well(result) || result == IO_READABLE);
    int fd = io_foreign_open(rig->loop, AF_INET, SOCK_DGRAM, 0);
    if (went_well(fd)) {
        io_poll(rig->loop, probe_start(rig, &probe), fd, IO_WRITABLE);
        result = probe_wait(&probe);
        assert_true(!went_well(result) || result == IO_WRITABLE);
        io_foreign_close(rig->loop, fd);
    }
    close(high);
    close(ends[0]);
    close(ends[1]);
}

/* ---- files ---- */

static bool open_here(struct rig *rig, unsigned flags, struct io_handle *file)
{
    struct probe probe;
    io_open(rig->loop, probe_start(rig, &probe), path, flags);
    bool opened = went_well(probe_wait(&probe));
    *file = probe.op.handle;
    return opened;
}

static void one_file(struct rig *rig, unsigned flags)
{
    static _Alignas(4096) uint8_t wrote[8192], read[8192];
    struct io_handle file;
    struct io_file_info info;
    struct probe probe;
    if (!open_here(rig, flags | IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &file))
        return;
    pattern_fill(wrote, sizeof wrote, flags);
    io_file_allocate(rig->loop, probe_start(rig, &probe), file, 4 * sizeof wrote);
    (void)went_well(probe_wait(&probe));
    assert_int_equal(file_write(rig, file, wrote, sizeof wrote, sizeof wrote), sizeof wrote);
    assert_int_equal(file_read(rig, file, read, sizeof read, sizeof read), sizeof read);
    assert_memory_equal(read, wrote, sizeof wrote);
    io_file_sync(rig->loop, probe_start(rig, &probe), file);
    assert_int_equal(probe_wait(&probe), 0);
    io_file_stat(rig->loop, probe_start(rig, &probe), file, &info);
    assert_int_equal(probe_wait(&probe), 0);
    assert_true(info.size_bytes >= 2 * sizeof wrote);
    file_close(rig, file);
}

/* Whether a file can do without the system's cache is not a matter of memory. */
static void direct_file(struct rig *rig)
{
    static enum { UNKNOWN, DIRECT, BUFFERED } known;
    struct io_handle file;
    struct io_file_info info = {0};
    struct probe probe;
    if (!open_here(rig, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_DIRECT, &file))
        return;
    io_file_stat(rig->loop, probe_start(rig, &probe), file, &info);
    assert_int_equal(probe_wait(&probe), 0);
    file_close(rig, file);
    assert_true(known == UNKNOWN || known == (info.direct ? DIRECT : BUFFERED));
    known = info.direct ? DIRECT : BUFFERED;
}

static void many_files(struct rig *rig)
{
    struct io_handle files[FILES];
    bool open[FILES];
    for (unsigned i = 0; i < FILES; i++)
        open[i] = open_here(rig, IO_OPEN_READ, &files[i]);
    for (unsigned i = 0; i < FILES; i++)
        if (open[i])
            file_close(rig, files[i]);
}

static void beneath(struct rig *rig)
{
    struct io_handle folder;
    struct probe probe;
    char above[sizeof path];
    memcpy(above, path, sizeof above);
    char *slash = strrchr(above, '/');
    *slash = '\0';
    io_open(rig->loop, probe_start(rig, &probe), above, IO_OPEN_READ | IO_OPEN_DIRECTORY);
    if (!went_well(probe_wait(&probe)))
        return;
    folder = probe.op.handle;
    io_open_beneath(rig->loop, probe_start(rig, &probe), folder, slash + 1, IO_OPEN_READ);
    if (went_well(probe_wait(&probe)))
        file_close(rig, probe.op.handle);
    file_close(rig, folder);
}

static void blocking(void)
{
    char *text;
    size_t len;
    struct io_sink *sink;
    struct io_folder *folder;
    if (went_well(io_read_file(path, 1 << 20, &text, &len)))
        free(text);
    if (went_well(io_sink_open(&sink, path)))
        io_sink_close(&sink);
    if (went_well(io_folder_open(&folder, "/proc/self/fdinfo", "")))
        io_folder_close(&folder);
}

/* ---- the story ---- */

static void live(struct rig *rig)
{
    one_file(rig, IO_OPEN_LOCK);
    one_file(rig, IO_OPEN_DIRECT | IO_OPEN_DEVICE);
    direct_file(rig);
    timers(rig);
    messages(rig);
    work(rig);
    connection(rig);
    adopted(rig);
    listeners(rig);
    polls(rig);
    many_files(rig);
    beneath(rig);
    blocking();
}

/* How many allocations it took; *lived: an io and a loop could be had. */
static uint64_t tell(uint64_t first, uint64_t count, bool *lived)
{
    struct rig rig = {0};
    struct io_report report;
    unsigned descriptors = descriptors_open();
    failing_arm(first, count);
    int result = io_create(&rig.io, &(struct io_config){.choice = driver, .buffer_count = 8}, &report);
    if (result == E_UNSUPPORTED && failing_refused() > 0) /* of the probe */
        result = -ENOMEM;
    *lived = went_well(result) && went_well(io_loop_create(rig.io, &rig.loop));
    if (*lived) {
        live(&rig);
        assert_int_equal(io_loop_destroy(rig.loop, 5 * NS_PER_S), 0);
        assert_int_equal(rig.started, rig.finished);
    }
    if (rig.io != NULL)
        assert_int_equal(io_destroy(rig.io), 0);
    uint64_t calls = failing_disarm();
    if (descriptors_return())
        assert_int_equal(descriptors_open(), descriptors);
    return calls;
}

static void in_turn(uint64_t count)
{
    bool lived;
    unsigned lives = 0;
    uint64_t all = tell(UINT64_MAX, 0, &lived);
    assert_true(lived && all > FILES);
    for (uint64_t first = 1; first <= all; first++) {
        tell(first, count, &lived);
        lives += lived;
    }
    print_message("%u allocations, %u stories with an io\n", (unsigned)all, lives);
    assert_true(lives > all / 2);
}

static void one_fails(void **state)
{
    (void)state;
    in_turn(1);
}

static void some_in_a_row_fail(void **state)
{
    (void)state;
    in_turn(3);
}

static void all_fail_from_there_on(void **state)
{
    (void)state;
    in_turn(UINT64_MAX);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_fails), cmocka_unit_test(some_in_a_row_fail),
        cmocka_unit_test(all_fail_from_there_on)};
    struct io *io;
    struct io_report report;
    driver = argc > 1 && strcmp(argv[1], "uring") == 0 ? IO_URING : IO_PORTABLE;
    if (io_create(&io, &(struct io_config){.choice = driver}, &report) == E_UNSUPPORTED)
        return 77;
    struct io_loop *loop;
    assert_int_equal(io_loop_create(io, &loop), 0); /* libuv keeps two descriptors from the first on */
    (void)io_loop_destroy(loop, 0);
    (void)io_destroy(io);
    /* libuv's own, but for its table: it aborts there, and is kept from getting so far (io/portable.c) */
    assert_int_equal(uv_replace_allocator(failing_malloc, realloc, failing_calloc, free), 0);
    (void)snprintf(path, sizeof path, "/var/tmp/yata-no-memory-%d", (int)getpid());
    pattern_fill(truth, sizeof truth, 5);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
