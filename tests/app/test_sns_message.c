/* SNS's messages as its guide documents them, what of them is signed, and when they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "app/sns_message.h"

static struct sns_message message;
static struct arena arena;
static bool is_sns;

static const char *read_message(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    arena_init(&arena, NULL, 0, SNS_ARENA_MAX(strlen(text)));
    is_sns = sns_message_is(json);
    const char *why = sns_message_read(&message, &arena, json);
    json_decref(json);
    return why;
}

static void expect(struct bytes found, const char *text)
{
    if (!bytes_equal(found, bytes_of_string(text)))
        fail_msg("found '%.*s', not '%s'", (int)found.len, (const char *)found.ptr, text);
}

#define ARN "arn:aws:sns:us-west-2:123456789012:MyTopic"
#define ID "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
#define PEM                                                                                                  \
    "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
#define UNSUBSCRIBE "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x"
#define CONFIRM                                                                                              \
    "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" ARN "&Token=2336412f37"
#define END                                                                                                  \
    "\"Timestamp\":\"2012-05-02T00:54:06.655Z\",\"SignatureVersion\":\"1\",\"Signature\":\"RVhBTVBMRQ==\","  \
    "\"SigningCertURL\":\"" PEM "\""

static void notification(void **state)
{
    (void)state;
    assert_null(
        read_message("{\"Type\":\"Notification\",\"MessageId\":\"" ID "\",\"TopicArn\":\"" ARN
                     "\",\"Subject\":\"My First Message\",\"Message\":\"Hello \\\"world\\\"!\\nbye\"," END
                     ",\"UnsubscribeURL\":\"" UNSUBSCRIBE "\",\"MessageAttributes\":{}}"));
    assert_true(is_sns);
    assert_int_equal(message.type, SNS_NOTIFICATION);
    assert_int_equal(message.version, 1);
    assert_int_equal(message.sent_s, 1335920046);
    expect(message.text, "Hello \"world\"!\nbye");
    expect(message.topic, ARN);
    expect(message.certificate_url, PEM);
    expect(message.signature, "EXAMPLE");
    expect(message.signed_text,
        "Message\nHello \"world\"!\nbye\nMessageId\n" ID "\nSubject\nMy First Message\nTimestamp\n"
        "2012-05-02T00:54:06.655Z\nTopicArn\n" ARN "\nType\nNotification\n");
    arena_reset(&arena);
    assert_null(read_message("{\"Type\":\"Notification\",\"MessageId\":\"" ID "\",\"TopicArn\":\"" ARN
                             "\",\"Message\":\"m\",\"Subject\":null," END "}"));
    expect(message.signed_text,
        "Message\nm\nMessageId\n" ID "\nTimestamp\n2012-05-02T00:54:06.655Z\nTopicArn\n" ARN
        "\nType\nNotification\n");
    arena_reset(&arena);
}

static void confirmations(void **state)
{
    (void)state;
    static const char *const types[] = {"SubscriptionConfirmation", "UnsubscribeConfirmation"};
    for (unsigned i = 0; i < 2; i++) {
        char body[2048], text[2048];
        (void)snprintf(body, sizeof body,
            "{\"Type\":\"%s\",\"MessageId\":\"" ID "\",\"Token\":\"2336412f37\",\"TopicArn\":\"" ARN
            "\",\"Message\":\"You have chosen to subscribe\",\"SubscribeURL\":\"" CONFIRM
            "\",\"Subject\":\"not signed\"," END "}",
            types[i]);
        (void)snprintf(text, sizeof text,
            "Message\nYou have chosen to subscribe\nMessageId\n" ID "\nSubscribeURL\n" CONFIRM
            "\nTimestamp\n2012-05-02T00:54:06.655Z\nToken\n2336412f37\nTopicArn\n" ARN "\nType\n%s\n",
            types[i]);
        assert_null(read_message(body));
        assert_int_equal(message.type, i ? SNS_UNSUBSCRIBE : SNS_SUBSCRIBE);
        expect(message.subscribe_url, CONFIRM);
        expect(message.signed_text, text);
        arena_reset(&arena);
    }
}

static void malformed(void **state)
{
    (void)state;
#define NOTE(type, id, text, end)                                                                            \
    "{\"Type\":" type ",\"MessageId\":" id ",\"TopicArn\":\"" ARN "\",\"Message\":" text "," end "}"
#define SIGNED(time, version, signature)                                                                     \
    "\"Timestamp\":" time ",\"SignatureVersion\":" version ",\"Signature\":" signature
#define TIME "\"2012-05-02T00:54:06.655Z\""
    static const char *const cases[] = {
        NOTE("\"Other\"", "\"i\"", "\"m\"", END),
        NOTE("5", "\"i\"", "\"m\"", END),
        NOTE("\"Notification\"", "5", "\"m\"", END),
        NOTE("\"Notification\"", "\"i\"", "{}", END),
        NOTE("\"Notification\"", "\"i\"", "null", END),
        NOTE("\"SubscriptionConfirmation\"", "\"i\"", "\"m\"", END), /* no SubscribeURL */
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"3\"", "\"RVhB\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "1", "\"RVhB\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"\"", "\"RVhB\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"1\"", "\"\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"1\"", "\"RVh\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"1\"", "\"RV?B\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED(TIME, "\"1\"", "5")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED("\"yesterday\"", "\"1\"", "\"RVhB\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\"", SIGNED("5", "\"1\"", "\"RVhB\"")),
        NOTE("\"Notification\"", "\"i\"", "\"m\",\"Subject\":5", END),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (read_message(cases[i]) == NULL)
            fail_msg("taken: %s", cases[i]);
        assert_true(is_sns);
        arena_reset(&arena);
    }
    assert_non_null(read_message("{\"Records\":[]}"));
    assert_false(is_sns);
    arena_reset(&arena);
    assert_non_null(read_message("[]"));
    assert_false(is_sns);
    arena_reset(&arena);
}

