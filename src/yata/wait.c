/* Blocking calls: the asynchronous one, and a wait for its callback. Gets look into memory first, on their
 * own thread. */
#include <errno.h>

#include "base/error.h"
#include "yata/put.h"
#include "yata/value.h"

struct waiter {
    struct loop *loop; /* that this thread turns meanwhile; NULL: a thread of the library does */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    int64_t result;
    uint64_t value_len;
    struct yata_view *view;
    struct yata_value *value;
};

/* 0, or -EDEADLK. */
static int waiter_init(struct waiter *waiter, struct yata *yata)
{
    *waiter = (struct waiter){0};
    int result = yata == NULL ? -EINVAL : store_may_wait(yata);
    if (result < 0)
        return result;
    waiter->loop = store_loop_of_thread(yata);
    CHECK(pthread_mutex_init(&waiter->lock, NULL) == 0);
    CHECK(pthread_cond_init(&waiter->changed, NULL) == 0);
    return 0;
}

static void wake(struct waiter *waiter, int64_t result)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->result = result;
    waiter->done = true;
    pthread_cond_signal(&waiter->changed); /* under the lock: the waiter's frame is there until it has it */
    pthread_mutex_unlock(&waiter->lock);
}

static void woken(void *context, int result)
{
    wake(context, result);
}

static void woken_view(void *context, int result, struct yata_view *view)
{
    struct waiter *waiter = context;
    waiter->view = view;
    wake(waiter, result);
}

static void woken_value(void *context, int result, struct yata_value *value)
{
    struct waiter *waiter = context;
    waiter->value = value;
    wake(waiter, result);
}

static void woken_copy(void *context, int64_t result, uint64_t value_len)
{
    struct waiter *waiter = context;
    waiter->value_len = value_len;
    wake(waiter, result);
}

/* `started`: what the asynchronous call returned. */
static int64_t waiter_result(struct waiter *waiter, int started)
{
    pthread_mutex_lock(&waiter->lock);
    while (started == 0 && !waiter->done) {
        if (waiter->loop == NULL) {
            pthread_cond_wait(&waiter->changed, &waiter->lock);
            continue;
        }
        pthread_mutex_unlock(&waiter->lock);
        loop_turn(waiter->loop, UINT64_MAX);
        pthread_mutex_lock(&waiter->lock);
    }
    pthread_mutex_unlock(&waiter->lock);
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
    return started < 0 ? started : waiter->result;
}

int yata_get_wait(
    struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len, struct yata_view **view)
{
    struct waiter waiter;
    int result = yata_peek(yata, key, key_len, from, len, view);
    if (result != E_MISSING)
        return result;
    result = waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    result = (int)waiter_result(&waiter, yata_get(yata, key, key_len, from, len, woken_view, &waiter));
    *view = waiter.view;
    return result;
}

int64_t yata_get_copy_wait(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to,
    size_t len, uint64_t *value_len)
{
    struct waiter waiter;
    int64_t result = yata_peek_copy(yata, key, key_len, from, to, len, value_len);
    if (result != E_MISSING)
        return result;
    result = waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    result = waiter_result(&waiter, yata_get_copy(yata, key, key_len, from, to, len, woken_copy, &waiter));
    if (result >= 0 && value_len != NULL)
        *value_len = waiter.value_len;
    return result;
}

int yata_value_open_wait(struct yata *yata, const void *key, size_t key_len, struct yata_value **value)
{
    struct waiter waiter;
    int result = value == NULL ? -EINVAL : waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    result = (int)waiter_result(&waiter, yata_value_open(yata, key, key_len, woken_value, &waiter));
    *value = waiter.value;
    return result;
}

int yata_value_read_wait(struct yata_value *value, uint64_t from, uint64_t len, struct yata_view **view)
{
    struct waiter waiter;
    int result = value == NULL || view == NULL ? -EINVAL : waiter_init(&waiter, value->yata);
    if (result < 0)
        return result;
    result = (int)waiter_result(&waiter, yata_value_read(value, from, len, woken_view, &waiter));
    *view = waiter.view;
    return result;
}

int64_t yata_value_copy_wait(struct yata_value *value, uint64_t from, void *to, size_t len)
{
    struct waiter waiter;
    int result = value == NULL ? -EINVAL : waiter_init(&waiter, value->yata);
    if (result < 0)
        return result;
    return waiter_result(&waiter, yata_value_copy(value, from, to, len, woken_copy, &waiter));
}

int yata_put_wait(struct yata *yata, const void *key, size_t key_len, const void *value, size_t len)
{
    struct waiter waiter;
    int result = waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    return (int)waiter_result(&waiter, yata_put(yata, key, key_len, value, len, woken, &waiter));
}

int yata_put_write_wait(struct yata_put *put, const void *bytes, size_t len)
{
    struct waiter waiter;
    int result = put == NULL ? -EINVAL : waiter_init(&waiter, put_store(put));
    if (result < 0)
        return result;
    return (int)waiter_result(&waiter, yata_put_write(put, bytes, len, woken, &waiter));
}

int yata_put_end_wait(struct yata_put *put)
{
    struct waiter waiter;
    int result = put == NULL ? -EINVAL : waiter_init(&waiter, put_store(put));
    if (result < 0)
        return result;
    int started = yata_put_end(put, woken, &waiter);
    result = (int)waiter_result(&waiter, started);
    if (started < 0 && started != -EBUSY)
        yata_put_abort(&put);
    return result;
}

int yata_remove_wait(struct yata *yata, const void *key, size_t key_len)
{
    struct waiter waiter;
    int result = waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    return (int)waiter_result(&waiter, yata_remove(yata, key, key_len, woken, &waiter));
}

int yata_flush_wait(struct yata *yata)
{
    struct waiter waiter;
    int result = waiter_init(&waiter, yata);
    if (result < 0)
        return result;
    return (int)waiter_result(&waiter, yata_flush(yata, woken, &waiter));
}
