#include "app/metrics.h"

#include <stdio.h>

#include "app/event_stats.h"
#include "app/metrics_text.h"

#define LEN(array) (sizeof(array) / sizeof *(array))

/* A counter inside a struct of counters, and the family or the label value that it has. */
struct field {
    const char *name, *help;
    size_t offset;
};

static uint64_t counter_at(const void *base, size_t offset)
{
    return counter_get((const struct counter *)(const void *)((const char *)base + offset));
}

static uint64_t value_at(const void *base, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)base + offset, sizeof value);
    return value;
}

/* ---- the request path ---- */

#define PROXY(member) offsetof(struct proxy_stats, member)

static void write_requests(struct metrics_text *m, const struct metrics_source *source)
{
    static const char *const methods[METHOD_SLOTS] = {"GET", "HEAD", "OPTIONS", "other"};
    uint64_t total = 0;
    for (unsigned i = 0; i < METHOD_SLOTS; i++)
        total += counter_get(&source->proxy->requests_by_method[i]);
    metrics_single(m, "http_requests_total", METRICS_COUNTER, "Requests that ended.", total);
    metrics_family(m, "http_requests_by_method_total", METRICS_COUNTER, "Requests that ended, by method.");
    for (unsigned i = 0; i < METHOD_SLOTS; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "method", methods[i]);
        metrics_value(m, counter_get(&source->proxy->requests_by_method[i]));
    }
    metrics_family(m, "http_requests_by_status_total", METRICS_COUNTER, "Requests that ended, by status.");
    for (unsigned i = 0; i < STATUS_SLOTS; i++) {
        uint64_t count = counter_get(&source->proxy->requests_by_status[i]);
        char status[12];
        (void)snprintf(status, sizeof status, "%u", i);
        if (count == 0)
            continue;
        metrics_sample(m, NULL);
        metrics_label(m, "status", status);
        metrics_value(m, count);
    }
}

static void write_durations(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(m, "http_request_duration_seconds", METRICS_HISTOGRAM,
        "From the first byte of a request to the last of its answer, by cache result.");
    for (unsigned i = 0; i < RESULT_COUNT; i++)
        metrics_histogram(m, "result", cache_result_name[i], &source->proxy->duration[i]);
    metrics_family(m, "yatagarasu_first_byte_seconds", METRICS_HISTOGRAM,
        "From the first byte of a request to the first of its answer.");
    metrics_histogram(m, NULL, NULL, &source->proxy->first_byte);
}

static void write_prewarm(struct metrics_text *m, const struct proxy_stats *proxy)
{
    static const char *const states[] = {"done", "canceled", "failed"};
    static const char *const outcomes[] = {"fetched", "stored_before", "not_stored", "failed"};
    static_assert(LEN(states) == LEN(proxy->prewarm_jobs) && LEN(outcomes) == LEN(proxy->prewarm_objects),
        "a name each");
    metrics_family(m, "yatagarasu_prewarm_tasks_total", METRICS_COUNTER, "Prewarm jobs that ended, by how.");
    for (size_t i = 0; i < LEN(states); i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "state", states[i]);
        metrics_value(m, counter_get(&proxy->prewarm_jobs[i]));
    }
    metrics_single(m, "yatagarasu_prewarm_tasks", METRICS_GAUGE, "Prewarm jobs under way.",
        counter_get(&proxy->prewarm_running));
    metrics_family(m, "yatagarasu_prewarm_files_total", METRICS_COUNTER,
        "Objects of prewarm jobs, by what became of them.");
    for (size_t i = 0; i < LEN(outcomes); i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "outcome", outcomes[i]);
        metrics_value(m, counter_get(&proxy->prewarm_objects[i]));
    }
    metrics_single(m, "yatagarasu_prewarm_bytes_total", METRICS_COUNTER,
        "Body bytes that prewarm jobs had from origins.", counter_get(&proxy->prewarm_bytes));
}

