/* Any text as a configuration: settings and no error, or errors and no settings. */
#include "app/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_errors errors;
    struct settings *settings;
    config_errors_init(&errors);
    int result = config_load((const char *)data, size, "fuzz", &settings, &errors);
    CHECK((result == 0) == (errors.count == 0));
    CHECK((result == 0) == (settings != NULL));
    if (settings)
        CHECK(settings->bucket_count > 0 && settings->server.threads > 0 && settings->server.port > 0);
    config_free(settings);
    config_errors_deinit(&errors);
    return 0;
}
