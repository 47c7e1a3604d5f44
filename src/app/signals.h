/*
 * Signals are blocked in all threads and taken by sigwait: no handler runs anywhere.
 * SIGTERM, SIGINT: end; the second one at once. SIGHUP: logged and ignored until reload is built. SIGPIPE:
 * ignored.
 */
#pragma once

#include "base/log.h"

/* Before any thread is made. */
void signals_block(void);
/* Returns at SIGTERM or SIGINT, which it logs. */
void signals_wait(struct log *log);
/* From now on the next SIGTERM or SIGINT ends the process at once, by that signal. */
void signals_arm(void);
