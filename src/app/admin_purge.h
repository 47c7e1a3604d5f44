/*
 * POST /admin/cache/purge, /purge/{bucket}, /purge/{bucket}/{key}: what is asked for, and the answer. Pure,
 * but for the JSON library.
 *
 * The body is empty or one JSON object. "prefix" (of decoded keys) and "tag" narrow the first two; "soft":
 * true makes stale instead of removing; "host" and "query" say of which representation of the third it is
 * told what was stored. Anything else in it is an error, since a word that was misspelt would
 * purge more than was meant.
 */
#pragma once

#include "proxy/purge.h"

#define ADMIN_PURGE_TEXT_MAX 1024

struct admin_purge {
    struct proxy_purge purge;
    uint8_t path[3 * ADMIN_PURGE_TEXT_MAX + 256];
    uint8_t prefix[ADMIN_PURGE_TEXT_MAX], tag[ADMIN_PURGE_TEXT_MAX], host[ADMIN_PURGE_TEXT_MAX],
        query[ADMIN_PURGE_TEXT_MAX];
};

/* `below` is what follows /admin/cache/purge in the decoded path: empty, /bucket or /bucket/key. Fills
 * purge's first part. NULL, or what is wrong with it (static). */
const char *admin_purge_parse(struct admin_purge *purge, struct bytes below, struct bytes body);
/* The status; the body goes to the writer. `result` is proxy_purge()'s, or what came of it. */
unsigned admin_purge_write(struct writer *w, const struct admin_purge *purge, int result);
