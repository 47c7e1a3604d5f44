/*
 * The keys that an origin has under a prefix, page by page: of S3 by ListObjectsV2, of a folder by walking
 * it. A page is fetched when it is asked for, so memory is bounded by one page, whatever the number of keys.
 *
 * Keys come in the origin's order; of a folder that is none. What changes meanwhile may be missed or told.
 *
 * struct origin_list | origin_list_open | its caller | origin_list_close, while no page is awaited | its
 * client's loop
 */
#pragma once

#include "origin/origin.h"

struct origin_list;

/* The prefix is copied. page() comes from the loop, once for each origin_list_next(). -ENOMEM; E_UNSUPPORTED:
 * an origin of kind http has no list; E_TOO_LARGE: the prefix is longer than a key. */
MUST_CHECK int origin_list_open(struct origin_list **list, struct origin_client *client,
    struct origin *origin, struct bytes prefix, void (*page)(void *context), void *context);
/* Asks for the next page, once the last one is taken. */
void origin_list_next(struct origin_list *list);
/* page() comes soon, at the latest when what a folder's walk is at has come back; with E_CANCELED. */
void origin_list_cancel(struct origin_list *list);

/* Once page() has come: 0, or as origin_fetch's, E_PROTOCOL and E_TOO_LARGE for an answer that is none.
 * `code` is S3's, or "". */
int origin_list_error(const struct origin_list *list, const char **code);
/* The next key of the page, valid until origin_list_next(). False: there is none. */
bool origin_list_take(struct origin_list *list, struct bytes *key);
/* Whether there may be a page behind it. */
bool origin_list_has_more(const struct origin_list *list);

/* Nulls the pointer. */
void origin_list_close(struct origin_list **list);