static void write_proxy(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field counters[] = {
        {"concurrency_limit_rejections_total", "Requests refused by max_concurrent_requests.",
            PROXY(requests_rejected)},
        {"security_path_traversal_blocked_total", "Requests refused for . or .. segments.",
            PROXY(path_traversal_blocked)},
        {"yatagarasu_flights_started_total", "Fetches that were begun.", PROXY(flights_started)},
        {"yatagarasu_flights_joined_total", "Requests that joined a fetch of another one.",
            PROXY(flights_joined)},
        {"yatagarasu_refetched_bytes_total", "Bytes fetched again for readers that fell behind.",
            PROXY(refetched_bytes)},
        {"yatagarasu_revalidations_total", "Stored objects checked with the origin.", PROXY(revalidations)},
        {"yatagarasu_revalidations_not_modified_total", "Checks that the origin answered with 304.",
            PROXY(revalidated_not_modified)},
        {"yatagarasu_stale_while_revalidate_total", "Stale answers given while the origin was asked.",
            PROXY(stale_while_revalidate)},
        {"yatagarasu_stale_if_error_total", "Stale answers given because the origin failed.",
            PROXY(stale_if_error)},
        {"yatagarasu_gave_up_on_disk_total", "Requests that went on without a disk that kept them waiting.",
            PROXY(gave_up_on_disk)},
        {"yatagarasu_cut_answers_total", "Answers begun and not completed by the origin's fault.",
            PROXY(cut_answers)},
        {"yatagarasu_gone_clients_total", "Requests whose client left before the end.", PROXY(gone_clients)},
    };
    static const struct field gauges[] = {
        {"yatagarasu_requests_in_progress", "Requests that run.", PROXY(requests_in_progress)},
        {"yatagarasu_flights_in_progress", "Fetches that run.", PROXY(flights_now)},
        {"yatagarasu_flight_bytes", "Memory that running fetches hold.", PROXY(flight_bytes_now)},
    };
    write_requests(m, source);
    write_durations(m, source);
    metrics_family(
        m, "yatagarasu_cache_purges_total", METRICS_COUNTER, "Purges that were asked for, by kind.");
    for (unsigned soft = 0; soft < 2; soft++) {
        metrics_sample(m, NULL);
        metrics_label(m, "kind", soft ? "soft" : "hard");
        metrics_value(m, counter_get(&source->proxy->purges[soft]));
    }
    write_prewarm(m, source->proxy);
    for (size_t i = 0; i < LEN(counters); i++)
        metrics_single(m, counters[i].name, METRICS_COUNTER, counters[i].help,
            counter_at(source->proxy, counters[i].offset));
    for (size_t i = 0; i < LEN(gauges); i++)
        metrics_single(
            m, gauges[i].name, METRICS_GAUGE, gauges[i].help, counter_at(source->proxy, gauges[i].offset));
}

/* ---- buckets ---- */

#define BUCKET(member) offsetof(struct bucket_stats, member)

static void write_bucket_counter(
    struct metrics_text *m, const struct metrics_source *source, const struct field *field)
{
    metrics_family(m, field->name, METRICS_COUNTER, field->help);
    for (unsigned i = 0; i < source->bucket_count; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "bucket", source->buckets[i].name);
        metrics_value(m, counter_at(source->buckets[i].stats, field->offset));
    }
}

static void write_by_layer(struct metrics_text *m, const struct metrics_source *source, const char *name,
    const char *help, size_t memory, size_t disk)
{
    metrics_family(m, name, METRICS_COUNTER, help);
    for (unsigned i = 0; i < source->bucket_count; i++)
        for (unsigned layer = 0; layer < 2; layer++) {
            metrics_sample(m, NULL);
            metrics_label(m, "bucket", source->buckets[i].name);
            metrics_label(m, "layer", layer ? "disk" : "memory");
            metrics_value(m, counter_at(source->buckets[i].stats, layer ? disk : memory));
        }
}

static void write_results(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(m, "yatagarasu_cache_results_total", METRICS_COUNTER,
        "Requests by what the cache did, as in X-Cache.");
    for (unsigned i = 0; i < source->bucket_count; i++)
        for (unsigned result = 0; result < RESULT_COUNT; result++) {
            metrics_sample(m, NULL);
            metrics_label(m, "bucket", source->buckets[i].name);
            metrics_label(m, "result", cache_result_name[result]);
            metrics_value(m, counter_get(&source->buckets[i].stats->results[result]));
        }
}

