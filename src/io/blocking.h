/*
 * Blocking file work outside any loop: at boot (configuration, directories), on the log's writer thread, in
 * an operator's command.
 * All return 0 or more, below 0 -errno or one of base/error.h.
 */
#pragma once

#include <stddef.h>

#include "base/check.h"

/* The whole file as text with a NUL behind it, malloc'd for the caller. E_TOO_LARGE above max_bytes. len may
 * be NULL. */
MUST_CHECK int io_read_file(const char *path, size_t max_bytes, char **text, size_t *len);
/* Mode 0700; one that exists is fine (-ENOTDIR if it is none). Parents must exist. */
MUST_CHECK int io_make_directory(const char *path);

/* Where log lines go: a file (appended to, created with mode 0640), "stdout" or "stderr". One thread at a
 * time. */
struct io_sink;
MUST_CHECK int io_sink_open(struct io_sink **sink, const char *path);
/* Returns when all is written. After an error the rest is lost. */
int io_sink_write(struct io_sink *sink, const void *ptr, size_t len);
/* For rotation: opens the path anew; where that fails, the old file stays. No effect on stdout and stderr. */
int io_sink_reopen(struct io_sink *sink);
/* Nulls the pointer. */
void io_sink_close(struct io_sink **sink);

/* How wide the terminal is that standard output goes to; 0: it goes to none. */
unsigned io_terminal_columns(void);
