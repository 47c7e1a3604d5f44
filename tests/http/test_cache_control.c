/* Cache-Control of answers: RFC 9111 5.2.2 and 4.2.1, RFC 5861, RFC 8246. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/cache_control.h"

#define NONE DELTA_SECONDS_NONE
#define MAX DELTA_SECONDS_MAX

enum {
    NO_STORE = 1,
    NO_CACHE = 2,
    PRIVATE = 4,
    PUBLIC = 8,
    MUST_REVALIDATE = 16,
    PROXY_REVALIDATE = 32,
    MUST_UNDERSTAND = 64,
    IMMUTABLE = 128,
    NO_TRANSFORM = 256
};

static unsigned flags_of(const struct cache_control *c)
{
    return (c->no_store ? NO_STORE : 0) | (c->no_cache ? NO_CACHE : 0) | (c->is_private ? PRIVATE : 0) |
           (c->is_public ? PUBLIC : 0) | (c->must_revalidate ? MUST_REVALIDATE : 0) |
           (c->proxy_revalidate ? PROXY_REVALIDATE : 0) | (c->must_understand ? MUST_UNDERSTAND : 0) |
           (c->immutable ? IMMUTABLE : 0) | (c->no_transform ? NO_TRANSFORM : 0);
}

static const struct {
    const char *value;
    unsigned flags;
    int64_t max_age, s_maxage, revalidate, error;
} cases[] = {
    {"", 0, NONE, NONE, NONE, NONE},
    {"max-age=60", 0, 60, NONE, NONE, NONE},
    {"MAX-AGE=60", 0, 60, NONE, NONE, NONE},
    {"max-age=\"60\"", 0, 60, NONE, NONE, NONE},
    {"max-age=0", 0, 0, NONE, NONE, NONE},
    {"max-age=007", 0, 7, NONE, NONE, NONE},
    {" max-age=60 , s-maxage=5", 0, 60, 5, NONE, NONE},
    {"max-age=60,,s-maxage=5,", 0, 60, 5, NONE, NONE},
    {"no-store", NO_STORE, NONE, NONE, NONE, NONE},
    {"No-Store, max-age=60", NO_STORE, 60, NONE, NONE, NONE},
    {"no-store=1", NO_STORE, NONE, NONE, NONE, NONE},
    {"no-cache", NO_CACHE, NONE, NONE, NONE, NONE},
    {"no-cache=\"Set-Cookie, X\", max-age=5", 0, 5, NONE, NONE, NONE},
    {"no-cache=\"Set-Cookie\", no-cache", NO_CACHE, NONE, NONE, NONE, NONE},
    {"no-cache=\"\", private=\"a b\"", NO_CACHE | PRIVATE, NONE, NONE, NONE, NONE},
    {"no-cache=\"a\\\"b\", private=", NO_CACHE | PRIVATE, NONE, NONE, NONE, NONE},
    {"private=\"a\", private=b, private=\"c\", private=d, private=e", PRIVATE, NONE, NONE, NONE, NONE},
    {"private", PRIVATE, NONE, NONE, NONE, NONE},
    {"private=\"a\"", 0, NONE, NONE, NONE, NONE},
    {"public, must-revalidate, proxy-revalidate, must-understand, immutable, no-transform",
        PUBLIC | MUST_REVALIDATE | PROXY_REVALIDATE | MUST_UNDERSTAND | IMMUTABLE | NO_TRANSFORM, NONE, NONE,
        NONE, NONE},
    {"stale-while-revalidate=30, stale-if-error=40", 0, NONE, NONE, 30, 40},
    /* unknown, quoted commas, names inside of arguments */
    {"foo, bar=1, baz=\"no-store, max-age=9\", max-age=5", 0, 5, NONE, NONE, NONE},
    {"foo=\"a\\\"b, no-store\", max-age=5", 0, 5, NONE, NONE, NONE},
    {"xmax-age=9, max-agex=9, no-storex", 0, NONE, NONE, NONE, NONE},
    {"foo=no-store", 0, NONE, NONE, NONE, NONE},
    /* a quote that never ends hides nothing */
    {"foo=\"bar, no-store", NO_STORE, NONE, NONE, NONE, NONE},
    {"foo=\"a\\\", no-store", NO_STORE, NONE, NONE, NONE, NONE},
    /* not a number: stale */
    {"max-age", 0, 0, NONE, NONE, NONE},
    {"max-age=", 0, 0, NONE, NONE, NONE},
    {"max-age=-1", 0, 0, NONE, NONE, NONE},
    {"max-age=+1", 0, 0, NONE, NONE, NONE},
    {"max-age=1.5", 0, 0, NONE, NONE, NONE},
    {"max-age=60s", 0, 0, NONE, NONE, NONE},
    {"max-age='60'", 0, 0, NONE, NONE, NONE},
    {"max-age=\"60", 0, 0, NONE, NONE, NONE},
    {"max-age= 60", 0, 0, NONE, NONE, NONE},
    {"max-age =60", 0, 0, NONE, NONE, NONE},
    {"max-age=60 s-maxage=5", 0, 0, NONE, NONE, NONE},
    {"max-age=\"\"", 0, 0, NONE, NONE, NONE},
    /* overflow clamps */
    {"max-age=2147483648", 0, MAX, NONE, NONE, NONE},
    {"max-age=99999999999999999999999999999999999999", 0, MAX, NONE, NONE, NONE},
    /* duplicates */
    {"max-age=60, max-age=60", 0, 60, NONE, NONE, NONE},
    {"max-age=60, max-age=3600", 0, 0, NONE, NONE, NONE},
    {"max-age=60, max-age=x", 0, 0, NONE, NONE, NONE},
};

