#include "yata/store.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/fake.h"
#include "yata/config.h"

#define WAIT_STEP_NS (10 * NS_PER_MS)
#define UNDO_NS (20 * NS_PER_S) /* of an open that failed */

/* ---- waiting ---- */

void store_set(struct yata *yata, bool *flag)
{
    pthread_mutex_lock(&yata->lock);
    *flag = true;
    pthread_cond_broadcast(&yata->changed);
    pthread_mutex_unlock(&yata->lock);
}

void store_request_ended(struct yata *yata)
{
    uint64_t before = atomic_fetch_sub(&yata->under_way, 1);
    CHECK(before > 0);
    if (before > 1 || !atomic_load(&yata->closing))
        return;
    pthread_mutex_lock(&yata->lock);
    pthread_cond_broadcast(&yata->changed);
    pthread_mutex_unlock(&yata->lock);
}

struct loop *store_loop_of_thread(struct yata *yata)
{
    for (unsigned i = 0; i < yata->loop_count; i++)
        if (loop_is_mine(&yata->loops[i]))
            return &yata->loops[i];
    return NULL;
}

int store_may_wait(struct yata *yata)
{
    struct loop *loop = store_loop_of_thread(yata);
    return loop != NULL && (!yata->driven || loop->turning) ? -EDEADLK : 0;
}

/* flag NULL: until no request is under way. Under lock. */
static bool is_set(struct yata *yata, const bool *flag)
{
    return flag != NULL ? *flag : atomic_load(&yata->under_way) == 0;
}

/* One turn at the least: who is told that time is over has had its callbacks. */
static bool await_by_turns(struct yata *yata, struct loop *loop, const bool *flag, uint64_t deadline_ns)
{
    for (bool turned = false;; turned = true) {
        pthread_mutex_lock(&yata->lock);
        bool set = is_set(yata, flag);
        pthread_mutex_unlock(&yata->lock);
        if (set || (turned && clock_monotonic_ns() >= deadline_ns))
            return set;
        loop_turn(loop, WAIT_STEP_NS);
    }
}

/* Turns the loop where it is this thread's. False: the deadline (UINT64_MAX: none) passed. */
static bool await(struct yata *yata, const bool *flag, uint64_t deadline_ns)
{
    struct loop *loop = store_loop_of_thread(yata);
    if (loop != NULL)
        return await_by_turns(yata, loop, flag, deadline_ns);
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int result = 0;
    pthread_mutex_lock(&yata->lock);
    while (!is_set(yata, flag) && result == 0)
        result = deadline_ns == UINT64_MAX ? pthread_cond_wait(&yata->changed, &yata->lock)
                                           : pthread_cond_timedwait(&yata->changed, &yata->lock, &deadline);
    bool set = is_set(yata, flag);
    pthread_mutex_unlock(&yata->lock);
    return set;
}

/* ---- what the others ask ---- */

struct yata *store_ref(struct yata *yata)
{
    atomic_fetch_add_explicit(&yata->references, 1, memory_order_relaxed);
    return yata;
}

void store_unref(struct yata *yata)
{
    if (atomic_fetch_sub_explicit(&yata->references, 1, memory_order_acq_rel) > 1)
        return;
    if (yata->memory != NULL)
        memory_destroy(yata->memory);
    pthread_cond_destroy(&yata->changed);
    pthread_mutex_destroy(&yata->lock);
    free(yata->admission);
    free(yata->loops);
    free(yata);
}

struct loop *store_loop_of(struct yata *yata, struct bytes key)
{
    if (yata->loop_count == 1)
        return yata->loops;
    return &yata->loops[XXH3_64bits(key.ptr, key.len) % yata->loop_count];
}

void store_hit(struct yata *yata, struct item *item)
{
    if (item_awaits_hit(item))
        cache_hit(yata->cache, store_loop_of(yata, item_key(item).bytes)->io_loop, item);
}

int store_check_key(const struct yata *yata, const void *key, size_t len)
{
    if (yata == NULL || key == NULL || len == 0)
        return -EINVAL;
    return len > ITEM_KEY_MAX ? E_TOO_LARGE : 0;
}

/* ---- open ---- */

static void on_event(void *context, const struct disk_event *event)
{
    struct yata *yata = context;
    static const enum yata_event_kind kinds[] = {
        [DISK_EVENT_OPENED] = YATA_EVENT_OPENED,
        [DISK_EVENT_RECOVERED] = YATA_EVENT_RECOVERED,
        [DISK_EVENT_DEGRADED] = YATA_EVENT_DEGRADED,
        [DISK_EVENT_RESTORED] = YATA_EVENT_RESTORED,
        [DISK_EVENT_REFUSED] = YATA_EVENT_REFUSED,
    };
    CHECK((size_t)event->kind < sizeof kinds / sizeof *kinds);
    pthread_mutex_lock(&yata->lock);
    if (yata->refusal == 0 && event->error < 0)
        yata->refusal = event->error;
    pthread_mutex_unlock(&yata->lock);
    if (yata->event != NULL)
        yata->event(yata->event_context, &(struct yata_event){.kind = kinds[event->kind],
                                             .error = event->error,
                                             .device = event->device,
                                             .text = event->text});
}

