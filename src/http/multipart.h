/*
 * Framing of `multipart/byteranges` (RFC 9110 14.6, RFC 2046 5.1.1). The bodies of the parts lie elsewhere:
 * the sender writes part head 0, the bytes of range 0, part head 1, ... and the end; multipart_length is the
 * sum of all.
 *
 * The boundary must not occur in the bodies; 128 random bits see to that, and a client can't guess them.
 */
#pragma once

#include "base/bytes.h"
#include "http/range.h"

#define MULTIPART_BOUNDARY_LEN 32

struct multipart {
    const struct range_list *list;
    uint64_t length;           /* of the whole object */
    struct bytes content_type; /* of the object; empty: no such line in the parts */
    uint8_t boundary[MULTIPART_BOUNDARY_LEN];
};

/* Sets the boundary from 16 random bytes. */
void multipart_boundary(struct multipart *multipart, const uint8_t random[16]);

/* The value of Content-Type of the answer. */
void multipart_write_content_type(const struct multipart *multipart, struct writer *w);

/* Content-Length of the whole body. */
uint64_t multipart_length(const struct multipart *multipart);

/* What goes before the bytes of list->ranges[at]; at most multipart_head_max() bytes. */
void multipart_write_head(const struct multipart *multipart, unsigned at, struct writer *w);
size_t multipart_head_max(const struct multipart *multipart);

#define MULTIPART_END_LEN (2 + 2 + MULTIPART_BOUNDARY_LEN + 2 + 2)

/* What goes after the last part: MULTIPART_END_LEN bytes. */
void multipart_write_end(const struct multipart *multipart, struct writer *w);
