/* Structured fields, RFC 9651: a few of each rule; structured_vectors.py has the working group's thousand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/structured.h"

static const struct {
    enum structured_kind kind;
    const char *field;
    bool valid;
} rows[] = {
    {STRUCTURED_ITEM, "", false},
    {STRUCTURED_LIST, "", true},
    {STRUCTURED_DICTIONARY, " ", true},
    {STRUCTURED_ITEM, " 1 ", true},
    {STRUCTURED_ITEM, "\t1", false},
    {STRUCTURED_ITEM, "1, 2", false},
    {STRUCTURED_ITEM, "999999999999999", true},
    {STRUCTURED_ITEM, "9999999999999999", false},
    {STRUCTURED_ITEM, "-", false},
    {STRUCTURED_ITEM, "123456789012.125", true},
    {STRUCTURED_ITEM, "1234567890123.1", false},
    {STRUCTURED_ITEM, "1.2345", false},
    {STRUCTURED_ITEM, "1.", false},
    {STRUCTURED_ITEM, "@1.5", false},
    {STRUCTURED_ITEM, "\"a\\\"b\"", true},
    {STRUCTURED_ITEM, "\"a\\b\"", false},
    {STRUCTURED_ITEM, "\"a", false},
    {STRUCTURED_ITEM, "?2", false},
    {STRUCTURED_ITEM, "%\"f%c3%bc\"", true},
    {STRUCTURED_ITEM, "%\"f%C3%BC\"", false},
    {STRUCTURED_ITEM, "%\"f%c3\"", false},
    {STRUCTURED_ITEM, ":YQ==:", true},
    {STRUCTURED_ITEM, ":Y:", false},
    {STRUCTURED_LIST, "a, (b c;x=1);y , d", true},
    {STRUCTURED_LIST, "a,", false},
    {STRUCTURED_LIST, "a b", false},
    {STRUCTURED_LIST, "(a(b))", false},
    {STRUCTURED_LIST, "(a", false},
    {STRUCTURED_DICTIONARY, "a=1, b, c=(1 2)", true},
    {STRUCTURED_DICTIONARY, "A=1", false},
    {STRUCTURED_DICTIONARY, "a=", false},
};

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (structured_check(rows[i].kind, bytes_of_string(rows[i].field)) != rows[i].valid)
            fail_msg("'%s'", rows[i].field);
}

static bool text_is(struct bytes text, const char *expected)
{
    return bytes_equal(text, bytes_of_string(expected));
}

static void test_walk(void **state)
{
    struct bytes field = BYTES("a=-1.5;p;q=?0, b , c=(x \"y\\\\\");z"), key;
    struct structured_member member, item;
    struct structured_value value;
    uint8_t buf[16];
    (void)state;
    assert_true(structured_check(STRUCTURED_DICTIONARY, field));
    assert_true(structured_next_member(STRUCTURED_DICTIONARY, &field, &member));
    assert_true(text_is(member.key, "a") && member.value.type == STRUCTURED_DECIMAL);
    assert_int_equal(member.value.number, -1500);
    assert_true(structured_next_parameter(&member.parameters, &key, &value));
    assert_true(text_is(key, "p") && value.type == STRUCTURED_BOOLEAN && value.number == 1);
    assert_true(structured_next_parameter(&member.parameters, &key, &value));
    assert_true(text_is(key, "q") && value.number == 0);
    assert_false(structured_next_parameter(&member.parameters, &key, &value));
    assert_true(structured_next_member(STRUCTURED_DICTIONARY, &field, &member));
    assert_true(text_is(member.key, "b") && member.value.number == 1);
    assert_true(structured_next_member(STRUCTURED_DICTIONARY, &field, &member));
    assert_true(member.value.type == STRUCTURED_INNER && text_is(member.parameters, ";z"));
    assert_true(structured_next_inner(&member.value.text, &item) && text_is(item.value.text, "x"));
    assert_true(structured_next_inner(&member.value.text, &item));
    assert_true(text_is(structured_decode(&item.value, buf), "y\\"));
    assert_false(structured_next_inner(&member.value.text, &item));
    assert_false(structured_next_member(STRUCTURED_DICTIONARY, &field, &member));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
