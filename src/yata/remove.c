/* Remove and flush: the engine's own, with the time bound of all requests. The engine's answer can't be
 * called off, so the request lives until it has come, whether or not its caller has been told before. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "yata/layout.h"
#include "yata/store.h"

struct errand {
    struct request request;
    struct yata *yata;
    bool started, told;
    yata_done *done;
    void *context;
    size_t key_len; /* 0: a flush */
    uint8_t key[];
};

static void tell(struct errand *errand, int result)
{
    if (!errand->told)
        errand->done(errand->context, result);
    errand->told = true;
}

static void answered(void *context, int result)
{
    struct errand *errand = context;
    tell(errand, result);
    request_end(&errand->request);
    free(errand);
}

/* Invisible in any case, also where there is no memory for what would make it durable. */
static int remove_value(struct errand *errand, struct io_loop *loop)
{
    struct cache *cache = errand->yata->cache;
    struct item_key key = layout_head_key(bytes_of(errand->key, errand->key_len));
    int result = cache_remove(cache, loop, key, answered, errand);
    if (result < 0)
        cache_forget(cache, key);
    return result;
}

static void start(struct request *request)
{
    struct errand *errand = CONTAINER_OF(request, struct errand, request);
    struct yata *yata = errand->yata;
    struct io_loop *loop = request->loop->io_loop;
    errand->started = true;
    int result = 0;
    if (errand->key_len > 0)
        result = remove_value(errand, loop);
    else if (yata->disk != NULL)
        result = disk_flush(yata->disk, loop, answered, errand);
    if (result < 0 || (errand->key_len == 0 && yata->disk == NULL))
        answered(errand, result);
}

static void fail(struct request *request, int error)
{
    struct errand *errand = CONTAINER_OF(request, struct errand, request);
    if (errand->started)
        tell(errand, error);
    else
        answered(errand, error);
}

static int submit(struct yata *yata, struct bytes key, yata_done *done, void *context)
{
    struct errand *errand = malloc(sizeof *errand + key.len);
    if (errand == NULL)
        return -ENOMEM;
    *errand = (struct errand){.request = {.start = start, .fail = fail},
        .yata = yata,
        .done = done,
        .context = context,
        .key_len = key.len};
    if (key.len > 0)
        memcpy(errand->key, key.ptr, key.len);
    int result = request_submit(&errand->request, key.len > 0 ? store_loop_of(yata, key) : &yata->loops[0]);
    if (result < 0)
        free(errand);
    return result;
}

int yata_remove(struct yata *yata, const void *key, size_t key_len, yata_done *done, void *context)
{
    int result = done == NULL ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    counter_add(&yata->removes, 1);
    return submit(yata, bytes_of(key, key_len), done, context);
}

int yata_flush(struct yata *yata, yata_done *done, void *context)
{
    if (yata == NULL || done == NULL)
        return -EINVAL;
    return submit(yata, (struct bytes){0}, done, context);
}
