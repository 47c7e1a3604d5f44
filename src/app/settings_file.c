#include "app/settings_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/config_errors.h"
#include "base/error.h"
#include "io/blocking.h"

struct settings *settings_load(const char *file)
{
    struct config_errors errors;
    struct settings *settings = NULL;
    char *text;
    size_t len;
    int result = io_read_file(file, CONFIG_TEXT_MAX, &text, &len);
    if (result < 0) {
        (void)fprintf(stderr, "%s: can't be read: %s\n", file, error_text(result));
        return NULL;
    }
    config_errors_init(&errors);
    (void)!config_load(text, len, file, &settings, &errors);
    for (unsigned i = 0; config_errors_line(&errors, i); i++)
        (void)fprintf(stderr, "%s\n", config_errors_line(&errors, i));
    if (errors.count > CONFIG_ERRORS_MAX)
        (void)fprintf(stderr, "%s: and %u errors more\n", file, errors.count - CONFIG_ERRORS_MAX);
    config_errors_deinit(&errors);
    free(text);
    return settings;
}
