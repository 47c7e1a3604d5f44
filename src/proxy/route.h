/*
 * Which bucket a path belongs to: the longest path_prefix that ends at a segment boundary.
 *
 * Compared on the path decoded once. What follows the prefix and one `/` is the key, byte for byte: prefix
 * `/b` and path `/b//lead` give `/lead`; `/b` and `/b/` give the empty key (404 at the caller's). A prefix's
 * trailing `/`s mean nothing; `/` alone matches every path. `/prod` does not match `/production/x`.
 *
 * The table is sorted with `/` before all other bytes, so that a prefix stands directly before everything
 * below it, and each entry knows its parent: one binary search and a walk up find the longest match, however
 * many segments a path has. Rejected: a probe per segment, which a path of 8,000 slashes makes slow.
 *
 * Lifetime: made at configuration time, immutable after, any thread reads it; keeps copies of the prefixes.
 */
#pragma once

#include "base/bytes.h"

struct route_table;

/* Prefixes start with `/`; results of route_find are their indexes. Of two equal ones (a configuration error
 * that was to be refused before, see route_prefix) the first wins. NULL: out of memory. */
struct route_table *route_table_create(const struct bytes *prefixes, size_t count);
void route_table_destroy(struct route_table *table);

/* Index of the bucket and its key (in decoded_path), or -1. */
int route_find(const struct route_table *table, struct bytes decoded_path, struct bytes *key);

/* The prefix as it is compared: without trailing `/`s. Two buckets with the same are a configuration error.
 */
struct bytes route_prefix(struct bytes prefix);
