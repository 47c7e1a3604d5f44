/*
 * What any engine with a thread pool must spend: one loop, `threads` threads, a queue with a lock, a
 * condition to wake them, an eventfd to wake the loop. No engine: random aligned reads of the device file,
 * nothing looked at. The loop hands over what it has after each round of completions, with one wake-up for
 * each read (threads that wait can't share one), and is itself woken once for all that has come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/random.h"
#include "bench/yata/command.h"
#include "bench/yata/store.h"

#define BLOCK 4096u
#define POOL_THREADS 64u

struct read {
    struct list_node node;
    void *buffer;
    uint64_t offset, start_ns;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list_node queue, done;
    unsigned waiting;
    bool quit;
    int fd, wake_fd;
    uint64_t bytes, places;
};

static struct read *read_of(struct list_node *node)
{
    return CONTAINER_OF(node, struct read, node);
}

static void read_whole(const struct pool *pool, const struct read *read)
{
    if (pread(pool->fd, read->buffer, pool->bytes, (off_t)read->offset) != (ssize_t)pool->bytes)
        store_die("a read failed: %s", strerror(errno));
}

static void *thread(void *argument)
{
    struct pool *pool = argument;
    const uint64_t one = 1;
    pthread_mutex_lock(&pool->lock);
    while (!pool->quit) {
        struct list_node *node = list_pop_front(&pool->queue);
        if (node == NULL) {
            pool->waiting++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->waiting--;
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        read_whole(pool, read_of(node));
        pthread_mutex_lock(&pool->lock);
        bool first = list_empty(&pool->done);
        list_push_back(&pool->done, node);
        if (first && write(pool->wake_fd, &one, sizeof one) != sizeof one)
            store_die("a wake-up failed");
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void hand_over(struct pool *pool, struct list_node *reads)
{
    unsigned count = 0;
    pthread_mutex_lock(&pool->lock);
    for (struct list_node *node; (node = list_pop_front(reads)) != NULL; count++)
        list_push_back(&pool->queue, node);
    unsigned signals = count < pool->waiting ? count : pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    while (signals-- > 0)
        pthread_cond_signal(&pool->work);
}

static void collect(struct pool *pool, struct list_node *reads)
{
    uint64_t count;
    if (read(pool->wake_fd, &count, sizeof count) != sizeof count)
        store_die("waiting failed");
    pthread_mutex_lock(&pool->lock);
    for (struct list_node *node; (node = list_pop_front(&pool->done)) != NULL;)
        list_push_back(reads, node);
    pthread_mutex_unlock(&pool->lock);
}

static void start(struct pool *pool, struct read *read, struct random *random, struct list_node *to)
{
    read->offset = random_below(random, pool->places) * BLOCK;
    read->start_ns = clock_monotonic_ns();
    list_push_back(to, &read->node);
}

static void run(struct pool *pool, unsigned depth, double seconds, struct figures *figures)
{
    struct list_node back, out;
    struct random random;
    uint64_t span_ns = (uint64_t)(seconds * 1e9), warm_ns = clock_monotonic_ns() + span_ns / 5;
    struct read *reads = calloc(depth, sizeof *reads);
    unsigned in_flight = depth;
    bool warm = false;
    list_init(&back);
    list_init(&out);
    random_init(&random, clock_wall_ns());
    for (unsigned i = 0; i < depth; i++) {
        reads[i].buffer = aligned_alloc(BLOCK, (pool->bytes + BLOCK - 1) / BLOCK * BLOCK);
        start(pool, &reads[i], &random, &out);
    }
    hand_over(pool, &out);
    figures_start(figures);
    while (in_flight > 0) {
        collect(pool, &back);
        uint64_t now_ns = clock_monotonic_ns();
        bool over = warm && now_ns - figures->start_ns >= span_ns;
        for (struct list_node *node; (node = list_pop_front(&back)) != NULL;) {
            if (!over)
                figures_add(figures, clock_monotonic_ns() - read_of(node)->start_ns, pool->bytes);
            if (over)
                in_flight--;
            else
                start(pool, read_of(node), &random, &out);
        }
        hand_over(pool, &out);
        if (over && figures->wall_ns == 0)
            figures_stop(figures);
        if (!warm && now_ns >= warm_ns) {
            figures_start(figures);
            warm = true;
        }
    }
    for (unsigned i = 0; i < depth; i++)
        free(reads[i].buffer);
    free(reads);
}

int command_pool(const struct options *options)
{
    struct pool pool = {.bytes = options->item_bytes};
    struct stat status;
    unsigned threads = options->threads > 0 ? options->threads : POOL_THREADS;
    threads = threads < options->depth ? threads : options->depth;
    pool.fd = open(options->file, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (pool.fd < 0 || fstat(pool.fd, &status) < 0)
        store_die("%s: %s", options->file, strerror(errno));
    off_t end = lseek(pool.fd, 0, SEEK_END); /* also of a block device */
    if (pool.bytes % BLOCK != 0 || end < (off_t)pool.bytes)
        store_die("--bytes must be whole blocks of 4096 and fit the file");
    pool.places = ((uint64_t)end - pool.bytes) / BLOCK;
    pool.wake_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    list_init(&pool.queue);
    list_init(&pool.done);
    pthread_t *ids = calloc(threads, sizeof *ids);
    struct figures *figures = calloc(1, sizeof *figures);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, thread, &pool) != 0)
            store_die("no thread");
    run(&pool, options->depth, options->seconds_tenths / 10.0, figures);
    pthread_mutex_lock(&pool.lock);
    pool.quit = true;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    struct result result = result_begin(options->json, "pool");
    result_number(&result, "depth", options->depth);
    result_number(&result, "threads", threads);
    result_figures(&result, figures);
    result_end(&result);
    free(figures);
    free(ids);
    close(pool.wake_fd);
    close(pool.fd);
    return 0;
}
