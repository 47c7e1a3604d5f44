/*
 * The admin listener's server: decides by admin_rules.h, has pages made by its owner, purges, prewarms,
 * answers in JSON or Prometheus text. On one loop, that of the control thread, which has joined the cache.
 *
 * What takes time (a purge is durable when it is answered) lives in the exchange's memory until its answer is
 * sent, also when its client is gone.
 */
#pragma once

#include "app/admin_rules.h"
#include "app/event_stats.h"
#include "app/sns.h"
#include "http/server.h"
#include "proxy/prewarm.h"

struct admin;

struct admin_parts {
    struct io *io;
    struct io_loop *loop;
    struct io_handle listener;
    struct admin_rules rules;
    /* Writes the page (the cache's: of the bucket, or of all where that is empty), returns its status. Called
     * again with a larger buffer where the writer failed. */
    unsigned (*page)(void *context, enum admin_page page, struct bytes bucket, struct writer *w);
    void *context;
    struct proxy *proxy;
    struct event_stats *event_stats; /* outlives it */
    struct prewarm *prewarm;         /* on the same loop */
    struct log *log;
    struct sns_parts sns; /* its loop and log are filled in; without topics nothing of SNS is taken */
    const char *sns_intermediates; /* a file in PEM, or NULL */
};

/* Reads the system's certificates where there are SNS topics. */
MUST_CHECK int admin_create(struct admin **admin, const struct admin_parts *parts);
/* Ends all connections, then done, from the loop. Once. */
void admin_stop(struct admin *admin, void (*done)(void *context), void *context);
/* After done. */
void admin_destroy(struct admin *admin);