static int open_disk(struct yata *yata, const struct yata_config *config)
{
    struct disk_config disk = {
        .device_count = config->device_count,
        .expected_item_bytes = config->expected_value_bytes,
        .write_budget_bytes_s = config->write_budget_bytes_s,
        .write_buffer_bytes = config->write_buffer_bytes,
        .memory = yata->memory,
        .event = on_event,
        .event_context = yata,
    };
    for (unsigned i = 0; i < config->device_count; i++)
        disk.devices[i] = (struct disk_device_config){config->devices[i].path, config->devices[i].size_bytes};
    return disk_create(&yata->disk, yata->io, &disk);
}

/* Of whole values, by their keys: chunks have a new key with each put. */
static int open_admission(struct yata *yata)
{
    yata->admission = malloc(sizeof *yata->admission);
    if (yata->admission == NULL)
        return -ENOMEM;
    admission_init(yata->admission, true, 0);
    return 0;
}

static int open_engine(struct yata *yata, const struct yata_config *config, const struct store_driver *driver)
{
    struct io_config io = {.choice = driver->choice,
        .socket_capacity = 1,
        .buffer_count = 1,
        .buffer_bytes = 4096,
        .device_threads = config->device_threads,
        .fake_seed = driver->fake_seed};
    int result = io_create(&yata->io, &io, &yata->report);
    if (result == 0 && driver->fake_disk != NULL && *driver->fake_disk != NULL && driver->choice == IO_FAKE)
        fake_disk_attach(yata->io, *driver->fake_disk);
    yata->fake_disk = driver->choice == IO_FAKE ? driver->fake_disk : NULL;
    if (result == 0)
        result = memory_create(&yata->memory, &(struct memory_config){.budget_bytes = config->memory_bytes});
    if (result == 0 && config->device_count > 0)
        result = open_disk(yata, config);
    if (result == 0)
        result = cache_create(&yata->cache, yata->memory, yata->disk);
    if (result == 0 && config->admission == YATA_ADMIT_SECOND)
        result = open_admission(yata);
    return result;
}

static int open_loops(struct yata *yata, const struct yata_config *config)
{
    yata->loops = calloc(config->threads, sizeof *yata->loops);
    if (yata->loops == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < config->threads; i++) {
        struct loop *loop = &yata->loops[i];
        loop->yata = yata;
        int result = yata->driven ? loop_begin(loop) : loop_start(loop);
        if (result < 0) {
            if (loop->state == LOOP_ENDED)
                pthread_join(loop->thread, NULL);
            return result;
        }
        yata->loop_count++;
    }
    return 0;
}

static void attach_done(void *context, int result)
{
    struct yata *yata = context;
    yata->attach_result = result;
    store_set(yata, &yata->attached);
}

static void deliver_attach(struct io_message *message)
{
    struct yata *yata = CONTAINER_OF(message, struct yata, attach);
    disk_attach(yata->disk, yata->loops[0].io_loop, attach_done, yata);
}

static int attach(struct yata *yata)
{
    if (yata->disk == NULL)
        return 0;
    yata->attach.deliver = deliver_attach;
    io_post(yata->loops[0].io_loop, &yata->attach);
    (void)await(yata, &yata->attached, UINT64_MAX);
    if (yata->attach_result == E_UNSUPPORTED && yata->refusal < 0)
        return yata->refusal;
    return yata->attach_result;
}

static struct yata *create(const struct yata_config *config)
{
    struct yata *yata = calloc(1, sizeof *yata);
    if (yata == NULL)
        return NULL;
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&yata->changed, &attributes) == 0);
    CHECK(pthread_mutex_init(&yata->lock, NULL) == 0);
    pthread_condattr_destroy(&attributes);
    yata->references = 1;
    yata->driven = config->driven != 0;
    yata->timeout_ns = config->timeout_ms * NS_PER_MS;
    yata->memory_bytes = config->memory_bytes;
    yata->event = config->event;
    yata->event_context = config->event_context;
    return yata;
}

static int close_all(struct yata *yata, uint64_t deadline_ns);

int store_open(struct yata **created, const struct yata_config *given, const struct store_driver *driver)
{
    struct yata_config config;
    int result = config_complete(&config, given);
    if (created != NULL)
        *created = NULL;
    if (created == NULL || result < 0)
        return created == NULL ? -EINVAL : result;
    struct yata *yata = create(&config);
    if (yata == NULL)
        return -ENOMEM;
    result = open_engine(yata, &config, driver);
    if (result == 0)
        result = open_loops(yata, &config);
    if (result == 0)
        result = attach(yata);
    if (result < 0)
        (void)close_all(yata, clock_monotonic_ns() + UNDO_NS);
    else
        *created = yata;
    return result;
}

