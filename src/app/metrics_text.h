/*
 * The Prometheus text format (version 0.0.4): families of samples with labels, built in a struct writer.
 * Overflow is the writer's sticky `failed`.
 *
 *     metrics_family(&m, "x_total", METRICS_COUNTER, "What it counts.");
 *     metrics_sample(&m, NULL);  metrics_label(&m, "bucket", name);  metrics_value(&m, 5);
 */
#pragma once

#include "base/bytes.h"
#include "base/stats.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_text {
    struct writer *w;
    const char *family;
    bool labels; /* of the sample that is being written */
};

/* HELP and TYPE lines; samples of it follow. */
void metrics_family(struct metrics_text *m, const char *name, enum metrics_type type, const char *help);
/* Begins a sample; the suffix ("_sum") may be NULL. */
void metrics_sample(struct metrics_text *m, const char *suffix);
/* Any bytes: escaped, what is no UTF-8 replaced by '?'. */
void metrics_label(struct metrics_text *m, const char *name, const char *value);
void metrics_value(struct metrics_text *m, uint64_t value);
void metrics_seconds(struct metrics_text *m, uint64_t duration_ns);
/* All samples of one histogram; the label may be NULL. */
void metrics_histogram(
    struct metrics_text *m, const char *label, const char *label_value, const struct histogram *h);
/* A family of one sample without labels. */
void metrics_single(
    struct metrics_text *m, const char *name, enum metrics_type type, const char *help, uint64_t value);
