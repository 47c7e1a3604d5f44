/*
 * The items of a segment: by its table, else by a scan from its start. The scan reads windows and only
 * headers count; it ends at the first thing that is neither header nor padding, or of another generation.
 *
 * All of them or none: what lies where it can't be read may hide those before. So there are none where the
 * footer can't be read (a write may have failed, and a scan would end at that hole), nor where a scan ends
 * before what the footer promises.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cache/tier.h"

#define TAIL_BYTES 65536u

static_assert(ROWS_WINDOW_BYTES >= SEGMENT_HEADER_MAX + SEGMENT_BLOCK, "a window holds any header");

static void read_at(
    struct rows *rows, uint32_t at, uint32_t offset, uint32_t len, void (*done)(struct steady_read *, int))
{
    steady_read_start(&rows->load.read, rows->device, rows->load.buffer + at, len,
        device_segment_place(rows->device, rows->segment) + offset, done);
}

static struct rows *rows_of(struct steady_read *read)
{
    return CONTAINER_OF(read, struct rows, load.read);
}

static void finish(struct rows *rows, int result)
{
    free(rows->load.buffer);
    rows->load.buffer = NULL;
    rows->result = result;
    if (result < 0)
        rows_free(rows);
    rows->done(rows);
}

static bool add(struct rows *rows, const struct segment_row *row)
{
    if (rows->count == rows->capacity) {
        uint32_t capacity = rows->capacity == 0 ? 256 : 2 * rows->capacity;
        struct segment_row *grown = realloc(rows->rows, (size_t)capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        rows->rows = grown;
        rows->capacity = capacity;
    }
    rows->rows[rows->count++] = *row;
    return true;
}

/* ---- the scan ---- */

static void window_done(struct steady_read *read, int result);

static void window_read(struct rows *rows)
{
    uint32_t from = rows->load.offset / SEGMENT_BLOCK * SEGMENT_BLOCK;
    uint32_t left = rows->device->segment_bytes - from;
    rows->load.window = from;
    rows->load.window_len = left < ROWS_WINDOW_BYTES ? left : ROWS_WINDOW_BYTES;
    read_at(rows, 0, from, rows->load.window_len, window_done);
}

static bool add_scanned(struct rows *rows, const struct segment_item *item, uint32_t offset)
{
    struct segment_row row = {.sequence = item->sequence,
        .offset = offset,
        .value_len = item->value_len,
        .key_len = (uint16_t)item->key.len,
        .kind = (uint8_t)item->kind};
    enum item_kind kind = item->kind;
    struct bytes key = item->key;
    if (kind == ITEM_REMOVE) {
        kind = (enum item_kind)key.ptr[0];
        key = bytes_from(key, 1);
    }
    row.hash = kind == ITEM_PURGE_OBJECT ? purges_object_hash(key) : device_hash(rows->device, kind, key);
    return add(rows, &row);
}

/* One step of the scan, within the window. */
static int scan_step(struct rows *rows, struct segment_item *item)
{
    const struct device *device = rows->device;
    uint64_t place = device_segment_place(device, rows->segment);
    uint32_t offset = rows->load.offset, in_window = offset - rows->load.window;
    uint8_t *at = rows->load.buffer + in_window;
    size_t len = rows->load.window_len - in_window;
    int result = segment_scan(item, bytes_of(at, len), offset, device->seed, place, &rows->load.offset);
    if (result >= 0 || (result == E_TRUNCATED && in_window >= SEGMENT_BLOCK) ||
        !segment_item_mend(at, len, device->seed, place + offset))
        return result;
    counter_add(&rows->device->stats.corrupt, 1);
    return segment_scan(item, bytes_of(at, len), offset, device->seed, place, &rows->load.offset);
}

/* Goes through the window; E_TRUNCATED at its end, E_CORRUPT at the end of the items. */
static int scan_window(struct rows *rows)
{
    struct device *device = rows->device;
    int result = 1;
    while (result >= 0 && rows->load.offset < device->segment_bytes) {
        uint32_t offset = rows->load.offset;
        if (offset >= rows->load.window + rows->load.window_len)
            return E_TRUNCATED;
        struct segment_item item;
        result = scan_step(rows, &item);
        if (result == 1 && (item.generation != rows->generation || rows->load.offset > device->segment_bytes))
            return E_CORRUPT;
        if (result == 1 && !add_scanned(rows, &item, offset))
            return -ENOMEM;
        if (result == 1)
            rows->data_end = rows->load.offset;
    }
    return result;
}

