/* The fake origin does what its script says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/fake.h"
#include "rig.h"

static struct origin *origin;

static int setup(void **state)
{
    static struct rig rig;
    rig_init(&rig);
    assert_int_equal(origin_create_fake(&origin, "bucket", &(struct fake_options){.piece_bytes = 1000}), 0);
    fake_put(origin, "hello", BYTES("hello, world"), "\"h1\"",
        "Content-Type: text/plain\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    fake_put_pattern(origin, "large", 10000, 3, "\"l1\"", NULL);
    fake_put(origin, "empty", BYTES(""), "", NULL);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    origin_destroy(origin);
    return 0;
}

static void test_objects(void **state)
{
    struct caught hello = {.take_max = 5}, large = {.take_max = 333}, empty = {0}, none = {0};
    caught_run(&hello, *state, origin, "hello");
    assert_int_equal(hello.fetch.error, 0);
    assert_memory_equal(hello.bytes, "hello, world", 12);
    assert_string_equal(hello.etag, "\"h1\"");
    assert_string_equal(hello.last_modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_non_null(strstr(hello.fields, "Content-Type: text/plain\n"));
    caught_run(&large, *state, origin, "large");
    assert_int_equal(large.len, 10000);
    for (size_t i = 0; i < large.len; i++)
        assert_int_equal(large.bytes[i], fake_byte(3, i));
    caught_run(&empty, *state, origin, "empty");
    assert_int_equal(empty.status, 200);
    assert_int_equal(empty.len, 0);
    caught_run(&none, *state, origin, "none");
    assert_int_equal(none.fetch.error, E_MISSING);
    assert_int_equal(fake_counts(origin, NULL).fetches, 4);
    assert_int_equal(fake_counts(origin, "large").bytes, 10000);
    assert_int_equal(fake_counts(origin, NULL).running, 0);
    caught_free(&hello);
    caught_free(&large);
    caught_free(&empty);
}

static void test_requests(void **state)
{
    struct caught part = {.fetch.request = {.ranged = true, .first = 9990, .last = ORIGIN_TO_END}};
    caught_run(&part, *state, origin, "large");
    assert_int_equal(part.status, 206);
    assert_int_equal(part.len, 10);
    assert_int_equal(part.bytes[0], fake_byte(3, 9990));
    caught_free(&part);
    struct caught same = {.fetch.request.if_none_match = BYTES("\"l1\"")};
    caught_run(&same, *state, origin, "large");
    assert_int_equal(same.status, 304);
    struct caught other = {.fetch.request.if_match = BYTES("\"l0\"")};
    caught_run(&other, *state, origin, "large");
    assert_int_equal(other.fetch.error, E_CHANGED);
    struct caught head = {.fetch.request.head_only = true};
    caught_run(&head, *state, origin, "large");
    assert_int_equal(head.content_length, 10000);
    assert_int_equal(head.len, 0);
}

static void test_scripts(void **state)
{
    fake_script(
        origin, "large", &(struct fake_script){.error = E_EXHAUSTED, .retry_after_s = 7, .fetches = 1});
    struct caught first = {0}, second = {0};
    caught_run(&first, *state, origin, "large");
    assert_int_equal(first.fetch.error, E_EXHAUSTED);
    assert_int_equal(first.fetch.status, 503);
    assert_int_equal(first.fetch.retry_after_s, 7);
    assert_int_equal(first.heads, 0);
    caught_run(&second, *state, origin, "large");
    assert_int_equal(second.fetch.error, 0);
    caught_free(&second);

    fake_script(origin, "large",
        &(struct fake_script){.error = E_TRUNCATED, .after_head = true, .break_after = 2500});
    struct caught broken = {0};
    caught_run(&broken, *state, origin, "large");
    assert_int_equal(broken.fetch.error, E_TRUNCATED);
    assert_int_equal(broken.len, 2500);
    caught_free(&broken);

    fake_script(origin, "large", &(struct fake_script){.ignore_range = true, .no_length = true});
    struct caught whole = {.fetch.request = {.ranged = true, .first = 1, .last = 2}};
    caught_run(&whole, *state, origin, "large");
    assert_int_equal(whole.status, 200);
    assert_int_equal(whole.len, 10000);
    assert_true(whole.content_length == UINT64_MAX);
    caught_free(&whole);

    fake_script(origin, "large", &(struct fake_script){.hang = true});
    struct caught hung = {0};
    caught_start(&hung, *state, origin, "large");
    rig_turn_for(*state, 20 * NS_PER_MS);
    assert_int_equal(hung.heads + hung.dones, 0);
    origin_fetch_cancel(&hung.fetch);
    caught_wait(&hung);
    assert_int_equal(hung.fetch.error, E_CANCELED);
}

/* A new version does not touch what is being read. */
static void test_new_version(void **state)
{
    struct rig *rig = *state;
    struct caught old = {.take_max = 100}, new = {0};
    caught_start(&old, rig, origin, "large");
    while (old.len < 100)
        io_loop_turn(rig->loop, NS_PER_MS);
    fake_put_pattern(origin, "large", 500, 4, "\"l2\"", NULL);
    caught_wait(&old);
    assert_int_equal(old.len, 10000);
    assert_int_equal(old.bytes[9999], fake_byte(3, 9999));
    caught_run(&new, rig, origin, "large");
    assert_int_equal(new.len, 500);
    assert_string_equal(new.etag, "\"l2\"");
    caught_free(&old);
    caught_free(&new);
}

static void test_stop(void **state)
{
    struct rig rig;
    struct caught caught = {.take_max = 1};
    (void)state;
    rig_init(&rig);
    caught_start(&caught, &rig, origin, "large");
    while (!caught.paused)
        io_loop_turn(rig.loop, NS_PER_MS);
    rig_deinit(&rig);
    assert_int_equal(caught.dones, 1);
    assert_int_equal(caught.fetch.error, E_CANCELED);
    caught_free(&caught);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scripts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
