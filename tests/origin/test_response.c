/* Heads of answers: strictness, hop-by-hop fields, and what is held against the request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "base/error.h"
#include "origin/response.h"

static struct response response;

/* Feeds a text line by line; lines end with LF. */
static int feed(const char *text)
{
    int result = 0;
    response_reset(&response);
    while (*text != '\0' && (result == RESPONSE_MORE || result == RESPONSE_INTERIM)) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        result = response_line(&response, bytes_of(text, (size_t)(end + 1 - text)));
        text = end + 1;
    }
    return result;
}

#define HEAD "HTTP/1.1 200 OK\r\n"

static void test_lines(void **state)
{
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {HEAD "\r\n", 1},
        {"HTTP/1.0 200\r\n\r\n", 1},
        {"HTTP/1.1 200 \r\n\r\n", 1},
        {HEAD "A: b\r\nContent-Length: 5\r\n\r\n", 1},
        {HEAD "A:\r\n\r\n", 1},
        {HEAD "A:b \t\r\n\r\n", 1},
        {HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 1},
        {HEAD "Transfer-Encoding: Chunked\r\n\r\n", 1},
        {"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n" HEAD "Content-Length: 5\r\n\r\n", 1},
        {HEAD "A: b\r\n", 0},
        {"\r\n", E_PROTOCOL},
        {"HTTP/2 200 OK\r\n", E_PROTOCOL},
        {"HTTP/1.2 200 OK\r\n", E_PROTOCOL},
        {"http/1.1 200 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1  200 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1 20 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1 2000 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1 099 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1 600 OK\r\n", E_PROTOCOL},
        {"HTTP/1.1 101 Switching\r\n", E_PROTOCOL},
        {"HTTP/1.1 200 O\x01K\r\n", E_PROTOCOL},
        {HEAD " folded\r\n", E_PROTOCOL},
        {HEAD "A: b\r\n\tfolded\r\n", E_PROTOCOL},
        {HEAD "no colon\r\n", E_PROTOCOL},
        {HEAD ": no name\r\n", E_PROTOCOL},
        {HEAD "A : b\r\n", E_PROTOCOL},
        {HEAD "A\x80: b\r\n", E_PROTOCOL},
        {HEAD "A: b\x7f\r\n", E_PROTOCOL},
        {HEAD "A: b\rc\r\n", E_PROTOCOL},
        {HEAD "Content-Length: 5\r\nContent-Length: 6\r\n", E_PROTOCOL},
        {HEAD "Content-Length: 5, 5\r\n", E_PROTOCOL},
        {HEAD "Content-Length: -5\r\n", E_PROTOCOL},
        {HEAD "Content-Length: 0x5\r\n", E_PROTOCOL},
        {HEAD "Content-Length: 99999999999999999999\r\n", E_PROTOCOL},
        {HEAD "Content-Length:\r\n", E_PROTOCOL},
        {HEAD "Transfer-Encoding: gzip, chunked\r\n", E_PROTOCOL},
        {HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", E_PROTOCOL},
        {HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", E_PROTOCOL},
        {HEAD "ETag: \"a\"\r\nETag: \"b\"\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes 0-9/10\r\nContent-Range: bytes 0-9/10\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes 0-9/9\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes 9-0/10\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes */*\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes 0-9\r\n", E_PROTOCOL},
        {HEAD "Content-Range: lines 0-9/10\r\n", E_PROTOCOL},
        {HEAD "Content-Range: bytes -9/10\r\n", E_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (feed(rows[i].text) != rows[i].result)
            fail_msg("row %zu: %s", i, rows[i].text);
    }
}

static void test_bounds(void **state)
{
    static char line[RESPONSE_HEAD_MAX + 100];
    (void)state;
    assert_int_equal(feed(HEAD), 0);
    for (int i = 0; i < RESPONSE_FIELDS_MAX; i++)
        assert_int_equal(response_line(&response, BYTES("A: b\r\n")), 0);
    assert_int_equal(response_line(&response, BYTES("A: b\r\n")), E_PROTOCOL);
    assert_int_equal(feed(HEAD), 0);
    memset(line, 'a', sizeof line);
    line[1] = ':';
    assert_int_equal(response_line(&response, bytes_of(line, RESPONSE_HEAD_MAX)), 0);
    assert_int_equal(response_line(&response, bytes_of(line, 3)), E_PROTOCOL);
    assert_int_equal(feed(HEAD), 0);
    assert_int_equal(response_line(&response, bytes_of(line, sizeof line)), E_PROTOCOL);
}

static void test_hop_by_hop(void **state)
{
    struct origin_head head;
    (void)state;
    assert_int_equal(feed(HEAD "X-Named: 1\r\nConnection: close, x-named\r\nA: 1\r\nKeep-Alive: "
                               "t\r\nTransfer-Encoding: chunked\r\n"
                               "Trailer: x\r\nB: 2\r\nUpgrade: h2c\r\nA: 3\r\n\r\n"),
        1);
    assert_int_equal(response_judge(&response, &(struct origin_request){0}, &head), 0);
    assert_int_equal(head.field_count, 3);
    assert_true(
        bytes_equal(head.fields[0].name, BYTES("A")) && bytes_equal(head.fields[0].value, BYTES("1")));
    assert_true(bytes_equal(head.fields[1].name, BYTES("B")));
    assert_true(bytes_equal(head.fields[2].value, BYTES("3")));
    assert_int_equal(response_line(&response, BYTES("Trailer-Field: ignored\r\n")), 0);
    assert_int_equal(head.field_count, 3);
}

#define PART "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\n"

static void test_judge(void **state)
{
    static const struct {
        const char *text;
        struct origin_request request;
        int error;
        uint64_t length;
    } rows[] = {
        {HEAD "Content-Length: 5\r\n\r\n", {0}, 0, 5},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n", {0}, 0, UINT64_MAX},
        {HEAD "\r\n", {0}, 0, UINT64_MAX},
        {HEAD "\r\n", {.head_only = true}, 0, UINT64_MAX},
        {HEAD "Content-Length: 5\r\n\r\n", {.ranged = true, .first = 1, .last = 2}, 0, 5},
        {"HTTP/1.1 204 No\r\n\r\n", {0}, E_PROTOCOL, 0},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", {0}, E_PROTOCOL, 0},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", {.if_none_match = BYTES("\"a\"")}, 0, UINT64_MAX},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", {.if_modified_since = BYTES("x")}, 0, UINT64_MAX},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {0}, E_PROTOCOL, 0},
        {PART "\r\n", {.ranged = true, .first = 0, .last = 4}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes */5\r\n\r\n", {.ranged = true, .first = 0, .last = 4}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {.ranged = true, .first = 0, .last = 4}, 0, 5},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {.ranged = true, .first = 0, .last = 100}, 0, 5},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {.ranged = true, .first = 0, .last = ORIGIN_TO_END}, 0,
            5},
        {PART "Content-Range: bytes 0-4/6\r\n\r\n", {.ranged = true, .first = 0, .last = ORIGIN_TO_END},
            E_PROTOCOL, 0},
        {PART "Content-Range: bytes 0-4/6\r\n\r\n", {.ranged = true, .first = 0, .last = 3}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 1-4/6\r\n\r\n", {.ranged = true, .first = 0, .last = 4}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 0-4/*\r\n\r\n", {.ranged = true, .first = 0, .last = 9}, 0, 5},
        {PART "Content-Range: bytes 0-10/*\r\n\r\n", {.ranged = true, .first = 0, .last = 9}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 0-4/5\r\nContent-Length: 6\r\n\r\n",
            {.ranged = true, .first = 0, .last = 4}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {.ranged = true, .last = 4, .if_match = BYTES("\"a\"")},
            0, 5},
        {PART "Content-Range: bytes 0-4/5\r\n\r\n", {.ranged = true, .last = 4, .if_match = BYTES("\"b\"")},
            E_CHANGED, 0},
        {HEAD "ETag: W/\"a\"\r\nContent-Length: 5\r\n\r\n", {.if_match = BYTES("\"a\"")}, E_CHANGED, 0},
        {HEAD "Content-Length: 5\r\n\r\n", {.if_match = BYTES("\"a\"")}, E_CHANGED, 0},
        {HEAD "Content-Length: 5\r\n\r\n", {.if_match = BYTES("*")}, 0, 5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin_head head;
        assert_int_equal(feed(rows[i].text), 1);
        int error = response_judge(&response, &rows[i].request, &head);
        if (error != rows[i].error || (error == 0 && head.content_length != rows[i].length))
            fail_msg("row %zu: %d", i, error);
    }
}

static void test_strong(void **state)
{
    (void)state;
    assert_true(response_tag_strong(BYTES("\"a\"")));
    assert_true(response_tag_strong(BYTES("\"\"")));
    assert_false(response_tag_strong(BYTES("W/\"a\"")));
    assert_false(response_tag_strong(BYTES("\"")));
    assert_false(response_tag_strong(BYTES("a")));
    assert_false(response_tag_strong(BYTES("")));
}

/* ---- of any server ---- */

static struct response any = {.any_server = true};

static int feed_any(const char *text)
{
    int result = 0;
    response_reset(&any);
    while (*text != '\0' && result != E_PROTOCOL) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        result = response_line(&any, bytes_of(text, (size_t)(end + 1 - text)));
        text = end + 1;
    }
    return result;
}

/* What only a cache looks at is no reason to refuse; what frames is. */
static void test_any_lines(void **state)
{
    static const struct {
        const char *text;
        bool taken;
        const char *etag;
    } rows[] = {
        {HEAD "ETag: \"a\"\r\n\r\n", true, "\"a\""},
        {HEAD "ETag: \"a\"\r\nETag: \"b\"\r\n\r\n", true, ""},
        {HEAD "Content-Range: nonsense\r\n\r\n", true, ""},
        {HEAD "Content-Range: bytes 0-1/2\r\nContent-Range: bytes 0-1/2\r\n\r\n", true, ""},
        {HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false, ""},
        {HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", false, ""},
        {HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", false, ""},
        {HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", false, ""},
        {HEAD " folded: x\r\n\r\n", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool taken = feed_any(rows[i].text) == RESPONSE_FINAL;
        if (taken != rows[i].taken || (taken && !bytes_equal(any.etag, bytes_of_string(rows[i].etag))))
            fail_msg("row %zu", i);
    }
}

static void test_judge_any(void **state)
{
    static const struct {
        const char *text;
        struct origin_request request;
        int error;
        uint64_t length;
    } rows[] = {
        {"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\n", {0}, 0, 3},
        {"HTTP/1.1 599 No\r\n\r\n", {0}, 0, UINT64_MAX},
        {HEAD "\r\n", {0}, 0, UINT64_MAX},
        {"HTTP/1.1 304 No\r\n\r\n", {0}, E_PROTOCOL, 0},
        {"HTTP/1.1 304 No\r\n\r\n", {.verbatim = true}, 0, UINT64_MAX},
        {"HTTP/1.1 304 No\r\n\r\n", {.if_none_match = BYTES("\"a\"")}, 0, UINT64_MAX},
        {"HTTP/1.1 412 No\r\n\r\n", {.if_match = BYTES("\"a\"")}, E_CHANGED, 0},
        {"HTTP/1.1 412 No\r\n\r\n", {.verbatim = true}, 0, UINT64_MAX},
        {"HTTP/1.1 416 No\r\n\r\n", {.ranged = true, .last = 4}, -ERANGE, 0},
        {"HTTP/1.1 416 No\r\n\r\n", {0}, 0, UINT64_MAX},
        {HEAD "ETag: \"b\"\r\n\r\n", {.if_match = BYTES("\"a\"")}, E_CHANGED, 0},
        {PART "Content-Range: bytes 0-4/9\r\n\r\n", {.ranged = true, .last = 4}, 0, 5},
        {PART "Content-Range: bytes 1-4/9\r\n\r\n", {.ranged = true, .last = 4}, E_PROTOCOL, 0},
        {PART "\r\n", {.ranged = true, .last = 4}, E_PROTOCOL, 0},
        {PART "Content-Range: bytes 1-4/9\r\nContent-Length: 700\r\n\r\n", {.verbatim = true}, 0, 700},
        {PART "\r\n", {0}, E_PROTOCOL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct origin_head head;
        assert_int_equal(feed_any(rows[i].text), RESPONSE_FINAL);
        int error = response_judge_any(&any, &rows[i].request, &head);
        if (error != rows[i].error || (error == 0 && head.content_length != rows[i].length))
            fail_msg("row %zu: %d", i, error);
    }
}

static void test_interim_and_trailers(void **state)
{
    struct origin_head head;
    (void)state;
    assert_int_equal(feed_any("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n"),
        RESPONSE_INTERIM);
    response_interim(&any, &head);
    assert_int_equal(head.status, 103);
    assert_int_equal(head.field_count, 1);
    assert_true(bytes_equal(head.fields[0].name, BYTES("Link")));

    assert_int_equal(
        feed_any(HEAD "A: 1\r\nConnection: close\r\n\r\nX-Sum: 5\r\nContent-Length: 4\r\nY: 2\r\n\r\n"),
        RESPONSE_MORE);
    assert_int_equal(any.trailer_count, 2);
    assert_true(bytes_equal(response_trailers(&any)[0].name, BYTES("X-Sum")));
    assert_true(bytes_equal(response_trailers(&any)[1].value, BYTES("2")));
    assert_int_equal(any.told_count, 1);
    assert_int_equal(feed_any(HEAD "\r\nno trailer\r\n"), E_PROTOCOL);
    assert_int_equal(feed_any(HEAD "\r\nA: b\x01\r\n"), E_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_hop_by_hop),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_strong),
        cmocka_unit_test(test_any_lines),
        cmocka_unit_test(test_judge_any),
        cmocka_unit_test(test_interim_and_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
