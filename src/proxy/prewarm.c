#include "proxy/prewarm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "http/target.h"
#include "origin/list.h"
#include "proxy/warm.h"
#include "proxy/worker.h"

struct slot {
    struct work *work;
    bool busy;
    size_t key_len;
    uint8_t key[PREWARM_KEY_MAX];
    struct warm warm;
};

/* A job while it is remembered; what it runs on is given back when it ends. */
struct work {
    struct prewarm_job job;
    struct prewarm *prewarm;
    struct list_node node; /* newest first */
    unsigned bucket;
    uint64_t started_ns, next_ns; /* monotonic; when the next object may begin */
    struct io_op timer;
    struct slot *slots; /* job.concurrency; NULL: it has ended */
    struct origin_list *list;
    bool awaits_page;
    char code[64];
    uint8_t host[PREWARM_HOST_MAX];
    uint8_t *text; /* the keys, or the prefix */
    size_t text_len, text_at;
};

struct prewarm {
    struct proxy_worker *worker;
    struct proxy *proxy;
    struct log *log;
    struct list_node works;
    unsigned work_count, running;
    uint64_t last_id;
    bool draining;
    struct io_message stopped;
    void (*stop_done)(void *context);
    void *stop_context;
};

static void pump(struct work *work);

static struct work *work_of(const struct prewarm_job *job)
{
    return CONTAINER_OF((struct prewarm_job *)(uintptr_t)job, struct work, job);
}

static uint64_t now_ns(const struct work *work)
{
    return io_now_ns(work->prewarm->worker->loop);
}

/* ---- the end ---- */

static void work_free(struct work *work)
{
    CHECK(work->slots == NULL && work->list == NULL && !io_op_busy(&work->timer));
    list_remove(&work->node);
    work->prewarm->work_count--;
    free(work->text);
    free(work);
}

static void tell_stopped(struct io_message *message)
{
    struct prewarm *prewarm = CONTAINER_OF(message, struct prewarm, stopped);
    prewarm->stop_done(prewarm->stop_context);
}

static void settle(struct prewarm *prewarm)
{
    if (prewarm->stop_done == NULL || prewarm->running > 0)
        return;
    prewarm->stopped.deliver = tell_stopped;
    io_post(prewarm->worker->loop, &prewarm->stopped);
}

static const char *state_text(enum prewarm_state state)
{
    return state == PREWARM_DONE ? "done" : state == PREWARM_CANCELED ? "canceled" : "failed";
}

static void end(struct work *work)
{
    struct prewarm *prewarm = work->prewarm;
    struct prewarm_job *job = &work->job;
    struct proxy_stats *stats = &prewarm->proxy->stats;
    job->state = job->error != 0                   ? PREWARM_FAILED
                 : job->state == PREWARM_CANCELING ? PREWARM_CANCELED
                                                   : PREWARM_DONE;
    job->duration_ns = now_ns(work) - work->started_ns;
    free(work->slots);
    work->slots = NULL;
    origin_list_close(&work->list);
    prewarm->running--;
    counter_sub(&stats->prewarm_running, 1);
    counter_add(&stats->prewarm_jobs[job->state - PREWARM_DONE], 1);
    log_text(prewarm->log, job->state == PREWARM_FAILED || job->failed ? LOG_WARN : LOG_INFO, "prewarm",
        "job %llu of bucket %s %s%s%s%s%s: %llu fetched (%llu bytes), %llu stored before, %llu not to be "
        "stored, %llu failed",
        (unsigned long long)job->id, job->bucket, state_text(job->state), job->error ? " (" : "",
        job->error ? error_text(job->error) : "", job->code[0] ? ", " : "", job->code,
        (unsigned long long)job->fetched, (unsigned long long)job->fetched_bytes,
        (unsigned long long)job->stored, (unsigned long long)job->unstored, (unsigned long long)job->failed);
    settle(prewarm);
}

/* ---- objects ---- */

static void note_failure(struct work *work, const struct slot *slot, unsigned status)
{
    struct prewarm_job *job = &work->job;
    if (job->failed < PREWARM_FAILURES) {
        struct prewarm_failure *failure = &job->failures[job->failed];
        failure->status = status;
        failure->key_len = slot->key_len;
        memcpy(failure->key, slot->key, slot->key_len);
    }
    job->failed++;
}

static void count(struct work *work, const struct slot *slot, enum warm_outcome outcome, unsigned status)
{
    struct prewarm_job *job = &work->job;
    struct proxy_stats *stats = &work->prewarm->proxy->stats;
    counter_add(&stats->prewarm_objects[outcome], 1);
    switch (outcome) {
    case WARM_FETCHED:
        job->fetched++;
        break;
    case WARM_STORED:
        job->stored++;
        break;
    case WARM_UNSTORED:
        job->unstored++;
        break;
    case WARM_FAILED:
        note_failure(work, slot, status);
        break;
    }
}

