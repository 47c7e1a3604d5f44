/*
 * What is wrong with a configuration: all of it, in the order it was found, each as "file:line: key: what was
 * expected". Values are never quoted here by themselves: whoever adds an error knows whether the key is a
 * secret.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

/* Beyond these only the count goes on. */
#define CONFIG_ERRORS_MAX 100

struct config_errors {
    unsigned count;
    char *text[CONFIG_ERRORS_MAX]; /* [0, min(count, CONFIG_ERRORS_MAX)); NULL where memory was short */
};

void config_errors_init(struct config_errors *errors);
void config_errors_deinit(struct config_errors *errors);
/* line 0: of the file as a whole. key may be NULL. */
void config_error(struct config_errors *errors, const char *file_name, unsigned line, const char *key,
    const char *format, ...) PRINTF_LIKE(5, 6);
/* The nth line, or NULL past the last; n counts from 0. */
const char *config_errors_line(const struct config_errors *errors, unsigned n);
