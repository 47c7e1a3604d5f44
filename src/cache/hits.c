#include "cache/hits.h"

#define TURN_BYTES (1u << 20) /* copied and checked in one turn of the loop */

static void write_next(struct hits *hits)
{
    struct item *item = hits->ring[hits->first];
    hits->first = (hits->first + 1) % HITS_MAX;
    hits->count--;
    (void)disk_put_hit(hits->disk, hits->loop, item); /* dropped ones are counted there */
    item_unref(&item);
}

static void deliver(struct io_message *message)
{
    struct hits *hits = CONTAINER_OF(message, struct hits, message);
    hits->posted = false;
    if (hits->ended != NULL) {
        CHECK(hits->count == 0);
        hits->ended(hits->context);
        return;
    }
    for (uint64_t bytes = 0; hits->count > 0 && bytes < TURN_BYTES;) {
        bytes += item_value_len(hits->ring[hits->first]);
        write_next(hits);
    }
    if (hits->count == 0)
        return;
    hits->posted = true;
    io_post(hits->loop, &hits->message);
}

void hits_init(struct hits *hits, struct disk *disk, struct io_loop *loop)
{
    *hits = (struct hits){.disk = disk, .loop = loop, .message = {.deliver = deliver}};
}

void hits_add(struct hits *hits, struct item *item)
{
    CHECK(hits->disk != NULL && hits->ended == NULL);
    if (hits->count == HITS_MAX || !item_take_hit(item))
        return;
    hits->ring[(hits->first + hits->count++) % HITS_MAX] = item_ref(item);
    if (hits->posted)
        return;
    hits->posted = true;
    io_post(hits->loop, &hits->message);
}

void hits_end(struct hits *hits, void (*ended)(void *context), void *context)
{
    while (hits->count > 0)
        write_next(hits);
    hits->ended = ended;
    hits->context = context;
    if (!hits->posted)
        ended(context);
}
