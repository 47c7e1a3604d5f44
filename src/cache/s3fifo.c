#include "cache/s3fifo.h"

#include "base/check.h"

static_assert(sizeof(struct s3fifo_ghost) == 12, "the budget counts 12 bytes and a bucket of 4 per ghost");

static uint32_t ghost_bucket_count(uint32_t ghost_count)
{
    uint32_t count = 1;
    while (count < ghost_count / 2)
        count *= 2;
    return count;
}

uint64_t s3fifo_ghost_memory(uint32_t ghost_count)
{
    return (uint64_t)ghost_count * sizeof(struct s3fifo_ghost) +
           (uint64_t)ghost_bucket_count(ghost_count) * sizeof(uint32_t);
}

void s3fifo_init(struct s3fifo *fifo, uint64_t capacity_bytes, void *memory, uint32_t ghost_count)
{
    CHECK(ghost_count > 0 && ((uintptr_t)memory & 3) == 0);
    *fifo = (struct s3fifo){
        .promote_uses = S3FIFO_PROMOTE_USES,
        .ghosts = memory,
        .ghost_buckets = (uint32_t *)((struct s3fifo_ghost *)memory + ghost_count),
        .ghost_capacity = ghost_count,
        .ghost_bucket_mask = ghost_bucket_count(ghost_count) - 1,
    };
    list_init(&fifo->small.nodes);
    list_init(&fifo->main.nodes);
    s3fifo_set_capacity(fifo, capacity_bytes);
}

void s3fifo_set_capacity(struct s3fifo *fifo, uint64_t capacity_bytes)
{
    fifo->capacity_bytes = capacity_bytes;
}

static uint64_t main_capacity(const struct s3fifo *fifo)
{
    return fifo->capacity_bytes - fifo->capacity_bytes / 10;
}

/* Ghosts: chains hold 1 + index, 0 ends them. The tag is the hash's upper half: of 250,000 ghosts one in
 * 17,000 strangers is taken for remembered, which costs it a lap in main. */

static uint32_t ghost_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static uint32_t *ghost_bucket(struct s3fifo *fifo, uint32_t tag)
{
    return &fifo->ghost_buckets[tag & fifo->ghost_bucket_mask];
}

/* The link in the chain that leads to the ghost of `hash`; leads to 0 where there is none. */
static uint32_t *ghost_link(struct s3fifo *fifo, uint64_t hash)
{
    uint32_t *link = ghost_bucket(fifo, ghost_tag(hash));
    while (*link && fifo->ghosts[*link - 1].tag != ghost_tag(hash))
        link = &fifo->ghosts[*link - 1].next;
    return link;
}

static void ghost_unlink(struct s3fifo *fifo, uint32_t *link)
{
    struct s3fifo_ghost *ghost = &fifo->ghosts[*link - 1];
    CHECK(fifo->ghost_bytes >= ghost->bytes);
    fifo->ghost_bytes -= ghost->bytes;
    ghost->bytes = 0;
    *link = ghost->next;
}

bool s3fifo_recall(struct s3fifo *fifo, uint64_t hash)
{
    uint32_t *link = ghost_link(fifo, hash);
    if (!*link)
        return false;
    ghost_unlink(fifo, link);
    return true;
}

static void ghost_forget_oldest(struct s3fifo *fifo)
{
    CHECK(fifo->ghost_count > 0);
    uint32_t oldest = fifo->ghost_first;
    fifo->ghost_first = (oldest + 1) % fifo->ghost_capacity;
    fifo->ghost_count--;
    if (fifo->ghosts[oldest].bytes == 0)
        return;
    uint32_t *link = ghost_bucket(fifo, fifo->ghosts[oldest].tag);
    while (*link != oldest + 1) {
        CHECK(*link != 0);
        link = &fifo->ghosts[*link - 1].next;
    }
    ghost_unlink(fifo, link);
}

static void ghost_remember(struct s3fifo *fifo, const struct s3fifo_node *node)
{
    while (fifo->ghost_count > 0 && (fifo->ghost_count == fifo->ghost_capacity ||
                                        fifo->ghost_bytes + node->bytes > main_capacity(fifo)))
        ghost_forget_oldest(fifo);
    uint32_t at = (uint32_t)(((uint64_t)fifo->ghost_first + fifo->ghost_count) % fifo->ghost_capacity);
    uint32_t *bucket = ghost_bucket(fifo, ghost_tag(node->hash));
    fifo->ghosts[at] =
        (struct s3fifo_ghost){.tag = ghost_tag(node->hash), .bytes = node->bytes, .next = *bucket};
    *bucket = at + 1;
    fifo->ghost_count++;
    fifo->ghost_bytes += node->bytes;
}

