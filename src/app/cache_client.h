/*
 * One request after the other to a server's admin listener, over libcurl: JSON there and back. Blocking; one
 * thread.
 */
#pragma once

#include <jansson.h>

#include "base/check.h"

struct cache_client;

/* "host:port" or "[v6]:port"; the token may be NULL. NULL: out of memory. */
struct cache_client *cache_client_create(const char *address, const char *token);
/* The body may be NULL. Returns the status with *answer (NULL where it is no JSON; the caller's), or 0: there
 * was no answer, and cache_client_why() says why. */
MUST_CHECK unsigned cache_client_ask(
    struct cache_client *client, const char *method, const char *path, const json_t *body, json_t **answer);
const char *cache_client_why(const struct cache_client *client);
void cache_client_destroy(struct cache_client *client);
