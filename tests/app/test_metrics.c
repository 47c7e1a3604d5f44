/* The exposition: its format, each sample in a family of its type, sums and labels; by promtool too where
 * there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "app/event_stats.h"
#include "app/metrics.h"
#include "app/metrics_text.h"
#include "base/clock.h"

static char text[1 << 20];

static struct proxy_stats proxy;
static struct event_stats events;
static struct bucket_stats buckets[2];
static struct origin_stats origins[2];
static struct http_server_stats servers[2];
static struct loop_gauges loops[2];
static struct memory_stats memory;
static struct disk_stats disk;

/* Different numbers everywhere. */
static struct metrics_source make_source(void)
{
    static struct metrics_bucket bucket_parts[2];
    static struct metrics_worker workers[2];
    static struct metrics_log logs[2] = {{"error", 0, 0}, {"access", 12, 3}};
    memset(&proxy, 0, sizeof proxy);
    memset(&events, 0, sizeof events);
    memset(buckets, 0, sizeof buckets);
    memset(origins, 0, sizeof origins);
    counter_add(&proxy.requests_by_method[METHOD_SLOT_GET], 5);
    counter_add(&proxy.requests_by_method[METHOD_SLOT_HEAD], 2);
    counter_add(&proxy.requests_by_status[206], 4);
    histogram_add(&proxy.duration[RESULT_HIT], 300 * NS_PER_US);
    histogram_add(&proxy.duration[RESULT_HIT], 100 * NS_PER_S);
    counter_add(&events.messages[EVENT_ENVELOPE_EVENTBRIDGE][EVENT_MALFORMED], 31);
    counter_add(&events.events[EVENT_REMOVED][EVENT_UNKNOWN_BUCKET], 32);
    for (unsigned i = 0; i < 2; i++) {
        counter_add(&buckets[i].results[RESULT_HIT], 10 + i);
        counter_add(&buckets[i].hits_disk, 3 + i);
        counter_add(&origins[i].retries, 7 + i);
        counter_add(&origins[i].last_failure_ns, i * 5);
        bucket_parts[i] = (struct metrics_bucket){i ? "a\"b\\\n\xff" : "plain", &buckets[i], &origins[i]};
        servers[i].connections_open = servers[i].bytes_sent = (struct counter){0};
        counter_add(&servers[i].connections_open, 1 + i);
        counter_add(&servers[i].bytes_sent, 1000);
        workers[i] = (struct metrics_worker){&servers[i], &loops[i]};
    }
    memory = (struct memory_stats){.used_bytes = 77, .evictions = 5, .items = 9};
    disk = (struct disk_stats){.evicted = 6, .dropped_budget = 8, .direct = true, .capacity_bytes = 99};
    return (struct metrics_source){.version = "1.2",
        .driver = "portable",
        .driver_reason = "asked for",
        .uptime_ns = 1500 * NS_PER_MS,
        .resident_bytes = 4096,
        .proxy = &proxy,
        .events = &events,
        .buckets = bucket_parts,
        .bucket_count = 2,
        .workers = workers,
        .worker_count = 2,
        .logs = logs,
        .log_count = 2,
        .memory = &memory,
        .disk = &disk};
}

static void write_all(const struct metrics_source *source)
{
    struct writer w = writer_of(text, sizeof text - 1);
    metrics_write(&w, source);
    assert_false(w.failed);
    text[writer_bytes(&w).len] = 0;
}

