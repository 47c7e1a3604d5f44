#include "app/config_errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_errors_init(struct config_errors *errors)
{
    *errors = (struct config_errors){0};
}

void config_errors_deinit(struct config_errors *errors)
{
    for (unsigned i = 0; i < CONFIG_ERRORS_MAX; i++)
        free(errors->text[i]);
    *errors = (struct config_errors){0};
}

void config_error(struct config_errors *errors, const char *file_name, unsigned line, const char *key,
    const char *format, ...)
{
    unsigned n = errors->count++;
    if (n >= CONFIG_ERRORS_MAX)
        return;
    char text[1024];
    int at = line ? snprintf(text, sizeof text, "%s:%u: ", file_name, line)
                  : snprintf(text, sizeof text, "%s: ", file_name);
    if (key != NULL && at >= 0 && (size_t)at < sizeof text)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s: ", key);
    if (at >= 0 && (size_t)at < sizeof text) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(text + at, sizeof text - (size_t)at, format, arguments);
        va_end(arguments);
    }
    errors->text[n] = strdup(text);
}

const char *config_errors_line(const struct config_errors *errors, unsigned n)
{
    return n < errors->count && n < CONFIG_ERRORS_MAX ? errors->text[n] : NULL;
}
