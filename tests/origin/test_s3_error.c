/* S3's error bodies, and what they mean to the client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/s3_error.h"

static void test_parse(void **state)
{
    static const struct {
        const char *body, *code, *message, *region, *request_id, *host_id;
    } cases[] = {
        {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified "
         "key does not "
         "exist.</Message><Key>a</Key><RequestId>ABC</RequestId><HostId>h/1=</HostId></Error>",
            "NoSuchKey", "The specified key does not exist.", "", "ABC", "h/1="},
        {"<Error xmlns=\"x\">\n  <Code> AuthorizationHeaderMalformed\t</Code>\n  "
         "<Region>eu-west-1</Region>\n</Error>",
            "AuthorizationHeaderMalformed", "", "eu-west-1", "", ""},
        {"<Error><Message>a &lt;b&gt; &amp;amp; &quot;c&apos; &#65;&#x42;&#xe9;&#x1F600;</Message></Error>",
            "", "a <b> &amp; \"c' AB\xC3\xA9\xF0\x9F\x98\x80", "", "", ""},
        {"<Error><Message>&nbsp; &; &# &#x; &#xD800; &#x110000; &#99999999999; &amp &</Message></Error>", "",
            "&nbsp; &; &# &#x; &#xD800; &#x110000; &#99999999999; &amp &", "", "", ""},
        {"<Error><Message>a\nb\x1B[31m&#10;&#0;c</Message></Error>", "", "a b [31m  c", "", "", ""},
        {"<Error><Code/><Message></Message></Error>", "", "", "", "", ""},
        {"<Error><Code>Cut", "", "", "", "", ""},
        {"<Error><Code>Cut</Cod", "Cut", "", "", "", ""},
        {"<Code>Outside</Code>", "", "", "", "", ""},
        {"<html><head><title>404 Not Found</title></head></html>", "", "", "", "", ""},
        {"", "", "", "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_error error;
        s3_error_parse(bytes_of_string(cases[i].body), &error);
        assert_string_equal(error.code, cases[i].code);
        assert_string_equal(error.message, cases[i].message);
        assert_string_equal(error.region, cases[i].region);
        assert_string_equal(error.request_id, cases[i].request_id);
        assert_string_equal(error.host_id, cases[i].host_id);
    }
}

static void test_bounds(void **state)
{
    static char body[200000];
    struct writer w = writer_of(body, sizeof body);
    struct s3_error error;
    (void)state;
    write_bytes(&w, BYTES("<Error><Code>"));
    for (int i = 0; i < 500; i++)
        write_u8(&w, 'c');
    write_bytes(&w, BYTES("</Code><Message>"));
    for (int i = 0; i < 254; i++)
        write_u8(&w, 'm');
    write_bytes(&w, BYTES("&#xe9;&#xe9;</Message>")); /* the first does not fit whole any more */
    while (w.at - w.start < 70000)
        write_u8(&w, ' ');
    write_bytes(&w, BYTES("<Region>too-late</Region></Error>"));
    s3_error_parse(writer_bytes(&w), &error);
    assert_int_equal(strlen(error.code), sizeof error.code - 1);
    assert_int_equal(strlen(error.message), 254);
    assert_string_equal(error.region, "");
}

static void test_verdicts(void **state)
{
    static const struct {
        unsigned status;
        const char *code;
        enum s3_verdict verdict;
        unsigned answer;
        bool retry;
    } cases[] = {
        {404, "NoSuchKey", S3_NOT_FOUND, 404, false},
        {404, "NoSuchVersion", S3_NOT_FOUND, 404, false},
        {404, "", S3_NOT_FOUND, 404, false},
        {404, "XAdminUserNotFound", S3_MISCONFIGURED, 502, false}, /* versitygw, of an unknown access key */
        {404, "NoSuchBucket", S3_MISCONFIGURED, 502, false},
        {405, "MethodNotAllowed", S3_NOT_FOUND, 404, false},
        {403, "AccessDenied", S3_FORBIDDEN, 403, false},
        {403, "", S3_FORBIDDEN, 403, false},
        {403, "InvalidAccessKeyId", S3_MISCONFIGURED, 502, false},
        {403, "SignatureDoesNotMatch", S3_MISCONFIGURED, 502, false},
        {403, "RequestTimeTooSkewed", S3_MISCONFIGURED, 502, false},
        {403, "InvalidObjectState", S3_FORBIDDEN, 403, false},
        {400, "ExpiredToken", S3_MISCONFIGURED, 502, false},
        {400, "AuthorizationHeaderMalformed", S3_MISCONFIGURED, 502, false},
        {400, "", S3_MISCONFIGURED, 502, false},
        {400, "InvalidArgument", S3_BAD_REQUEST, 400, false},
        {400, "KeyTooLongError", S3_BAD_REQUEST, 400, false},
        {401, "", S3_MISCONFIGURED, 502, false},
        {301, "PermanentRedirect", S3_MISCONFIGURED, 502, false},
        {307, "", S3_MISCONFIGURED, 502, false},
        {412, "PreconditionFailed", S3_FAILED, 412, false},
        {416, "InvalidRange", S3_UNSATISFIABLE, 416, false},
        {429, "", S3_UNAVAILABLE, 503, false},
        {500, "InternalError", S3_BROKEN, 502, true},
        {500, "NoSuchKey", S3_BROKEN, 502, true},
        {501, "NotImplemented", S3_BROKEN, 502, false},
        {502, "", S3_BROKEN, 502, true},
        {503, "SlowDown", S3_UNAVAILABLE, 503, true},
        {503, "", S3_UNAVAILABLE, 503, true},
        {504, "", S3_TIMEOUT, 504, true},
        {100, "", S3_BROKEN, 502, false},
        {999, "", S3_BROKEN, 502, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_error error = {0};
        memcpy(error.code, cases[i].code, strlen(cases[i].code));
        enum s3_verdict verdict = s3_error_verdict(cases[i].status, &error);
        if (verdict != cases[i].verdict || s3_verdict_status(verdict) != cases[i].answer ||
            s3_error_retryable(cases[i].status) != cases[i].retry)
            fail_msg("%u %s: verdict %d", cases[i].status, cases[i].code, verdict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