int yata_open(struct yata **yata, const struct yata_config *config)
{
    static const enum io_choice choices[] = {
        [YATA_DRIVER_AUTO] = IO_AUTO, [YATA_DRIVER_URING] = IO_URING, [YATA_DRIVER_PORTABLE] = IO_PORTABLE};
    struct yata_config complete;
    int result = config_complete(&complete, config);
    if (result < 0)
        return result;
    return store_open(yata, config, &(struct store_driver){.choice = choices[complete.driver]});
}

/* ---- close ---- */

static void detach_done(void *context, int result)
{
    struct yata *yata = context;
    yata->detach_result = result;
    store_set(yata, &yata->detached);
}

static void deliver_detach(struct io_message *message)
{
    struct yata *yata = CONTAINER_OF(message, struct yata, detach);
    struct io_loop *loop = yata->loops[0].io_loop;
    disk_detach(yata->disk, loop, io_now_ns(loop) + yata->detach_ns, detach_done, yata);
}

/* The loop lets go of the cache and ends. */
static int end_loop(struct loop *loop, uint64_t deadline_ns)
{
    struct yata *yata = loop->yata;
    loop_leave(loop);
    if (!await(yata, &loop->left, deadline_ns))
        return E_TIMEOUT;
    if (yata->driven)
        loop_end(loop);
    else
        pthread_join(loop->thread, NULL);
    return 0;
}

static int end_loops(struct yata *yata, uint64_t deadline_ns)
{
    for (unsigned i = 0; i < yata->loop_count; i++)
        loop_cancel_all(&yata->loops[i]);
    if (!await(yata, NULL, deadline_ns))
        return E_TIMEOUT;
    for (unsigned i = 1; i < yata->loop_count; i++)
        if (end_loop(&yata->loops[i], deadline_ns) < 0)
            return E_TIMEOUT;
    int result = 0;
    if (yata->disk != NULL && yata->loop_count > 0) {
        uint64_t now_ns = clock_monotonic_ns();
        yata->detach_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        yata->detach.deliver = deliver_detach;
        io_post(yata->loops[0].io_loop, &yata->detach);
        (void)await(yata, &yata->detached, UINT64_MAX);
        result = yata->detach_result;
    }
    if (result != E_TIMEOUT && yata->loop_count > 0 &&
        end_loop(&yata->loops[0], clock_monotonic_ns() + yata->timeout_ns) < 0)
        return E_TIMEOUT;
    return result;
}

/* Also of what was opened in part only. */
static int close_all(struct yata *yata, uint64_t deadline_ns)
{
    atomic_store(&yata->closing, true);
    int result = end_loops(yata, deadline_ns);
    if (result == E_TIMEOUT)
        return result; /* stalled operations still write into what would be freed */
    cache_destroy(yata->cache);
    if (yata->disk != NULL)
        disk_destroy(yata->disk);
    if (yata->io != NULL && yata->fake_disk != NULL)
        *yata->fake_disk = fake_disk_cut(yata->io, FAKE_KILL);
    if (yata->io != NULL)
        (void)io_destroy(yata->io);
    store_unref(yata);
    return result;
}

int yata_close(struct yata *yata, unsigned timeout_ms)
{
    if (yata == NULL)
        return 0;
    int result = store_may_wait(yata);
    if (result < 0 || (yata->driven && store_loop_of_thread(yata) == NULL))
        return -EDEADLK;
    return close_all(yata, clock_monotonic_ns() + timeout_ms * NS_PER_MS);
}

const char *yata_driver_name(const struct yata *yata)
{
    return yata != NULL ? io_driver_name(yata->io) : "none";
}

const char *yata_driver_reason(const struct yata *yata)
{
    return yata != NULL ? yata->report.reason : "";
}

/* ---- a loop that the program drives ---- */

static int may_turn(struct yata *yata)
{
    if (yata == NULL || !yata->driven)
        return -EINVAL;
    return store_loop_of_thread(yata) == NULL || yata->loops[0].turning ? -EDEADLK : 0;
}

int yata_turn(struct yata *yata, int wait_ms)
{
    int result = may_turn(yata);
    if (result < 0)
        return result;
    unsigned count = loop_turn(&yata->loops[0], wait_ms < 0 ? UINT64_MAX : (unsigned)wait_ms * NS_PER_MS);
    return count < INT_MAX ? (int)count : INT_MAX;
}

int yata_prepare(struct yata *yata, int *fd)
{
    int result = fd == NULL ? -EINVAL : may_turn(yata);
    if (result < 0)
        return result;
    uint64_t wait_ns;
    result = io_loop_prepare(yata->loops[0].io_loop, &wait_ns);
    if (result < 0)
        return result;
    *fd = result;
    if (loop_has_starts(&yata->loops[0]))
        return 0;
    uint64_t ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
    return wait_ns == UINT64_MAX ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}
