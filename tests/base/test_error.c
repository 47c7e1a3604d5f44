/* Texts of both kinds of results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>

#include "base/error.h"

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(error_text(E_TIMEOUT), "the deadline passed");
    assert_string_equal(error_text(-ENOSPC), "No space left on device");
    assert_string_equal(error_text(0), "success");
    assert_string_equal(error_text(-4000), "unknown error");
    assert_non_null(error_text(INT_MIN + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