static void warmed(struct warm *warm)
{
    struct slot *slot = CONTAINER_OF(warm, struct slot, warm);
    struct work *work = slot->work;
    bool given_up = warm->outcome == WARM_FAILED && work->job.state == PREWARM_CANCELING;
    slot->busy = false;
    work->job.under_way--;
    work->job.fetched_bytes += warm->fetched_bytes;
    counter_add(&work->prewarm->proxy->stats.prewarm_bytes, warm->fetched_bytes);
    if (!given_up)
        count(work, slot, warm->outcome, warm->status);
    pump(work);
}

static void begin(struct work *work, struct slot *slot, struct bytes key)
{
    uint64_t now = now_ns(work);
    slot->work = work;
    slot->key_len = key.len < sizeof slot->key ? key.len : sizeof slot->key;
    memcpy(slot->key, key.ptr, slot->key_len);
    slot->warm.done = warmed;
    work->job.known += work->job.listed;
    work->next_ns = (work->next_ns < now ? now : work->next_ns) + NS_PER_S / work->job.rate;
    if (key.len > PREWARM_KEY_MAX) {
        count(work, slot, WARM_FAILED, 400);
    } else if (warm_start(work->prewarm->worker, &slot->warm, work->bucket, key, work->job.host) < 0) {
        count(work, slot, WARM_FAILED, 503);
    } else {
        slot->busy = true;
        work->job.under_way++;
    }
}

/* ---- keys ---- */

static void page_came(void *context)
{
    struct work *work = context;
    const char *code;
    int error = origin_list_error(work->list, &code);
    work->awaits_page = false;
    if (error != 0 && work->job.state == PREWARM_WORKING) {
        work->job.error = error;
        memcpy(work->code, code, strlen(code) + 1);
        work->job.all_known = false;
    }
    pump(work);
}

/* False: none, or none yet. */
static bool next_key(struct work *work, struct bytes *key)
{
    if (!work->job.listed) {
        if (work->text_at == work->text_len)
            return false;
        *key = bytes_of_string((const char *)work->text + work->text_at);
        work->text_at += key->len + 1;
        return true;
    }
    if (work->awaits_page)
        return false;
    if (origin_list_take(work->list, key))
        return true;
    if (origin_list_has_more(work->list)) {
        work->awaits_page = true;
        origin_list_next(work->list);
    } else {
        work->job.all_known = true;
    }
    return false;
}

/* ---- the job's turn ---- */

static void timer_rang(struct io_op *op)
{
    pump(CONTAINER_OF(op, struct work, timer));
}

static struct slot *free_slot(struct work *work)
{
    for (unsigned i = 0; i < work->job.concurrency; i++)
        if (!work->slots[i].busy)
            return &work->slots[i];
    return NULL;
}

/* Begins what may begin; false where nothing is left to be begun. */
static bool advance(struct work *work)
{
    struct slot *slot;
    struct bytes key;
    while ((slot = free_slot(work)) != NULL) {
        if (io_op_busy(&work->timer))
            return true;
        if (work->next_ns > now_ns(work)) {
            io_op_init(&work->timer, timer_rang);
            io_timer(work->prewarm->worker->loop, &work->timer, work->next_ns);
            return true;
        }
        if (!next_key(work, &key))
            return work->awaits_page;
        begin(work, slot, key);
    }
    return true;
}

static void pump(struct work *work)
{
    bool works = work->job.state == PREWARM_WORKING && work->job.error == 0;
    if (works && advance(work))
        return;
    if (work->job.under_way == 0 && !work->awaits_page && !io_op_busy(&work->timer))
        end(work);
}

/* ---- the contract ---- */

int prewarm_create(struct prewarm **prewarm, struct proxy_worker *worker, struct log *log)
{
    struct prewarm *made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->worker = worker;
    made->proxy = worker->proxy;
    made->log = log;
    list_init(&made->works);
    *prewarm = made;
    return 0;
}

/* The oldest that has ended makes place. */
static void make_place(struct prewarm *prewarm)
{
    static_assert(PREWARM_RUNNING < PREWARM_JOBS, "one of them has ended");
    struct list_node *node = prewarm->works.prev;
    while (prewarm->work_count >= PREWARM_JOBS) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        node = node->prev;
        if (work->slots == NULL)
            work_free(work);
    }
}

static bool fill_work(struct work *work, const struct prewarm_order *order)
{
    struct bytes text = order->listed ? order->prefix : order->keys;
    work->slots = calloc(order->concurrency, sizeof *work->slots);
    work->text = malloc(text.len + 1);
    if (work->slots == NULL || work->text == NULL)
        return false;
    if (text.len > 0)
        memcpy(work->text, text.ptr, text.len);
    if (order->host.len > 0)
        memcpy(work->host, order->host.ptr, order->host.len);
    work->text_len = text.len;
    work->started_ns = now_ns(work);
    work->job = (struct prewarm_job){
        .bucket = work->prewarm->proxy->buckets[work->bucket].settings->name,
        .listed = order->listed,
        .prefix = bytes_of(work->text, order->listed ? text.len : 0),
        .host = bytes_of(work->host, order->host.len),
        .concurrency = order->concurrency,
        .rate = order->rate,
        .known = order->listed ? 0 : order->key_count,
        .all_known = !order->listed,
        .started_wall_ns = io_wall_ns(work->prewarm->worker->loop),
        .code = work->code,
    };
    return true;
}

