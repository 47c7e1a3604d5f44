/*
 * Choosing the driver, and struct io. `auto` takes uring when it is built in and its probe, which really does
 * operations, succeeds; else portable. Nothing here or in portable.c makes an io_uring call.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/core.h"

static int probe_uring(char *reason, size_t reason_bytes)
{
#ifdef HAVE_URING
    return io_driver_uring.probe(reason, reason_bytes);
#else
    snprintf(reason, reason_bytes, "io_uring is not built in");
    return E_UNSUPPORTED;
#endif
}

static const struct io_driver *uring_driver(void)
{
#ifdef HAVE_URING
    return &io_driver_uring;
#else
    return NULL;
#endif
}

static const struct io_driver *fake_driver(void)
{
#ifdef HAVE_FAKE
    return &io_driver_fake;
#else
    return NULL;
#endif
}

/* NULL: not to be had, and the reason says why. */
static const struct io_driver *choose(enum io_choice choice, struct io_report *report)
{
    const struct io_driver *driver = &io_driver_portable;
    char found[sizeof report->reason] = "";
    switch (choice) {
    case IO_AUTO:
    case IO_URING:
        if (probe_uring(found, sizeof found) == 0)
            driver = uring_driver();
        else if (choice == IO_URING)
            driver = NULL;
        snprintf(report->reason, sizeof report->reason, "%s", found);
        break;
    case IO_PORTABLE:
        snprintf(report->reason, sizeof report->reason, "asked for");
        break;
    case IO_FAKE:
        driver = fake_driver();
        snprintf(
            report->reason, sizeof report->reason, driver == NULL ? "the fake is not built in" : "asked for");
        break;
    default:
        UNREACHABLE();
    }
    report->chosen = driver == NULL ? choice : driver->choice;
    return driver;
}

static void fill_defaults(struct io_config *config)
{
    if (config->socket_capacity == 0)
        config->socket_capacity = 4096;
    if (config->buffer_count == 0)
        config->buffer_count = 256;
    if (config->buffer_bytes == 0)
        config->buffer_bytes = 16384;
    if (config->work_threads == 0)
        config->work_threads = 4;
    if (config->device_threads == 0)
        config->device_threads = 32;
}

static int start(struct io *io)
{
    io->driver_data = calloc(1, io->driver->io_bytes + 1);
    if (io->driver_data == NULL)
        return -ENOMEM;
    int error = pool_create(io, 0, io->config.work_threads);
    if (error == 0 && io->driver->init != NULL)
        error = io->driver->init(io);
    return error;
}

static void release(struct io *io)
{
    for (unsigned i = 0; i < IO_POOLS_MAX; i++)
        pool_destroy(io, i);
    pthread_mutex_destroy(&io->lock);
    free(io->table.slots);
    free(io->driver_data);
    free(io);
}

int io_create(struct io **created, const struct io_config *config, struct io_report *report)
{
    struct io_report unseen;
    report = report == NULL ? &unseen : report;
    *report = (struct io_report){0};
    *created = NULL;
    const struct io_driver *driver = choose(config->choice, report);
    if (driver == NULL)
        return E_UNSUPPORTED;
    struct io *io = calloc(1, sizeof *io);
    if (io == NULL)
        return -ENOMEM;
    io->driver = driver;
    io->config = *config;
    io->report = *report;
    fill_defaults(&io->config);
    CHECK(pthread_mutex_init(&io->lock, NULL) == 0);
    int error = start(io);
    if (error < 0) {
        release(io);
        return error;
    }
    *created = io;
    return 0;
}

int io_destroy(struct io *io)
{
    unsigned open = io->table.files + io->table.listeners;
    if (io->abandoned)
        return (int)open; /* stalled threads use it until the process ends */
    CHECK(io->loops == NULL);
    slots_shut(io);
    if (io->driver->deinit != NULL)
        io->driver->deinit(io);
    release(io);
    return (int)open;
}

const char *io_driver_name(const struct io *io)
{
    return io->driver->name;
}
