/* Marks: what is found, for how long, and what goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/marks.h"

static int setup(void **state)
{
    return marks_create((struct marks **)state, 64 << 10);
}

static int teardown(void **state)
{
    marks_destroy(*state);
    return 0;
}

static struct mark mark_of(enum mark_kind kind, uint32_t until_s)
{
    return (struct mark){.kind = kind, .status = 404, .made_s = 100, .until_s = until_s};
}

static void put(struct marks *marks, const char *key, uint32_t until_s)
{
    struct mark mark = mark_of(MARK_NEGATIVE, until_s);
    marks_put(marks, bytes_of_string(key), &mark, marks_generation(marks), 100);
}

static enum mark_kind found(struct marks *marks, const char *key, uint32_t now_s)
{
    return marks_find(marks, bytes_of_string(key), now_s).kind;
}

static void test_found_until_it_ends(void **state)
{
    struct marks *marks = *state;
    put(marks, "a", 110);
    assert_int_equal(found(marks, "a", 109), MARK_NEGATIVE);
    assert_int_equal(marks_find(marks, BYTES("a"), 100).status, 404);
    assert_int_equal(marks_find(marks, BYTES("a"), 100).made_s, 100);
    assert_int_equal(found(marks, "a", 110), MARK_NONE);
    assert_int_equal(found(marks, "b", 100), MARK_NONE);
    put(marks, "c", 100);
    assert_int_equal(found(marks, "c", 99), MARK_NONE);
}

static void test_replaced_and_removed(void **state)
{
    struct marks *marks = *state;
    struct mark pass = mark_of(MARK_PASS, 160);
    put(marks, "a", 110);
    marks_put(marks, BYTES("a"), &pass, marks_generation(marks), 100);
    assert_int_equal(found(marks, "a", 150), MARK_PASS);
    marks_remove(marks, BYTES("a"));
    assert_int_equal(found(marks, "a", 100), MARK_NONE);
    marks_remove(marks, BYTES("a"));
}

/* What was asked before marks were cleared makes none. */
static void test_cleared(void **state)
{
    struct marks *marks = *state;
    struct mark late = mark_of(MARK_NEGATIVE, 200);
    uint64_t before = marks_generation(marks);
    put(marks, "a", 110);
    marks_clear(marks);
    assert_int_equal(found(marks, "a", 100), MARK_NONE);
    marks_put(marks, BYTES("b"), &late, before, 100);
    assert_int_equal(found(marks, "b", 100), MARK_NONE);
    put(marks, "b", 110);
    assert_int_equal(found(marks, "b", 100), MARK_NEGATIVE);
}

/* A scan fills the table and no more; the marks that last longest stay: four of them, because they may share
 * a set. */
static void test_scan(void **state)
{
    struct marks *marks = *state;
    unsigned kept = 0;
    char key[16];
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof key, "long %u", i);
        put(marks, key, 1000);
    }
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        put(marks, key, 110);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof key, "long %u", i);
        kept += found(marks, key, 100) == MARK_NEGATIVE;
    }
    assert_int_equal(kept, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found_until_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cleared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
