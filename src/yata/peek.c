/* What the memory tier has, at once, on the calling thread. */
#include <errno.h>

#include "base/error.h"
#include "yata/value.h"
#include "yata/view.h"

/* The head in memory and what it says; NULL: not there. */
static struct item *find_head(struct yata *yata, struct bytes key, struct layout *layout)
{
    struct item *head = cache_find(yata->cache, layout_head_key(key));
    if (head != NULL && value_layout(layout, head) < 0)
        item_unref(&head);
    return head;
}

/* The next stretch of [at, end): a reference to the item that has it, NULL if it is not in memory. */
static struct stretch next_stretch(
    struct yata *yata, const struct layout *layout, struct item *head, uint64_t at, uint64_t end)
{
    if (layout->chunk_bytes == 0)
        return (struct stretch){item_ref(head), LAYOUT_INLINE_AT + (uint32_t)at, (uint32_t)(end - at)};
    uint8_t key[LAYOUT_CHUNK_KEY];
    uint64_t number = at / layout->chunk_bytes;
    uint32_t from = (uint32_t)(at % layout->chunk_bytes), left = layout_chunk_len(layout, number) - from;
    struct item *item = cache_find(yata->cache, layout_chunk_key(layout->body_id, number, key));
    if (item != NULL && item_held_len(item) != layout_chunk_len(layout, number))
        item_unref(&item);
    return (struct stretch){item, from, end - at < left ? (uint32_t)(end - at) : left};
}

static int peek(struct yata *yata, const struct layout *layout, struct item *head, uint64_t from,
    uint64_t len, struct yata_view **view)
{
    uint64_t end = value_clip(layout->value_len, &from, len), at = from;
    struct stretch stretches[VIEW_ITEMS_MAX];
    unsigned count = 0;
    int result = 0;
    if (end - from > YATA_VIEW_MAX)
        end = from + YATA_VIEW_MAX;
    while (at < end && count < VIEW_ITEMS_MAX) {
        struct stretch stretch = next_stretch(yata, layout, head, at, end);
        if (stretch.item == NULL) {
            result = E_MISSING;
            break;
        }
        store_hit(yata, stretch.item);
        at += stretch.len;
        stretches[count++] = stretch;
    }
    struct view_range range = {from, at - from, layout->value_len};
    if (result == 0)
        result = view_create(view, yata, &range, stretches, count);
    for (unsigned i = 0; result < 0 && i < count; i++)
        item_unref(&stretches[i].item);
    return result;
}

int yata_peek(
    struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len, struct yata_view **view)
{
    int result = view == NULL ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    *view = NULL;
    struct layout layout;
    struct item *head = find_head(yata, bytes_of(key, key_len), &layout);
    if (head == NULL)
        return E_MISSING;
    result = peek(yata, &layout, head, from, len, view);
    if (result == 0)
        store_hit(yata, head);
    item_unref(&head);
    return result;
}

static int64_t peek_copy(
    struct yata *yata, const struct layout *layout, struct item *head, uint64_t from, uint8_t *to, size_t len)
{
    uint64_t end = value_clip(layout->value_len, &from, len), at = from;
    while (at < end) {
        struct stretch stretch = next_stretch(yata, layout, head, at, end);
        if (stretch.item == NULL)
            return E_MISSING;
        store_hit(yata, stretch.item);
        item_copy(stretch.item, stretch.from, stretch.len, to + (at - from));
        item_unref(&stretch.item);
        at += stretch.len;
    }
    return (int64_t)(end - from);
}

int64_t yata_peek_copy(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to,
    size_t len, uint64_t *value_len)
{
    int result = to == NULL && len > 0 ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    struct layout layout;
    struct item *head = find_head(yata, bytes_of(key, key_len), &layout);
    if (head == NULL)
        return E_MISSING;
    if (value_len != NULL)
        *value_len = layout.value_len;
    int64_t copied = peek_copy(yata, &layout, head, from, to, len);
    if (copied >= 0)
        store_hit(yata, head);
    item_unref(&head);
    return copied;
}
