/*
 * The generations of all segments, for an open without a snapshot: a segment's is that of its footer, or, if
 * that one is of a dead use, or none, that of its first header.
 *
 * What can't be read is not taken for free: it may be the newest segment, and hide anything. Where neither of
 * the two reads tells a living generation and one of them failed, the device has to start empty. That is the
 * only answer that needs no guess: how old the segment is can't be told, so nothing is surely newer.
 *
 * Rejected: keeping the lost segment out of use and the rest in (what was removed by it would come back);
 * looking for headers inside the segment (a payload may look like one of an earlier use).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"

#define PROBES 16

struct probe {
    struct steady_read read;
    struct probes *probes;
    uint8_t *buffer;
    uint32_t segment;
    int error; /* of the footer's read */
};

struct probes {
    struct device *device;
    void (*done)(void *context, int result);
    void *context;
    uint32_t next, left;
    int result;
    uint8_t *buffers;
    struct probe probe[PROBES];
};

static void next(struct probe *probe);

/* One segment is through, or can't be told. */
static void told(struct probe *probe, uint64_t generation, int error)
{
    struct probes *probes = probe->probes;
    struct device *device = probes->device;
    if (generation < device->super.dead_below && error < 0) {
        probes->result = error;
        probes->next = device->segment_count; /* nothing more is to be known */
    }
    atomic_store(&device->segments[probe->segment].generation, generation);
    next(probe);
}

/* The first header's generation, 0 if there is none. */
static uint64_t first_generation(const struct device *device, const struct probe *probe)
{
    struct segment_item item;
    uint64_t place = device_segment_place(device, probe->segment);
    struct bytes block = bytes_of(probe->buffer, SEGMENT_LARGE_BYTES);
    int result = segment_item_decode(&item, block, device->seed, place);
    if (result < 0 && segment_item_mend(probe->buffer, block.len, device->seed, place))
        result = segment_item_decode(&item, block, device->seed, place);
    return result == 0 ? item.generation : 0;
}

static void header_read(struct steady_read *read, int result)
{
    struct probe *probe = CONTAINER_OF(read, struct probe, read);
    uint64_t generation = result == 0 ? first_generation(read->device, probe) : 0;
    told(probe, generation, result < 0 ? result : probe->error);
}

static uint64_t footer_generation(const struct device *device, const struct probe *probe)
{
    struct segment_footer footer;
    struct bytes raw = bytes_of(probe->buffer + SEGMENT_BLOCK - SEGMENT_FOOTER_BYTES, SEGMENT_FOOTER_BYTES);
    uint64_t place = device_segment_place(device, probe->segment);
    bool good = segment_footer_decode(&footer, raw, device->seed, place, device->segment_bytes) == 0;
    return good ? footer.generation : 0;
}

static void footer_read(struct steady_read *read, int result)
{
    struct probe *probe = CONTAINER_OF(read, struct probe, read);
    struct device *device = read->device;
    uint64_t generation = result == 0 ? footer_generation(device, probe) : 0;
    probe->error = result;
    /* A first header may be longer than a block: the first 64 KiB hold any. */
    if (generation < device->super.dead_below)
        steady_read_start(read, device, probe->buffer, SEGMENT_LARGE_BYTES,
            device_segment_place(device, probe->segment), header_read);
    else
        told(probe, generation, 0);
}

static void next(struct probe *probe)
{
    struct probes *probes = probe->probes;
    struct device *device = probes->device;
    if (probes->next < device->segment_count) {
        probe->segment = probes->next++;
        uint64_t end = device_segment_place(device, probe->segment) + device->segment_bytes;
        steady_read_start(
            &probe->read, device, probe->buffer, SEGMENT_BLOCK, end - SEGMENT_BLOCK, footer_read);
        return;
    }
    if (--probes->left > 0)
        return;
    struct probes now = {.done = probes->done, .context = probes->context, .result = probes->result};
    free(probes->buffers);
    free(probes);
    now.done(now.context, now.result);
}

int probes_start(struct device *device, void (*done)(void *context, int result), void *context)
{
    struct probes *probes = calloc(1, sizeof *probes);
    if (probes == NULL)
        return -ENOMEM;
    probes->buffers = aligned_alloc(SEGMENT_BLOCK, PROBES * SEGMENT_LARGE_BYTES);
    if (probes->buffers == NULL) {
        free(probes);
        return -ENOMEM;
    }
    probes->device = device;
    probes->done = done;
    probes->context = context;
    unsigned count = PROBES < device->segment_count ? PROBES : device->segment_count;
    probes->left = count;
    for (unsigned i = 0; i < count; i++) {
        probes->probe[i].probes = probes;
        probes->probe[i].buffer = probes->buffers + (size_t)i * SEGMENT_LARGE_BYTES;
        next(&probes->probe[i]);
    }
    return 0;
}
