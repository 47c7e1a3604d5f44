/*
 * What the cache answers to is not the purge, which ends with its answer, but a `struct durable`: on a disk
 * that stands still the answer comes first.
 *
 * struct durable | from proxy_purge() until the cache has answered all and the timer has ended
 */
#include "proxy/purge.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/purge.h"
#include "proxy/head.h"
#include "proxy/tags.h"
#include "proxy/worker.h"

struct durable {
    struct proxy_purge *purge; /* NULL: it has been answered */
    unsigned pending;          /* what the cache was told and has not answered yet */
    struct io_op timer;
};

static void answer(struct durable *durable)
{
    struct proxy_purge *purge = durable->purge;
    durable->purge = NULL;
    marks_clear(purge->proxy->marks);
    purge->done(purge);
}

static void time_over(struct io_op *op)
{
    struct durable *durable = CONTAINER_OF(op, struct durable, timer);
    if (durable->pending == 0) {
        free(durable);
    } else if (op->result == 0) {
        durable->purge->result = E_TIMEOUT;
        answer(durable);
    }
}

static void purged(void *context, int result)
{
    struct durable *durable = context;
    struct proxy_purge *purge = durable->purge;
    if (purge && result < 0)
        purge->result = result;
    if (--durable->pending > 0)
        return;
    bool timed = io_op_busy(&durable->timer);
    if (timed)
        io_cancel(purge->loop, &durable->timer); /* its end frees */
    if (purge)
        answer(durable);
    if (!timed)
        free(durable);
}

static int begun(struct proxy_purge *purge, uint64_t sequence)
{
    struct durable *durable = purge->durable;
    if (sequence == 0)
        return -ENOMEM;
    durable->pending++;
    purge->sequence = sequence;
    uint64_t until_ns = purge->durable_until_ns;
    if (!io_op_busy(&durable->timer))
        io_timer(purge->loop, &durable->timer,
            until_ns > 0 ? until_ns : io_now_ns(purge->loop) + PURGE_DURABLE_NS);
    return 0;
}

static int purge_now(struct proxy_purge *purge, const struct purge *what)
{
    bool widened;
    uint64_t sequence = cache_purge(purge->proxy->cache, purge->loop, what, &widened, purged, purge->durable);
    purge->widened = purge->widened || (sequence > 0 && widened);
    return begun(purge, sequence);
}

static int purge_object_now(struct proxy_purge *purge, struct bytes object)
{
    return begun(purge, cache_purge_object(purge->proxy->cache, purge->loop, object, purged, purge->durable));
}

/* ---- one object ---- */

static void note_stored(struct proxy_purge *purge, const struct item *item)
{
    unsigned char block[1024];
    struct arena arena;
    struct head head;
    arena_init(&arena, block, sizeof block, HEAD_FIELDS_MAX * 4);
    if (head_decode(&head, item, &arena) == 0) {
        purge->was_stored = true;
        purge->stored_len = head.body_len;
        purge->etag_len = head.etag.len <= sizeof purge->etag ? head.etag.len : 0;
        if (purge->etag_len)
            memcpy(purge->etag, head.etag.ptr, purge->etag_len);
    }
    arena_reset(&arena);
}

static int purge_found(struct proxy_purge *purge)
{
    struct bytes object = bytes_of(purge->identity, purge->identity_len);
    struct purge soft = {.prefix = object, .soft = true};
    return purge->soft ? purge_now(purge, &soft) : purge_object_now(purge, object);
}

static void found(struct find *find, struct item *item)
{
    struct proxy_purge *purge = CONTAINER_OF(find, struct proxy_purge, find);
    if (item)
        note_stored(purge, item);
    item_unref(&item);
    purge->is_told = !find->unknown;
    purge->vary = find->vary;
    struct durable *durable = purge->durable;
    durable->pending++; /* so that a failure ends as an answer does */
    purged(durable, purge_found(purge));
}

/* Endpoint, bucket and the beginning of a key, in place. A generic origin's keys are paths: the slash that
 * they begin with need not be said. */
static void write_name(struct writer *w, const struct bucket *bucket, struct bytes key)
{
    write_bytes(w, origin_identity_endpoint(bucket->origin));
    write_u8(w, 0);
    write_bytes(w, origin_identity_bucket(bucket->origin));
    write_u8(w, 0);
    if (bucket->settings->http.on && key.len > 0 && key.ptr[0] != '/')
        write_u8(w, '/');
    write_bytes(w, key);
}

