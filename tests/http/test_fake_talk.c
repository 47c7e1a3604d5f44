/* Conversations under many seeds: the same answers at any timing, and nothing lost when they are disturbed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after those, as it demands */
#include <cmocka.h>

#include "base/clock.h"
#include "fake_talk.h"

#define REQUEST(target) "GET " target " HTTP/1.1\r\nHost: h\r\n"
#define GET(target) REQUEST(target) "\r\n"

static const struct bytes talks[] = {
    BYTES(""),
    BYTES(GET("/50000") GET("/49991") GET("/30002") GET("/0104") GET("/10003")),
    BYTES(GET("/10003") GET("/10003") "HEAD /40003 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/49990")),
    BYTES(REQUEST("/100") "Content-Length: 10\r\n\r\n0123456789" REQUEST(
        "/200") "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n" GET("/31")),
    BYTES(REQUEST("/100") "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" GET("/5")),
    BYTES(GET("/20000") "nonsense\r\n" GET("/10")),
    BYTES("POST /20 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd" GET("/10")),
    BYTES("GET /20000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /30002 HTTP/1.0\r\n\r\n"),
    BYTES(GET("/10006") GET("/20")),
    BYTES(GET("/10007") GET("/20")),
    BYTES(GET("/100") "GET / HT"),
    BYTES(REQUEST("/100") "Content-Length: 6000\r\n\r\n"),
};

static void test_any_timing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof talks / sizeof talks[0]; i++) {
        struct bytes first = fake_talk(&(struct talk){.seed = 1}, talks[i]);
        for (uint64_t seed = 2; seed < 60; seed++) {
            struct bytes other = fake_talk(&(struct talk){.seed = seed}, talks[i]);
            assert_int_equal(other.len, first.len);
            assert_true(bytes_equal(other, first));
            free((void *)(uintptr_t)other.ptr);
        }
        assert_true(first.len > 0 || i == 0);
        free((void *)(uintptr_t)first.ptr);
    }
}

/* What a disturbed client has got is the beginning of what it would have got. */
static void test_disturbed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof talks / sizeof talks[0]; i++) {
        struct bytes whole = fake_talk(&(struct talk){.seed = 1}, talks[i]);
        for (uint64_t seed = 0; seed < 200; seed++) {
            struct talk talk = {seed, 1 + (seed * 7919 + i) % 97 * 100 * NS_PER_US, seed & 1};
            struct bytes part = fake_talk(&talk, talks[i]);
            assert_true(part.len <= whole.len || talk.stop);
            if (!talk.stop)
                assert_true(bytes_start_with(whole, part));
            free((void *)(uintptr_t)part.ptr);
        }
        free((void *)(uintptr_t)whole.ptr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_timing), cmocka_unit_test(test_disturbed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
