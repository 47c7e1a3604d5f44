/* Names of topics, and which addresses a message may name: SNS's own of the topic's region, in one spelling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/sns_topic.h"

static void topics(void **state)
{
    (void)state;
    static const struct {
        const char *arn, *host; /* NULL: none */
    } cases[] = {
        {"arn:aws:sns:us-west-2:123456789012:MyTopic", "sns.us-west-2.amazonaws.com"},
        {"arn:aws:sns:ap-southeast-7:123456789012:a_b-C9.fifo", "sns.ap-southeast-7.amazonaws.com"},
        {"arn:aws-us-gov:sns:us-gov-east-1:123456789012:t", "sns.us-gov-east-1.amazonaws.com"},
        {"arn:aws-cn:sns:cn-north-1:123456789012:t", "sns.cn-north-1.amazonaws.com.cn"},
        {"", NULL},
        {"MyTopic", NULL},
        {"arn:aws:sqs:us-west-2:123456789012:q", NULL},
        {"arn:aws-iso:sns:us-iso-east-1:123456789012:t", NULL},
        {"arn:aws:sns:us-west-2:123456789012", NULL},
        {"arn:aws:sns:us-west-2:123456789012:", NULL},
        {"arn:aws:sns:us-west-2:12345678901:t", NULL},
        {"arn:aws:sns:us-west-2:12345678901x:t", NULL},
        {"arn:aws:sns::123456789012:t", NULL},
        {"arn:aws:sns:evil.example/:123456789012:t", NULL},
        {"arn:aws:sns:us.west:123456789012:t", NULL},
        {"arn:aws:sns:us--west:123456789012:t", NULL},
        {"arn:aws:sns:us-west-:123456789012:t", NULL},
        {"arn:aws:sns:US-WEST-2:123456789012:t", NULL},
        {"arn:aws:sns:us-west-2:123456789012:t:subscription", NULL},
        {"arn:aws:sns:us-west-2:123456789012:t u", NULL},
        {"ARN:aws:sns:us-west-2:123456789012:t", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sns_topic topic;
        char host[SNS_HOST_MAX];
        bool good = sns_topic_parse(bytes_of_string(cases[i].arn), &topic);
        if (good != (cases[i].host != NULL))
            fail_msg("%s", cases[i].arn);
        if (good)
            assert_true(bytes_equal(sns_topic_host(&topic, host), bytes_of_string(cases[i].host)));
    }
}

