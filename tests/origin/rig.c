#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"

extern char **environ;

/* ---- loop ---- */

void rig_init(struct rig *rig)
{
    const char *driver = getenv("YATA_IO");
    struct io_config config = {.choice = IO_PORTABLE};
    struct io_report report;
    *rig = (struct rig){0};
    if (driver != NULL && strcmp(driver, "uring") == 0)
        config.choice = IO_URING;
    assert_int_equal(io_create(&rig->io, &config, &report), 0);
    assert_int_equal(io_loop_create(rig->io, &rig->loop), 0);
    rig->log = log_create(64 * 1024, LOG_DEBUG);
    assert_non_null(rig->log);
    assert_int_equal(origin_client_create(&rig->client, rig->loop, rig->log), 0);
}

static void client_stopped(void *context)
{
    ((struct rig *)context)->stopped = true;
}

void rig_deinit(struct rig *rig)
{
    origin_client_stop(rig->client, client_stopped, rig);
    uint64_t end_ns = clock_monotonic_ns() + 20 * NS_PER_S;
    while (!rig->stopped && clock_monotonic_ns() < end_ns)
        io_loop_turn(rig->loop, 10 * NS_PER_MS);
    assert_true(rig->stopped);
    origin_client_destroy(rig->client);
    assert_int_equal(io_loop_destroy(rig->loop, 20 * NS_PER_S), 0);
    assert_int_equal(io_destroy(rig->io), 0);
    log_destroy(rig->log);
}

const char *rig_log(struct rig *rig)
{
    static char text[64 * 1024 + 1];
    uint64_t dropped;
    size_t len = log_take(rig->log, text, sizeof text - 1, 0, &dropped);
    text[len] = '\0';
    return text;
}

/* And one turn that begins when the time is over. */
void rig_turn_for(struct rig *rig, uint64_t ns)
{
    uint64_t end_ns = clock_monotonic_ns() + ns;
    for (unsigned after = 0; after < 2; after += clock_monotonic_ns() >= end_ns)
        io_loop_turn(rig->loop, NS_PER_MS);
}

/* ---- a fetch ---- */

static struct caught *caught_of(struct origin_fetch *fetch)
{
    return CONTAINER_OF(fetch, struct caught, fetch);
}

static void copy(char *to, size_t capacity, struct bytes from)
{
    assert_true(from.len < capacity);
    memcpy(to, from.ptr, from.len);
    to[from.len] = '\0';
}

static void on_head(struct origin_fetch *fetch, const struct origin_head *head)
{
    struct caught *caught = caught_of(fetch);
    assert_int_equal(caught->dones, 0);
    assert_int_equal(caught->len, 0);
    assert_int_equal(++caught->heads, 1);
    caught->status = head->status;
    caught->content_length = head->content_length;
    caught->first = head->first;
    caught->last = head->last;
    caught->total = head->total;
    if (head->etag.len > 0)
        copy(caught->etag, sizeof caught->etag, head->etag);
    if (head->last_modified.len > 0)
        copy(caught->last_modified, sizeof caught->last_modified, head->last_modified);
    struct writer w = writer_of(caught->fields, sizeof caught->fields - 1);
    for (unsigned i = 0; i < head->field_count; i++) {
        write_bytes(&w, head->fields[i].name);
        write_bytes(&w, BYTES(": "));
        write_bytes(&w, head->fields[i].value);
        write_u8(&w, '\n');
    }
    *w.at = '\0';
    if (caught->cancel_at_head)
        origin_fetch_cancel(fetch);
}

static size_t on_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct caught *caught = caught_of(fetch);
    assert_int_equal(caught->heads, 1);
    assert_int_equal(caught->dones, 0);
    assert_false(caught->paused);
    assert_true(bytes.len > 0);
    size_t take = caught->take_max == 0 || caught->take_max > bytes.len ? bytes.len : caught->take_max;
    if (!caught->drop_body) {
        if (caught->len + take > caught->capacity) {
            caught->capacity = 2 * (caught->len + take);
            caught->bytes = realloc(caught->bytes, caught->capacity);
            assert_non_null(caught->bytes);
        }
        memcpy(caught->bytes + caught->len, bytes.ptr, take);
    }
    caught->len += take;
    caught->paused = take < bytes.len;
    caught->resume_ns = clock_monotonic_ns() + caught->pause_ns;
    if (caught->cancel_after != 0 && caught->len >= caught->cancel_after)
        origin_fetch_cancel(fetch);
    return take;
}

