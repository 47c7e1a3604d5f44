/* Queries on S3 buckets: kept, dropped, refused, ignored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "proxy/s3_query.h"

static void test_table(void **state)
{
    static const struct {
        const char *query;
        int result;
        const char *text; /* the version id, or what was refused */
    } cases[] = {
        {"", 0, ""},
        {"&&", 0, ""},
        {"versionId=abc", 0, "abc"},
        {"versionId=null", 0, "null"},
        {"versionId=a%2Fb%2Bc+d", 0, "a/b+c+d"},
        {"version%49d=abc", 0, "abc"},
        {"x-id=GetObject&versionId=abc", 0, "abc"},
        {"versionId=abc&versionId=abc", 0, "abc"},
        {"versionid=abc", 0, ""},
        {"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00&x-amz-checksum-mode=ENABLED", 0, ""},
        {"cachebuster=17&acls&utm_source=acl", 0, ""},
        {"ACL", 0, ""},
        {"versionId=", E_SYNTAX, NULL},
        {"versionId", E_SYNTAX, NULL},
        {"versionId=a&versionId=b", E_SYNTAX, NULL},
        {"versionId=%", E_SYNTAX, NULL},
        {"versionId=%00", E_SYNTAX, NULL},
        {"versionId=%FF", E_SYNTAX, NULL},
        {"%zz=1", E_SYNTAX, NULL},
        {"acl&%zz", E_SYNTAX, NULL},
        {"acl", E_UNSUPPORTED, "acl"},
        {"acl=", E_UNSUPPORTED, "acl"},
        {"%61cl", E_UNSUPPORTED, "%61cl"},
        {"versionId=abc&tagging", E_UNSUPPORTED, "tagging"},
        {"policy", E_UNSUPPORTED, "policy"},
        {"uploads", E_UNSUPPORTED, "uploads"},
        {"uploadId=1&partNumber=2", E_UNSUPPORTED, "uploadId"},
        {"list-type=2&prefix=a", E_UNSUPPORTED, "list-type"},
        {"partNumber=1", E_UNSUPPORTED, "partNumber"},
        {"response-content-type=text%2Fplain", E_UNSUPPORTED, "response-content-type"},
        {"response-anything", E_UNSUPPORTED, "response-anything"},
        {"versions", E_UNSUPPORTED, "versions"},
        {"website", E_UNSUPPORTED, "website"},
        {"abac", E_UNSUPPORTED, "abac"},
        {"object-lock", E_UNSUPPORTED, "object-lock"},
        {"attributes", E_UNSUPPORTED, "attributes"},
        {"torrent", E_UNSUPPORTED, "torrent"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_query query;
        uint8_t buf[256];
        int result = s3_query_parse(bytes_of_string(cases[i].query), buf, &query);
        struct bytes text = result == E_UNSUPPORTED ? query.refused : query.version_id;
        if (result != cases[i].result ||
            (cases[i].text && !bytes_equal(text, bytes_of_string(cases[i].text))))
            fail_msg("'%s': %d '%.*s'", cases[i].query, result, (int)text.len, (const char *)text.ptr);
    }
}

static void test_edges(void **state)
{
    struct s3_query query;
    uint8_t buf[256];
    char name[101] = "response-";
    (void)state;
    assert_int_equal(s3_query_parse(bytes_of(NULL, 0), buf, &query), 0);
    memset(name + 9, 'x', 91);
    assert_int_equal(s3_query_parse(bytes_of(name, 100), buf, &query), E_UNSUPPORTED);
    assert_int_equal(query.refused.len, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