static uint64_t sum_buckets(const struct metrics_source *source, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < source->bucket_count; i++)
        sum += counter_at(source->buckets[i].stats, offset);
    return sum;
}

static void write_buckets(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field fields[] = {
        {"http_requests_by_bucket_total", "Requests that ended, by bucket.", BUCKET(requests)},
        {"yatagarasu_cache_misses_by_bucket_total", "Requests that nothing of was cached, by bucket.",
            BUCKET(results[RESULT_MISS])},
        {"yatagarasu_bytes_sent_by_bucket_total", "Body bytes sent to clients.", BUCKET(bytes_sent)},
        {"yatagarasu_bytes_saved_total", "Body bytes sent that came from the cache.", BUCKET(bytes_saved)},
        {"yatagarasu_cache_chunk_misses_total", "Chunks that had to be fetched.", BUCKET(chunk_misses)},
    };
    metrics_single(m, "yatagarasu_cache_hits_total", METRICS_COUNTER, "Requests served whole from the cache.",
        sum_buckets(source, BUCKET(results[RESULT_HIT])));
    metrics_single(m, "yatagarasu_cache_misses_total", METRICS_COUNTER,
        "Requests that nothing of was cached.", sum_buckets(source, BUCKET(results[RESULT_MISS])));
    write_results(m, source);
    write_by_layer(m, source, "yatagarasu_cache_hits_by_bucket_layer_total",
        "Requests served whole from a tier.", BUCKET(hits_memory), BUCKET(hits_disk));
    write_by_layer(m, source, "yatagarasu_cache_chunk_hits_total", "Chunks found in a tier.",
        BUCKET(chunk_hits_memory), BUCKET(chunk_hits_disk));
    for (size_t i = 0; i < LEN(fields); i++)
        write_bucket_counter(m, source, &fields[i]);
}

/* ---- origins ---- */

#define ORIGIN(member) offsetof(struct origin_stats, member)

static void write_origin_family(struct metrics_text *m, const struct metrics_source *source,
    const struct field *field, enum metrics_type type)
{
    metrics_family(m, field->name, type, field->help);
    for (unsigned i = 0; i < source->bucket_count; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "bucket", source->buckets[i].name);
        metrics_value(m, counter_at(source->buckets[i].origin, field->offset));
    }
}

static void write_origin_statuses(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field classes[] = {{"2xx", NULL, ORIGIN(status_2xx)},
        {"3xx", NULL, ORIGIN(status_3xx)}, {"4xx", NULL, ORIGIN(status_4xx)},
        {"5xx", NULL, ORIGIN(status_5xx)}};
    metrics_family(m, "yatagarasu_origin_responses_total", METRICS_COUNTER,
        "Answers of the origin, by class of status.");
    for (unsigned i = 0; i < source->bucket_count; i++)
        for (size_t j = 0; j < LEN(classes); j++) {
            metrics_sample(m, NULL);
            metrics_label(m, "bucket", source->buckets[i].name);
            metrics_label(m, "status", classes[j].name);
            metrics_value(m, counter_at(source->buckets[i].origin, classes[j].offset));
        }
}

/* 1 where the last answer was a success or nothing was asked yet. */
static void write_origin_health(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(
        m, "backend_health", METRICS_GAUGE, "0 where the last request to the origin failed, else 1.");
    for (unsigned i = 0; i < source->bucket_count; i++) {
        const struct origin_stats *stats = source->buckets[i].origin;
        metrics_sample(m, NULL);
        metrics_label(m, "bucket", source->buckets[i].name);
        metrics_value(m, counter_get(&stats->last_failure_ns) <= counter_get(&stats->last_success_ns));
    }
}

