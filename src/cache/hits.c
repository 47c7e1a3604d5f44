#include "cache/hits.h"

#define TURN_BYTES (1u << 20) /* copied and checked in one turn of the loop */

static void lock(struct hits *hits)
{
    CHECK(pthread_mutex_lock(&hits->lock) == 0);
}

static void unlock(struct hits *hits)
{
    CHECK(pthread_mutex_unlock(&hits->lock) == 0);
}

/* The next one's reference, or NULL. */
static struct item *take_next(struct hits *hits)
{
    struct item *item = NULL;
    lock(hits);
    if (hits->count > 0) {
        item = hits->ring[hits->first];
        hits->first = (hits->first + 1) % HITS_MAX;
        hits->count--;
    }
    unlock(hits);
    return item;
}

/* Writes what comes within so many bytes. */
static void write_some(struct hits *hits, uint64_t bytes_max)
{
    struct item *item;
    for (uint64_t bytes = 0; bytes < bytes_max && (item = take_next(hits)) != NULL;) {
        bytes += item_value_len(item);
        (void)disk_put_hit(hits->disk, hits->loop, item); /* dropped ones are counted there */
        item_unref(&item);
    }
}

static void deliver(struct io_message *message)
{
    struct hits *hits = CONTAINER_OF(message, struct hits, message);
    write_some(hits, TURN_BYTES);
    lock(hits);
    bool more = hits->count > 0;
    hits->posted = more;
    unlock(hits);
    if (more)
        io_post(hits->loop, &hits->message);
    else if (hits->ended != NULL)
        hits->ended(hits->context);
}

void hits_init(struct hits *hits, struct disk *disk, struct io_loop *loop)
{
    *hits = (struct hits){.disk = disk, .loop = loop, .message = {.deliver = deliver}};
    CHECK(pthread_mutex_init(&hits->lock, NULL) == 0);
}

void hits_deinit(struct hits *hits)
{
    CHECK(hits->count == 0 && !hits->posted);
    pthread_mutex_destroy(&hits->lock);
}

void hits_add(struct hits *hits, struct item *item)
{
    if (pthread_mutex_trylock(&hits->lock) != 0)
        return;
    bool taken = !hits->ending && hits->count < HITS_MAX && item_take_hit(item);
    bool posts = taken && !hits->posted;
    if (taken)
        hits->ring[(hits->first + hits->count++) % HITS_MAX] = item_ref(item);
    hits->posted = hits->posted || posts;
    unlock(hits);
    if (posts)
        io_post(hits->loop, &hits->message);
}

void hits_end(struct hits *hits, void (*ended)(void *context), void *context)
{
    lock(hits);
    hits->ending = true;
    hits->ended = ended;
    hits->context = context;
    unlock(hits);
    write_some(hits, UINT64_MAX);
    lock(hits);
    bool posted = hits->posted;
    unlock(hits);
    if (!posted)
        ended(context);
}
