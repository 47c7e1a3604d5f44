/* A client: a connection, some requests on it, one after the other or all at once; it reads, dawdles, or goes
 * away in the middle. */
#include <stdlib.h>

#include "base/clock.h"
#include "simulator.h"

static void client_closed(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, closing);
    client->running = false;
    client->world->running--;
    client_next(client);
}

static void client_close(struct client *client)
{
    io_op_init(&client->closing, client_closed);
    io_close(client->world->client_loop, &client->closing, client->socket);
}

static void client_read(struct client *client);

static void client_dawdled(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, timer);
    client->progress_ns = world_now_ns(client->world);
    client_read(client);
}

/* ---- sending ---- */

static void client_sent(struct io_op *op);

static void send_some(struct client *client)
{
    io_op_init(&client->op, client_sent);
    io_send(client->world->client_loop, &client->op, client->socket, &client->iov, 1, false);
}

/* The next request, or all that are left. */
static void send_asks(struct client *client)
{
    size_t len = 0;
    do {
        struct ask *ask = &client->asks[client->ask_sent++];
        memcpy(client->text + len, ask->text, ask->text_len);
        len += ask->text_len;
        ask->asked_ns = world_now_ns(client->world);
        ask->versions_at_start = ask->object->versions;
        world_trace(client->world, "client %u asks\n%.*s", client->number, (int)ask->text_len - 2, ask->text);
    } while (client->pipelines && client->ask_sent < client->ask_count);
    client->iov = (struct iovec){client->text, len};
    send_some(client);
}

static void client_sent(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    if (op->result <= 0) {
        judge_cut(client);
        client_close(client);
        return;
    }
    client->iov.iov_base = (char *)client->iov.iov_base + op->result;
    client->iov.iov_len -= (size_t)op->result;
    if (client->iov.iov_len)
        send_some(client);
    else
        client_read(client);
}

/* ---- receiving ---- */

struct bytes answer_field(const struct answer *answer, const char *name)
{
    struct bytes rest = bytes_of(answer->head, answer->head_len), wanted = bytes_of_string(name);
    while (rest.len) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        if (!end)
            break;
        struct bytes line = bytes_of(rest.ptr, (size_t)(end - rest.ptr));
        rest = bytes_from(rest, line.len + 1);
        if (line.len <= wanted.len || line.ptr[wanted.len] != ':' ||
            !bytes_equal_nocase(bytes_of(line.ptr, wanted.len), wanted))
            continue;
        line = bytes_from(line, wanted.len + 1);
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        return bytes_trim(line);
    }
    return (struct bytes){0};
}

static void answer_begin(struct client *client)
{
    memset(&client->answer, 0, offsetof(struct answer, kept));
    client->answer.kept_len = 0;
}

/* The line before a chunk, with its size, or the empty one after it. */
static void take_line(struct client *client)
{
    struct answer *answer = &client->answer;
    char *end = answer->line;
    bool empty = answer->line_len == 2 && answer->line[0] == '\r';
    if (answer->chunk_ends) {
        answer->over = answer->last_chunk;
    } else {
        answer->left = strtoull(answer->line, &end, 16);
        answer->last_chunk = answer->left == 0;
    }
    if (answer->chunk_ends ? !empty : end == answer->line || memcmp(end, "\r\n", 2) != 0)
        judge_fail(client, "not a chunk");
    answer->chunk_ends = !answer->chunk_ends;
    memset(answer->line, 0, sizeof answer->line);
    answer->line_len = 0;
}

/* Takes bytes of a chunked body, up to its end. */
static struct bytes take_chunks(struct client *client, struct bytes bytes)
{
    struct answer *answer = &client->answer;
    while (bytes.len && !answer->over) {
        size_t n = bytes.len < answer->left ? bytes.len : (size_t)answer->left;
        if (n) {
            judge_body(client, bytes_of(bytes.ptr, n));
        } else {
            n = 1;
            if (answer->line_len == sizeof answer->line - 1)
                judge_fail(client, "a chunk of an absurd size");
            answer->line[answer->line_len++] = (char)bytes.ptr[0];
            if (bytes.ptr[0] == '\n')
                take_line(client);
        }
        bytes = bytes_from(bytes, n);
    }
    return bytes;
}

static bool is_over(const struct answer *answer)
{
    return answer->in_body && (answer->chunked ? answer->over : answer->left == 0);
}

