/*
 * Ranges of a large object, by a program that has an event loop of its own.
 *
 *   ranges CACHE_FILE
 *
 * Puts 20 MiB as a stream whose length nobody knows in advance, then reads its last bytes, as a reader of
 * Parquet files does, and a range in the middle, without copying. The program waits with poll(2), for the
 * cache as for its other descriptors; no thread of the library calls back.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <yata.h>

#define OBJECT_BYTES (20u << 20)
#define PIECE_BYTES (1u << 20)

struct object {
    struct yata *yata;
    struct yata_put *put;
    struct yata_value *value;
    unsigned char piece[PIECE_BYTES];
    unsigned at;
    int result, done;
};

static unsigned char byte_at(uint64_t at)
{
    return (unsigned char)(at * 2654435761u >> 16);
}

static void end(struct object *object, int result)
{
    object->result = result;
    object->done = 1;
}

/* 0 where the view has the right bytes at the right place. */
static int compare(const struct yata_view *view, uint64_t from, uint64_t len)
{
    unsigned count;
    const struct iovec *parts = yata_view_parts(view, &count);
    if (yata_view_from(view) != from || yata_view_len(view) != len)
        return 1;
    for (unsigned i = 0; i < count; i++)
        for (size_t j = 0; j < parts[i].iov_len; j++)
            if (((const unsigned char *)parts[i].iov_base)[j] != byte_at(from++))
                return 1;
    return 0;
}

static void got_middle(void *context, int result, struct yata_view *view)
{
    struct object *object = context;
    if (result == 0)
        result = compare(view, 7654321, 300000);
    yata_view_release(&view);
    yata_value_close(&object->value);
    end(object, result);
}

static void got_footer(void *context, int result, struct yata_view *view)
{
    struct object *object = context;
    if (result == 0)
        result = compare(view, OBJECT_BYTES - 1000, 1000);
    yata_view_release(&view);
    if (result == 0) /* another range of the same version, whatever is put meanwhile */
        result = yata_value_read(object->value, 7654321, 300000, got_middle, object);
    if (result != 0)
        end(object, result);
}

static void opened(void *context, int result, struct yata_value *value)
{
    struct object *object = context;
    object->value = value;
    if (result == 0)
        result = yata_value_read(value, yata_value_len(value) - 1000, YATA_TO_END, got_footer, object);
    if (result != 0)
        end(object, result);
}

static void stored(void *context, int result)
{
    struct object *object = context;
    if (result >= 0)
        result = yata_value_open(object->yata, "object", 6, opened, object);
    if (result != 0)
        end(object, result);
}

/* The next piece, when the one before has been taken: the cache says when it has room. */
static void written(void *context, int result)
{
    struct object *object = context;
    if (result == 0 && object->at == OBJECT_BYTES) {
        result = yata_put_end(object->put, stored, object);
    } else if (result == 0) {
        for (unsigned i = 0; i < PIECE_BYTES; i++)
            object->piece[i] = byte_at(object->at + i);
        object->at += PIECE_BYTES;
        result = yata_put_write(object->put, object->piece, PIECE_BYTES, written, object);
    }
    if (result < 0)
        end(object, result);
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: ranges CACHE_FILE\n");
        return 2;
    }
    struct yata_device device = {.path = argv[1], .size_bytes = 64 << 20};
    struct yata_config config = {.struct_bytes = sizeof config,
        .devices = &device,
        .device_count = 1,
        .memory_bytes = 8 << 20,
        .driven = 1,
        .timeout_ms = 60000}; /* the disk may be busy with others */
    static struct object object;
    int result = yata_open(&object.yata, &config);
    if (result == 0)
        result = yata_put_begin(object.yata, "object", 6, YATA_LEN_UNKNOWN, &object.put);
    if (result < 0) {
        fprintf(stderr, "ranges: %s: %s\n", argv[1], yata_strerror(result));
        return 1;
    }
    written(&object, 0);
    while (!object.done) {
        struct pollfd ready = {.events = POLLIN};
        int wait_ms = yata_prepare(object.yata, &ready.fd);
        if (wait_ms < 0 && wait_ms != -1)
            return 1;
        (void)poll(&ready, 1, wait_ms);
        (void)yata_turn(object.yata, 0);
    }
    printf("%s: %s\n", yata_driver_name(object.yata),
        object.result == 0 ? "right" : yata_strerror(object.result));
    return yata_close(object.yata, 60000) < 0 || object.result != 0;
}
