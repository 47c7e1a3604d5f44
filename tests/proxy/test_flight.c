/*
 * What another worker may see while a flight's leader is between two steps. The linker puts a step of ours in
 * place of marks_remove(), which a leader calls after it has put a head and before the flight shows it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/fake.h"
#include "proxy/flight.h"
#include "proxy/marks.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"

#define KEY "object"
#define LEN (UINT64_C(5) << 20)

static struct stage {
    struct io *io;
    struct io_loop *loop;
    struct memory *memory;
    struct cache *cache;
    struct proxy *proxy;
    struct proxy_worker *worker;
    struct settings settings;
    struct bucket_settings bucket;
    struct flight_spec spec;
    uint8_t identity[ITEM_KEY_MAX];
    struct flight_waiter leader, finder;
    unsigned heads_found;
    bool varies;
    enum flight_entry entry; /* of who found the head */
} stage;

/* Where the object has variants that of the one for no fields at all, and its identity. */
static struct item *look_up_head(uint8_t buf[ITEM_KEY_MAX], struct bytes *identity)
{
    *identity = stage.spec.identity;
    struct item *vary = cache_find(stage.cache, identity_vary_key(*identity));
    stage.varies = vary != NULL;
    struct variant variant;
    if (vary != NULL) {
        assert_int_equal(variant_decode(&variant, vary), 0);
        assert_true(variant_identity(buf, stage.spec.identity, &variant, &stage.spec.fields, identity));
    }
    item_unref(&vary);
    return cache_find(stage.cache, identity_head_key(*identity));
}

/* It finds the head, and asks for the body's first chunk. */
static void find_head(void)
{
    uint8_t buf[ITEM_KEY_MAX];
    struct bytes identity;
    struct item *item = look_up_head(buf, &identity);
    if (item == NULL || stage.heads_found++ > 0) {
        item_unref(&item);
        return;
    }
    struct head head;
    struct arena arena;
    arena_init(&arena, NULL, 0, 1u << 20);
    assert_int_equal(head_decode(&head, item, &arena), 0);
    struct flight_spec spec = stage.spec;
    spec.identity = identity;
    spec.go_on = spec.ranged = true;
    spec.stored = &head;
    spec.last = head.body_len - 1;
    stage.entry = flight_enter(stage.worker, &spec, &stage.finder);
    arena_reset(&arena);
    item_unref(&item);
}

void __real_marks_remove(struct marks *marks, struct bytes identity);
void __wrap_marks_remove(struct marks *marks, struct bytes identity);

void __wrap_marks_remove(struct marks *marks, struct bytes identity)
{
    __real_marks_remove(marks, identity);
    find_head();
}

