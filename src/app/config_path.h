/* Where in a configuration a walk stands: "buckets[1].s3.retry", for errors. Bounded; what is too long is
 * cut. */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct config_path {
    size_t len;
    char text[512];
};

/* Both return the mark for config_path_pop. */
static inline size_t config_path_push_key(struct config_path *path, const char *key)
{
    size_t mark = path->len;
    (void)snprintf(path->text + mark, sizeof path->text - mark, "%s%s", mark ? "." : "", key);
    path->len = mark + strlen(path->text + mark);
    return mark;
}

static inline size_t config_path_push_index(struct config_path *path, unsigned index)
{
    size_t mark = path->len;
    (void)snprintf(path->text + mark, sizeof path->text - mark, "[%u]", index);
    path->len = mark + strlen(path->text + mark);
    return mark;
}

static inline void config_path_pop(struct config_path *path, size_t mark)
{
    path->len = mark;
    path->text[mark] = 0;
}