static void write_origins(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field counters[] = {
        {"s3_operations_total", "Requests sent to the origin, without retries.", ORIGIN(requests)},
        {"s3_errors_total", "Requests to the origin that failed in the end.", ORIGIN(errors)},
        {"s3_retry_attempts_total", "Retries.", ORIGIN(retries)},
        {"s3_retry_exhausted_total", "Requests whose retries were used up.", ORIGIN(retries_exhausted)},
        {"yatagarasu_origin_head_requests_total", "HEAD requests sent to the origin.", ORIGIN(head_requests)},
        {"yatagarasu_origin_timeouts_total", "Requests to the origin that timed out.", ORIGIN(timeouts)},
        {"yatagarasu_origin_connect_errors_total", "Connections to the origin that failed.",
            ORIGIN(connect_errors)},
        {"yatagarasu_origin_resumed_total", "Broken transfers that were resumed.", ORIGIN(resumed)},
        {"yatagarasu_origin_bytes_received_total", "Body bytes from the origin.", ORIGIN(bytes_received)},
        {"yatagarasu_origin_connections_opened_total", "Connections to the origin that were opened.",
            ORIGIN(connections_opened)},
    };
    static const struct field in_flight = {
        "yatagarasu_origin_requests_in_flight", "Requests to the origin that run.", ORIGIN(in_flight)};
    for (size_t i = 0; i < LEN(counters); i++)
        write_origin_family(m, source, &counters[i], METRICS_COUNTER);
    write_origin_family(m, source, &in_flight, METRICS_GAUGE);
    write_origin_statuses(m, source);
    write_origin_health(m, source);
    metrics_family(
        m, "yatagarasu_origin_first_byte_seconds", METRICS_HISTOGRAM, "Time to the origin's first byte.");
    for (unsigned i = 0; i < source->bucket_count; i++)
        metrics_histogram(m, "bucket", source->buckets[i].name, &source->buckets[i].origin->first_byte);
}

/* ---- connections and loops ---- */

#define SERVER(member) offsetof(struct http_server_stats, member)
#define LOOP(member) offsetof(struct loop_gauges, member)

static uint64_t sum_servers(const struct metrics_source *source, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < source->worker_count; i++)
        sum += counter_at(source->workers[i].server, offset);
    return sum;
}

static void write_refusals(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(
        m, "yatagarasu_http_refusals_total", METRICS_COUNTER, "Requests refused by the parser, by reason.");
    for (unsigned i = HTTP_ACCEPTED + 1; i < HTTP_REFUSALS; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "reason", http_refusal_name((enum http_refusal)i));
        metrics_value(m, sum_servers(source, SERVER(refusals) + i * sizeof(struct counter)));
    }
}

static void write_timeouts(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field kinds[] = {{"header", NULL, SERVER(timeouts_header)},
        {"idle", NULL, SERVER(timeouts_idle)}, {"body", NULL, SERVER(timeouts_body)},
        {"send", NULL, SERVER(timeouts_send)}};
    metrics_family(m, "yatagarasu_connection_timeouts_total", METRICS_COUNTER,
        "Connections ended by a deadline, by kind.");
    for (size_t i = 0; i < LEN(kinds); i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "kind", kinds[i].name);
        metrics_value(m, sum_servers(source, kinds[i].offset));
    }
}

static void write_servers(struct metrics_text *m, const struct metrics_source *source)
{
#define REFUSED(kind) SERVER(refusals[HTTP_REFUSED_##kind])
    static const struct field fields[] = {
        {"bytes_sent_total", "Bytes sent to clients, heads included.", SERVER(bytes_sent)},
        {"bytes_received_total", "Bytes received from clients.", SERVER(bytes_received)},
        {"yatagarasu_connections_accepted_total", "Connections accepted.", SERVER(accepted)},
        {"yatagarasu_connections_refused_total", "Connections answered with 503 beyond max_connections.",
            SERVER(refused)},
        {"yatagarasu_accept_errors_total", "Failed accepts.", SERVER(accept_errors)},
        {"yatagarasu_connection_resets_total", "Connections reset by the client during a request.",
            SERVER(resets)},
        {"yatagarasu_connection_cuts_total", "Connections cut so that the client sees an incomplete answer.",
            SERVER(cuts)},
        {"security_uri_too_long_total", "Requests refused with 414.", REFUSED(TARGET_LONG)},
        {"security_headers_too_large_total", "Requests refused for the size of their head.",
            REFUSED(HEAD_LARGE)},
        {"security_payload_too_large_total", "Requests refused for the size of their body.",
            REFUSED(BODY_LARGE)},
    };
    metrics_single(m, "active_connections", METRICS_GAUGE, "Connections of clients.",
        sum_servers(source, SERVER(connections_open)));
    for (size_t i = 0; i < LEN(fields); i++)
        metrics_single(
            m, fields[i].name, METRICS_COUNTER, fields[i].help, sum_servers(source, fields[i].offset));
    write_timeouts(m, source);
    write_refusals(m, source);
}

