/*
 * The regular files below a folder, one path at a time. Blocking: for io_work().
 *
 * What is held is bounded by the depth, whatever the number of files: the folders on the way down are open,
 * nothing is read ahead, kept or sorted. So paths come in no order, and what changes meanwhile may be missed
 * or told. No symlink is followed below the root (as io_open_beneath); what is neither file nor folder, is
 * not to be opened, or has too long a path is passed over. Rejected: fts(3), which reads a folder whole.
 *
 * struct io_folder | io_folder_open | its caller | io_folder_close | one thread at a time
 */
#pragma once

#include <stddef.h>

#include "base/check.h"

#define IO_FOLDER_PATH_MAX 1024
#define IO_FOLDER_DEPTH_MAX 64 /* deeper: -ENAMETOOLONG */

struct io_folder;

/* Of the paths below root that begin with `prefix`, which need not end at a folder's border. -errno where the
 * root can't be opened; where nothing can begin so, there is simply no path. */
MUST_CHECK int io_folder_open(struct io_folder **folder, const char *root, const char *prefix);
/* The next path into `path`, NUL-terminated: its length. 0: that was the last. E_EXHAUSTED: `budget` entries
 * were looked at (counted down) and none was one, go on by calling again. -errno: a folder can't be read. */
MUST_CHECK int io_folder_next(struct io_folder *folder, char path[IO_FOLDER_PATH_MAX + 1], unsigned *budget);
/* Nulls the pointer. */
void io_folder_close(struct io_folder **folder);
