/*
 * What each loop has for itself: pooled gets and buffers, so that a get allocates nothing once it is warm,
 * and the count of its ops, which tells when it may leave.
 */
#include "cache/worker.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "cache/reader.h"
#include "cache/tier.h"

#define SHEET_BYTES (2u << 20)

static const uint32_t class_bytes[3] = {8192, 32768, 131072};

static unsigned class_of(uint32_t len)
{
    unsigned class = 0;
    while (class < 3 && len > class_bytes[class])
        class ++;
    return class;
}

static void buffer_put_back(struct disk_worker *worker, unsigned class, uint8_t *buffer)
{
    struct list_node *node = (struct list_node *)(void *)buffer;
    *node = (struct list_node){0};
    list_push_front(&worker->free_buffers[class], node);
}

static void sheet_make(struct disk_worker *worker, unsigned class)
{
    uint8_t *sheet = aligned_alloc(SHEET_BYTES, SHEET_BYTES);
    if (sheet == NULL)
        return;
    (void)madvise(sheet, SHEET_BYTES, MADV_HUGEPAGE); /* only helps */
    worker->sheets[class] = sheet;
    atomic_fetch_add(&worker->disk->sheet_bytes, SHEET_BYTES);
    for (uint32_t at = 0; at + class_bytes[class] <= SHEET_BYTES; at += class_bytes[class])
        buffer_put_back(worker, class, sheet + at);
}

uint32_t worker_buffer_bytes(uint32_t len)
{
    unsigned class = class_of(len);
    return class < 3 ? class_bytes[class] : segment_blocks_up(len);
}

uint64_t worker_bytes_max(void)
{
    return 3 * (uint64_t)SHEET_BYTES + READER_FREE_GETS_MAX * sizeof(struct disk_get) +
           sizeof(struct disk_worker);
}

uint8_t *worker_buffer_take(struct disk_worker *worker, uint32_t len)
{
    unsigned class = class_of(len);
    if (class == 3)
        return aligned_alloc(SEGMENT_BLOCK, segment_blocks_up(len));
    if (worker->sheets[class] == NULL)
        sheet_make(worker, class);
    struct list_node *node = list_pop_front(&worker->free_buffers[class]);
    return node != NULL ? (uint8_t *)node : aligned_alloc(SEGMENT_BLOCK, class_bytes[class]);
}

void worker_buffer_give(struct disk_worker *worker, uint8_t **buffer, uint32_t len)
{
    uint8_t *given = *buffer;
    *buffer = NULL;
    if (given == NULL)
        return;
    unsigned class = class_of(len);
    if (class == 3 || (uintptr_t)given - (uintptr_t)worker->sheets[class] >= SHEET_BYTES)
        free(given);
    else
        buffer_put_back(worker, class, given);
}

void worker_op_end(struct disk_worker *worker)
{
    CHECK(worker->ops > 0);
    worker->ops--;
    if (worker->ops > 0 || !worker->leaving || worker->joins > 0)
        return;
    void (*left)(void *) = worker->left;
    void *context = worker->left_context;
    worker_destroy(worker);
    left(context);
}

struct disk_worker *worker_create(struct disk *disk, struct io_loop *loop)
{
    struct disk_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->disk = disk;
    worker->loop = loop;
    worker->joins = 1;
    list_init(&worker->ready);
    list_init(&worker->held);
    list_init(&worker->early_leaves);
    list_init(&worker->free_gets);
    for (unsigned i = 0; i < 3; i++)
        list_init(&worker->free_buffers[i]);
    worker->message.deliver = reader_deliver;
    io_op_init(&worker->timer, append_timer);
    return worker;
}

void worker_destroy(struct disk_worker *worker)
{
    CHECK(worker->ops == 0 && list_empty(&worker->ready));
    struct disk *disk = worker->disk;
    pthread_mutex_lock(&disk->workers_lock);
    for (unsigned i = 0; i < DISK_WORKERS_MAX; i++)
        if (atomic_load(&disk->workers[i]) == worker) {
            atomic_store(&disk->loops[i], NULL);
            atomic_store(&disk->workers[i], NULL);
        }
    pthread_mutex_unlock(&disk->workers_lock);
    for (unsigned i = 0; i < 3; i++) {
        if (worker->sheets[i] != NULL)
            atomic_fetch_sub(&disk->sheet_bytes, SHEET_BYTES);
        free(worker->sheets[i]);
    }
    reader_free_gets(worker);
    free(worker);
}