static void write_loop_family(struct metrics_text *m, const struct metrics_source *source,
    const struct field *field, enum metrics_type type)
{
    metrics_family(m, field->name, type, field->help);
    for (unsigned i = 0; i < source->worker_count; i++) {
        const char *base = (const char *)source->workers[i].loop + field->offset;
        char worker[12];
        (void)snprintf(worker, sizeof worker, "%u", i);
        metrics_sample(m, NULL);
        metrics_label(m, "worker", worker);
        metrics_value(
            m, atomic_load_explicit((const _Atomic uint64_t *)(const void *)base, memory_order_relaxed));
    }
}

static void write_loops(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct field counters[] = {
        {"yatagarasu_loop_turns_total", "Turns of a worker's loop.", LOOP(turns)},
        {"yatagarasu_loop_completions_total", "Operations completed.", LOOP(completions)},
        {"yatagarasu_loop_submissions_total", "Operations handed to the driver.", LOOP(submissions)},
        {"yatagarasu_loop_system_waits_total", "System calls that waited.", LOOP(system_waits)},
    };
    static const struct field gauges[] = {
        {"yatagarasu_loop_ops_in_flight", "Operations in flight.", LOOP(ops_in_flight)},
        {"yatagarasu_loop_sockets_open", "Sockets of a worker.", LOOP(sockets_open)},
        {"yatagarasu_loop_buffers_leased", "Receive buffers in use.", LOOP(buffers_leased)},
        {"yatagarasu_loop_timers", "Timers set.", LOOP(timers)},
        {"yatagarasu_loop_disk_ops_in_flight", "Disk operations in flight.", LOOP(disk_ops_in_flight)},
    };
    for (size_t i = 0; i < LEN(counters); i++)
        write_loop_family(m, source, &counters[i], METRICS_COUNTER);
    for (size_t i = 0; i < LEN(gauges); i++)
        write_loop_family(m, source, &gauges[i], METRICS_GAUGE);
}

/* ---- tiers ---- */

#define MEMORY(member) offsetof(struct memory_stats, member)
#define DISK(member) offsetof(struct disk_stats, member)

static void write_layers(struct metrics_text *m, const struct metrics_source *source)
{
    static const struct {
        const char *name, *help;
        enum metrics_type type;
        size_t memory, disk;
    } families[] = {
        {"yatagarasu_cache_size_by_layer", "Bytes in use (disk: of its capacity).", METRICS_GAUGE,
            MEMORY(used_bytes), DISK(capacity_bytes)},
        {"yatagarasu_cache_items_by_layer", "Items kept.", METRICS_GAUGE, MEMORY(items), DISK(items)},
        {"yatagarasu_cache_evictions_by_layer_total", "Items evicted.", METRICS_COUNTER, MEMORY(evictions),
            DISK(evicted)},
    };
    for (size_t i = 0; i < LEN(families); i++) {
        metrics_family(m, families[i].name, families[i].type, families[i].help);
        for (unsigned layer = 0; layer < 2; layer++) {
            if (layer ? !source->disk : !source->memory)
                continue;
            metrics_sample(m, NULL);
            metrics_label(m, "layer", layer ? "disk" : "memory");
            metrics_value(m, layer ? value_at(source->disk, families[i].disk)
                                   : value_at(source->memory, families[i].memory));
        }
    }
    metrics_single(m, "yatagarasu_cache_evictions_total", METRICS_COUNTER, "Items evicted from any tier.",
        (source->memory ? source->memory->evictions : 0) + (source->disk ? source->disk->evicted : 0));
}

