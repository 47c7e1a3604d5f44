#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cache/admission.h"

static struct admission admission;

static void always(void **state)
{
    (void)state;
    admission_init(&admission, false, 0);
    assert_true(admission_seen(&admission, 1));
    assert_true(admission_spend(&admission, UINT64_C(1) << 40, 0));
}

static void second_request(void **state)
{
    (void)state;
    admission_init(&admission, true, 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_false(admission_seen(&admission, i << 32 | i));
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(admission_seen(&admission, i << 32 | i));
}

/* 10 MB/s: a burst of one second, then what has come in since. */
static void budget(void **state)
{
    (void)state;
    static const struct {
        uint64_t at_ms, bytes;
        bool granted;
    } rows[] = {{0, 10000000, true}, {0, 1, false}, {100, 1000001, false}, {100, 1000000, true},
        {100, 1, false}, {5000, 10000001, false}, {5000, 9000000, true}, {5000, 1000000, true},
        {5000, 1000000, false}};
    admission_init(&admission, false, 10000000);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(
            admission_spend(&admission, rows[i].bytes, rows[i].at_ms * NS_PER_MS), rows[i].granted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(always), cmocka_unit_test(second_request), cmocka_unit_test(budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
