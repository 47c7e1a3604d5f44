#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after those, as it demands */
#include <cmocka.h>

#include "http/fields.h"
#include "http/response.h"

static struct http_field lines[] = {
    {BYTES("Host"), BYTES("h")},
    {BYTES("accept"), BYTES("a, \"b,c\" ,, d\t")},
    {BYTES("X"), BYTES("")},
    {BYTES("ACCEPT"), BYTES(",")},
    {BYTES("Accept"), BYTES("\"e\\\",f\", g")},
    {BYTES("Accept-Not"), BYTES("no")},
};
static const struct http_fields fields = {lines, sizeof lines / sizeof lines[0]};

static void test_find(void **state)
{
    (void)state;
    const struct http_field *field = http_fields_find(&fields, BYTES("Accept"));
    assert_ptr_equal(field, &lines[1]);
    field = http_fields_next(&fields, field);
    assert_ptr_equal(field, &lines[3]);
    field = http_fields_next(&fields, field);
    assert_ptr_equal(field, &lines[4]);
    assert_null(http_fields_next(&fields, field));
    assert_null(http_fields_find(&fields, BYTES("Accep")));
    assert_int_equal(http_fields_count(&fields, BYTES("ACCEPT")), 3);
    assert_int_equal(http_fields_count(&fields, BYTES("nothing")), 0);
    assert_null(http_fields_value(&fields, BYTES("nothing")).ptr);
    assert_non_null(http_fields_value(&fields, BYTES("x")).ptr);
    assert_int_equal(http_fields_value(&fields, BYTES("x")).len, 0);
    assert_null(http_fields_find(&(struct http_fields){NULL, 0}, BYTES("x")));
}

static void test_list(void **state)
{
    static const char *const members[] = {"a", "\"b,c\"", "d", "\"e\\\",f\"", "g"};
    struct http_list list = http_list_of(&fields, BYTES("accept"));
    struct bytes member;
    (void)state;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        assert_true(http_list_next(&list, &member));
        assert_true(bytes_equal(member, bytes_of_string(members[i])));
    }
    assert_false(http_list_next(&list, &member));
    assert_false(http_list_next(&list, &member));
    assert_true(http_list_has(http_list_of(&fields, BYTES("accept")), BYTES("G")));
    assert_false(http_list_has(http_list_of(&fields, BYTES("accept")), BYTES("b")));
    assert_false(http_list_has(http_list_of(&fields, BYTES("nothing")), BYTES("a")));
    assert_true(http_list_has(http_list_of_value(BYTES(" x ,y")), BYTES("x")));
    assert_false(http_list_has(http_list_of_value(BYTES("")), BYTES("")));
    assert_true(http_list_has(http_list_of_value(BYTES("a, \"open")), BYTES("\"open")));
    assert_true(http_list_has(http_list_of_value(BYTES("\"\\")), BYTES("\"\\")));
}

static void test_characters(void **state)
{
    static const char tchars[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t)c;
        bool token = c != 0 && memchr(tchars, (int)c, sizeof tchars - 1) != NULL;
        bool value = c == '\t' || (c >= ' ' && c != 0x7F);
        assert_int_equal(http_is_token(bytes_of(&byte, 1)), token);
        assert_int_equal(http_is_field_value(bytes_of(&byte, 1)), value);
    }
    assert_false(http_is_token(BYTES("")));
    assert_true(http_is_field_value(BYTES("")));
}

static void test_responses(void **state)
{
    char buf[200];
    struct writer w = writer_of(buf, sizeof buf);
    (void)state;
    http_write_field(&w, BYTES("A"), BYTES("b"));
    http_write_field_u64(&w, BYTES("Age"), 18446744073709551615u);
    assert_true(bytes_equal(writer_bytes(&w), BYTES("A: b\r\nAge: 18446744073709551615\r\n")));
    w = writer_of(buf, sizeof buf);
    http_write_error_body(&w, 404, BYTES("no \"x\""));
    assert_true(bytes_equal(
        writer_bytes(&w), BYTES("{\"error\":\"Not Found\",\"message\":\"no \\\"x\\\"\",\"status\":404}\n")));
    assert_int_equal(http_reason(299).len, 0);
    assert_true(bytes_equal(http_reason(416), BYTES("Range Not Satisfiable")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_list),
        cmocka_unit_test(test_characters), cmocka_unit_test(test_responses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
