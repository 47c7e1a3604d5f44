/*
 * What an origin of our own (a folder, the fake) answers for an object that it has: whole, part, not
 * modified, another version, or no such part. Pure; RFC 9110 13.2.2 (If-Match before If-None-Match before
 * Range) and 14.2.
 */
#pragma once

#include "origin/origin.h"

/* Fills in head's status, content_length, first, last and total for an object of total bytes and this entity
 * tag. 0; E_CHANGED: if_match names another; -ERANGE: nothing of the range exists; E_PROTOCOL beyond
 * ORIGIN_LENGTH_MAX. */
MUST_CHECK int answer_decide(
    const struct origin_request *request, struct bytes etag, uint64_t total, struct origin_head *head);
/* Whether a list of entity tags, or "*", names this one. Weak tags never match strongly (RFC 9110 8.8.3.2).
 */
bool answer_tags_match(struct bytes list, struct bytes etag, bool strongly);
/* "bytes 0-9/100" */
void answer_write_content_range(const struct origin_head *head, struct writer *w);
/* "Sun, 06 Nov 1994 08:49:37 GMT", 29 bytes (RFC 9110 5.6.7). */
void answer_write_date(int64_t seconds, struct writer *w);
