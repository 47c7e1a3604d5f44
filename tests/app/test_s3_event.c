/* What notifications of S3's name: AWS's documented messages, those of MinIO and Ceph, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/s3_event.h"

static struct s3_events events;
static struct arena arena;

static const char *parse(const char *text)
{
    struct bytes body = bytes_of_string(text);
    arena_init(&arena, NULL, 0, S3_EVENTS_ARENA_MAX(body.len));
    return s3_events_parse(&events, &arena, body);
}

/* S3 User Guide, "Event message structure" and "Configuring S3 Lifecycle event notifications", shortened by
 * what stands for itself. */
#define RECORD(name, bucket, key)                                                                            \
    "{\"eventVersion\":\"2.2\",\"eventSource\":\"aws:s3\",\"awsRegion\":\"us-west-2\","                      \
    "\"eventTime\":\"1970-01-01T00:00:00.000Z\",\"eventName\":\"" name "\","                                 \
    "\"userIdentity\":{\"principalId\":\"AIDAJDPLRKLG7UEXAMPLE\"},"                                          \
    "\"requestParameters\":{\"sourceIPAddress\":\"127.0.0.1\"},"                                             \
    "\"responseElements\":{\"x-amz-request-id\":\"C3D13FE58DE4C810\"},"                                      \
    "\"s3\":{\"s3SchemaVersion\":\"1.0\",\"configurationId\":\"testConfigRule\","                            \
    "\"bucket\":{\"name\":\"" bucket "\",\"ownerIdentity\":{\"principalId\":\"A3NL1KOZZKExample\"},"         \
    "\"arn\":\"arn:aws:s3:::" bucket "\"},"                                                                  \
    "\"object\":{\"key\":\"" key "\",\"size\":1024,\"eTag\":\"d41d8cd98f00b204e9800998ecf8427e\","           \
    "\"versionId\":\"096fKKXTRTtl3on89fVO.nfljtsv6qko\",\"sequencer\":\"0055AED6DCD90281E5\"}}}"
#define RECORDS(records) "{\"Records\":[" records "]}"

/* S3 User Guide, "EventBridge event message structure". */
#define EVENTBRIDGE(type, key)                                                                               \
    "{\"version\":\"0\",\"id\":\"17793124-05d4-b198-2fde-7ededc63b103\",\"detail-type\":\"" type "\","       \
    "\"source\":\"aws.s3\",\"account\":\"111122223333\",\"time\":\"2021-11-12T00:00:00Z\","                  \
    "\"region\":\"ca-central-1\",\"resources\":[\"arn:aws:s3:::amzn-s3-demo-bucket1\"],"                     \
    "\"detail\":{\"version\":\"0\",\"bucket\":{\"name\":\"amzn-s3-demo-bucket1\"},"                          \
    "\"object\":{\"key\":\"" key "\",\"size\":5,\"etag\":\"b1946ac92492d2347c6235b4d2611184\","              \
    "\"version-id\":\"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e\",\"sequencer\":\"617f08299329d189\"},"               \
    "\"request-id\":\"N4N7GDK58NMKJ12R\",\"requester\":\"123456789012\",\"reason\":\"PutObject\"}}"

static void single_events(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum s3_event_kind kind;
        const char *bucket, *key;
    } cases[] = {
        {RECORDS(RECORD("ObjectCreated:Put", "b", "HappyFace.jpg")), S3_EVENT_CREATED, "b", "HappyFace.jpg"},
        {RECORDS(RECORD("ObjectCreated:CompleteMultipartUpload", "b", "red+flower.jpg")), S3_EVENT_CREATED,
            "b", "red flower.jpg"},
        {RECORDS(RECORD("ObjectCreated:Copy", "b", "a%2Bb%2fc/%C3%a9%25")), S3_EVENT_CREATED, "b",
            "a+b/c/\xc3\xa9%"},
        {RECORDS(RECORD("ObjectRemoved:Delete", "b", "k")), S3_EVENT_REMOVED, "b", "k"},
        {RECORDS(RECORD("ObjectRemoved:DeleteMarkerCreated", "b", "k")), S3_EVENT_REMOVED, "b", "k"},
        {RECORDS(RECORD("LifecycleExpiration:Delete", "b", "k")), S3_EVENT_REMOVED, "b", "k"},
        {RECORDS(RECORD("LifecycleExpiration:DeleteMarkerCreated", "b", "k")), S3_EVENT_REMOVED, "b", "k"},
        /* MinIO: the name with its prefix, and more around the records */
        {"{\"EventName\":\"s3:ObjectCreated:Put\",\"Key\":\"b/k\",\"Records\":[" RECORD(
             "s3:ObjectCreated:Put", "b", "k%2Fl") "]}",
            S3_EVENT_CREATED, "b", "k/l"},
        {EVENTBRIDGE("Object Created", "example-key"), S3_EVENT_CREATED, "amzn-s3-demo-bucket1",
            "example-key"},
        {EVENTBRIDGE("Object Deleted", "red+flower%20.jpg \\u00e9"), S3_EVENT_REMOVED, "amzn-s3-demo-bucket1",
            "red+flower%20.jpg \xc3\xa9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = parse(cases[i].body);
        if (why || events.count != 1)
            fail_msg("case %zu: %s, %u events", i, why ? why : "read", events.count);
        assert_int_equal(events.ignored, 0);
        assert_int_equal(events.events[0].kind, cases[i].kind);
        assert_true(bytes_equal(events.events[0].bucket, bytes_of_string(cases[i].bucket)));
        assert_true(bytes_equal(events.events[0].key, bytes_of_string(cases[i].key)));
        arena_reset(&arena);
    }
}

