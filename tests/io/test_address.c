/* io/address.c: text to address and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after those */
#include <cmocka.h>

#include "io/io.h"

static const struct {
    const char *host;
    uint16_t port;
    const char *text; /* NULL: refused */
    bool loopback;
} table[] = {
    {"127.0.0.1", 80, "127.0.0.1:80", true},
    {"127.255.0.9", 0, "127.255.0.9:0", true},
    {"10.1.2.3", 65535, "10.1.2.3:65535", false},
    {"0.0.0.0", 8080, "0.0.0.0:8080", false},
    {"::1", 443, "[::1]:443", true},
    {"::", 1, "[::]:1", false},
    {"2001:DB8::7", 9000, "[2001:db8::7]:9000", false},
    {"::ffff:127.0.0.1", 5, "[::ffff:127.0.0.1]:5", true},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 65535,
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false},
    {"", 80, NULL, false},
    {"localhost", 80, NULL, false},
    {"1.2.3", 80, NULL, false},
    {"1.2.3.256", 80, NULL, false},
    {"01.2.3.4 ", 80, NULL, false},
    {"[::1]", 80, NULL, false},
    {"::1%lo", 80, NULL, false},
    {":::", 80, NULL, false},
};

static void test_parse_and_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct io_address address;
        char text[IO_ADDRESS_TEXT];
        int result = io_address_parse(&address, table[i].host, table[i].port);
        if (table[i].text == NULL) {
            assert_true(result < 0);
            continue;
        }
        assert_int_equal(result, 0);
        io_address_format(&address, text);
        assert_string_equal(text, table[i].text);
        assert_int_equal(io_address_port(&address), table[i].port);
        assert_int_equal(io_address_is_loopback(&address), table[i].loopback);
    }
}

static void test_unknown_family(void **state)
{
    struct io_address address = {0};
    char text[IO_ADDRESS_TEXT];
    (void)state;
    io_address_format(&address, text);
    assert_string_equal(text, "?");
    assert_int_equal(io_address_port(&address), 0);
    assert_false(io_address_is_loopback(&address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_format),
        cmocka_unit_test(test_unknown_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
