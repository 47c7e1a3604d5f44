#include "proxy/route.h"

#include <stdlib.h>

struct entry {
    struct bytes prefix; /* in the table's text; normal form: "" or "/a/b" */
    int bucket;
    int parent; /* the longest other prefix above it, or -1 */
};

struct route_table {
    size_t count;
    uint8_t *text;
    struct entry entries[];
};

struct bytes route_prefix(struct bytes prefix)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    return prefix;
}

static unsigned rank(uint8_t c)
{
    return c == '/' ? 0 : 1u + c;
}

/* Order with `/` before every other byte; the shorter first. */
static int compare(struct bytes a, struct bytes b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++)
        if (a.ptr[i] != b.ptr[i])
            return rank(a.ptr[i]) < rank(b.ptr[i]) ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

/* Is `path` the prefix itself or below it? */
static bool covers(struct bytes prefix, struct bytes path)
{
    return bytes_start_with(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = compare(left->prefix, right->prefix);
    return order ? order : left->bucket - right->bucket;
}

/* Equal prefixes keep the entry of the lowest bucket. */
static void remove_duplicates(struct route_table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->count; i++)
        if (i == 0 || !bytes_equal(table->entries[i].prefix, table->entries[kept - 1].prefix))
            table->entries[kept++] = table->entries[i];
    table->count = kept;
}

/* In this order whatever covers an entry stands before it, and the nearest is on the chain of its
 * predecessor. */
static int nearest(const struct route_table *table, int from, struct bytes path)
{
    while (from >= 0 && !covers(table->entries[from].prefix, path))
        from = table->entries[from].parent;
    return from;
}

static struct bytes keep(uint8_t **text, struct bytes prefix)
{
    struct bytes kept = bytes_of(*text, prefix.len);
    if (prefix.len > 0)
        memcpy(*text, prefix.ptr, prefix.len);
    *text += prefix.len;
    return kept;
}

struct route_table *route_table_create(const struct bytes *prefixes, size_t count)
{
    size_t text_bytes = 1; /* never an empty allocation */
    CHECK(count <= INT32_MAX);
    for (size_t i = 0; i < count; i++)
        text_bytes += prefixes[i].len;
    struct route_table *table = malloc(sizeof *table + count * sizeof *table->entries);
    uint8_t *text = malloc(text_bytes);
    if (!table || !text) {
        free(table);
        free(text);
        return NULL;
    }
    *table = (struct route_table){.count = count, .text = text};
    for (size_t i = 0; i < count; i++) {
        CHECK(prefixes[i].len > 0 && prefixes[i].ptr[0] == '/');
        table->entries[i] =
            (struct entry){.prefix = keep(&text, route_prefix(prefixes[i])), .bucket = (int)i};
    }
    qsort(table->entries, table->count, sizeof *table->entries, compare_entries);
    remove_duplicates(table);
    for (size_t i = 0; i < table->count; i++)
        table->entries[i].parent = nearest(table, (int)i - 1, table->entries[i].prefix);
    return table;
}

void route_table_destroy(struct route_table *table)
{
    if (!table)
        return;
    free(table->text);
    free(table);
}

/* The last entry that is not after `path`, or -1. */
static int predecessor(const struct route_table *table, struct bytes path)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(table->entries[middle].prefix, path) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (int)low - 1;
}

int route_find(const struct route_table *table, struct bytes decoded_path, struct bytes *key)
{
    CHECK(decoded_path.len > 0 && decoded_path.ptr[0] == '/');
    int at = nearest(table, predecessor(table, decoded_path), decoded_path);
    if (at < 0)
        return -1;
    struct bytes rest = bytes_from(decoded_path, table->entries[at].prefix.len);
    *key = bytes_from(rest, rest.len > 0 ? 1 : 0);
    return table->entries[at].bucket;
}
