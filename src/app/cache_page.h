/*
 * GET /admin/cache/stats, /stats/{bucket} and /info?key=bucket:key: what the cache holds and does, in JSON.
 * Pure.
 */
#pragma once

#include "app/metrics.h"
#include "cache/purges.h"
#include "proxy/look.h"

/* `bucket` empty: all. The status: 200, or 404 where no bucket has the name. */
unsigned cache_stats_write(struct writer *w, const struct metrics_source *source,
    const struct purges_stats *purges, struct bytes bucket);

/* Takes ?key=bucket:key[&host=host][&query=query] apart, into the buffer (at least query.len bytes). NULL, or
 * what is wrong with it. */
const char *cache_info_parse(struct bytes query, uint8_t *buf, struct proxy_look *look);
/* `result` is proxy_look()'s; once it is done 0, or E_EXHAUSTED where it is not known what is stored. */
unsigned cache_info_write(struct writer *w, const struct proxy_look *look, int result);
