/* Items whose write has not completed, by hash; in small chains, since their number is bounded by the write
 * buffer. */
#include <stdlib.h>

#include "cache/tier.h"

struct writing *writing_create(struct item *item, enum item_kind kind, struct bytes key)
{
    size_t own = item == NULL ? key.len : 0;
    struct writing *entry = calloc(1, sizeof *entry + own);
    if (entry == NULL)
        return NULL;
    entry->kind = kind;
    entry->key = key;
    if (item != NULL) {
        entry->item = item_ref(item);
        entry->key = item_key(item).bytes;
        entry->value_len = item_value_len(item);
        entry->sequence = item_sequence(item);
    } else {
        memcpy(entry + 1, key.ptr, key.len);
        entry->key = bytes_of(entry + 1, key.len);
    }
    entry->item_len = segment_item_len(entry->key.len, entry->value_len);
    return entry;
}

void writing_destroy(struct writing *entry)
{
    CHECK(!list_linked(&entry->chain) && !list_linked(&entry->node));
    if (entry->item != NULL)
        item_unref(&entry->item);
    free(entry);
}

static struct list_node *chain_of(struct device *device, uint64_t hash)
{
    return &device->chains[hash % WRITING_CHAINS];
}

void writing_add(struct device *device, struct writing *entry)
{
    list_push_front(chain_of(device, entry->hash), &entry->chain);
    atomic_fetch_add(&device->writing_count, 1);
    atomic_fetch_add(&device->disk->waiting_bytes, entry->item_len);
}

void writing_remove(struct device *device, struct writing *entry)
{
    list_remove(&entry->chain);
    atomic_fetch_sub(&device->writing_count, 1);
    atomic_fetch_sub(&device->disk->waiting_bytes, entry->item_len);
}

void writing_hide(struct device *device, uint64_t hash)
{
    struct list_node *chain = chain_of(device, hash);
    for (struct list_node *node = chain->next; node != chain; node = node->next) {
        struct writing *entry = CONTAINER_OF(node, struct writing, chain);
        if (entry->hash == hash)
            entry->hidden = true;
    }
}

/* Whether the entry is of that key, or hides it. */
static bool is_of(const struct writing *entry, struct item_key key)
{
    if (entry->kind != ITEM_REMOVE)
        return entry->kind == key.kind && bytes_equal(entry->key, key.bytes);
    return entry->key.ptr[0] == key.kind && bytes_equal(bytes_from(entry->key, 1), key.bytes);
}

bool writing_find(struct device *device, uint64_t hash, struct item_key key, struct item **item)
{
    *item = NULL;
    if (atomic_load(&device->writing_count) == 0)
        return false;
    bool found = false;
    pthread_mutex_lock(&device->lock);
    struct list_node *chain = chain_of(device, hash);
    for (struct list_node *node = chain->next; node != chain && !found; node = node->next) {
        struct writing *entry = CONTAINER_OF(node, struct writing, chain);
        if (entry->hash != hash || !is_of(entry, key))
            continue;
        found = true;
        *item = entry->item != NULL && !entry->hidden ? item_ref(entry->item) : NULL;
    }
    pthread_mutex_unlock(&device->lock);
    return found;
}

bool writing_is_newest(struct device *device, const struct writing *entry)
{
    if (entry->hidden)
        return false;
    struct index_entry at;
    struct list_node *node = chain_of(device, entry->hash)->next;
    while (CONTAINER_OF(node, struct writing, chain)->hash != entry->hash)
        node = node->next;
    return node == &entry->chain && !index_find(device->index, entry->hash, &at);
}
