/* The intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct list_node node;
};

static int pop(struct list_node *head)
{
    struct list_node *node = list_pop_front(head);
    return node ? CONTAINER_OF(node, struct item, node)->number : -1;
}

static void test_order(void **state)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list_node head;
    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_int_equal(pop(&head), -1);
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[3].node);
    list_push_front(&head, &items[0].node);
    list_insert_before(&items[3].node, &items[2].node);
    assert_false(list_empty(&head));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pop(&head), i);
    assert_true(list_empty(&head));
}

static void test_remove(void **state)
{
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    struct list_node head;
    (void)state;
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_push_back(&head, &items[i].node);
    assert_true(list_linked(&items[1].node));
    list_remove(&items[1].node);
    assert_false(list_linked(&items[1].node));
    list_push_back(&head, &items[1].node); /* a removed node may go in again */
    assert_int_equal(pop(&head), 0);
    assert_int_equal(pop(&head), 2);
    assert_int_equal(pop(&head), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
