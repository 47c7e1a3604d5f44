/*
 * Hits of the memory tier: 4,096 items of --bytes, keys of 32 bytes, random order, so that two threads meet
 * in what a hit shares. The linker sends every allocation of the program through the counters here.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "bench/yata/command.h"
#include "bench/yata/store.h"

#define ITEMS 4096u
#define THREADS_MAX 64u

static _Atomic uint64_t allocations;

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *memory, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *memory, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);

void *__wrap_malloc(size_t len)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __real_malloc(len);
}

void *__wrap_calloc(size_t count, size_t len)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __real_calloc(count, len);
}

void *__wrap_realloc(void *memory, size_t len)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __real_realloc(memory, len);
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __real_aligned_alloc(align, len);
}

struct hitter {
    pthread_t id;
    struct memory *memory;
    const struct store_key *keys;
    _Atomic bool *stop;
    uint64_t seed, hits, wall_ns, cpu_ns;
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void *hit(void *argument)
{
    struct hitter *hitter = argument;
    struct random random;
    random_init(&random, hitter->seed);
    uint64_t start_ns = clock_monotonic_ns(), cpu_ns = thread_cpu_ns();
    do { /* at least once: it may come to run only when all is over */
        for (unsigned i = 0; i < 1000; i++) {
            const struct store_key *key = &hitter->keys[random_next(&random) % ITEMS];
            struct item_key name = {ITEM_CHUNK, bytes_of(key->text, STORE_KEY_BYTES)};
            struct item *item = memory_find(hitter->memory, name);
            CHECK(item != NULL);
            item_unref(&item);
        }
        hitter->hits += 1000;
    } while (!atomic_load_explicit(hitter->stop, memory_order_relaxed));
    hitter->wall_ns = clock_monotonic_ns() - start_ns;
    hitter->cpu_ns = thread_cpu_ns() - cpu_ns;
    return NULL;
}

static void insert(struct memory *memory, struct store_key *key, uint64_t number, uint32_t bytes)
{
    struct item *item;
    struct item_shape shape = {.value_len = bytes, .held_len = bytes};
    if (memory_take(memory, store_key(key, number), shape, &item) < 0)
        store_die("the memory tier is too small for %u items", ITEMS);
    memset(key->text + STORE_KEY_BYTES, 0, 1);
    for (uint32_t at = 0; at < bytes; at += STORE_KEY_BYTES)
        item_append(item, bytes_of(key->text, bytes - at < STORE_KEY_BYTES ? bytes - at : STORE_KEY_BYTES));
    item_complete(item);
    memory_insert(memory, item, number + 1);
    item_unref(&item);
}

int command_memory(const struct options *options)
{
    struct memory *memory;
    struct hitter hitters[THREADS_MAX];
    unsigned threads = options->threads > 0 ? options->threads : 1;
    _Atomic bool stop = false;
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    if (memory_create(&memory, &(struct memory_config){.budget_bytes = options->memory_bytes}) < 0)
        store_die("no memory tier of %lu bytes", options->memory_bytes);
    struct store_key *keys = calloc(ITEMS, sizeof *keys);
    for (unsigned i = 0; i < ITEMS; i++)
        insert(memory, &keys[i], i, (uint32_t)options->item_bytes);
    for (unsigned i = 0; i < threads; i++) {
        hitters[i] = (struct hitter){.memory = memory, .keys = keys, .stop = &stop, .seed = i + 1};
        if (pthread_create(&hitters[i].id, NULL, hit, &hitters[i]) != 0)
            store_die("no thread");
    }
    struct timespec span = {options->seconds_tenths / 10, options->seconds_tenths % 10 * 100000000l};
    uint64_t before = atomic_load(&allocations);
    nanosleep(&span, NULL);
    uint64_t made = atomic_load(&allocations) - before;
    atomic_store(&stop, true);
    double ns = 0, cpu_ns = 0, hits = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(hitters[i].id, NULL);
        ns += (double)hitters[i].wall_ns / (double)hitters[i].hits / threads;
        cpu_ns += (double)hitters[i].cpu_ns / (double)hitters[i].hits / threads;
        hits += (double)hitters[i].hits;
    }
    struct result result = result_begin(options->json, "memory");
    result_number(&result, "threads", threads);
    result_number(&result, "hit_ns", ns);
    result_number(&result, "cpu_ns", cpu_ns);
    result_number(&result, "hits", hits);
    result_number(&result, "allocations", (double)made);
    result_end(&result);
    memory_destroy(memory);
    free(keys);
    return 0;
}