static void write_plain(struct metrics_text *m, const void *base, const struct field *fields, size_t count,
    enum metrics_type type)
{
    for (size_t i = 0; i < count; i++)
        metrics_single(m, fields[i].name, type, fields[i].help, value_at(base, fields[i].offset));
}

static void write_memory(struct metrics_text *m, const struct memory_stats *memory)
{
    static const struct field gauges[] = {
        {"yatagarasu_memory_budget_bytes", "Budget of the memory tier.", MEMORY(budget_bytes)},
        {"yatagarasu_memory_pinned_bytes", "Bytes that are being sent or written.", MEMORY(pinned_bytes)},
    };
    static const struct field counters[] = {
        {"yatagarasu_memory_hits_total", "Look-ups in the memory tier that found an item.", MEMORY(hits)},
        {"yatagarasu_memory_misses_total", "Look-ups in the memory tier that found nothing.", MEMORY(misses)},
        {"yatagarasu_memory_inserts_total", "Items put into the memory tier.", MEMORY(inserts)},
        {"yatagarasu_memory_evicted_bytes_total", "Bytes evicted from the memory tier.",
            MEMORY(evicted_bytes)},
        {"yatagarasu_memory_ghost_hits_total", "Items put again soon after they were evicted.",
            MEMORY(ghost_hits)},
        {"yatagarasu_memory_exhausted_total", "Times that no memory could be had.", MEMORY(exhausted)},
        {"yatagarasu_memory_page_moves_total", "Pages moved between size classes.", MEMORY(page_moves)},
    };
    write_plain(m, memory, gauges, LEN(gauges), METRICS_GAUGE);
    write_plain(m, memory, counters, LEN(counters), METRICS_COUNTER);
}

static void write_drops(struct metrics_text *m, const struct disk_stats *disk)
{
    static const struct field reasons[] = {{"full", NULL, DISK(dropped_full)},
        {"admission", NULL, DISK(dropped_admission)}, {"budget", NULL, DISK(dropped_budget)},
        {"device", NULL, DISK(dropped_device)}, {"index", NULL, DISK(dropped_index)}};
    metrics_family(
        m, "yatagarasu_disk_drops_total", METRICS_COUNTER, "Items not written to disk, by reason.");
    for (size_t i = 0; i < LEN(reasons); i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "reason", reasons[i].name);
        metrics_value(m, value_at(disk, reasons[i].offset));
    }
}

static void write_disk_state(struct metrics_text *m, const struct metrics_source *source)
{
    const struct disk_stats *disk = source->disk;
    metrics_single(m, "yatagarasu_disk_attached", METRICS_GAUGE, "1 where the disk tier is in use.",
        source->disk_attached);
    metrics_single(m, "yatagarasu_disk_devices", METRICS_GAUGE, "Devices configured.", disk->devices);
    metrics_single(
        m, "yatagarasu_disk_devices_out", METRICS_GAUGE, "Devices taken out of use.", disk->devices_out);
    metrics_single(m, "yatagarasu_disk_recovering", METRICS_GAUGE, "Devices whose tables are being read.",
        disk->recovering);
    metrics_single(
        m, "yatagarasu_disk_direct", METRICS_GAUGE, "1 where the files bypass the page cache.", disk->direct);
}

