/*
 * Many threads on one cache: each takes its keys from memory or disk, or makes and puts what is missing.
 *
 *   threads CACHE_FILE
 *
 * The calls may be made by any thread. Small values that are in memory are copied out on the spot; only for
 * the others a thread waits for one of the library's loops.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <yata.h>

enum { THREADS = 8, KEYS = 200, ROUNDS = 2000, VALUE_BYTES = 4096 };

struct actor {
    pthread_t thread;
    struct yata *yata;
    unsigned seed, made, wrong;
};

static void make(unsigned key, unsigned char *value)
{
    for (unsigned i = 0; i < VALUE_BYTES; i++)
        value[i] = (unsigned char)(key * 31 + i);
}

static void *act(void *argument)
{
    struct actor *actor = argument;
    unsigned char value[VALUE_BYTES], expected[VALUE_BYTES];
    for (unsigned i = 0; i < ROUNDS; i++) {
        actor->seed = actor->seed * 1103515245u + 12345u;
        unsigned key = actor->seed / 65536 % KEYS;
        make(key, expected);
        if (yata_get_copy_wait(actor->yata, &key, sizeof key, 0, value, sizeof value, NULL) == VALUE_BYTES) {
            actor->wrong += memcmp(value, expected, sizeof value) != 0;
        } else {
            actor->made++;
            (void)yata_put_wait(actor->yata, &key, sizeof key, expected, sizeof expected);
        }
    }
    return NULL;
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: threads CACHE_FILE\n");
        return 2;
    }
    struct yata_device device = {.path = argv[1], .size_bytes = 64 << 20};
    struct yata_config config = {.struct_bytes = sizeof config,
        .devices = &device,
        .device_count = 1,
        .memory_bytes = 8 << 20,
        .threads = 2};
    struct yata *yata;
    int result = yata_open(&yata, &config);
    if (result < 0) {
        fprintf(stderr, "threads: %s: %s\n", argv[1], yata_strerror(result));
        return 1;
    }
    static struct actor actors[THREADS];
    unsigned made = 0, wrong = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.yata = yata, .seed = i + 1};
        if (pthread_create(&actors[i].thread, NULL, act, &actors[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(actors[i].thread, NULL);
        made += actors[i].made;
        wrong += actors[i].wrong;
    }
    struct yata_stats stats = {.struct_bytes = sizeof stats};
    (void)yata_stats(yata, &stats);
    printf("%s: %d gets, %u values made, %u wrong, %llu found in memory\n", yata_driver_name(yata),
        THREADS * ROUNDS, made, wrong, (unsigned long long)stats.memory_hits);
    result = yata_close(yata, 60000);
    return result < 0 || wrong > 0 || made >= THREADS * ROUNDS / 2;
}
