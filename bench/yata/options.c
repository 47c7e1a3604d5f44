#include "bench/yata/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

const char options_usage[] =
    "usage: yata-bench COMMAND [OPTION ...]\n"
    "\n"
    "Measures the disk cache engine on a device file of its own, through one of its two I/O drivers.\n"
    "\n"
    "Commands that need a filled device (make one with `fill`, keep --items and --bytes the same):\n"
    "  fill      writes all of a new device once (not with --plain), puts items 0 to N-1 and stops cleanly\n"
    "  get       random whole gets that the memory tier never answers, --depth at a time\n"
    "  object    gets of objects of 10 MiB in chunks of --bytes, one object at a time, --depth chunks at a "
    "time\n"
    "  pool      no engine: a loop, a thread pool and a wake-up, reading --bytes at random places of the "
    "file\n"
    "  index     memory per item, and how many of the items are found\n"
    "  open      how long opening takes, and what is answered meanwhile; --kill: first open and die\n"
    "Commands that make their own device:\n"
    "  put       puts of new items until --total bytes are written\n"
    "  durable   puts, each followed by a flush, one at a time\n"
    "  mix       nine gets to one put with eviction running, beside gets alone\n"
    "Commands without a device:\n"
    "  memory    hits of the memory tier, by --threads threads\n"
    "  trace     misses of the memory tier's policy on a trace, beside LRU, SIEVE, S3-FIFO and W-TinyLFU\n"
    "  disktrace misses of the disk tier on a trace under each admission rule, beside LRU (simulated "
    "device)\n"
    "\n"
    "  --io DRIVER      uring, portable or auto (default: auto)\n"
    "  --file PATH      the device: a file or block device (default: yata-bench.data)\n"
    "  --size MIB       of the device (default: 2048)\n"
    "  --memory MIB     of the memory tier (default: 128)\n"
    "  --items N        (default: as many as fill 80 % of the device)\n"
    "  --bytes N        of an item's value, or of a pool read (default: 4096)\n"
    "  --total MIB      that `put` writes (default: 1.5 times the device)\n"
    "  --depth N        operations at a time (default: 64)\n"
    "  --threads N      of `memory` and `pool` (default: 1; pool: 64)\n"
    "  --seconds S      of each measurement (default: 2)\n"
    "  --trace FILE     lines of `object bytes` or `number object bytes`; - for standard input\n"
    "  --share X        cache size as a share of the trace's unique bytes (default: 128, 256 ... 1024 MiB)\n"
    "  --json           one JSON object a line instead of text\n"
    "  --help, --version\n"
    "\n"
    "Figures: operations/s, latency at 50, 99 and 99.9 %, CPU of the whole process for each operation.\n";

static bool parse_number(const char *text, double *number)
{
    char *end;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && *number >= 0 && *number < 1e15;
}

static bool parse_io(const char *text, enum io_choice *choice)
{
    static const char *const names[] = {[IO_AUTO] = "auto", [IO_URING] = "uring", [IO_PORTABLE] = "portable"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *choice = (enum io_choice)i;
            return true;
        }
    return false;
}

static bool take_number(struct options *options, const char *name, double number)
{
    struct {
        const char *name;
        uint64_t *to;
        uint64_t unit;
    } wide[] = {{"--size", &options->size_bytes, MIB}, {"--memory", &options->memory_bytes, MIB},
        {"--total", &options->total_bytes, MIB}, {"--items", &options->items, 1},
        {"--bytes", &options->item_bytes, 1}};
    for (unsigned i = 0; i < sizeof wide / sizeof *wide; i++)
        if (strcmp(name, wide[i].name) == 0) {
            *wide[i].to = (uint64_t)(number * (double)wide[i].unit);
            return true;
        }
    struct {
        const char *name;
        unsigned *to;
        double unit;
    } narrow[] = {{"--depth", &options->depth, 1}, {"--threads", &options->threads, 1},
        {"--seconds", &options->seconds_tenths, 10}};
    for (unsigned i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (strcmp(name, narrow[i].name) == 0 && number < 1e6) {
            *narrow[i].to = (unsigned)(number * narrow[i].unit);
            return true;
        }
    if (strcmp(name, "--share") == 0)
        options->share = number;
    return strcmp(name, "--share") == 0;
}

static bool take(struct options *options, const char *name, const char *value)
{
    double number;
    if (strcmp(name, "--file") == 0)
        options->file = value;
    else if (strcmp(name, "--trace") == 0)
        options->trace = value;
    else if (strcmp(name, "--io") == 0)
        return parse_io(value, &options->io);
    else
        return parse_number(value, &number) && take_number(options, name, number);
    return true;
}

static int wrong(const char *what, const char *argument)
{
    fprintf(stderr, "yata-bench: %s: %s (--help tells more)\n", what, argument);
    return -1;
}

static void fill_in(struct options *options)
{
    if (options->items == 0) /* an item's header, key and row take about 130 bytes */
        options->items = options->size_bytes * 8 / 10 / (options->item_bytes + 160) + 1;
    if (options->total_bytes == 0)
        options->total_bytes = options->size_bytes * 3 / 2;
}

int options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.file = "yata-bench.data",
        .size_bytes = 2048 * MIB,
        .memory_bytes = 128 * MIB,
        .item_bytes = 4096,
        .depth = 64,
        .seconds_tenths = 20};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0 || strcmp(name, "--version") == 0) {
            printf("%s", name[2] == 'h' ? options_usage : "yata-bench " YATA_VERSION "\n");
            return 1;
        }
        if (strcmp(name, "--json") == 0)
            options->json = true;
        else if (strcmp(name, "--plain") == 0)
            options->plain = true;
        else if (strcmp(name, "--kill") == 0)
            options->kill = true;
        else if (name[0] != '-' && options->command == NULL)
            options->command = name;
        else if (name[0] != '-' || i + 1 == argc)
            return wrong("not understood", name);
        else if (!take(options, name, argv[i + 1]))
            return wrong("not understood", name);
        else
            i++;
    }
    if (options->command == NULL)
        return wrong("no command", "see the list");
    if (options->size_bytes == 0 || options->item_bytes == 0 || options->depth == 0 ||
        options->seconds_tenths == 0)
        return wrong("must not be 0", "--size, --bytes, --depth, --seconds");
    fill_in(options);
    return 0;
}
