/* Puts, sustained and durable. Whatever the process writes is counted by the kernel too (/proc/self/io). */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/yata/command.h"
#include "bench/yata/store.h"

#define TURN_EVERY 32 /* puts of a batch; the loop must run now and then, or nothing is ever complete */

static uint64_t written_by_process(void)
{
    unsigned long bytes = 0;
    char line[200];
    FILE *file = fopen("/proc/self/io", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "write_bytes: %lu", &bytes) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return bytes;
}

/* Sequential puts until so many bytes of values and keys were handed over and written. */
int command_put(const struct options *options)
{
    struct store store;
    struct disk_stats before, after;
    store_open_new(&store, options);
    store_lay_out(&store);
    struct figures *figures = calloc(1, sizeof *figures);
    uint64_t item = options->item_bytes + STORE_KEY_BYTES, count = options->total_bytes / item + 1;
    uint64_t turn_every = options->item_bytes >= 65536 ? 1 : TURN_EVERY;
    disk_stats(store.disk, &before);
    uint64_t process_before = written_by_process();
    figures_start(figures);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start_ns = clock_monotonic_ns();
        store_put(&store, i);
        if (i % turn_every == 0)
            io_loop_turn(store.loop, 0);
        figures_add(figures, clock_monotonic_ns() - start_ns, options->item_bytes);
    }
    store_flush(&store); /* the last batch would wait for more items, up to 200 ms */
    figures_stop(figures);
    disk_stats(store.disk, &after);
    struct result result = result_begin(options->json, "put");
    result_text(&result, "io", io_driver_name(store.io));
    result_figures(&result, figures);
    result_number(&result, "turns_of_the_device", (double)(count * item) / (double)after.capacity_bytes);
    double carried = (double)(after.carried - before.carried) * (double)item,
           payload = (double)(count * item);
    result_number(
        &result, "amplification", (double)(after.written_bytes - before.written_bytes) / (payload + carried));
    result_number(&result, "amplification_by_kernel",
        (double)(written_by_process() - process_before) / (payload + carried));
    result_number(&result, "carried", (double)(after.carried - before.carried));
    result_end(&result);
    free(figures);
    store_close(&store);
    return 0;
}

/* One item, then a flush, then the next. */
int command_durable(const struct options *options)
{
    struct store store;
    store_open_new(&store, options);
    store_lay_out(&store);
    struct figures *figures = calloc(1, sizeof *figures);
    uint64_t span_ns = options->seconds_tenths * (NS_PER_S / 10), number = 0;
    figures_start(figures);
    while (clock_monotonic_ns() - figures->start_ns < span_ns) {
        uint64_t start_ns = clock_monotonic_ns();
        store_put(&store, number++);
        store_flush(&store);
        figures_add(figures, clock_monotonic_ns() - start_ns, options->item_bytes);
    }
    figures_stop(figures);
    struct result result = result_begin(options->json, "durable");
    result_text(&result, "io", io_driver_name(store.io));
    result_figures(&result, figures);
    result_end(&result);
    free(figures);
    store_close(&store);
    return 0;
}
