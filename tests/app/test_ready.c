/* /health and /ready: phases, disk states, origins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "app/ready.h"
#include "base/clock.h"

struct ready_case {
    enum phase phase;
    bool has_disk;
    struct disk_watch_state watch;
    struct disk_stats stats;
    uint64_t success_ns, failure_ns;
    unsigned status;
    const char *has[4]; /* parts of the answer */
};

static const struct ready_case table[] = {
    {PHASE_SERVING, false, {0}, {0}, 0, 0, 200,
        {"\"ready\":true", "\"disk\":{\"state\":\"off\"}", "\"state\":\"unknown\"", "\"degraded\":[]"}},
    {PHASE_STARTING, false, {0}, {0}, 0, 0, 503, {"\"ready\":false", "\"phase\":\"starting\""}},
    {PHASE_STOPPING, false, {0}, {0}, 0, 0, 503, {"\"ready\":false", "\"phase\":\"stopping\""}},
    {PHASE_SERVING, true, {0}, {0}, 5, 0, 200,
        {"\"state\":\"opening\"", "\"state\":\"ok\"", "\"degraded\":[]"}},
    {PHASE_SERVING, true, {.attached = true}, {.devices = 1, .direct = true}, 5, 4, 200,
        {"\"disk\":{\"state\":\"ok\",\"devices\":1,\"devices_out\":0,\"recovering\":0,\"direct\":true}",
            "\"state\":\"ok\""}},
    {PHASE_SERVING, true, {.attached = true}, {.devices = 1, .recovering = 1}, 0, 0, 200,
        {"\"state\":\"recovering\"", "\"degraded\":[]"}},
    {PHASE_SERVING, true, {.attached = true, .degraded = true, .text = "/x: EIO"}, {.devices = 2}, 0, 0, 200,
        {"\"state\":\"degraded\",\"reason\":\"/x: EIO\"", "\"degraded\":[\"disk\"]"}},
    {PHASE_SERVING, true, {.attached = true}, {.devices = 2, .devices_out = 1}, 0, 0, 200,
        {"\"state\":\"degraded\""}},
    {PHASE_SERVING, true, {.attached = true}, {.devices = 2, .devices_out = 2}, 0, 0, 200,
        {"\"state\":\"out\""}},
    {PHASE_SERVING, true, {.failed = true, .text = "locked"}, {.devices = 1}, 4, 5, 200,
        {"\"state\":\"out\",\"reason\":\"locked\"", "\"state\":\"failing\"",
            "\"degraded\":[\"disk\",\"origin\"]"}},
};

static void test_states(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct origin_stats origin = {0};
        counter_add(&origin.last_success_ns, table[i].success_ns);
        counter_add(&origin.last_failure_ns, table[i].failure_ns);
        struct metrics_bucket bucket = {.name = "b", .origin = &origin};
        struct metrics_source metrics = {.version = "1",
            .driver = "uring",
            .driver_reason = "works",
            .now_ns = 20 * NS_PER_S,
            .buckets = &bucket,
            .bucket_count = 1,
            .disk = table[i].has_disk ? &table[i].stats : NULL};
        const char *kind = "s3";
        struct ready_source source = {.phase = table[i].phase,
            .metrics = &metrics,
            .origin_kinds = &kind,
            .disk = table[i].has_disk ? &table[i].watch : NULL};
        char text[2048];
        struct writer w = writer_of(text, sizeof text - 1);
        assert_int_equal(ready_write(&w, &source), table[i].status);
        assert_false(w.failed);
        text[writer_bytes(&w).len] = 0;
        for (unsigned j = 0; j < 4 && table[i].has[j]; j++) {
            if (strstr(text, table[i].has[j]) == NULL)
                print_message("case %zu lacks %s: %s", i, table[i].has[j], text);
            assert_non_null(strstr(text, table[i].has[j]));
        }
        assert_non_null(strstr(text, "\"io\":{\"driver\":\"uring\",\"reason\":\"works\"}"));
    }
}

static void test_health(void **state)
{
    (void)state;
    struct metrics_source metrics = {.version = "1.2", .uptime_ns = 61 * NS_PER_S + 5};
    char text[200];
    struct writer w = writer_of(text, sizeof text - 1);
    health_write(&w, &metrics);
    text[writer_bytes(&w).len] = 0;
    assert_string_equal(text, "{\"status\":\"healthy\",\"uptime_seconds\":61,\"version\":\"1.2\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_states), cmocka_unit_test(test_health)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