static void write_disk(struct metrics_text *m, const struct disk_stats *disk)
{
    static const struct field gauges[] = {
        {"yatagarasu_disk_capacity_bytes", "Capacity of the disk tier.", DISK(capacity_bytes)},
        {"yatagarasu_disk_segments", "Segments of the disk tier.", DISK(segments)},
        {"yatagarasu_disk_index_bytes", "Memory of the index.", DISK(index_bytes)},
        {"yatagarasu_disk_memory_bytes", "Memory of the disk tier in all.", DISK(memory_bytes)},
        {"yatagarasu_disk_waiting_bytes", "Bytes waiting to be written.", DISK(waiting_bytes)},
        {"yatagarasu_disk_waiting_limit_bytes", "Bound on bytes waiting to be written.",
            DISK(waiting_limit_bytes)},
        {"yatagarasu_disk_reads_in_flight", "Reads of items that run.", DISK(reads_in_flight)},
    };
    static const struct field counters[] = {
        {"yatagarasu_disk_hits_total", "Items found on disk.", DISK(hits)},
        {"yatagarasu_disk_misses_total", "Items not found on disk.", DISK(misses)},
        {"yatagarasu_disk_false_hits_total", "Reads that found another key.", DISK(false_hits)},
        {"yatagarasu_disk_corrupt_total", "Reads that failed a checksum.", DISK(corrupt)},
        {"yatagarasu_disk_reads_total", "Reads of the device.", DISK(reads)},
        {"yatagarasu_disk_read_bytes_total", "Bytes read from the device.", DISK(read_bytes)},
        {"yatagarasu_disk_writes_total", "Writes of the device.", DISK(writes)},
        {"yatagarasu_disk_written_bytes_total", "Bytes written to the device.", DISK(written_bytes)},
        {"yatagarasu_disk_payload_bytes_total", "Bytes of items among the written ones.",
            DISK(payload_bytes)},
        {"yatagarasu_disk_puts_total", "Items handed over for writing.", DISK(puts)},
        {"yatagarasu_disk_put_bytes_total", "Bytes handed over for writing.", DISK(put_bytes)},
        {"yatagarasu_disk_carried_total", "Items carried forward.", DISK(carried)},
        {"yatagarasu_disk_reclaimed_segments_total", "Segments reclaimed.", DISK(reclaimed_segments)},
        {"yatagarasu_disk_io_errors_total", "Failed reads and writes.", DISK(io_errors)},
        {"yatagarasu_disk_recovered_items_total", "Items found again at the start.", DISK(recovered_items)},
    };
    write_plain(m, disk, gauges, LEN(gauges), METRICS_GAUGE);
    write_plain(m, disk, counters, LEN(counters), METRICS_COUNTER);
    write_drops(m, disk);
}

/* ---- the process ---- */

static void write_process(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(m, "yatagarasu_build_info", METRICS_GAUGE, "Version.");
    metrics_sample(m, NULL);
    metrics_label(m, "version", source->version);
    metrics_value(m, 1);
    metrics_family(m, "yatagarasu_io_driver_info", METRICS_GAUGE, "The driver in use and why.");
    metrics_sample(m, NULL);
    metrics_label(m, "driver", source->driver);
    metrics_label(m, "reason", source->driver_reason);
    metrics_value(m, 1);
    metrics_family(m, "uptime_seconds", METRICS_GAUGE, "Time since the start.");
    metrics_sample(m, NULL);
    metrics_seconds(m, source->uptime_ns);
    if (source->resident_bytes)
        metrics_single(m, "memory_usage_bytes", METRICS_GAUGE, "Resident memory of the process.",
            source->resident_bytes);
}

static void write_logs(struct metrics_text *m, const struct metrics_source *source)
{
    metrics_family(
        m, "yatagarasu_log_lines_dropped_total", METRICS_COUNTER, "Log lines dropped for a slow reader.");
    for (unsigned i = 0; i < source->log_count; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "log", source->logs[i].name);
        metrics_value(m, source->logs[i].dropped);
    }
    metrics_family(m, "yatagarasu_log_write_errors_total", METRICS_COUNTER, "Failed writes of log lines.");
    for (unsigned i = 0; i < source->log_count; i++) {
        metrics_sample(m, NULL);
        metrics_label(m, "log", source->logs[i].name);
        metrics_value(m, source->logs[i].write_errors);
    }
}

void metrics_write(struct writer *w, const struct metrics_source *source)
{
    struct metrics_text m = {.w = w};
    write_process(&m, source);
    write_proxy(&m, source);
    if (source->events)
        event_stats_write(&m, source->events);
    write_buckets(&m, source);
    write_origins(&m, source);
    write_servers(&m, source);
    write_loops(&m, source);
    write_layers(&m, source);
    if (source->memory)
        write_memory(&m, source->memory);
    if (source->disk) {
        write_disk_state(&m, source);
        write_disk(&m, source->disk);
    }
    write_logs(&m, source);
}
