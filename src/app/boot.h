/*
 * The order of birth and death of all parts.
 *
 *   birth: logs and their writers, io driver, listeners, memory tier, disk tier (closed), cache, proxy,
 * workers (requests are served from here on), control thread (admin listener; opens the disk tier) death:
 * workers drain within server.shutdown_timeout, are hurried past it; control thread (writes what the disk
 * tier needs); proxy, cache, tiers, io driver; logs last
 *
 * Where a part does not end in time (a stalled disk, design section 3, rule 5) nothing that it may still use
 * is freed and the process ends.
 */
#pragma once

#include "app/config.h"

struct boot;

/* All or nothing: below 0 the reason was printed to standard error and to the log, and the process should
 * end. The settings and config_file stay the caller's and outlive the boot. */
MUST_CHECK int boot_start(
    struct boot **boot, const struct settings *settings, const char *version, const char *config_file);
struct log *boot_log(struct boot *boot);
/* Ends everything and frees it. Returns the status of the process: 0, or 1 where a part did not end. */
MUST_CHECK int boot_stop(struct boot *boot);
