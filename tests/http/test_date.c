/* HTTP dates, RFC 9110 5.6.7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/random.h"
#include "http/date.h"

#define NOW INT64_C(1700000000) /* 2023-11-14 */
#define EXAMPLE INT64_C(784111777)

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE}, {"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE},
        {"Sun Nov  6 08:49:37 1994", EXAMPLE}, {"Wed Nov 16 08:49:37 1994", EXAMPLE + 10 * 86400},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0}, {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600}, {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
        {"Fri, 31 Dec 2038 23:59:60 GMT", 2177452800},
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
        {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200)},
        {"Wednesday, 01-Jan-20 00:00:00 GMT", 1577836800},
        {"Sunday, 01-Jan-73 00:00:00 GMT", INT64_C(3250454400)}, /* 2073: within 50 years of NOW */
        {"Tuesday, 01-Jan-74 00:00:00 GMT", INT64_C(126230400)}, /* 1974: 2074 is beyond */
        {"Friday, 31-Dec-99 23:59:59 GMT", INT64_C(946684799)},
        {"Monday, 13-Nov-73 22:13:20 GMT", INT64_C(3277836800)}, /* 2073-11-13, a day inside of 50 years */
        {"Monday, 15-Nov-73 22:13:20 GMT", INT64_C(122249600)},  /* 1973-11-15, a day outside */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds = 0;
        if (!date_parse(bytes_of_string(cases[i].text), NOW, &seconds) || seconds != cases[i].seconds)
            fail_msg("'%s' is %lld", cases[i].text, (long long)seconds);
    }
}

static void test_parse_refuses(void **state)
{
    static const char *const cases[] = {"", "0", "-1", "Sun", "Sun, 06 Nov 1994 08:49:37",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 gmt", "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1994 08:49:37 GMT", "Sun, 29 Feb 1900 08:49:37 GMT", "Sun, 30 Feb 2000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 6-Nov-94 08:49:37 GMT", "Funday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994", "Sun Nov 06 08:49:37 1994 ", "Sun Nov  6 08:49:37 94",
        "1994-11-06T08:49:37Z", "Sun, +6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds;
        if (date_parse(bytes_of_string(cases[i]), NOW, &seconds))
            fail_msg("'%s' was accepted", cases[i]);
    }
}

/* 29 February with two digits: the year that has one. */
static void test_two_digit_leap_day(void **state)
{
    int64_t seconds;
    (void)state;
    assert_true(date_parse(BYTES("Thursday, 29-Feb-24 00:00:00 GMT"), 1709164800, &seconds));
    assert_int_equal(seconds, 1709164800);
    assert_false(date_parse(BYTES("Thursday, 29-Feb-23 00:00:00 GMT"), 1709164800, &seconds));
}

static void assert_formats_as(int64_t seconds, const char *want)
{
    uint8_t text[DATE_LEN];
    date_format(seconds, text);
    if (memcmp(text, want, DATE_LEN) != 0)
        fail_msg("%lld: got %.29s, want %s", (long long)seconds, (const char *)text, want);
}

static void test_format(void **state)
{
    (void)state;
    assert_formats_as(EXAMPLE, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_formats_as(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_formats_as(-1, "Wed, 31 Dec 1969 23:59:59 GMT");
    assert_formats_as(951825600, "Tue, 29 Feb 2000 12:00:00 GMT");
    assert_formats_as(INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_formats_as(INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT");
}

/* Against the C library, and back through the parser. */
static void test_round_trip(void **state)
{
    struct random random;
    random_init(&random, 1);
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t seconds = (int64_t)random_below(&random, UINT64_C(315569519999)) - INT64_C(62167219200), back;
        uint8_t text[DATE_LEN];
        char want[64];
        time_t time = seconds;
        struct tm civil;
        gmtime_r(&time, &civil);
        strftime(want, sizeof want, "%a, %d %b ", &civil);
        size_t len = strlen(want);
        snprintf(want + len, sizeof want - len, "%04d %02d:%02d:%02d GMT", civil.tm_year + 1900,
            civil.tm_hour, civil.tm_min, civil.tm_sec);
        date_format(seconds, text);
        assert_memory_equal(text, want, DATE_LEN);
        assert_true(date_parse(bytes_of(text, DATE_LEN), NOW, &back));
        assert_true(back == seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_two_digit_leap_day),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