static void timestamps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* -1: none */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2012-04-26T20:45:04.751Z", 1335473104},
        {"2024-02-29T23:59:59.9Z", 1709251199},
        {"2016-12-31T23:59:60Z", -1},
        {"2023-02-29T00:00:00Z", -1},
        {"2023-04-31T00:00:00Z", -1},
        {"2012-13-26T20:45:04Z", -1},
        {"2012-00-26T20:45:04Z", -1},
        {"2012-04-26T24:45:04Z", -1},
        {"2012-04-26T20:60:04Z", -1},
        {"2012-04-26T20:45:61Z", -1},
        {"2012-04-26T20:45:04", -1},
        {"2012-04-26T20:45:04.Z", -1},
        {"2012-04-26T20:45:04.7", -1},
        {"2012-04-26T20:45:04.7xZ", -1},
        {"2012-04-26T20:45:04+01:00", -1},
        {"2012-04-26T20:45:04ZZ", -1},
        {"2012-04-26 20:45:04Z", -1},
        {"12-04-26T20:45:04Z", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds = -1;
        bool good = sns_timestamp_parse(bytes_of_string(cases[i].text), &seconds);
        if (good != (cases[i].seconds >= 0) || (good && seconds != cases[i].seconds))
            fail_msg("%s: %lld", cases[i].text, (long long)seconds);
    }
}

static void freshness(void **state)
{
    (void)state;
    struct sns_message sent = {.sent_s = 1000000};
    assert_true(sns_message_is_fresh(&sent, 1000000));
    assert_true(sns_message_is_fresh(&sent, 1000000 + 3600));
    assert_false(sns_message_is_fresh(&sent, 1000000 + 3601));
    assert_true(sns_message_is_fresh(&sent, 1000000 - 900));
    assert_false(sns_message_is_fresh(&sent, 1000000 - 901));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notification),
        cmocka_unit_test(confirmations),
        cmocka_unit_test(malformed),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(freshness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
