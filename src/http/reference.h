/*
 * References that a message makes to another target of the same server (RFC 3986 5.2): the path and query
 * they name. Pure.
 */
#pragma once

#include "base/bytes.h"

/* Absolute, or naming another server: not for reference_resolve(). */
bool reference_leaves(struct bytes reference);
/* Writes path and query, without the fragment, of a reference that does not leave, made at base_path (which
 * begins with `/` and has no query). An empty reference names base_path. w fails where it is too small;
 * base_path.len + reference.len + 1 bytes are enough. */
void reference_resolve(struct bytes base_path, struct bytes reference, struct writer *w);
