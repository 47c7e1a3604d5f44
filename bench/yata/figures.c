#include "bench/yata/figures.h"

#include <stdio.h>
#include <sys/resource.h>

#include "base/clock.h"

static uint64_t process_cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NS_PER_US;
}

void figures_start(struct figures *figures)
{
    *figures = (struct figures){.start_cpu_ns = process_cpu_ns(), .start_ns = clock_monotonic_ns()};
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < FIGURES_SUB)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns), shift = power - 5;
    unsigned bucket = (shift + 1) * FIGURES_SUB + (unsigned)(ns >> shift & (FIGURES_SUB - 1));
    return bucket < FIGURES_BUCKETS ? bucket : FIGURES_BUCKETS - 1;
}

/* The middle of a bucket. */
static double bucket_ns(unsigned bucket)
{
    if (bucket < FIGURES_SUB)
        return bucket;
    unsigned shift = bucket / FIGURES_SUB - 1;
    return ((double)(FIGURES_SUB + bucket % FIGURES_SUB) + 0.5) * (double)(UINT64_C(1) << shift);
}

void figures_add(struct figures *figures, uint64_t latency_ns, uint64_t bytes)
{
    figures->operations++;
    figures->bytes += bytes;
    figures->buckets[bucket_of(latency_ns)]++;
}

void figures_stop(struct figures *figures)
{
    figures->wall_ns = clock_monotonic_ns() - figures->start_ns;
    figures->cpu_ns = process_cpu_ns() - figures->start_cpu_ns;
}

double figures_percentile(const struct figures *figures, double share)
{
    double left = share * (double)figures->operations;
    for (unsigned i = 0; i < FIGURES_BUCKETS; i++) {
        left -= (double)figures->buckets[i];
        if (left <= 0 && figures->buckets[i] > 0)
            return bucket_ns(i);
    }
    return 0;
}

/* ---- results ---- */

static void begin_value(struct result *result, const char *name)
{
    if (result->json)
        printf("%s\"%s\":", result->begun ? "," : "{", name);
    else
        printf("%s%s ", result->begun ? "  " : "", name);
    result->begun = true;
}

void result_text(struct result *result, const char *name, const char *value)
{
    begin_value(result, name);
    printf(result->json ? "\"%s\"" : "%s", value);
}

void result_number(struct result *result, const char *name, double value)
{
    begin_value(result, name);
    printf("%.*f", value >= 1000 && value == (double)(int64_t)value ? 0 : 3, value);
}

struct result result_begin(bool json, const char *command)
{
    struct result result = {.json = json};
    result_text(&result, "command", command);
    return result;
}

void result_figures(struct result *result, const struct figures *figures)
{
    double seconds = (double)figures->wall_ns / 1e9, operations = (double)figures->operations;
    result_number(result, "ops_s", operations / seconds);
    result_number(result, "mib_s", (double)figures->bytes / seconds / 1048576);
    result_number(result, "p50_us", figures_percentile(figures, 0.5) / 1e3);
    result_number(result, "p99_us", figures_percentile(figures, 0.99) / 1e3);
    result_number(result, "p999_us", figures_percentile(figures, 0.999) / 1e3);
    result_number(result, "cpu_us", operations > 0 ? (double)figures->cpu_ns / 1e3 / operations : 0);
    result_number(result, "seconds", seconds);
    result_number(result, "operations", operations);
}

void result_end(struct result *result)
{
    printf(result->json ? "}\n" : "\n");
    fflush(stdout);
}