/* Looks first, to tell what was there. The object's name is its identity without a version id, or what else
 * stands there (identity.h). */
static int purge_object(struct proxy_purge *purge, const struct bucket *bucket)
{
    struct writer w = writer_of(purge->identity, PURGE_PREFIX_MAX);
    write_name(&w, bucket, purge->key);
    write_u8(&w, 0);
    struct bytes identity = writer_bytes(&w);
    if (w.failed)
        return E_TOO_LARGE;
    purge->identity_len = identity.len;
    purge->find.bucket = bucket;
    purge->find.key = purge->key;
    purge->find.host = purge->host;
    purge->find.query = purge->query;
    purge->find.done = found;
    int result = find_start(&purge->find, purge->proxy, purge->loop);
    return result == E_REFUSED ? purge_found(purge) : result;
}

/* ---- many ---- */

/* bucket NULL: of everything. */
static int purge_many(struct proxy_purge *purge, const struct bucket *bucket)
{
    struct writer w = writer_of(purge->identity, sizeof purge->identity);
    if (bucket)
        write_name(&w, bucket, purge->prefix);
    struct purge what = {.prefix = writer_bytes(&w), .tag = purge->tag, .soft = purge->soft};
    if (w.failed || !purge_fits(&what))
        return E_TOO_LARGE;
    return purge_now(purge, &what);
}

/* Answered once, however many there are. */
static int purge_each_bucket(struct proxy_purge *purge)
{
    const struct proxy *proxy = purge->proxy;
    int result = 0;
    for (unsigned i = 0; i < proxy->bucket_count && result == 0; i++)
        result = purge_many(purge, &proxy->buckets[i]);
    if (result < 0 && purge->durable->pending > 0) {
        purge->result = result;
        return 0;
    }
    return result;
}

int proxy_purge(struct proxy *proxy, struct io_loop *loop, struct proxy_purge *purge)
{
    CHECK(purge->key.len == 0 || (purge->bucket.len > 0 && purge->prefix.len == 0 && purge->tag.len == 0));
    CHECK(purge->key.len > 0 || (purge->host.len == 0 && purge->query.len == 0));
    const struct bucket *bucket = proxy_bucket_named(proxy, purge->bucket);
    if (purge->bucket.len > 0 && bucket == NULL)
        return E_MISSING;
    if (purge->tag.len > 0 && !tags_valid(purge->tag))
        return E_SYNTAX;
    purge->proxy = proxy;
    purge->loop = loop;
    purge->was_stored = purge->widened = purge->is_told = false;
    purge->result = 0;
    vary_init(&purge->vary);
    struct durable *durable = purge->durable = calloc(1, sizeof *durable);
    if (durable == NULL)
        return -ENOMEM;
    durable->purge = purge;
    io_op_init(&durable->timer, time_over);
    counter_add(&proxy->stats.purges[purge->soft], 1);
    int result = purge->key.len > 0                        ? purge_object(purge, bucket)
                 : bucket == NULL && purge->prefix.len > 0 ? purge_each_bucket(purge)
                                                           : purge_many(purge, bucket);
    if (result < 0)
        free(durable);
    return result;
}

/* ---- S3 buckets ---- */

static bool same_objects(const struct origin *a, const struct origin *b)
{
    return bytes_equal(origin_identity_endpoint(a), origin_identity_endpoint(b)) &&
           bytes_equal(origin_identity_bucket(a), origin_identity_bucket(b));
}

static bool reads_s3_bucket(const struct bucket *bucket, struct bytes s3_bucket)
{
    const char *own = bucket->settings->http.on ? NULL : bucket->settings->origin.bucket;
    return own != NULL && bytes_equal(bytes_of_string(own), s3_bucket);
}

const char *proxy_entry_of_s3_bucket(const struct proxy *proxy, struct bytes s3_bucket, unsigned *next)
{
    while (*next < proxy->bucket_count) {
        unsigned at = (*next)++;
        const struct bucket *bucket = &proxy->buckets[at];
        bool found = reads_s3_bucket(bucket, s3_bucket);
        for (unsigned i = 0; i < at && found; i++)
            found = !reads_s3_bucket(&proxy->buckets[i], s3_bucket) ||
                    !same_objects(proxy->buckets[i].origin, bucket->origin);
        if (found)
            return bucket->settings->name;
    }
    return NULL;
}
