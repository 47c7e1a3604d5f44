/* multipart/byteranges, RFC 9110 14.6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/multipart.h"

#define BOUNDARY "000102030405060708090a0b0c0d0e0f"

static struct multipart make(const struct range_list *list, uint64_t length, const char *type)
{
    struct multipart multipart = {.list = list, .length = length, .content_type = bytes_of_string(type)};
    uint8_t random[16];
    for (uint8_t i = 0; i < 16; i++)
        random[i] = i;
    multipart_boundary(&multipart, random);
    return multipart;
}

static void write_whole(const struct multipart *multipart, const char *body, struct writer *w)
{
    for (unsigned i = 0; i < multipart->list->count; i++) {
        struct range range = multipart->list->ranges[i];
        uint8_t *before = w->at;
        multipart_write_head(multipart, i, w);
        assert_true((size_t)(w->at - before) <= multipart_head_max(multipart));
        write_bytes(w, bytes_of(body + range.first, range_length(range)));
    }
    uint8_t *before = w->at;
    multipart_write_end(multipart, w);
    assert_int_equal(w->at - before, MULTIPART_END_LEN);
    assert_false(w->failed);
}

static void test_two_parts(void **state)
{
    struct range_list list = {.count = 2, .ranges = {{0, 1}, {7, 9}}};
    struct multipart multipart = make(&list, 10, "text/plain");
    char text[1024];
    struct writer w = writer_of(text, sizeof text);
    (void)state;
    write_whole(&multipart, "0123456789", &w);
    struct bytes want =
        BYTES("--" BOUNDARY "\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
              "\r\n--" BOUNDARY "\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
              "\r\n--" BOUNDARY "--\r\n");
    assert_int_equal(writer_bytes(&w).len, want.len);
    assert_memory_equal(text, want.ptr, want.len);
    assert_int_equal(multipart_length(&multipart), want.len);
    w = writer_of(text, sizeof text);
    multipart_write_content_type(&multipart, &w);
    assert_true(bytes_equal(writer_bytes(&w), BYTES("multipart/byteranges; boundary=" BOUNDARY)));
}

static void test_no_content_type(void **state)
{
    struct range_list list = {.count = 1, .ranges = {{3, 3}}};
    struct multipart multipart = make(&list, 10, "");
    char text[256];
    struct writer w = writer_of(text, sizeof text);
    (void)state;
    write_whole(&multipart, "0123456789", &w);
    struct bytes want =
        BYTES("--" BOUNDARY "\r\nContent-Range: bytes 3-3/10\r\n\r\n3\r\n--" BOUNDARY "--\r\n");
    assert_true(bytes_equal(writer_bytes(&w), want));
    assert_int_equal(multipart_length(&multipart), want.len);
}

/* Counted and written agree, whatever the number of digits. */
static void test_length(void **state)
{
    static const uint64_t edges[] = {0, 1, 9, 10, 99, 100, 999, 1000, 65535, 99999};
    static char body[100000], text[400000];
    const size_t edge_count = sizeof edges / sizeof *edges;
    (void)state;
    for (size_t i = 0; i < edge_count; i++) {
        for (size_t j = i; j < edge_count; j++) {
            struct range_list list = {
                .count = 3, .ranges = {{edges[i], edges[j]}, {0, 0}, {edges[i], edges[i]}}};
            struct multipart multipart = make(&list, 100000, "application/octet-stream");
            struct writer w = writer_of(text, sizeof text);
            write_whole(&multipart, body, &w);
            assert_int_equal(multipart_length(&multipart), writer_bytes(&w).len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_parts),
        cmocka_unit_test(test_no_content_type),
        cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