static void window_done(struct steady_read *read, int read_result)
{
    struct rows *rows = rows_of(read);
    struct device *device = rows->device;
    int result = read_result < 0 ? read_result : scan_window(rows);
    if (read_result < 0 || result == -ENOMEM) {
        finish(rows, result);
        return;
    }
    bool more = result == E_TRUNCATED &&
                rows->load.offset / SEGMENT_BLOCK * SEGMENT_BLOCK > rows->load.window &&
                rows->load.offset < device->segment_bytes;
    bool cut_short = !more && rows->load.footer.generation == rows->generation &&
                     segment_blocks_up(rows->data_end) < rows->load.footer.data_end;
    if (more)
        window_read(rows);
    else
        finish(rows, cut_short ? E_CORRUPT : 0);
}

static void scan(struct rows *rows)
{
    rows->scanned = true;
    rows->count = 0;
    free(rows->load.buffer);
    rows->load.buffer = aligned_alloc(SEGMENT_BLOCK, ROWS_WINDOW_BYTES);
    if (rows->load.buffer == NULL) {
        finish(rows, E_EXHAUSTED);
        return;
    }
    window_read(rows);
}

/* ---- the table ---- */

/* The buffer holds the last buffer_len bytes of the segment. */
static bool table_take(struct rows *rows)
{
    struct device *device = rows->device;
    const struct segment_footer *footer = &rows->load.footer;
    size_t rows_len = (size_t)footer->row_count * SEGMENT_ROW_BYTES;
    const uint8_t *at = rows->load.buffer + rows->load.buffer_len - SEGMENT_FOOTER_BYTES - rows_len;
    uint64_t place = device_segment_place(device, rows->segment);
    if (segment_rows_checksum(device->seed, place, bytes_of(at, rows_len)) != footer->rows_checksum)
        return false;
    for (uint32_t i = 0; i < footer->row_count; i++) {
        struct segment_row row = segment_row_decode(at + (size_t)i * SEGMENT_ROW_BYTES);
        if (!segment_row_valid(&row, footer->data_end) || !add(rows, &row))
            return false;
    }
    rows->data_end = footer->data_end;
    return true;
}

static void table_done(struct steady_read *read, int result)
{
    struct rows *rows = rows_of(read);
    rows->load.have += (uint32_t)read->iov.iov_len;
    uint32_t left = rows->load.buffer_len - rows->load.have;
    if (result == 0 && left > 0) {
        uint32_t n = left < DEVICE_OP_BYTES ? left : DEVICE_OP_BYTES;
        read_at(rows, rows->load.have, rows->device->segment_bytes - left, n, table_done);
    } else if (result == 0 && table_take(rows)) {
        finish(rows, 0);
    } else {
        scan(rows);
    }
}

static void table_read(struct rows *rows)
{
    uint32_t len = segment_table_len(rows->load.footer.row_count);
    free(rows->load.buffer);
    rows->load.buffer = aligned_alloc(SEGMENT_BLOCK, len);
    if (rows->load.buffer == NULL) {
        finish(rows, E_EXHAUSTED);
        return;
    }
    rows->load.buffer_len = len;
    rows->load.have = 0;
    read_at(rows, 0, rows->device->segment_bytes - len, len < DEVICE_OP_BYTES ? len : DEVICE_OP_BYTES,
        table_done);
}

static void tail_done(struct steady_read *read, int result)
{
    struct rows *rows = rows_of(read);
    struct device *device = rows->device;
    if (result < 0) {
        finish(rows, result);
        return;
    }
    struct bytes footer =
        bytes_of(rows->load.buffer + TAIL_BYTES - SEGMENT_FOOTER_BYTES, SEGMENT_FOOTER_BYTES);
    bool good = segment_footer_decode(&rows->load.footer, footer, device->seed,
                    device_segment_place(device, rows->segment), device->segment_bytes) == 0 &&
                rows->load.footer.generation == rows->generation;
    if (!good)
        scan(rows);
    else if (segment_table_len(rows->load.footer.row_count) > TAIL_BYTES)
        table_read(rows);
    else if (table_take(rows))
        finish(rows, 0);
    else
        scan(rows);
}

int rows_load(struct rows *rows)
{
    rows->rows = NULL;
    rows->count = rows->capacity = rows->data_end = 0;
    rows->scanned = false;
    memset(&rows->load, 0, sizeof rows->load);
    rows->load.buffer = aligned_alloc(SEGMENT_BLOCK, TAIL_BYTES);
    if (rows->load.buffer == NULL)
        return -ENOMEM;
    rows->load.buffer_len = TAIL_BYTES;
    read_at(rows, 0, rows->device->segment_bytes - TAIL_BYTES, TAIL_BYTES, tail_done);
    return 0;
}

void rows_free(struct rows *rows)
{
    free(rows->rows);
    rows->rows = NULL;
    rows->count = rows->capacity = 0;
}
