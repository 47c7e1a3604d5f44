/*
 * Empties a log ring into a sink, on a thread of its own. Only this thread ever waits for the reader of the
 * log: while it does, the ring fills and drops.
 *
 * struct log_writer | born by log_writer_start | owned by boot | dies by log_writer_stop | its thread takes
 * from the log
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/log.h"

struct log_writer;

/* output: "stdout", "stderr" or a path. json: what is said of dropped lines is a JSON line. The log stays the
 * caller's. */
MUST_CHECK int log_writer_start(struct log_writer **writer, struct log *log, const char *output, bool json);
/* Writes what is there, for at most timeout_ns, and ends the thread. False: the reader does not read; the
 * thread goes on waiting and the log must stay until the process ends. Nulls the pointer. NULL is fine. */
bool log_writer_stop(struct log_writer **writer, uint64_t timeout_ns);
uint64_t log_writer_errors(const struct log_writer *writer);
