/*
 * Receive buffers: a fixed number per loop, leased to the callee of a receive and given back by it. A receive
 * holds a buffer only from the moment bytes are there, so idle connections cost none. When none is free,
 * receives queue; buffers given back restart them in order at the next turn, not inside the give (which would
 * recurse).
 */
#include <errno.h>
#include <stdlib.h>

#include "io/core.h"

int buffers_init(struct io_loop *loop)
{
    const struct io_config *config = &loop->io->config;
    unsigned count = config->buffer_count;
    list_init(&loop->buffers.waiting);
    loop->buffers.count = count;
    loop->buffers.bytes = config->buffer_bytes;
    loop->buffers.memory = aligned_alloc(4096, (config->buffer_bytes * count + 4095) / 4096 * 4096);
    loop->buffers.free = calloc(count, sizeof *loop->buffers.free);
    loop->buffers.leased = calloc(count, 1);
    if (loop->buffers.memory == NULL || loop->buffers.free == NULL || loop->buffers.leased == NULL) {
        buffers_deinit(loop);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++)
        loop->buffers.free[i] = count - 1 - i; /* the first is on top */
    loop->buffers.free_count = count;
    return 0;
}

void buffers_deinit(struct io_loop *loop)
{
    free(loop->buffers.memory);
    free(loop->buffers.free);
    free(loop->buffers.leased);
    loop->buffers.memory = NULL;
    loop->buffers.free = NULL;
    loop->buffers.leased = NULL;
}

uint8_t *io_buffer_lease(struct io_loop *loop, unsigned index)
{
    CHECK(index < loop->buffers.count && !loop->buffers.leased[index]);
    CHECK(loop->buffers.free_count > 0);
    loop->buffers.leased[index] = 1;
    loop->buffers.leased_count++;
    loop->buffers.free_count--;
    return loop->buffers.memory + (size_t)index * loop->buffers.bytes;
}

uint8_t *io_buffer_take(struct io_loop *loop)
{
    CHECK(loop->driver->buffer_free == NULL);
    if (loop->buffers.free_count == 0)
        return NULL;
    return io_buffer_lease(loop, loop->buffers.free[loop->buffers.free_count - 1]);
}

void io_buffer_give(struct io_loop *loop, uint8_t **buffer)
{
    CHECK(*buffer >= loop->buffers.memory);
    size_t offset = (size_t)(*buffer - loop->buffers.memory);
    unsigned index = (unsigned)(offset / loop->buffers.bytes);
    CHECK(index < loop->buffers.count && offset % loop->buffers.bytes == 0 && loop->buffers.leased[index]);
    *buffer = NULL;
    loop->buffers.leased[index] = 0;
    loop->buffers.leased_count--;
    if (loop->driver->buffer_free != NULL)
        loop->driver->buffer_free(loop, index);
    else
        loop->buffers.free[loop->buffers.free_count] = index;
    loop->buffers.free_count++;
}

void io_buffer_wait(struct io_op *op)
{
    CHECK(op->io.state == IO_DRIVEN && op->io.kind == IO_KIND_RECV);
    if (op->io.flags & IO_FLAG_CANCEL) {
        io_complete(op, -ECANCELED);
        return;
    }
    op->io.state = IO_BUFFERLESS;
    list_push_back(&op->io.loop->buffers.waiting, &op->io.node);
}

bool buffers_waiting(const struct io_loop *loop)
{
    return loop->buffers.free_count > 0 && !list_empty(&loop->buffers.waiting);
}

void buffers_restart(struct io_loop *loop)
{
    unsigned most = loop->buffers.free_count;
    struct list_node *node;
    while (most-- > 0 && loop->buffers.free_count > 0 &&
           (node = list_pop_front(&loop->buffers.waiting)) != NULL) {
        struct io_op *op = CONTAINER_OF(node, struct io_op, io.node);
        op->io.state = IO_DRIVEN;
        loop->driver->recv(loop, op, io_op_socket(op));
    }
}
