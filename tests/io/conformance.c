#include "conformance.h"

#include <dirent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define PATIENCE_NS (120 * NS_PER_S)

static unsigned final_callbacks;

void rig_open_with(struct rig *rig, struct io_config config)
{
    struct io_report report;
    *rig = (struct rig){.fake = conformance_is_fake()};
    const char *seed = getenv("YATA_SEED");
    if (seed != NULL)
        config.fake_seed += strtoull(seed, NULL, 10);
    config.choice = conformance_driver();
    assert_int_equal(io_create(&rig->io, &config, &report), 0);
    assert_int_equal(report.chosen, conformance_driver());
    assert_int_equal(io_loop_create(rig->io, &rig->loop), 0);
}

void rig_open(struct rig *rig)
{
    rig_open_with(rig, (struct io_config){.fake_seed = 1});
}

void rig_close(struct rig *rig)
{
    rig->turning = true;
    int left = io_loop_destroy(rig->loop, 5 * NS_PER_S);
    rig->turning = false;
    assert_int_equal(left, 0);
    assert_int_equal(rig->finished, rig->started);
    assert_int_equal(io_destroy(rig->io), 0);
}

unsigned rig_turn(struct rig *rig)
{
    rig->turning = true;
    unsigned ran = io_loop_turn(rig->loop, 20 * NS_PER_MS);
    rig->turning = false;
    return ran;
}

void rig_idle(struct rig *rig, uint64_t ns)
{
    uint64_t until = io_now_ns(rig->loop) + ns;
    /* Some turns at least, however long the machine was elsewhere. */
    for (unsigned turns = 0; turns < 10 || io_now_ns(rig->loop) < until; turns++) {
        uint64_t now = io_now_ns(rig->loop);
        assert_true(turns < 1000000);
        rig->turning = true;
        io_loop_turn(rig->loop, now < until ? until - now : 0);
        rig->turning = false;
    }
}

static void on_done(struct io_op *op)
{
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    assert_true(probe->rig->turning);
    assert_false(io_op_busy(op));
    probe->result = op->result;
    probe->done++;
    probe->rig->finished++;
    probe->order = ++final_callbacks;
    assert_int_equal(probe->done, 1);
    if (probe->then != NULL)
        probe->then(probe);
}

static void on_accepted(struct io_op *op)
{
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    assert_true(probe->rig->turning);
    assert_int_equal(probe->done, 0);
    probe->accepted++;
    probe->accepted_result = op->result;
}

struct io_op *probe_start_then(struct rig *rig, struct probe *probe, void (*then)(struct probe *), void *user)
{
    *probe = (struct probe){.rig = rig, .then = then, .user = user};
    io_op_init(&probe->op, on_done);
    probe->op.accepted = on_accepted;
    rig->started++;
    return &probe->op;
}

struct io_op *probe_start(struct rig *rig, struct probe *probe)
{
    return probe_start_then(rig, probe, NULL, NULL);
}

int64_t probe_wait(struct probe *probe)
{
    uint64_t give_up = clock_monotonic_ns() + PATIENCE_NS;
    while (probe->done == 0) {
        if (clock_monotonic_ns() > give_up)
            fail_msg("no final callback");
        rig_turn(probe->rig);
    }
    return probe->result;
}

/* ---- streams ---- */

struct io_handle listen_here(struct rig *rig, struct io_address *address)
{
    struct io_handle listener;
    struct io_address any;
    assert_int_equal(io_address_parse(&any, "127.0.0.1", 0), 0);
    assert_int_equal(io_listen(rig->io, &any, &(struct io_listen_options){0}, &listener), 0);
    assert_int_equal(io_local_address(rig->loop, listener, address), 0);
    assert_int_not_equal(io_address_port(address), 0);
    return listener;
}

int refuse_here(struct rig *rig, struct io_address *address)
{
    io_listener_close(rig->io, listen_here(rig, address));
    if (rig->fake)
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address->storage, address->len), 0);
    return fd;
}