static void on_done(struct origin_fetch *fetch)
{
    struct caught *caught = caught_of(fetch);
    assert_int_equal(++caught->dones, 1);
    caught->done_ns = clock_monotonic_ns();
}

void caught_start(struct caught *caught, struct rig *rig, struct origin *origin, const char *key)
{
    caught->rig = rig;
    caught->fetch.request.key = bytes_of_string(key);
    caught->fetch.request.request_id = BYTES("test-1");
    caught->fetch.head = on_head;
    caught->fetch.body = on_body;
    caught->fetch.done = on_done;
    origin_fetch_start(rig->client, origin, &caught->fetch);
    assert_int_equal(caught->heads + caught->dones, 0);
}

void caught_wait(struct caught *caught)
{
    uint64_t end_ns = clock_monotonic_ns() + 60 * NS_PER_S;
    while (caught->dones == 0) {
        io_loop_turn(caught->rig->loop, NS_PER_MS);
        if (caught->paused && clock_monotonic_ns() >= caught->resume_ns && caught->dones == 0) {
            caught->paused = false;
            origin_fetch_resume(&caught->fetch);
        }
        if (clock_monotonic_ns() > end_ns)
            fail_msg("no end within 60 s: %.*s", (int)caught->fetch.request.key.len,
                (const char *)caught->fetch.request.key.ptr);
    }
    if (caught->fetch.error == 0 && caught->status != 304 && !caught->fetch.request.head_only &&
        caught->content_length != UINT64_MAX)
        assert_int_equal(caught->len, caught->content_length);
}

void caught_run(struct caught *caught, struct rig *rig, struct origin *origin, const char *key)
{
    caught_start(caught, rig, origin, key);
    caught_wait(caught);
}

void caught_free(struct caught *caught)
{
    free(caught->bytes);
    caught->bytes = NULL;
}

uint8_t rig_pattern(uint64_t at, unsigned seed)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16) * 13 + (at >> 24) * 17 + seed);
}

/* ---- the faulty origin ---- */

bool child_start(struct child *child, const char *host, const char *cert, const char *key)
{
    int to[2], from[2];
    const char *const command[] = {
        "python3", SOURCE_ROOT "/tests/e2e/faulty_origin.py", "--host", host, "--cert", cert, "--key", key};
    char *argv[9] = {NULL};
    for (size_t i = 0; i < (cert == NULL ? 4 : 8); i++) {
        argv[i] = strdup(command[i]);
        assert_non_null(argv[i]);
    }
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    int error = posix_spawnp(&child->pid, "python3", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    close(to[0]);
    close(from[1]);
    child->in = to[1];
    child->out = from[0];
    char line[64] = "";
    ssize_t len = error != 0 ? 0 : read(child->out, line, sizeof line - 1);
    if (len <= 0 || sscanf(line, "port %u", &child->port) != 1) {
        close(child->in);
        close(child->out);
        return false;
    }
    return true;
}

void child_stop(struct child *child)
{
    close(child->in);
    close(child->out);
    waitpid(child->pid, NULL, 0);
}

const char *child_control(const struct child *child, const char *path)
{
    static char text[256 * 1024];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)child->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int len = snprintf(text, sizeof text, "GET /_control/%s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    assert_int_equal(write(fd, text, (size_t)len), len);
    shutdown(fd, SHUT_WR);
    size_t filled = 0;
    for (ssize_t got; (got = read(fd, text + filled, sizeof text - 1 - filled)) > 0;)
        filled += (size_t)got;
    close(fd);
    text[filled] = '\0';
    const char *body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

uint64_t child_count(const struct child *child, const char *key, const char *name)
{
    char quoted[512];
    const char *at = child_control(child, "stats");
    snprintf(quoted, sizeof quoted, "\"%s\": {", key);
    at = strstr(at, quoted);
    if (at == NULL)
        return 0;
    snprintf(quoted, sizeof quoted, "\"%s\": ", name);
    at = strstr(at, quoted);
    assert_non_null(at);
    return strtoull(at + strlen(quoted), NULL, 10);
}