static int set_up(void **state)
{
    (void)state;
    stage = (struct stage){0};
    struct io_report report;
    struct io_config config = {.choice = IO_PORTABLE};
    assert_int_equal(io_create(&stage.io, &config, &report), 0);
    assert_int_equal(io_loop_create(stage.io, &stage.loop), 0);
    stage.bucket = (struct bucket_settings){.name = "b",
        .path_prefix = "/b",
        .origin = {.name = "b", .endpoint = "file:///nonexistent", .bucket = "b"},
        .caching = {.enabled = true, .ttl_s = 3600},
        .max_item_bytes = UINT64_MAX};
    stage.settings = (struct settings){.buckets = &stage.bucket,
        .bucket_count = 1,
        .cache = {.enabled = true, .memory = true, .memory_item_bytes = UINT64_MAX, .chunk_bytes = 1u << 20}};
    struct memory_config memory = {.budget_bytes = UINT64_C(64) << 20};
    assert_int_equal(memory_create(&stage.memory, &memory), 0);
    assert_int_equal(cache_create(&stage.cache, stage.memory, NULL), 0);
    assert_int_equal(cache_join(stage.cache, stage.loop), 0);
    const char *why;
    struct proxy_parts parts = {.settings = &stage.settings, .io = stage.io, .cache = stage.cache};
    assert_int_equal(proxy_create(&stage.proxy, &parts, &why), 0);
    struct origin *origin;
    assert_int_equal(origin_create_fake(&origin, "b", &(struct fake_options){0}), 0);
    fake_put_pattern(origin, KEY, LEN, 1, "\"v\"", NULL);
    struct bucket *bucket = &stage.proxy->buckets[0];
    origin_destroy(bucket->origin);
    bucket->origin = origin;
    assert_int_equal(proxy_worker_create(&stage.worker, stage.proxy, stage.loop), 0);
    stage.spec = (struct flight_spec){
        .bucket = bucket, .caching = &bucket->settings->caching, .key = BYTES(KEY), .last = ORIGIN_TO_END};
    struct bytes none = {0};
    assert_true(
        identity_write(stage.identity, BYTES("e"), BYTES("b"), BYTES(KEY), none, &stage.spec.identity));
    stage.spec.base_identity = stage.spec.identity;
    return 0;
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static void turn_until(const bool *flag)
{
    for (unsigned turns = 0; !*flag; turns++) {
        assert_true(turns < 10000);
        io_loop_turn(stage.loop, NS_PER_MS);
    }
}

static int tear_down(void **state)
{
    (void)state;
    bool stopped = false, left = false;
    proxy_worker_stop(stage.worker, set_flag, &stopped);
    turn_until(&stopped);
    cache_leave(stage.cache, stage.loop, set_flag, &left);
    turn_until(&left);
    proxy_worker_destroy(stage.worker);
    assert_int_equal(io_loop_destroy(stage.loop, NS_PER_S), 0);
    proxy_destroy(stage.proxy);
    cache_destroy(stage.cache);
    memory_destroy(stage.memory);
    return io_destroy(stage.io);
}

static void wake(struct flight_waiter *waiter)
{
    (void)waiter;
}

/* To its end, then it leaves. */
static void read_all(struct flight_waiter *waiter)
{
    struct flight_bytes bytes;
    for (uint64_t at = 0; at < LEN;) {
        enum flight_sight sight = flight_see_bytes(waiter, at, &bytes);
        assert_true(sight == FLIGHT_WAIT || sight == FLIGHT_READY);
        if (sight == FLIGHT_WAIT) {
            io_loop_turn(stage.loop, NS_PER_MS);
            continue;
        }
        at += bytes.len;
        item_unref(&bytes.item);
    }
    flight_leave(waiter);
}

/* Or it would lead a flight of its own, the first one would end for it, and what that had been sent would be
 * lost. */
static void who_finds_the_head_joins_the_flight(void **state)
{
    (void)state;
    stage.leader = stage.finder = (struct flight_waiter){.wake = wake, .loop = stage.loop};
    assert_int_equal(flight_enter(stage.worker, &stage.spec, &stage.leader), FLIGHT_LED);
    for (unsigned turns = 0; stage.heads_found == 0; turns++) {
        assert_true(turns < 10000);
        io_loop_turn(stage.loop, NS_PER_MS);
    }
    assert_int_equal(stage.entry, FLIGHT_JOINED);
    read_all(&stage.finder);
    read_all(&stage.leader);
    assert_int_equal(fake_counts(stage.spec.bucket->origin, KEY).fetches, 1);
}

/* The head stands under the variant's identity then, and the flight is known by the object's. */
static void who_finds_a_variants_head_joins_the_flight(void **state)
{
    stage.bucket.caching.generic = true;
    fake_put_pattern(stage.spec.bucket->origin, KEY, LEN, 1, "\"v\"", "Vary: Accept\r\n");
    who_finds_the_head_joins_the_flight(state);
    assert_true(stage.varies);
}

/* Of whom a flight has answered between their look at the store and their asking. */
static void what_was_renewed_is_not_asked_about_again(void **state)
{
    (void)state;
    stage.heads_found = 1; /* nobody else is there */
    stage.leader = (struct flight_waiter){.wake = wake, .loop = stage.loop};
    assert_int_equal(flight_enter(stage.worker, &stage.spec, &stage.leader), FLIGHT_LED);
    read_all(&stage.leader);
    struct item_key key = identity_head_key(stage.spec.identity);
    struct item *stale = cache_find(stage.cache, key);
    assert_non_null(stale);
    struct head head;
    struct arena arena;
    arena_init(&arena, NULL, 0, 1u << 20);
    assert_int_equal(head_decode(&head, stale, &arena), 0);
    struct flight_spec spec = stage.spec;
    spec.revalidate = spec.look_again = true;
    spec.stored = &head;
    spec.stored_item = stale;
    for (unsigned times = 0; times < 2; times++) {
        flight_enter_alone(stage.worker, &spec);
        for (unsigned turns = 0; turns < 100; turns++)
            io_loop_turn(stage.loop, NS_PER_MS);
        assert_int_equal(fake_counts(stage.spec.bucket->origin, KEY).fetches, 2);
    }
    assert_int_equal(flight_enter(stage.worker, &spec, &stage.leader), FLIGHT_STORED);
    struct item *fresh = cache_find(stage.cache, key);
    assert_ptr_not_equal(fresh, stale);
    spec.stored_item = fresh;
    assert_int_equal(flight_enter(stage.worker, &spec, &stage.leader), FLIGHT_LED);
    flight_leave(&stage.leader);
    item_unref(&fresh);
    item_unref(&stale);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_finds_the_head_joins_the_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_finds_a_variants_head_joins_the_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_renewed_is_not_asked_about_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