void pair_open(struct rig *rig, struct io_handle *client, struct io_handle *server)
{
    struct io_address address;
    struct io_handle listener = listen_here(rig, &address);
    struct probe accepting, connecting;
    io_accept(rig->loop, probe_start(rig, &accepting), listener, NULL);
    io_connect(rig->loop, probe_start(rig, &connecting), &address);
    assert_int_equal(probe_wait(&connecting), 0);
    assert_true(probe_wait(&accepting) >= 0);
    *client = connecting.op.handle;
    *server = accepting.op.handle;
    assert_true(io_handle_valid(*client));
    assert_true(io_handle_valid(*server));
    io_listener_close(rig->io, listener);
}

void socket_close(struct rig *rig, struct io_handle socket)
{
    struct probe closing;
    io_close(rig->loop, probe_start(rig, &closing), socket);
    assert_int_equal(probe_wait(&closing), 0);
}

int64_t send_whole(struct rig *rig, struct io_handle socket, const void *data, size_t len)
{
    struct probe sending;
    for (size_t sent = 0; sent < len;) {
        struct iovec part = {(char *)data + sent, len - sent};
        io_send(rig->loop, probe_start(rig, &sending), socket, &part, 1, false);
        int64_t n = probe_wait(&sending);
        if (n < 0)
            return n;
        assert_in_range(n, 1, len - sent);
        assert_int_equal(sending.accepted, 1);
        assert_int_equal(sending.accepted_result, n);
        sent += (size_t)n;
    }
    return (int64_t)len;
}

int64_t recv_whole(struct rig *rig, struct io_handle socket, void *data, size_t len)
{
    struct probe receiving;
    size_t got = 0;
    while (got < len) {
        io_recv(rig->loop, probe_start(rig, &receiving), socket);
        int64_t n = probe_wait(&receiving);
        if (n <= 0)
            return got > 0 ? (int64_t)got : n;
        assert_true((size_t)n <= len - got);
        assert_non_null(receiving.op.buffer);
        memcpy((char *)data + got, receiving.op.buffer, (size_t)n);
        io_buffer_give(rig->loop, &receiving.op.buffer);
        assert_null(receiving.op.buffer);
        got += (size_t)n;
    }
    return (int64_t)got;
}

/* ---- files ---- */

int64_t file_open_result(struct rig *rig, const char *path, unsigned flags)
{
    struct probe opening;
    io_open(rig->loop, probe_start(rig, &opening), path, flags);
    int64_t result = probe_wait(&opening);
    if (result >= 0)
        file_close(rig, opening.op.handle);
    return result;
}

struct io_handle file_open(struct rig *rig, const char *path, unsigned flags)
{
    struct probe opening;
    io_open(rig->loop, probe_start(rig, &opening), path, flags);
    int64_t result = probe_wait(&opening);
    if (result < 0)
        fail_msg("open of %s: %s", path, error_text((int)result));
    assert_true(io_handle_valid(opening.op.handle));
    return opening.op.handle;
}

void file_close(struct rig *rig, struct io_handle file)
{
    struct probe closing;
    io_file_close(rig->loop, probe_start(rig, &closing), file);
    assert_int_equal(probe_wait(&closing), 0);
}

int64_t file_read(struct rig *rig, struct io_handle file, void *data, size_t len, uint64_t offset)
{
    struct probe reading;
    struct iovec part = {data, len};
    io_file_read(rig->loop, probe_start(rig, &reading), file, &part, 1, offset);
    return probe_wait(&reading);
}

int64_t file_write(struct rig *rig, struct io_handle file, const void *data, size_t len, uint64_t offset)
{
    struct probe writing;
    struct iovec part = {(void *)data, len};
    io_file_write(rig->loop, probe_start(rig, &writing), file, &part, 1, offset);
    return probe_wait(&writing);
}

unsigned descriptors_open(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

bool descriptors_return(void)
{
#if defined(__SANITIZE_THREAD__)
    return false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return false;
#endif
#endif
    return true;
}

void pattern_fill(void *data, size_t len, uint64_t seed)
{
    uint8_t *at = data;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)((i * 31 + (i >> 8) * 7 + (i >> 16) * 3) ^ seed);
}

/* ---- child programs ---- */

int child_run(const char *name, const char *argument)
{
    char *arguments[] = {
        (char *)"/proc/self/exe", (char *)conformance_driver_name(), (char *)name, (char *)argument, NULL};
    pid_t child;
    int status = -1;
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