static int open_list(struct work *work)
{
    struct prewarm *prewarm = work->prewarm;
    return origin_list_open(&work->list, prewarm->worker->origins,
        prewarm->proxy->buckets[work->bucket].origin, work->job.prefix, page_came, work);
}

static int work_create(
    struct prewarm *prewarm, unsigned bucket, const struct prewarm_order *order, struct work **work_out)
{
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL)
        return -ENOMEM;
    work->prewarm = prewarm;
    work->bucket = bucket;
    int result = fill_work(work, order) ? 0 : -ENOMEM;
    if (result == 0 && order->listed)
        result = open_list(work);
    if (result < 0) {
        free(work->slots);
        free(work->text);
        free(work);
        return result;
    }
    *work_out = work;
    return 0;
}

static int check_order(const struct bucket_settings *settings, const struct prewarm_order *order)
{
    if (!settings->http.on)
        return order->host.len > 0 ? E_SYNTAX : 0;
    if (order->listed)
        return E_UNSUPPORTED;
    if (order->host.len == 0)
        return settings_key_has_host(settings) ? E_REFUSED : 0;
    bool well = order->host.len <= PREWARM_HOST_MAX && target_is_authority(order->host);
    return well ? 0 : E_SYNTAX;
}

int prewarm_start(struct prewarm *prewarm, const struct prewarm_order *order, const struct prewarm_job **job)
{
    CHECK(order->concurrency > 0 && order->concurrency <= PREWARM_CONCURRENCY_MAX);
    CHECK(order->rate > 0 && order->rate <= PREWARM_RATE_MAX);
    const struct bucket *bucket = proxy_bucket_named(prewarm->proxy, order->bucket);
    struct work *work;
    if (bucket == NULL)
        return E_MISSING;
    int result = check_order(bucket->settings, order);
    if (result < 0)
        return result;
    if (prewarm->draining)
        return E_CANCELED;
    if (prewarm->running >= PREWARM_RUNNING)
        return E_EXHAUSTED;
    result = work_create(prewarm, (unsigned)(bucket - prewarm->proxy->buckets), order, &work);
    if (result < 0)
        return result;
    make_place(prewarm);
    list_push_front(&prewarm->works, &work->node);
    prewarm->work_count++;
    prewarm->running++;
    counter_add(&prewarm->proxy->stats.prewarm_running, 1);
    work->job.id = ++prewarm->last_id;
    log_text(prewarm->log, LOG_INFO, "prewarm", "job %llu of bucket %s: %s%.*s",
        (unsigned long long)work->job.id, work->job.bucket, order->listed ? "prefix " : "keys",
        (int)work->job.prefix.len, (const char *)work->job.prefix.ptr);
    *job = &work->job;
    pump(work);
    return 0;
}

/* While it works a job's time goes on. */
static const struct prewarm_job *told(struct work *work)
{
    if (work->slots != NULL)
        work->job.duration_ns = now_ns(work) - work->started_ns;
    return &work->job;
}

const struct prewarm_job *prewarm_find(struct prewarm *prewarm, uint64_t id)
{
    for (struct list_node *node = prewarm->works.next; node != &prewarm->works; node = node->next) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        if (work->job.id == id)
            return told(work);
    }
    return NULL;
}

const struct prewarm_job *prewarm_next(struct prewarm *prewarm, const struct prewarm_job *job)
{
    struct list_node *node = job ? work_of(job)->node.next : prewarm->works.next;
    return node == &prewarm->works ? NULL : told(CONTAINER_OF(node, struct work, node));
}

void prewarm_cancel(struct prewarm *prewarm, const struct prewarm_job *job)
{
    struct work *work = work_of(job);
    if (work->job.state != PREWARM_WORKING)
        return;
    work->job.state = PREWARM_CANCELING;
    io_cancel(prewarm->worker->loop, &work->timer);
    for (unsigned i = 0; i < work->job.concurrency; i++)
        if (work->slots[i].busy)
            warm_cancel(&work->slots[i].warm);
    if (work->awaits_page)
        origin_list_cancel(work->list);
    pump(work);
}

void prewarm_drain(struct prewarm *prewarm)
{
    prewarm->draining = true;
    for (struct list_node *node = prewarm->works.next; node != &prewarm->works; node = node->next)
        prewarm_cancel(prewarm, &CONTAINER_OF(node, struct work, node)->job);
}

void prewarm_stop(struct prewarm *prewarm, void (*done)(void *context), void *context)
{
    CHECK(prewarm->stop_done == NULL);
    prewarm_drain(prewarm);
    prewarm->stop_done = done;
    prewarm->stop_context = context;
    settle(prewarm);
}

void prewarm_destroy(struct prewarm *prewarm)
{
    CHECK(prewarm->running == 0);
    for (struct list_node *node = prewarm->works.next, *next; node != &prewarm->works; node = next) {
        next = node->next;
        work_free(CONTAINER_OF(node, struct work, node));
    }
    free(prewarm);
}