static void addresses(void **state)
{
    (void)state;
#define HOST "https://sns.us-west-2.amazonaws.com"
#define CONFIRM                                                                                              \
    "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:123456789012:MyTopic&Token=2336412f37"
    static const struct {
        enum sns_url kind;
        const char *url, *target; /* NULL: none */
    } cases[] = {
        {SNS_URL_CERTIFICATE, HOST "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
            "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"},
        {SNS_URL_CERTIFICATE, HOST ":443/a.pem", "/a.pem"},
        {SNS_URL_SUBSCRIBE, HOST CONFIRM, CONFIRM},
        /* another scheme, host, port */
        {SNS_URL_CERTIFICATE, "http://sns.us-west-2.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "HTTPS://sns.us-west-2.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-east-1.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com.cn/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com.evil.example/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com@evil.example/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com:443@evil.example/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://user@sns.us-west-2.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://s3.us-west-2.amazonaws.com/sns/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com.s3.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://xsns.us-west-2.amazonaws.com/a.pem", NULL},
        {SNS_URL_CERTIFICATE, "https://sns.us-west-2.amazonaws.com./a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST ":8443/a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST ":4430/a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST ":443", NULL},
        {SNS_URL_CERTIFICATE, HOST, NULL},
        {SNS_URL_CERTIFICATE, HOST "\\@evil.example/a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "#/a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "?/a.pem", NULL},
        /* another path */
        {SNS_URL_CERTIFICATE, HOST "/a.crt", NULL},
        {SNS_URL_CERTIFICATE, HOST "/.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/a.pem?x=.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/a?x=.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/a#.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/../a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/b/./a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/%2e%2e/a.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/a b.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST "/a\r\nHost: x.pem", NULL},
        {SNS_URL_CERTIFICATE, HOST CONFIRM, NULL},
        {SNS_URL_SUBSCRIBE, HOST "/a.pem", NULL},
        {SNS_URL_SUBSCRIBE, HOST "/?Action=Unsubscribe&SubscriptionArn=x", NULL},
        {SNS_URL_SUBSCRIBE, HOST "/?Action=ConfirmSubscription", NULL},
        {SNS_URL_SUBSCRIBE, HOST "/x?Action=ConfirmSubscription&Token=2", NULL},
        {SNS_URL_SUBSCRIBE, HOST CONFIRM " HTTP/1.1", NULL},
        {SNS_URL_SUBSCRIBE, HOST CONFIRM "\n", NULL},
        {SNS_URL_SUBSCRIBE, HOST CONFIRM "#x", NULL},
        {SNS_URL_SUBSCRIBE, "https://evil.example" CONFIRM, NULL},
        {SNS_URL_SUBSCRIBE, "", NULL},
    };
    struct sns_topic topic;
    assert_true(sns_topic_parse(BYTES("arn:aws:sns:us-west-2:123456789012:MyTopic"), &topic));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes target = {0};
        bool good = sns_url_parse(bytes_of_string(cases[i].url), cases[i].kind, &topic, &target);
        if (good != (cases[i].target != NULL) ||
            (good && !bytes_equal(target, bytes_of_string(cases[i].target))))
            fail_msg("%s", cases[i].url);
    }
    char longest[SNS_URL_MAX + 2];
    for (size_t len = SNS_URL_MAX; len <= SNS_URL_MAX + 1; len++) {
        struct bytes target;
        memset(longest, 'a', sizeof longest);
        memcpy(longest, HOST "/", sizeof HOST);
        memcpy(longest + len - 4, ".pem", 4);
        assert_int_equal(
            sns_url_parse(bytes_of(longest, len), SNS_URL_CERTIFICATE, &topic, &target), len == SNS_URL_MAX);
    }
}

static void signers(void **state)
{
    (void)state;
    static const struct {
        const char *arn, *name;
        bool signs;
    } cases[] = {
        {"arn:aws:sns:us-west-2:123456789012:t", "sns.amazonaws.com", true},
        {"arn:aws:sns:us-west-2:123456789012:t", "sns.us-west-2.amazonaws.com", true},
        {"arn:aws:sns:af-south-1:123456789012:t", "sns-signing.af-south-1.amazonaws.com", true},
        {"arn:aws-cn:sns:cn-north-1:123456789012:t", "sns-cn-north-1.amazonaws.com.cn", true},
        {"arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns-us-gov-west-1.amazonaws.com", true},
        {"arn:aws-us-gov:sns:us-gov-east-1:123456789012:t", "sns-us-gov-west-1.amazonaws.com", true},
        {"arn:aws:sns:us-west-2:123456789012:t", "sns.us-east-1.amazonaws.com", false},
        {"arn:aws:sns:us-west-2:123456789012:t", "sns.amazonaws.com.cn", false},
        {"arn:aws:sns:us-west-2:123456789012:t", "amazonaws.com", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sns_topic topic;
        bool signs = false;
        assert_true(sns_topic_parse(bytes_of_string(cases[i].arn), &topic));
        for (unsigned number = 0; number < SNS_NAMES; number++) {
            char text[SNS_HOST_MAX];
            signs |= bytes_equal(sns_topic_signer(&topic, number, text), bytes_of_string(cases[i].name));
        }
        assert_int_equal(signs, cases[i].signs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics),
        cmocka_unit_test(addresses),
        cmocka_unit_test(signers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
