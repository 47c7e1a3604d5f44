/*
 * What a measurement comes to: operations, bytes, latencies, and the CPU time of the whole process, kernel
 * included. Latencies are kept in buckets of 1/32 of their power of two, so a percentile is right within 3 %.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FIGURES_SUB 32u
#define FIGURES_BUCKETS (40u * FIGURES_SUB)

struct figures {
    uint64_t start_ns, start_cpu_ns, wall_ns, cpu_ns;
    uint64_t operations, bytes;
    uint64_t buckets[FIGURES_BUCKETS];
};

void figures_start(struct figures *figures);
void figures_add(struct figures *figures, uint64_t latency_ns, uint64_t bytes);
void figures_stop(struct figures *figures);
/* The latency that `share` of the operations stay within, in ns. */
double figures_percentile(const struct figures *figures, double share);

/* A result is one line, made in order: text, or JSON. */
struct result {
    bool json, begun;
};
struct result result_begin(bool json, const char *command);
void result_text(struct result *result, const char *name, const char *value);
void result_number(struct result *result, const char *name, double value);
/* ops_s, mib_s, p50_us, p99_us, p999_us, cpu_us, seconds, operations. */
void result_figures(struct result *result, const struct figures *figures);
void result_end(struct result *result);
