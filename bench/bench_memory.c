/*
 * Memory hits: ns per find + unref of 4,096 items of 4 KiB, by 1 and by 2 threads (elapsed, and CPU, which a
 * busy machine disturbs less), and the cost of a turnover (take, insert, evict) beside it. Medians of rounds;
 * one line each.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "cache/memory.h"

#define ITEMS 4096u
#define ITEM_BYTES 4096u
#define KEY_BYTES 32u
#define ROUNDS 7
#define HITS 2000000u

struct key_text {
    char text[KEY_BYTES];
};

static struct item_key key_of(struct key_text *key, uint64_t number)
{
    snprintf(key->text, sizeof(key->text), "bucket/object-%016lx", number);
    return (struct item_key){ITEM_HEAD, bytes_of(key->text, KEY_BYTES - 1)};
}

static void put(struct memory *memory, uint64_t number)
{
    static const unsigned char value[ITEM_BYTES];
    struct key_text key;
    struct item *item;
    struct item_shape shape = {.value_len = ITEM_BYTES, .held_len = ITEM_BYTES};
    CHECK(memory_take(memory, key_of(&key, number), shape, &item) == 0);
    item_append(item, bytes_of(value, sizeof(value)));
    item_complete(item);
    memory_insert(memory, item, number + 1);
    item_unref(&item);
}

struct run {
    struct memory *memory;
    struct key_text *keys;
    uint64_t seed;
    double ns, cpu_ns;
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void *hit(void *context)
{
    struct run *run = context;
    struct random random;
    random_init(&random, run->seed);
    uint64_t start_ns = clock_monotonic_ns(), cpu_ns = thread_cpu_ns();
    for (unsigned i = 0; i < HITS; i++) {
        struct key_text *key = &run->keys[random_next(&random) % ITEMS];
        struct item *item =
            memory_find(run->memory, (struct item_key){ITEM_HEAD, bytes_of(key->text, KEY_BYTES - 1)});
        CHECK(item != NULL);
        item_unref(&item);
    }
    run->ns = (double)(clock_monotonic_ns() - start_ns) / HITS;
    run->cpu_ns = (double)(thread_cpu_ns() - cpu_ns) / HITS;
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void round_of(struct memory *memory, struct key_text *keys, unsigned threads, unsigned round,
    double *ns, double *cpu_ns)
{
    pthread_t ids[2];
    struct run runs[2];
    *ns = *cpu_ns = 0;
    for (unsigned i = 0; i < threads; i++) {
        runs[i] = (struct run){.memory = memory, .keys = keys, .seed = round * 2 + i};
        CHECK(pthread_create(&ids[i], NULL, hit, &runs[i]) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        *ns += runs[i].ns / threads;
        *cpu_ns += runs[i].cpu_ns / threads;
    }
}

static void report(const char *what, unsigned threads, double *ns)
{
    qsort(ns, ROUNDS, sizeof(*ns), compare);
    printf("%-28s %u thread%s %7.1f ns (%.1f to %.1f), %6.2f M/s\n", what, threads, threads > 1 ? "s" : " ",
        ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1], threads * 1e3 / ns[ROUNDS / 2]);
}

int main(void)
{
    struct memory *memory;
    CHECK(memory_create(&memory, &(struct memory_config){.budget_bytes = 64u << 20}) == 0);
    struct key_text *keys = calloc(ITEMS, sizeof(*keys));
    CHECK(keys != NULL);
    for (unsigned i = 0; i < ITEMS; i++) {
        key_of(&keys[i], i);
        put(memory, i);
    }
    double ns[ROUNDS], cpu_ns[ROUNDS];
    for (unsigned threads = 1; threads <= 2; threads++) {
        for (unsigned round = 0; round < ROUNDS; round++)
            round_of(memory, keys, threads, round, &ns[round], &cpu_ns[round]);
        report("hit, 4,096 x 4 KiB", threads, ns);
        report("  its CPU", threads, cpu_ns);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = clock_monotonic_ns();
        for (unsigned i = 0; i < 100000; i++)
            put(memory, ITEMS + round * 100000ul + i);
        ns[round] = (double)(clock_monotonic_ns() - start_ns) / 100000;
    }
    report("take, fill, insert, evict", 1, ns);
    free(keys);
    memory_destroy(memory);
    return 0;
}