/* Queues. */

static struct s3fifo_queue *queue_of(struct s3fifo *fifo, const struct s3fifo_node *node)
{
    CHECK(node->queue != S3FIFO_NONE);
    return node->queue == S3FIFO_SMALL ? &fifo->small : &fifo->main;
}

static void push(struct s3fifo *fifo, struct s3fifo_node *node, enum s3fifo_queue_name name)
{
    node->queue = (uint8_t)name;
    struct s3fifo_queue *queue = queue_of(fifo, node);
    list_push_back(&queue->nodes, &node->link);
    queue->bytes += node->bytes;
    queue->count++;
}

void s3fifo_remove(struct s3fifo *fifo, struct s3fifo_node *node)
{
    struct s3fifo_queue *queue = queue_of(fifo, node);
    CHECK(queue->bytes >= node->bytes && queue->count > 0);
    list_remove(&node->link);
    queue->bytes -= node->bytes;
    queue->count--;
    node->queue = S3FIFO_NONE;
}

void s3fifo_insert(struct s3fifo *fifo, struct s3fifo_node *node, bool proven)
{
    CHECK(node->queue == S3FIFO_NONE && node->bytes > 0);
    atomic_store_explicit(&node->uses, 0, memory_order_relaxed);
    push(fifo, node, proven ? S3FIFO_MAIN : S3FIFO_SMALL);
}

void s3fifo_drop(struct s3fifo *fifo, struct s3fifo_node *node)
{
    s3fifo_remove(fifo, node);
    ghost_remember(fifo, node);
}

static void move(struct s3fifo *fifo, struct s3fifo_node *node, enum s3fifo_queue_name to)
{
    s3fifo_remove(fifo, node);
    push(fifo, node, to);
}

static struct s3fifo_node *oldest(struct s3fifo_queue *queue)
{
    return CONTAINER_OF(queue->nodes.next, struct s3fifo_node, link);
}

/* Small's oldest goes, or moves to main if it was used. */
static struct s3fifo_node *step_small(struct s3fifo *fifo)
{
    struct s3fifo_node *node = oldest(&fifo->small);
    if (atomic_load_explicit(&node->uses, memory_order_relaxed) < fifo->promote_uses) {
        s3fifo_drop(fifo, node);
        return node;
    }
    atomic_store_explicit(&node->uses, 0, memory_order_relaxed);
    move(fifo, node, S3FIFO_MAIN);
    return NULL;
}

/* Main's oldest goes, or pays a use for one more lap. */
static struct s3fifo_node *step_main(struct s3fifo *fifo)
{
    struct s3fifo_node *node = oldest(&fifo->main);
    uint8_t uses = atomic_load_explicit(&node->uses, memory_order_relaxed);
    if (uses == 0) {
        s3fifo_remove(fifo, node);
        return node;
    }
    atomic_store_explicit(&node->uses, (uint8_t)(uses - 1), memory_order_relaxed);
    move(fifo, node, S3FIFO_MAIN);
    return NULL;
}

struct s3fifo_node *s3fifo_evict(struct s3fifo *fifo, bool (*busy)(struct s3fifo_node *node))
{
    /* A queue through which as many busy nodes were passed over as it holds has nothing to give. */
    uint64_t small_busy = 0, main_busy = 0;
    for (;;) {
        bool small_left = small_busy < fifo->small.count, main_left = main_busy < fifo->main.count;
        if (!small_left && !main_left)
            return NULL;
        bool from_small = small_left && (!main_left || fifo->main.bytes <= main_capacity(fifo));
        struct s3fifo_node *node = oldest(from_small ? &fifo->small : &fifo->main);
        if (busy && busy(node)) {
            *(from_small ? &small_busy : &main_busy) += 1;
            move(fifo, node, from_small ? S3FIFO_SMALL : S3FIFO_MAIN);
            continue;
        }
        struct s3fifo_node *victim = from_small ? step_small(fifo) : step_main(fifo);
        if (victim)
            return victim;
    }
}
