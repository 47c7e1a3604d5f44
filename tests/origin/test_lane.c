/* Lanes: so many at a time, the others in order, whoever gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "origin/lane.h"

static void test_order(void **state)
{
    struct origin_client client = {0};
    struct origin first = {.pool_size = 2}, second = {.pool_size = 1};
    struct lane_place places[5] = {0}, other = {0};
    (void)state;
    list_init(&client.lanes);
    assert_int_equal(lane_enter(&client, &first, &places[0]), 1);
    assert_int_equal(lane_enter(&client, &first, &places[1]), 1);
    assert_int_equal(lane_enter(&client, &first, &places[2]), 0);
    assert_int_equal(lane_enter(&client, &first, &places[3]), 0);
    assert_int_equal(lane_enter(&client, &first, &places[4]), 0);
    assert_int_equal(lane_enter(&client, &second, &other), 1);
    assert_null(lane_leave(&places[3])); /* gives up while it waits */
    assert_ptr_equal(lane_leave(&places[1]), &places[2]);
    assert_ptr_equal(lane_leave(&places[2]), &places[4]);
    assert_int_equal(lane_enter(&client, &first, &places[1]), 0);
    assert_ptr_equal(lane_leave(&places[0]), &places[1]);
    assert_null(lane_leave(&places[4]));
    assert_null(lane_leave(&places[4])); /* in none */
    assert_null(lane_leave(&other));
    assert_null(lane_leave(&places[1]));
    assert_true(list_empty(&client.lanes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
