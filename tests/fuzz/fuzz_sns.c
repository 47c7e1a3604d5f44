/* SNS messages, and the addresses and names in them: what is taken stays within its bounds, and an address
 * that is fetched begins with the host, letter for letter. */
#include <jansson.h>

#include "app/sns_message.h"
#include "app/sns_topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(struct bytes url, enum sns_url kind, const struct sns_topic *topic)
{
    char text[SNS_HOST_MAX];
    struct bytes target, host = sns_topic_host(topic, text), scheme = BYTES("https://");
    if (!sns_url_parse(url, kind, topic, &target))
        return;
    CHECK(bytes_start_with(url, scheme) && bytes_start_with(bytes_from(url, scheme.len), host));
    struct bytes between = bytes_of(url.ptr, (size_t)(target.ptr - url.ptr));
    CHECK(between.len == scheme.len + host.len || between.len == scheme.len + host.len + 4);
    CHECK(target.ptr[0] == '/' && target.ptr + target.len == url.ptr + url.len);
    for (size_t i = 0; i < target.len; i++)
        CHECK(target.ptr[i] > ' ' && target.ptr[i] < 0x7f && target.ptr[i] != '#');
}

static void check_message(const struct sns_message *message)
{
    CHECK(message->version == 1 || message->version == 2);
    CHECK(message->signature.len > 0 && message->signature.len <= SNS_SIGNATURE_MAX);
    CHECK(bytes_start_with(message->signed_text, BYTES("Message\n")));
    CHECK(message->signed_text.ptr[message->signed_text.len - 1] == '\n');
    struct sns_topic topic;
    if (sns_topic_parse(message->topic, &topic)) {
        check_url(message->certificate_url, SNS_URL_CERTIFICATE, &topic);
        check_url(message->subscribe_url, SNS_URL_SUBSCRIBE, &topic);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sns_message message;
    struct sns_topic topic;
    struct arena arena;
    int64_t seconds;
    json_error_t error;
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
    arena_init(&arena, NULL, 0, SNS_ARENA_MAX(size));
    const char *why = sns_message_read(&message, &arena, json);
    CHECK(why != sns_no_memory);
    if (why == NULL)
        check_message(&message);
    arena_reset(&arena);
    json_decref(json);
    if (sns_topic_parse(bytes_of(data, size), &topic)) {
        check_url(bytes_of(data, size), SNS_URL_CERTIFICATE, &topic);
    } else if (sns_topic_parse(BYTES("arn:aws:sns:us-east-1:123456789012:t"), &topic)) {
        check_url(bytes_of(data, size), SNS_URL_CERTIFICATE, &topic);
        check_url(bytes_of(data, size), SNS_URL_SUBSCRIBE, &topic);
    }
    if (sns_timestamp_parse(bytes_of(data, size), &seconds))
        CHECK(seconds >= 0);
    return 0;
}
