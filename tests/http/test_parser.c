/* Every rule of the parser, each case at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after those, as it demands */
#include <cmocka.h>

#include "describe.h"

#define HOST "Host: h\r\n"

static const struct http_limits small = {
    .max_target_bytes = 64, .max_header_bytes = 512, .max_fields = 6, .max_body_bytes = 100};

struct parser_case {
    struct bytes input;
    const char *text; /* of describe.h, without the field lines */
};

/* Without the lines that start with a space. */
static void without_fields(char *text)
{
    char *to = text;
    for (char *line = text, *next; *line; line = next) {
        next = strchr(line, '\n') + 1;
        size_t len = (size_t)(next - line);
        if (line[0] != ' ') {
            memmove(to, line, len);
            to += len;
        }
    }
    *to = 0;
}

static const char *described(struct bytes input, size_t first, size_t step)
{
    static struct describe describe;
    describe_begin(&describe, &small);
    describe_feed(&describe, bytes_of(input.ptr, first));
    for (size_t at = first; at < input.len; at += step)
        describe_feed(&describe, bytes_of(input.ptr + at, input.len - at < step ? input.len - at : step));
    return describe_end(&describe);
}

static void check_case(const struct parser_case *parser_case)
{
    struct bytes input = parser_case->input;
    char *whole = strdup(described(input, input.len, 1));
    for (size_t cut = 0; cut < input.len; cut++)
        assert_string_equal(described(input, cut, input.len), whole);
    assert_string_equal(described(input, 0, 1), whole);
    assert_string_equal(described(input, 0, 3), whole);
    without_fields(whole);
    if (strcmp(whole, parser_case->text) != 0)
        print_message("input: %.*s\n", (int)input.len, input.ptr);
    assert_string_equal(whole, parser_case->text);
    free(whole);
}

#define CASE(input, text)                                                                                    \
    {                                                                                                        \
        BYTES(input), text                                                                                   \
    }
#define REFUSE(input, name)                                                                                  \
    {                                                                                                        \
        BYTES(input), "refused " name "\n"                                                                   \
    }
#define REQUEST(line, fields) line "\r\n" HOST fields "\r\n"

