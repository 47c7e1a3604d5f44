#include "app/metrics_text.h"

#include "base/clock.h"
#include "base/utf8.h"

void metrics_family(struct metrics_text *m, const char *name, enum metrics_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    m->family = name;
    write_format(m->w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

void metrics_sample(struct metrics_text *m, const char *suffix)
{
    CHECK(m->family != NULL);
    m->labels = false;
    write_format(m->w, "%s%s", m->family, suffix ? suffix : "");
}

static void write_escaped(struct writer *w, struct bytes value)
{
    while (value.len > 0) {
        size_t len = utf8_first(value);
        if (len == 0)
            write_u8(w, '?');
        else if (value.ptr[0] == '\n')
            write_bytes(w, BYTES("\\n"));
        else if (value.ptr[0] == '"' || value.ptr[0] == '\\')
            write_u8(w, '\\'), write_u8(w, value.ptr[0]);
        else
            write_bytes(w, bytes_of(value.ptr, len));
        value = bytes_from(value, len ? len : 1);
    }
}

void metrics_label(struct metrics_text *m, const char *name, const char *value)
{
    write_format(m->w, "%s%s=\"", m->labels ? "," : "{", name);
    write_escaped(m->w, bytes_of_string(value));
    write_u8(m->w, '"');
    m->labels = true;
}

void metrics_value(struct metrics_text *m, uint64_t value)
{
    write_format(m->w, "%s %llu\n", m->labels ? "}" : "", (unsigned long long)value);
}

void metrics_seconds(struct metrics_text *m, uint64_t duration_ns)
{
    write_format(m->w, "%s %llu.%09llu\n", m->labels ? "}" : "", (unsigned long long)(duration_ns / NS_PER_S),
        (unsigned long long)(duration_ns % NS_PER_S));
}

/* "0.0025": seconds without trailing zeros. */
static const char *bound_text(uint64_t bound_ns, char text[32])
{
    struct writer w = writer_of(text, 31);
    write_format(&w, "%llu", (unsigned long long)(bound_ns / NS_PER_S));
    uint64_t rest = bound_ns % NS_PER_S;
    if (rest)
        write_u8(&w, '.');
    for (uint64_t unit = NS_PER_S / 10; rest; unit /= 10) {
        write_u8(&w, (uint8_t)('0' + rest / unit));
        rest %= unit;
    }
    text[writer_bytes(&w).len] = 0;
    return text;
}

void metrics_histogram(
    struct metrics_text *m, const char *label, const char *label_value, const struct histogram *h)
{
    uint64_t sum = 0;
    char bound[32];
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        sum += counter_get(&h->buckets[i]);
        metrics_sample(m, "_bucket");
        if (label)
            metrics_label(m, label, label_value);
        metrics_label(m, "le", i < HISTOGRAM_BUCKETS ? bound_text(histogram_bound_ns[i], bound) : "+Inf");
        metrics_value(m, sum);
    }
    metrics_sample(m, "_sum");
    if (label)
        metrics_label(m, label, label_value);
    metrics_seconds(m, counter_get(&h->sum_ns));
    metrics_sample(m, "_count");
    if (label)
        metrics_label(m, label, label_value);
    metrics_value(m, sum);
}

void metrics_single(
    struct metrics_text *m, const char *name, enum metrics_type type, const char *help, uint64_t value)
{
    metrics_family(m, name, type, help);
    metrics_sample(m, NULL);
    metrics_value(m, value);
}