static void check(size_t at, const struct cache_control *got)
{
    if (flags_of(got) != cases[at].flags || got->max_age_s != cases[at].max_age ||
        got->s_maxage_s != cases[at].s_maxage || got->stale_while_revalidate_s != cases[at].revalidate ||
        got->stale_if_error_s != cases[at].error)
        fail_msg("'%s': flags %x, %lld %lld %lld %lld", cases[at].value, flags_of(got),
            (long long)got->max_age_s, (long long)got->s_maxage_s, (long long)got->stale_while_revalidate_s,
            (long long)got->stale_if_error_s);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cache_control control;
        cache_control_init(&control);
        cache_control_add(&control, bytes_of_string(cases[i].value));
        check(i, &control);
    }
}

static void test_several_lines(void **state)
{
    struct cache_control control;
    (void)state;
    cache_control_init(&control);
    cache_control_add(&control, BYTES("max-age=60"));
    cache_control_add(&control, BYTES("no-store"));
    cache_control_add(&control, BYTES("max-age=60"));
    assert_true(control.no_store);
    assert_int_equal(control.max_age_s, 60);
    cache_control_add(&control, BYTES("max-age=61"));
    assert_int_equal(control.max_age_s, 0);
}

/* RFC 9111 5.2.2.4, 5.2.2.7: the fields that are meant. */
static void test_named_fields(void **state)
{
    struct cache_control control;
    (void)state;
    cache_control_init(&control);
    cache_control_add(&control, BYTES("private=\"X-One, x-two\", no-cache=\"Set-Cookie\""));
    cache_control_add(&control, BYTES("private=X-Three"));
    assert_false(control.is_private || control.no_cache);
    assert_true(named_fields_have(&control.private_fields, BYTES("x-one")));
    assert_true(named_fields_have(&control.private_fields, BYTES("X-Two")));
    assert_true(named_fields_have(&control.private_fields, BYTES("x-three")));
    assert_true(named_fields_have(&control.no_cache_fields, BYTES("set-cookie")));
    assert_false(named_fields_have(&control.private_fields, BYTES("x-thre")));
    assert_false(named_fields_have(&control.no_cache_fields, BYTES("x-one")));
}

/* RFC 9213 2.1. */
static void test_targeted(void **state)
{
    static const struct {
        const char *value;
        bool valid;
        unsigned flags;
        int64_t max_age, s_maxage;
    } rows[] = {
        {"max-age=60", true, 0, 60, NONE},
        {"max-age=60;parameter, s-maxage=5", true, 0, 60, 5},
        {"no-store, private", true, NO_STORE | PRIVATE, NONE, NONE},
        {"no-store=?0, max-age=7", true, 0, 7, NONE},
        {"no-cache=\"a\", max-age=7", true, 0, 7, NONE},
        {"max-age=1, max-age=2", true, 0, 2, NONE},
        {"no-cache, no-cache=\"a\"", true, 0, NONE, NONE},
        {"max-age=-1, s-maxage=1.5", true, 0, 0, 0},
        {"max-age=\"60\", s-maxage=(1)", true, 0, 0, 0},
        {"max-age=999999999999999", true, 0, MAX, NONE},
        {"unknown=4, must-revalidate", true, MUST_REVALIDATE, NONE, NONE},
        /* these count as absent */
        {"", false, 0, NONE, NONE},
        {"  ", false, 0, NONE, NONE},
        {"max-age=60,", false, 0, NONE, NONE},
        {"max-age =60", false, 0, NONE, NONE},
        {"MAX-AGE=60", false, 0, NONE, NONE},
        {"no-store, max-age=", false, 0, NONE, NONE},
        {"max-age=1000000000000000", false, 0, NONE, NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cache_control control;
        cache_control_init(&control);
        bool valid = cache_control_targeted(&control, bytes_of_string(rows[i].value));
        if (valid != rows[i].valid || flags_of(&control) != rows[i].flags ||
            control.max_age_s != rows[i].max_age || control.s_maxage_s != rows[i].s_maxage)
            fail_msg("'%s': %d, flags %x, %lld %lld", rows[i].value, valid, flags_of(&control),
                (long long)control.max_age_s, (long long)control.s_maxage_s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_several_lines),
        cmocka_unit_test(test_named_fields),
        cmocka_unit_test(test_targeted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
