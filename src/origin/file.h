/* The pure parts of the directory origin: names and types. The rest of file.c is reached through backend.h.
 */
#pragma once

#include "base/bytes.h"

/* Whether a key names a path below the folder: no empty, "." or ".." part, no NUL, parts of at most 255
 * bytes. */
bool file_key_valid(struct bytes key);
/* By the extension, case folded; application/octet-stream otherwise. */
struct bytes file_content_type(struct bytes key);
/* "\"inode-size-mtime\"" in hexadecimal; at most FILE_ETAG_MAX bytes. */
#define FILE_ETAG_MAX 64
void file_write_etag(uint64_t inode, uint64_t size_bytes, uint64_t mtime_ns, struct writer *w);
