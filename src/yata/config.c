#include "yata/config.h"

#include <errno.h>
#include <string.h>

#include "cache/disk.h"

#define MIB (UINT64_C(1) << 20)
#define MEMORY_DEFAULT (64 * MIB)
#define MEMORY_MIN (8 * MIB)
#define DEVICE_MIN (40 * MIB) /* 32 segments of 1 MiB, and what describes them */
#define BUFFER_MIN MIB        /* any item fits */
#define TIMEOUT_DEFAULT_MS 2000
#define DEVICE_THREADS_MAX 1024

static_assert(YATA_DEVICES_MAX == DISK_DEVICES_MAX, "as many as the tier has");

/* Older and newer programs have smaller and larger structures; what this library does not know must be unset.
 */
static int copy(struct yata_config *config, const struct yata_config *given)
{
    if (given == NULL || given->struct_bytes < sizeof given->struct_bytes)
        return -EINVAL;
    size_t known = given->struct_bytes < sizeof *config ? given->struct_bytes : sizeof *config;
    memset(config, 0, sizeof *config);
    memcpy(config, given, known);
    for (size_t i = known; i < given->struct_bytes; i++)
        if (((const unsigned char *)given)[i] != 0)
            return -E2BIG;
    return 0;
}

static bool devices_valid(const struct yata_config *config)
{
    if (config->device_count > YATA_DEVICES_MAX || (config->device_count > 0 && config->devices == NULL))
        return false;
    for (unsigned i = 0; i < config->device_count; i++) {
        const struct yata_device *device = &config->devices[i];
        if (device->path == NULL || device->path[0] == 0 || device->size_bytes < DEVICE_MIN)
            return false;
        if (device->reserved[0] != 0 || device->reserved[1] != 0)
            return false;
    }
    return true;
}

int config_complete(struct yata_config *config, const struct yata_config *given)
{
    int result = copy(config, given);
    if (result < 0)
        return result;
    if (config->memory_bytes == 0)
        config->memory_bytes = MEMORY_DEFAULT;
    if (config->threads == 0)
        config->threads = 1;
    if (config->timeout_ms == 0)
        config->timeout_ms = TIMEOUT_DEFAULT_MS;
    uint64_t buffer = config->write_buffer_bytes;
    bool valid = devices_valid(config) && (buffer == 0 || buffer >= BUFFER_MIN) &&
                 config->memory_bytes >= MEMORY_MIN && config->threads <= YATA_THREADS_MAX &&
                 (!config->driven || config->threads == 1) && config->device_threads <= DEVICE_THREADS_MAX &&
                 (unsigned)config->driver <= YATA_DRIVER_PORTABLE &&
                 (unsigned)config->admission <= YATA_ADMIT_SECOND;
    return valid ? 0 : -EINVAL;
}