static void test_request_lines(void **state)
{
    static const char x64[] = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const struct parser_case cases[] = {
        CASE("", "end\n"),
        CASE("GET / HTTP/1.1\r\n" HOST "\r", "more\n"),
        CASE("\r\n", "more\n"),
        CASE(REQUEST("GET / HTTP/1.1", ""), "GET / 1.1 keep host=h\nend\n"),
        CASE("\r\n" REQUEST("GET / HTTP/1.1", ""), "GET / 1.1 keep host=h\nend\n"),
        REFUSE("\r\n\r\n" REQUEST("GET / HTTP/1.1", ""), "line 400"),
        CASE("GET / HTTP/1.0\r\n\r\n", "GET / 1.0 close host=\nclosed 0\n"),
        CASE(REQUEST("M-SEARCH /x HTTP/1.1", ""), "M-SEARCH /x 1.1 keep host=h\nend\n"),
        CASE(REQUEST("get /x HTTP/1.1", ""), "get /x 1.1 keep host=h\nend\n"),
        CASE(REQUEST("OPTIONS * HTTP/1.1", ""), "OPTIONS * 1.1 keep host=h\nend\n"),
        CASE(REQUEST("CONNECT a:443 HTTP/1.1", ""), "CONNECT a:443 1.1 keep host=a:443\nend\n"),
        CASE(REQUEST("GET http://other:8080/p?q HTTP/1.1", ""),
            "GET http://other:8080/p?q 1.1 keep host=other:8080\nend\n"),
        CASE(
            REQUEST("GET http://[::1]:80 HTTP/1.1", ""), "GET http://[::1]:80 1.1 keep host=[::1]:80\nend\n"),
        REFUSE(REQUEST("GET * HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET a:443 HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("CONNECT /x HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("CONNECT a HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET http:///x HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET http://u@h/x HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET http://h:x/ HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET x HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a#b HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a\x01 HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a\x7f HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a\tb HTTP/1.1", ""), "target 400"),
        REFUSE("GET /a\0b HTTP/1.1\r\n" HOST "\r\n", "target 400"),
        REFUSE(REQUEST("GET /a\rb HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a b HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET  /a HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a  HTTP/1.1", ""), "target 400"),
        REFUSE(REQUEST("GET /a\tHTTP/1.1", ""), "line 400"),
        REFUSE(REQUEST("GET /a HTTP/1.1 ", ""), "line 400"),
        REFUSE(REQUEST(" GET /a HTTP/1.1", ""), "line 400"),
        REFUSE(REQUEST("G(T /a HTTP/1.1", ""), "line 400"),
        REFUSE(REQUEST("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /a HTTP/1.1", ""), "line 400"),
        REFUSE(REQUEST("GET /", ""), "line 400"),
        REFUSE(REQUEST("GET", ""), "line 400"),
        REFUSE("GET / HTTP/1.1\n" HOST "\r\n", "line_end 400"),
        REFUSE("\nGET / HTTP/1.1\r\n", "line_end 400"),
        REFUSE("\rGET / HTTP/1.1\r\n", "line 400"),
        REFUSE("\x16\x03\x01\x02", "line 400"),
        REFUSE(REQUEST("GET / HTTP/2.0", ""), "version 505"),
        REFUSE(REQUEST("GET / HTTP/1.2", ""), "version 505"),
        REFUSE(REQUEST("GET / HTTP/0.9", ""), "version 505"),
        REFUSE(REQUEST("GET / HTTP/1.10", ""), "line 400"),
        REFUSE(REQUEST("GET / http/1.1", ""), "line 400"),
        REFUSE(REQUEST("GET / HTTP/1,1", ""), "line 400"),
        REFUSE(REQUEST("GET / HTTP/+1.1", ""), "line 400"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(&cases[i]);
    /* The target's limit, to the byte. */
    for (int over = 0; over <= 1; over++) {
        char input[256];
        struct writer w = writer_of(input, sizeof input);
        write_format(&w, "GET %s%s HTTP/1.1\r\n" HOST "\r\n", x64, over ? "a" : "");
        struct parser_case edge = {
            writer_bytes(&w), over ? "refused target_long 414\n"
                                   : "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
                                     "1.1 keep host=h\nend\n"};
        check_case(&edge);
    }
}

static void test_fields(void **state)
{
    static const struct parser_case cases[] = {
        CASE(REQUEST("GET / HTTP/1.1", "A:b\r\nC:\r\nD: \t e f \t\r\nE: \x80\xff\r\n"),
            "GET / 1.1 keep host=h\nend\n"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A : b\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A\t: b\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", ": b\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A b: c\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A\x80: c\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\x01\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\x7f\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\0c\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A\0: b\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\rc\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\r\r\n"), "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\n"), "line_end 400"),
        REFUSE("GET / HTTP/1.1\r\n" HOST "\n", "line_end 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\r\n c\r\n"), "folding 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A: b\r\n\tc\r\n"), "folding 400"),
        REFUSE("GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", "folding 400"),
        REFUSE("GET / HTTP/1.1\r\n \r\n" HOST "\r\n", "folding 400"),
        CASE(REQUEST("GET / HTTP/1.1", "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"), "GET / 1.1 keep host=h\nend\n"),
        REFUSE(REQUEST("GET / HTTP/1.1", "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"), "field_count 431"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(&cases[i]);
}

/* The head's limit, to the byte; and lines without an end. */
static void test_head_size(void **state)
{
    static char input[2048];
    (void)state;
    for (size_t pad = 440; pad < 520; pad++) {
        struct writer w = writer_of(input, sizeof input);
        write_bytes(&w, BYTES("GET / HTTP/1.1\r\n" HOST "X: "));
        for (size_t i = 0; i < pad; i++)
            write_u8(&w, 'x');
        write_bytes(&w, BYTES("\r\n\r\n"));
        size_t head = writer_bytes(&w).len;
        struct parser_case edge = {
            writer_bytes(&w), head <= 512 ? "GET / 1.1 keep host=h\nend\n" : "refused head_large 431\n"};
        check_case(&edge);
    }
    memset(input, 'x', sizeof input);
    struct parser_case endless = {bytes_of(input, 1000), "refused target_long 414\n"};
    check_case(&endless);
    memcpy(input, "GET / HTTP/1.1\r\n", 16);
    endless.text = "refused head_large 431\n";
    check_case(&endless);
}

static void test_meaning(void **state)
{
    static const struct parser_case cases[] = {
        /* Host */
        REFUSE("GET / HTTP/1.1\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost:\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\n" HOST HOST "\r\n", "host 400"),
        REFUSE("GET / HTTP/1.0\r\n" HOST HOST "\r\n", "host 400"),
        REFUSE("GET http://a/ HTTP/1.1\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "host 400"),
        REFUSE("GET / HTTP/1.1\r\nHost: []\r\n\r\n", "host 400"),
        CASE("GET / HTTP/1.1\r\nhOST: [::1]:65535\r\n\r\n", "GET / 1.1 keep host=[::1]:65535\nend\n"),
        CASE("GET / HTTP/1.1\r\nHost: a_b-c.d~:\r\n\r\n", "GET / 1.1 keep host=a_b-c.d~:\nend\n"),
        /* Content-Length */
        CASE(REQUEST("GET / HTTP/1.1", "Content-Length: 0\r\n"), "GET / 1.1 keep host=h\nend\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Content-Length: 003\r\n") "abc",
            "GET / 1.1 keep host=h\nbody 3 e71fa2190541574b\nend\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Content-Length: 3\r\n") "ab", "GET / 1.1 keep host=h\nmore\n"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 3\r\nContent-Length: 3\r\n") "abc", "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 3\r\nContent-Length: 4\r\n") "abc", "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 3, 3\r\n") "abc", "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length:\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: +3\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: -3\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 0x3\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 1 2\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 9223372036854775808\r\n"), "length 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 18446744073709551617\r\n"), "length 400"),
        CASE(REQUEST("GET / HTTP/1.1", "Content-Length: 101\r\n"),
            "GET / 1.1 keep host=h\nrefused body_large 413\n"),
        /* Transfer-Encoding */
        REFUSE(REQUEST("GET / HTTP/1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            "length_and_coding 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
            "length_and_coding 400"),
        REFUSE(REQUEST("GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: chunked, chunked\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: \"chunked\"\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: chunked;q=1\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding:\r\n"), "coding_malformed 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: \x0b"
                                         "chunked\r\n"),
            "field 400"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: gzip\r\n"), "coding 501"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: xchunked\r\n"), "coding 501"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Transfer-Encoding: identity\r\n"), "coding 501"),
        /* Connection */
        CASE(REQUEST("GET / HTTP/1.1", "Connection: close\r\n") "xyz", "GET / 1.1 close host=h\nclosed 3\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Connection: a, CLOSE ,b\r\n"), "GET / 1.1 close host=h\nclosed 0\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"),
            "GET / 1.1 close host=h\nclosed 0\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Connection: closed\r\n"), "GET / 1.1 keep host=h\nend\n"),
        CASE(REQUEST("GET / HTTP/1.0", "Connection: Keep-Alive\r\n"), "GET / 1.0 keep host=h\nend\n"),
        CASE(REQUEST("GET / HTTP/1.0", "Connection: keep-alive, close\r\n"),
            "GET / 1.0 close host=h\nclosed 0\n"),
        /* Expect */
        CASE(REQUEST("GET / HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n") "x",
            "GET / 1.1 keep host=h expect\nbody 1 af63f54c86021707\nend\n"),
        CASE(REQUEST("GET / HTTP/1.1", "Expect: 100-continue\r\n"), "GET / 1.1 keep host=h\nend\n"),
        CASE(REQUEST("GET / HTTP/1.0", "Expect: tea\r\n"), "GET / 1.0 close host=h\nclosed 0\n"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Expect: tea\r\n"), "expect 417"),
        REFUSE(REQUEST("GET / HTTP/1.1", "Expect: 100-continue, tea\r\n"), "expect 417"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(&cases[i]);
}

#define CHUNKED REQUEST("GET / HTTP/1.1", "Transfer-Encoding: Chunked\r\n")
#define GOT "GET / 1.1 keep host=h\n"
#define ABC GOT "body 3 e71fa2190541574b\nend\n"
#define BAD GOT "refused chunk 400\n"

static void test_chunks(void **state)
{
    static const struct parser_case cases[] = {
        CASE(CHUNKED "0\r\n\r\n", GOT "body 0 cbf29ce484222325\nend\n"),
        CASE(CHUNKED "3\r\nabc\r\n0\r\n\r\n", ABC),
        CASE(CHUNKED "1\r\na\r\n2\r\nbc\r\n000\r\n\r\n", ABC),
        CASE(CHUNKED "00000003\r\nabc\r\n0\r\n\r\n", ABC),
        CASE(CHUNKED "3;a\r\nabc\r\n0;b=c;d=\"e;\\\"\r\"\r\n\r\n", BAD),
        CASE(CHUNKED "3;a\r\nabc\r\n0;b=c;d=\"e; \\\"\"\r\n\r\n", ABC),
        CASE(CHUNKED "3\r\nabc\r\n0\r\nA: b\r\nC:\r\n\r\n", ABC),
        CASE(CHUNKED "3\r\nabc\r\n0\r\n\r\n" REQUEST("GET /2 HTTP/1.1", ""),
            GOT "body 3 e71fa2190541574b\nGET /2 1.1 keep host=h\nend\n"),
        CASE(CHUNKED "3\r\nabc\r\n0\r\n", GOT "more\n"),
        CASE(CHUNKED "64\r\n", GOT "more\n"),
        CASE(CHUNKED "65\r\n", GOT "refused body_large 413\n"),
        CASE(CHUNKED "3\r\nabc\r\n62\r\n", GOT "refused body_large 413\n"),
        CASE(CHUNKED "ffffffffffffffff\r\n", GOT "refused body_large 413\n"),
        CASE(CHUNKED "00000000000000003\r\nabc", BAD),
        CASE(CHUNKED "\r\n", BAD),
        CASE(CHUNKED " 3\r\n", BAD),
        CASE(CHUNKED "3 \r\n", BAD),
        CASE(CHUNKED "3 ;a\r\n", BAD),
        CASE(CHUNKED "3;\r\n", BAD),
        CASE(CHUNKED "3; a\r\n", BAD),
        CASE(CHUNKED "3;a=\r\n", BAD),
        CASE(CHUNKED "3;a=\"b\"c\r\n", BAD),
        CASE(CHUNKED "3;a\n", BAD),
        CASE(CHUNKED "0x3\r\n", BAD),
        CASE(CHUNKED "+3\r\n", BAD),
        CASE(CHUNKED "3\nabc", BAD),
        CASE(CHUNKED "3\r\rabc", BAD),
        CASE(CHUNKED "3\r\nabcd\r\n", BAD),
        CASE(CHUNKED "3\r\nabc\n", BAD),
        CASE(CHUNKED "3\r\nabc\rx", BAD),
        CASE(CHUNKED "0\r\nA b\r\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\nA : b\r\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\n: b\r\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\n A: b\r\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\nA: b\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\nA: \x01\r\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\nA: b\r\n\n", GOT "refused trailer 400\n"),
        CASE(CHUNKED "0\r\n\rx", GOT "refused trailer 400\n"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(&cases[i]);
}

/* Framing without end is bounded. */
static void test_overhead(void **state)
{
    static const struct {
        struct bytes start, repeat;
        const char *end;
    } cases[] = {
        {BYTES(CHUNKED "1;a"), BYTES("a"), "refused chunk 400\n"},
        {BYTES(CHUNKED "0\r\nA:"), BYTES("a"), "refused trailer 400\n"},
        {BYTES(CHUNKED "0\r\n"), BYTES("A:\r\n"), "refused trailer 400\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct describe describe;
        size_t sent = 0;
        describe_begin(&describe, &small);
        describe_feed(&describe, cases[i].start);
        for (; describe.state != DESCRIBE_OVER && sent < 100000; sent += cases[i].repeat.len)
            describe_feed(&describe, cases[i].repeat);
        assert_true(sent > 4096 && sent < 20000);
        assert_non_null(strstr(describe_end(&describe), cases[i].end));
    }
}

/* The same bytes at another place give the same request again. */
static void test_moved(void **state)
{
    static const char head[] = REQUEST("GET /x HTTP/1.1", "A: b\r\n");
    static struct http_parser parser;
    char first[sizeof head], second[sizeof head];
    struct http_request request;
    (void)state;
    memcpy(first, head, sizeof head);
    memcpy(second, head, sizeof head);
    http_parser_init(&parser, NULL);
    assert_int_equal(
        http_parser_feed(&parser, bytes_of(first, sizeof head - 1), &request), HTTP_PARSE_REQUEST);
    memset(first, '?', sizeof first);
    assert_int_equal(
        http_parser_feed(&parser, bytes_of(second, sizeof head - 1), &request), HTTP_PARSE_REQUEST);
    assert_true(bytes_equal(request.target, BYTES("/x")));
    assert_true(bytes_equal(request.fields.fields[1].value, BYTES("b")));
    assert_int_equal(request.head_bytes, sizeof head - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_head_size),
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_overhead),
        cmocka_unit_test(test_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
