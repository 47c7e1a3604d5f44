#include "yata/view.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

struct yata_view {
    struct yata *yata;
    struct view_range range;
    uint64_t private_bytes; /* 0: the items' own memory */
    unsigned item_count, part_count;
    struct item *items[VIEW_ITEMS_MAX];
    struct iovec parts[]; /* a private copy follows its only one */
};

static struct yata_view *create(
    struct yata *yata, const struct view_range *range, unsigned parts, size_t more)
{
    struct yata_view *view = malloc(sizeof *view + parts * sizeof(struct iovec) + more);
    if (view == NULL)
        return NULL;
    *view = (struct yata_view){.yata = store_ref(yata), .range = *range, .part_count = parts};
    return view;
}

static bool private_take(struct yata *yata, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add(&yata->private_bytes, bytes);
    if (before + bytes <= yata->memory_bytes / 4)
        return true;
    atomic_fetch_sub(&yata->private_bytes, bytes);
    return false;
}

static int create_copy(struct yata_view **created, struct yata *yata, const struct view_range *range,
    const struct stretch *stretches, unsigned count)
{
    if (!private_take(yata, range->len))
        return E_EXHAUSTED;
    struct yata_view *view = create(yata, range, 1, range->len);
    if (view == NULL) {
        atomic_fetch_sub(&yata->private_bytes, range->len);
        return -ENOMEM;
    }
    view->private_bytes = range->len;
    view->parts[0] = (struct iovec){view->parts + 1, range->len};
    uint8_t *to = view->parts[0].iov_base;
    for (unsigned i = 0; i < count; i++) {
        struct item *item = stretches[i].item;
        item_copy(item, stretches[i].from, stretches[i].len, to);
        to += stretches[i].len;
        item_unref(&item);
    }
    *created = view;
    return 0;
}

/* The parts of all stretches; how many. */
static unsigned parts_of(const struct stretch *stretches, unsigned count, struct iovec *parts)
{
    unsigned filled = 0;
    for (unsigned i = 0; i < count; i++) {
        int more = item_vector(
            stretches[i].item, stretches[i].from, stretches[i].len, parts + filled, ITEM_VECTOR_MAX);
        CHECK(more >= 0); /* no item is larger than 1 MiB */
        filled += (unsigned)more;
    }
    return filled;
}

int view_create(struct yata_view **created, struct yata *yata, const struct view_range *range,
    const struct stretch *stretches, unsigned count)
{
    CHECK(count <= VIEW_ITEMS_MAX && range->len <= YATA_VIEW_MAX);
    struct iovec parts[VIEW_ITEMS_MAX * ITEM_VECTOR_MAX];
    if (range->len > 0 && memory_pins_full(yata->memory))
        return create_copy(created, yata, range, stretches, count);
    unsigned part_count = parts_of(stretches, count, parts);
    struct yata_view *view = create(yata, range, part_count, 0);
    if (view == NULL)
        return -ENOMEM;
    memcpy(view->parts, parts, part_count * sizeof *parts);
    for (unsigned i = 0; i < count; i++)
        view->items[i] = stretches[i].item;
    view->item_count = count;
    *created = view;
    return 0;
}

uint64_t yata_view_from(const struct yata_view *view)
{
    return view->range.from;
}

uint64_t yata_view_len(const struct yata_view *view)
{
    return view->range.len;
}

uint64_t yata_view_value_len(const struct yata_view *view)
{
    return view->range.value_len;
}

const struct iovec *yata_view_parts(const struct yata_view *view, unsigned *count)
{
    if (count != NULL)
        *count = view->part_count;
    return view->parts;
}

size_t yata_view_copy(const struct yata_view *view, uint64_t from, void *to, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < view->part_count && done < len; i++) {
        const struct iovec *part = &view->parts[i];
        if (from >= part->iov_len) {
            from -= part->iov_len;
            continue;
        }
        size_t step = part->iov_len - from < len - done ? part->iov_len - from : len - done;
        memcpy((uint8_t *)to + done, (const uint8_t *)part->iov_base + from, step);
        done += step;
        from = 0;
    }
    return done;
}

void yata_view_release(struct yata_view **held)
{
    if (held == NULL || *held == NULL)
        return;
    struct yata_view *view = *held;
    *held = NULL;
    for (unsigned i = 0; i < view->item_count; i++)
        item_unref(&view->items[i]);
    atomic_fetch_sub(&view->yata->private_bytes, view->private_bytes);
    store_unref(view->yata);
    free(view);
}
