#include "yata/value.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

int value_layout(struct layout *layout, const struct item *head)
{
    if (item_value_from(head) != 0 || item_held_len(head) != item_value_len(head))
        return E_MISSING;
    uint8_t front[LAYOUT_CHUNKED_LEN];
    uint32_t len = item_held_len(head) < sizeof front ? item_held_len(head) : (uint32_t)sizeof front;
    item_copy(head, 0, len, front);
    return layout_decode(layout, bytes_of(front, len), item_held_len(head)) < 0 ? E_MISSING : 0;
}

uint64_t value_clip(uint64_t value_len, uint64_t *from, uint64_t len)
{
    if (*from > value_len)
        *from = value_len;
    return len < value_len - *from ? *from + len : value_len;
}

int value_create(struct yata_value **created, struct yata *yata, struct loop *loop, struct item *head)
{
    struct layout layout;
    int result = value_layout(&layout, head);
    struct yata_value *value = result == 0 ? malloc(sizeof *value) : NULL;
    if (value == NULL) {
        item_unref(&head);
        return result < 0 ? result : -ENOMEM;
    }
    *value = (struct yata_value){
        .references = 1, .yata = store_ref(yata), .loop = loop, .head = head, .layout = layout};
    *created = value;
    return 0;
}

struct yata_value *value_ref(struct yata_value *value)
{
    atomic_fetch_add_explicit(&value->references, 1, memory_order_relaxed);
    return value;
}

void value_unref(struct yata_value *value)
{
    if (atomic_fetch_sub_explicit(&value->references, 1, memory_order_acq_rel) > 1)
        return;
    item_unref(&value->head);
    store_unref(value->yata);
    free(value);
}

uint64_t yata_value_len(const struct yata_value *value)
{
    return value->layout.value_len;
}

void yata_value_close(struct yata_value **value)
{
    if (value == NULL || *value == NULL)
        return;
    value_unref(*value);
    *value = NULL;
}