static void test_samples(void **state)
{
    (void)state;
    struct metrics_source source = make_source();
    write_all(&source);
    static const char *const lines[] = {
        "yatagarasu_build_info{version=\"1.2\"} 1\n",
        "yatagarasu_io_driver_info{driver=\"portable\",reason=\"asked for\"} 1\n",
        "uptime_seconds 1.500000000\n",
        "memory_usage_bytes 4096\n",
        "http_requests_total 7\n",
        "http_requests_by_method_total{method=\"HEAD\"} 2\n",
        "http_requests_by_status_total{status=\"206\"} 4\n",
        "http_request_duration_seconds_bucket{result=\"HIT\",le=\"0.00025\"} 0\n",
        "http_request_duration_seconds_bucket{result=\"HIT\",le=\"0.0005\"} 1\n",
        "http_request_duration_seconds_bucket{result=\"HIT\",le=\"60\"} 1\n",
        "http_request_duration_seconds_bucket{result=\"HIT\",le=\"+Inf\"} 2\n",
        "http_request_duration_seconds_sum{result=\"HIT\"} 100.000300000\n",
        "http_request_duration_seconds_count{result=\"HIT\"} 2\n",
        "yatagarasu_event_messages_total{envelope=\"eventbridge\",result=\"malformed\"} 31\n",
        "yatagarasu_events_total{kind=\"removed\",result=\"unknown_bucket\"} 32\n",
        "yatagarasu_cache_hits_total 21\n",
        "yatagarasu_cache_hits_by_bucket_layer_total{bucket=\"plain\",layer=\"disk\"} 3\n",
        "yatagarasu_cache_results_total{bucket=\"a\\\"b\\\\\\n?\",result=\"HIT\"} 11\n",
        "s3_retry_attempts_total{bucket=\"plain\"} 7\n",
        "backend_health{bucket=\"plain\"} 1\n",
        "backend_health{bucket=\"a\\\"b\\\\\\n?\"} 0\n",
        "active_connections 3\n",
        "bytes_sent_total 2000\n",
        "yatagarasu_cache_size_by_layer{layer=\"memory\"} 77\n",
        "yatagarasu_cache_evictions_by_layer_total{layer=\"disk\"} 6\n",
        "yatagarasu_cache_evictions_total 11\n",
        "yatagarasu_disk_drops_total{reason=\"budget\"} 8\n",
        "yatagarasu_disk_direct 1\n",
        "yatagarasu_disk_attached 0\n",
        "yatagarasu_log_lines_dropped_total{log=\"access\"} 12\n",
        "yatagarasu_log_write_errors_total{log=\"access\"} 3\n",
        "yatagarasu_http_refusals_total{reason=\"target_long\"} 0\n",
        "yatagarasu_loop_turns_total{worker=\"1\"} 0\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (strstr(text, lines[i]) == NULL)
            print_message("missing: %s", lines[i]);
        assert_non_null(strstr(text, lines[i]));
    }
    assert_null(strstr(text, "status=\"200\"")); /* no request, no sample */
}

static void test_no_disk_no_samples(void **state)
{
    (void)state;
    struct metrics_source source = make_source();
    source.disk = NULL;
    source.resident_bytes = 0;
    write_all(&source);
    assert_null(strstr(text, "yatagarasu_disk_"));
    assert_null(strstr(text, "layer=\"disk\"} 6"));
    assert_null(strstr(text, "memory_usage_bytes"));
}

/* Every line is a comment of the current family or a sample of it; no family comes twice. */
static void test_format(void **state)
{
    (void)state;
    struct metrics_source source = make_source();
    static char families[1 << 16];
    char family[128] = "";
    families[0] = 0;
    write_all(&source);
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        char name[128], type[32];
        if (sscanf(line, "# HELP %127s", name) == 1) {
            char marked[140];
            (void)snprintf(marked, sizeof marked, " %s ", name);
            assert_null(strstr(families, marked));
            (void)snprintf(families + strlen(families), sizeof families - strlen(families), "%s", marked);
            (void)snprintf(family, sizeof family, "%s", name);
        } else if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
            assert_string_equal(name, family);
            size_t len = strlen(name);
            bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
            assert_int_equal(total, strcmp(type, "counter") == 0);
        } else {
            assert_memory_equal(line, family, strlen(family));
            assert_non_null(strchr("{ _", line[strlen(family)]));
        }
    }
}

static void test_overflow_is_a_value(void **state)
{
    (void)state;
    struct metrics_source source = make_source();
    struct writer w = writer_of(text, 1000);
    metrics_write(&w, &source);
    assert_true(w.failed);
}

static void test_promtool(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0)
        skip();
    struct metrics_source source = make_source();
    write_all(&source);
    FILE *promtool = popen("promtool check metrics", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(text, 1, strlen(text), promtool), strlen(text));
    assert_int_equal(pclose(promtool), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_no_disk_no_samples),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_overflow_is_a_value),
        cmocka_unit_test(test_promtool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
