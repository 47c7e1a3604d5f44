/*
 * A request that no client sent: GET, Host where a host is named, and no other field.
 *
 * struct request | bare_request to bare_free, or who it goes to (warm.h)
 */
#pragma once

#include "proxy/settings.h"

struct request;

/* For a decoded key of the bucket, in the spelling that most clients use. Of a generic HTTP origin the key is
 * a path whose leading slash may be left out; `query` is raw, ptr NULL: none. The host is borrowed. *fits
 * false: it is too long to be asked for, though it can be answered. NULL: out of memory. */
MUST_CHECK struct request *bare_request(const struct bucket_settings *settings, struct bytes key,
    struct bytes query, struct bytes host, bool *fits);
/* May be NULL. */
void bare_free(struct request *request);
