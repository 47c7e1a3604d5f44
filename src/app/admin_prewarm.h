/*
 * POST /admin/cache/prewarm: what is asked for; and how jobs are told. Pure, but for the JSON library.
 *
 * The body is one JSON object: "bucket", and either "keys" (an array) or "prefix" (which may be "": all);
 * "host" (of a generic HTTP origin), "concurrency" and "rate" are optional. Whatever else is in it, or is of
 * another type, is an error that names the member.
 */
#pragma once

#include "proxy/prewarm.h"

struct admin_prewarm {
    struct prewarm_order order;
    char message[160];
    uint8_t bucket[256], prefix[PREWARM_KEY_MAX], host[PREWARM_HOST_MAX];
};

/* The keys are moved into the body's bytes, which the order then names. NULL, or what is wrong. */
const char *admin_prewarm_parse(struct admin_prewarm *asked, uint8_t *body, size_t len);
/* What prewarm_start() said; the status. */
unsigned admin_prewarm_write_refusal(struct writer *w, int result);
void admin_prewarm_write_job(struct writer *w, const struct prewarm_job *job);
/* The newest first. */
void admin_prewarm_write_jobs(struct writer *w, struct prewarm *prewarm);
