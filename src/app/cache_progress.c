#include "app/cache_progress.h"

#define BAR_MAX 30u

void cache_progress_write_bytes(struct writer *w, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    for (; bytes > UINT64_MAX / 10; unit++)
        bytes /= 1024;
    uint64_t tenths = bytes * 10;
    for (; tenths >= 10240; unit++)
        tenths /= 1024;
    if (unit == 0)
        write_format(w, "%llu B", (unsigned long long)bytes);
    else
        write_format(w, "%llu.%llu %s", (unsigned long long)(tenths / 10), (unsigned long long)(tenths % 10),
            units[unit]);
}

static void write_bar(struct writer *w, const struct cache_progress *progress, unsigned width)
{
    uint64_t full = progress->keys ? progress->done * width / progress->keys : width;
    write_u8(w, '[');
    for (unsigned i = 0; i < width; i++)
        write_u8(w, i < full ? '#' : '.');
    write_bytes(w, BYTES("] "));
}

static void write_numbers(struct writer *w, const struct cache_progress *progress)
{
    uint64_t done = progress->done, keys = progress->keys;
    write_format(w, "%llu/%llu", (unsigned long long)done, (unsigned long long)keys);
    if (progress->keys_complete)
        write_format(w, " %u%%", (unsigned)(keys ? done * 100 / keys : 100));
    else
        write_bytes(w, BYTES("+")); /* there are more */
    write_bytes(w, BYTES(", "));
    cache_progress_write_bytes(w, progress->fetched_bytes);
    if (progress->duration_ms > 0) {
        write_bytes(w, BYTES(", "));
        cache_progress_write_bytes(w, progress->fetched_bytes / progress->duration_ms * 1000);
        write_bytes(w, BYTES("/s"));
    }
    if (progress->failed > 0)
        write_format(w, ", %llu failed", (unsigned long long)progress->failed);
}

void cache_progress_write(struct writer *w, const struct cache_progress *progress, unsigned columns)
{
    char text[CACHE_PROGRESS_MAX];
    struct writer numbers = writer_of(text, sizeof text);
    write_numbers(&numbers, progress);
    size_t len = writer_bytes(&numbers).len, room = columns > len + 3 ? columns - len - 3 : 0;
    if (progress->keys_complete && room >= 8)
        write_bar(w, progress, room < BAR_MAX ? (unsigned)room : BAR_MAX);
    write_bytes(w, bytes_of(text, len < columns || columns < 40 ? len : columns));
}