static void ignored_events(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"Service\":\"Amazon S3\",\"Event\":\"s3:TestEvent\",\"Time\":\"2014-10-13T15:57:02.089Z\","
        "\"Bucket\":\"amzn-s3-demo-bucket\",\"RequestId\":\"5582815E1AEA5ADF\",\"HostId\":"
        "\"8cLeGAmw098X5cv4\"}",
        RECORDS(RECORD("ObjectTagging:Put", "b", "k")),
        RECORDS(RECORD("ObjectAcl:Put", "b", "k")),
        RECORDS(RECORD("ObjectRestore:Completed", "b", "k")),
        RECORDS(RECORD("LifecycleTransition", "b", "k")),
        RECORDS(RECORD("IntelligentTiering", "b", "k")),
        RECORDS(RECORD("Replication:OperationFailedReplication", "b", "k")),
        RECORDS(RECORD("ReducedRedundancyLostObject", "b", "k")),
        RECORDS(RECORD("ObjectCreated", "b", "k")),
        RECORDS("{\"eventName\":\"ObjectTagging:Put\"}"),
        EVENTBRIDGE("Object Tags Added", "k"),
        EVENTBRIDGE("Object Restore Completed", "k"),
        "{\"detail-type\":\"EC2 Instance State-change Notification\",\"detail\":{}}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = parse(cases[i]);
        if (why || events.count != 0 || events.ignored != 1)
            fail_msg(
                "case %zu: %s, %u events, %u ignored", i, why ? why : "read", events.count, events.ignored);
        arena_reset(&arena);
    }
}

static void many_records(void **state)
{
    (void)state;
    assert_null(parse(RECORDS("")));
    assert_int_equal(events.count + events.ignored, 0);
    arena_reset(&arena);
    assert_null(parse(RECORDS(RECORD("ObjectCreated:Put", "b", "1") "," RECORD(
        "ObjectAcl:Put", "b", "2") "," RECORD("ObjectRemoved:Delete", "c", "3"))));
    assert_int_equal(events.count, 2);
    assert_int_equal(events.ignored, 1);
    assert_true(bytes_equal(events.events[0].key, BYTES("1")));
    assert_true(bytes_equal(events.events[1].bucket, BYTES("c")));
    arena_reset(&arena);
}

static void malformed(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{} {}",
        "{\"Event\":\"s3:OtherEvent\"}",
        "{\"Records\":{}}",
        "{\"Records\":null,\"Event\":\"s3:TestEvent\"}",
        RECORDS("1"),
        RECORDS("{}"),
        RECORDS("{\"eventName\":5}"),
        RECORDS("{\"eventName\":\"ObjectCreated:Put\"}"),
        RECORDS("{\"eventName\":\"ObjectCreated:Put\",\"s3\":{\"bucket\":{\"name\":\"b\"}}}"),
        RECORDS(RECORD("ObjectCreated:Put", "", "k")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "a%2")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "a%")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "a%2g")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "a%00")),
        RECORDS(RECORD("ObjectCreated:Put", "b", "k") "," RECORD("ObjectCreated:Put", "b", "%")),
        "{\"detail-type\":\"Object Created\"}",
        "{\"detail-type\":\"Object Created\",\"detail\":{\"bucket\":\"b\",\"object\":\"k\"}}",
        "{\"detail-type\":\"Object "
        "Created\",\"Records\":[],\"detail\":{\"bucket\":{\"name\":\"b\"},\"object\":"
        "{\"key\":\"k\"}}}",
        "{\"Records\":[],\"Records\":[]}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (parse(cases[i]) == NULL)
            fail_msg("taken: %s", cases[i]);
        arena_reset(&arena);
    }
}

/* Keys of 1,024 bytes are S3's longest, decoded. */
static void long_keys(void **state)
{
    (void)state;
    static char body[8192];
    for (unsigned len = 1023; len <= 1025; len++) {
        char key[3 * 1025 + 1] = "";
        for (unsigned i = 0; i < len; i++)
            memcpy(key + (size_t)3 * i, "%41", 4);
        struct writer w = writer_of(body, sizeof body - 1);
        write_format(&w,
            "{\"Records\":[{\"eventName\":\"ObjectCreated:Put\",\"s3\":{\"bucket\":{\"name\":\"b\"},"
            "\"object\":{\"key\":\"%s\"}}}]}",
            key);
        body[writer_bytes(&w).len] = 0;
        assert_int_equal(parse(body) == NULL, len <= S3_EVENT_KEY_MAX);
        assert_int_equal(events.count == 1 && events.events[0].key.len == len, len <= S3_EVENT_KEY_MAX);
        arena_reset(&arena);
    }
}

/* The bound on memory holds for the shortest records there are, and a smaller one is an error. */
static void bounds_of_memory(void **state)
{
    (void)state;
    static char body[256 << 10];
    struct writer w = writer_of(body, sizeof body - 1);
    write_format(&w, "{\"Records\":[");
    for (unsigned i = 0; i < 3000; i++)
        write_format(&w,
            "%s{\"eventName\":\"ObjectCreated:\",\"s3\":{\"bucket\":{\"name\":\"b\"},\"object\":{"
            "\"key\":\"k\"}}}",
            i ? "," : "");
    write_format(&w, "]}");
    assert_false(w.failed);
    assert_null(parse(body));
    assert_int_equal(events.count, 3000);
    arena_reset(&arena);
    arena_init(&arena, NULL, 0, 10000);
    assert_ptr_equal(s3_events_parse(&events, &arena, writer_bytes(&w)), s3_events_no_memory);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_events),
        cmocka_unit_test(ignored_events),
        cmocka_unit_test(many_records),
        cmocka_unit_test(malformed),
        cmocka_unit_test(long_keys),
        cmocka_unit_test(bounds_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
