/*
 * The tags of a representation, by which it can be purged: from the fields Surrogate-Key (words between
 * spaces, as Fastly has it) and Cache-Tag (between commas, as Cloudflare has it), and from one that the
 * bucket names, for origins that can't send those (S3 sends what was given as x-amz-meta-...). All three may
 * use both separators. Stored with one space between two tags; compared byte for byte. Pure.
 */
#pragma once

#include "base/arena.h"

#define TAGS_MAX UINT16_MAX

/* From stored field lines; `field` may be empty. In the arena; ptr NULL on exhaustion, or past TAGS_MAX. */
struct bytes tags_of_lines(struct bytes lines, struct bytes field, struct arena *arena);
bool tags_have(struct bytes tags, struct bytes tag);
/* Whether it can be a tag: not empty, no separator in it. */
bool tags_valid(struct bytes tag);
