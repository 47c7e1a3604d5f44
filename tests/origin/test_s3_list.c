/* The answer to ListObjectsV2: as servers write it, in pieces of any size, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "origin/s3_list.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define OPEN "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
#define CLOSE "</ListBucketResult>"
#define KEY(text) "<Contents><Key>" text "</Key><Size>1</Size><Owner><ID>Key</ID></Owner></Contents>"

/* Into `all`, with a bar behind each key and the token behind the last. */
static int parse(const char *text, size_t piece, char all[400])
{
    struct s3_list list;
    struct writer w = writer_of(all, 399);
    struct bytes key;
    int error = 0;
    assert_int_equal(s3_list_init(&list), 0);
    for (size_t at = 0, len = strlen(text); at < len && error == 0; at += piece)
        error = s3_list_feed(&list, bytes_of(text + at, piece < len - at ? piece : len - at));
    if (error == 0)
        error = s3_list_end(&list);
    while (error == 0 && s3_list_take(&list, &key)) {
        write_bytes(&w, key);
        write_u8(&w, '|');
    }
    if (error == 0)
        write_bytes(&w, s3_list_token(&list));
    write_u8(&w, 0);
    assert_false(w.failed);
    s3_list_deinit(&list);
    return error;
}

static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *all;
    } cases[] = {
        {HEAD OPEN CLOSE, ""},
        {OPEN "<Name>b</Name><KeyCount>1</KeyCount>" KEY("a") CLOSE, "a|"},
        {HEAD OPEN "<IsTruncated>true</IsTruncated>" KEY("a")
                KEY("b/c") "<NextContinuationToken>t+/=</NextContinuationToken>" CLOSE,
            "a|b/c|t+/="},
        {OPEN "<IsTruncated> false </IsTruncated><NextContinuationToken>t</NextContinuationToken>" KEY("a")
                CLOSE,
            "a|"},
        /* not encoded: as it stands */
        {OPEN KEY("a+b%41&amp;&lt;&#233;\xc3\xa9 ") CLOSE, "a+b%41&<\xc3\xa9\xc3\xa9 |"},
        {OPEN KEY("<![CDATA[a<b]]>c") CLOSE, "a<bc|"},
        /* encoded, told behind the keys, too */
        {OPEN KEY("a+b%41%26%c3%A9") KEY("%2B") "<EncodingType>url</EncodingType>" CLOSE, "a bA&\xc3\xa9|+|"},
        {OPEN "<EncodingType>url</EncodingType>" KEY("%01") CLOSE, "\x01|"},
        /* elements of the same names elsewhere */
        {OPEN "<Key>no</Key><X><Key>no</Key></X><Contents><X><Key>no</Key></X><Key>a</Key></Contents>"
              "<CommonPrefixes><Key>no</Key></CommonPrefixes>" CLOSE,
            "a|"},
        {OPEN "<Contents><IsTruncated>true</IsTruncated></Contents>" CLOSE, ""},
    };
    char all[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 2000; piece = piece * 3 + 1) {
            int error = parse(cases[i].text, piece, all);
            if (error != 0 || strcmp(all, cases[i].all) != 0)
                fail_msg("case %zu in pieces of %zu: %d, %s", i, piece, error, all);
        }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"", E_PROTOCOL},
        {"no", E_PROTOCOL},
        {"<Error><Code>x</Code></Error>", E_PROTOCOL},
        {OPEN, E_PROTOCOL},
        {OPEN CLOSE OPEN CLOSE, E_PROTOCOL},
        {OPEN "<IsTruncated>true</IsTruncated>" CLOSE, E_PROTOCOL},
        {OPEN "<IsTruncated>true</IsTruncated><NextContinuationToken/>" CLOSE, E_PROTOCOL},
        {"<!DOCTYPE x>" OPEN CLOSE, E_PROTOCOL},
        {"<!DOCTYPE x [<!ENTITY a \"b\">]>" OPEN KEY("&a;") CLOSE, E_PROTOCOL},
        {OPEN KEY("&a;") CLOSE, E_PROTOCOL},
        {OPEN KEY("a<b>c</b>d") CLOSE, E_PROTOCOL},
        {OPEN KEY("a<Key/>") CLOSE, E_PROTOCOL},
        {OPEN "<IsTruncated>true<x/></IsTruncated>" CLOSE, E_PROTOCOL},
        {OPEN KEY("\xff") CLOSE, E_PROTOCOL},
        {OPEN KEY("\x01") CLOSE, E_PROTOCOL},
        {OPEN "<EncodingType>url</EncodingType>" KEY("%4") CLOSE, E_PROTOCOL},
        {OPEN "<EncodingType>url</EncodingType>" KEY("%zz") CLOSE, E_PROTOCOL},
        {OPEN "<EncodingType>url</EncodingType>" KEY("a%00") CLOSE, E_PROTOCOL},
    };
    char all[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 2000; piece = piece * 3 + 1)
            if (parse(cases[i].text, piece, all) != cases[i].error)
                fail_msg("case %zu in pieces of %zu: %s", i, piece, all);
}

static int feed_much(const char *before, size_t count)
{
    struct s3_list list;
    static char much[4096];
    memset(much, 'k', sizeof much);
    assert_int_equal(s3_list_init(&list), 0);
    int error = s3_list_feed(&list, bytes_of_string(before));
    for (size_t i = 0; i < count && error == 0; i++)
        error = s3_list_feed(&list, bytes_of(much, sizeof much));
    assert_int_equal(s3_list_feed(&list, BYTES("<")), error); /* sticky */
    s3_list_deinit(&list);
    return error;
}

static void bounds(void **state)
{
    (void)state;
    assert_int_equal(feed_much(OPEN "<Contents><Key>", S3_LIST_TEXT_MAX / 4096 - 1), 0);
    assert_int_equal(feed_much(OPEN "<Contents><Key>", S3_LIST_TEXT_MAX / 4096 + 1), E_TOO_LARGE);
    assert_int_equal(feed_much(OPEN "<NextContinuationToken>", 1), E_TOO_LARGE);
    assert_int_equal(feed_much(OPEN "<IsTruncated>", 3), 0);
    assert_int_equal(feed_much(OPEN "<Else>", 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(refused),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
