/* The arena: its first block without the heap, then the heap up to the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>

#include "base/arena.h"

static alignas(16) unsigned char first[256];

static void test_first_block(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, first, sizeof first, 0);
    unsigned char *a = arena_take(&arena, 1), *b = arena_take(&arena, 100), *c = arena_take(&arena, 128);
    assert_ptr_equal(a, first);
    assert_ptr_equal(b, first + 16);
    assert_ptr_equal(c, first + 128);
    assert_null(arena_take(&arena, 1)); /* full, and no heap allowed */
    arena_reset(&arena);
    assert_ptr_equal(arena_take(&arena, sizeof first), first);
    arena_reset(&arena);
}

static void test_heap_and_bound(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, first, sizeof first, 4096);
    unsigned char *big = arena_take(&arena, 2000);
    assert_non_null(big);
    assert_int_equal((uintptr_t)big & 15, 0);
    memset(big, 0xAA, 2000);
    assert_ptr_equal(arena_take(&arena, 16), first); /* the first block still serves what fits */
    assert_non_null(arena_take(&arena, 1900));
    assert_null(arena_take(&arena, 1000)); /* past the bound */
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_null(arena_take(&arena, SIZE_MAX / 2));
    arena_reset(&arena);
    assert_int_equal(arena.heap_bytes, 0);
    assert_non_null(arena_take(&arena, 3000)); /* the bound is free again */
    arena_reset(&arena);
}

static void test_copy(void **state)
{
    struct arena arena;
    char text[] = "hello";
    (void)state;
    arena_init(&arena, first, sizeof first, 0);
    struct bytes copy = arena_copy(&arena, bytes_of(text, 5));
    text[0] = 'j';
    assert_true(bytes_equal(copy, BYTES("hello")));
    assert_non_null(arena_copy(&arena, BYTES("")).ptr);
    struct bytes none = arena_copy(&arena, bytes_of(first, sizeof first));
    assert_null(none.ptr);
    assert_int_equal(none.len, 0);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_block),
        cmocka_unit_test(test_heap_and_bound),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