/* Takes bytes of the current answer; returns what is left over. */
static struct bytes take(struct client *client, struct bytes bytes)
{
    struct answer *answer = &client->answer;
    if (!answer->in_body) {
        size_t n = bytes.len < HEAD_MAX - answer->head_len ? bytes.len : HEAD_MAX - answer->head_len;
        size_t before = answer->head_len;
        memcpy(answer->head + before, bytes.ptr, n);
        answer->head_len += n;
        uint8_t *end = memmem(answer->head, answer->head_len, "\r\n\r\n", 4);
        if (!end)
            return (struct bytes){0};
        answer->head_len = (size_t)(end + 4 - answer->head);
        answer->in_body = true;
        judge_head(client);
        bytes = bytes_from(bytes, answer->head_len - before);
    }
    if (answer->chunked)
        return take_chunks(client, bytes);
    size_t n = bytes.len < answer->left ? bytes.len : (size_t)answer->left;
    judge_body(client, bytes_of(bytes.ptr, n));
    return bytes_from(bytes, n);
}

/* False: nothing more is to be read. */
static bool take_all(struct client *client, struct bytes bytes)
{
    while (bytes.len && client->ask_at < client->ask_count) {
        bytes = take(client, bytes);
        if (!is_over(&client->answer))
            continue;
        judge_whole(client);
        bool closes = client->answer.closes;
        answer_begin(client);
        client->ask_at++;
        if (closes)
            return false;
    }
    if (bytes.len)
        judge_fail(client, "more than was asked for");
    return client->ask_at < client->ask_count;
}

static bool sends_more(const struct client *client)
{
    return client->ask_at == client->ask_sent && client->ask_sent < client->ask_count;
}

static void client_received(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    struct world *world = client->world;
    bool over = op->result <= 0, more = !over;
    if (!over) {
        client->bytes += (uint64_t)op->result;
        client->progress_ns = world_now_ns(world);
        more = take_all(client, bytes_of(op->buffer, (size_t)op->result));
        io_buffer_give(world->client_loop, &op->buffer);
    } else {
        judge_cut(client);
    }
    if (more && client->bytes >= client->abort_at) {
        world_trace(world, "client %u leaves", client->number);
        world->tally.aborted++;
        more = false;
    }
    if (!more) {
        client_close(client);
    } else if (sends_more(client)) {
        send_asks(client);
    } else if (below(world, client->dawdle_one_in) == 0) {
        io_op_init(&client->timer, client_dawdled);
        io_timer(world->client_loop, &client->timer,
            io_now_ns(world->client_loop) + below(world, client->dawdle_ns));
    } else {
        client_read(client);
    }
}

static void client_read(struct client *client)
{
    io_op_init(&client->op, client_received);
    io_recv(client->world->client_loop, &client->op, client->socket);
}

/* ---- connecting ---- */

static void client_connected(struct io_op *op)
{
    struct client *client = CONTAINER_OF(op, struct client, op);
    struct world *world = client->world;
    if (op->result < 0) {
        CHECK(world->draining);
        client->running = false;
        world->running--;
        return;
    }
    client->socket = op->handle;
    client->progress_ns = world_now_ns(world);
    send_asks(client);
}

void client_next(struct client *client)
{
    struct world *world = client->world;
    if (world->begun >= world->plan.requests || world->draining)
        return;
    client->running = true;
    world->running++;
    client->ask_count = 1 + (below(world, 3) ? 0 : (unsigned)below(world, PIPELINE));
    world->begun += client->ask_count;
    client->ask_sent = client->ask_at = 0;
    client->pipelines = below(world, 2);
    client->bytes = 0;
    if (below(world, 10) == 0)
        objects_disturb(world);
    if (below(world, 20) == 0)
        world_disturb_disk(world);
    for (unsigned i = 0; i < client->ask_count; i++)
        ask_draw(world, &client->asks[i]);
    uint64_t len = client->asks[0].object->lens[object_current(client->asks[0].object)];
    client->abort_at = below(world, 5) ? UINT64_MAX : below(world, len + 1000);
    client->dawdle_one_in = below(world, 8) ? 20 : 2;
    client->dawdle_ns = 1 + below(world, 2) * 2 * NS_PER_S + 100 * NS_PER_MS;
    answer_begin(client);
    io_op_init(&client->op, client_connected);
    io_connect(world->client_loop, &client->op, &world->address);
}
