/*
 * The configuration: YAML text to settings, or to all that is wrong with it.
 *
 *   config_yaml.c       text to a tree of nodes with lines
 *   config_variables.c  ${NAME} in values
 *   config_table.c      every key there is
 *   config_values.c     one value by its row of the table
 *   config_read.c       the tree against the table
 *   config_check.c      what several keys say together
 *   config.c            values to `struct settings`
 */
#pragma once

#include "app/config_errors.h"
#include "app/config_read.h"
#include "proxy/settings.h"

/* 0 and the settings, or E_SYNTAX and at least one error. file_name is what errors call the file. Reads the
 * environment. */
MUST_CHECK int config_load(const char *text, size_t len, const char *file_name, struct settings **settings,
    struct config_errors *errors);
/* After the last user. NULL is fine. */
void config_free(struct settings *settings);

/* What the log should say at start: keys without effect, a cache that is off. The settings' own. */
const struct config_note *config_notes(const struct settings *settings);
